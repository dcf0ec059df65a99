package portaltest

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Browser keeps cookies and follows redirects.
type Browser struct {
	*Fixture
	Client *http.Client
}

// Browser returns one that nobody has logged in with.
func (f *Fixture) Browser() *Browser {
	f.T.Helper()
	jar, err := cookiejar.New(nil)
	f.Must(err)
	return &Browser{f, &http.Client{Jar: jar}}
}

// LogIn returns a browser after a login with a link of the site, a path with its query.
func (f *Fixture) LogIn(link string) *Browser {
	f.T.Helper()
	b := f.Browser()
	// The site may have no overview, to which a login leads.
	if status, page := b.Get(strings.TrimPrefix(link, Root)); status == http.StatusUnauthorized {
		f.T.Fatalf("the login is answered %d:\n%s", status, page)
	}
	return b
}

// Do sends a request and returns the status and the body of the answer.
func (b *Browser) Do(request *http.Request) (status int, page string) {
	b.T.Helper()
	response, err := b.Client.Do(request)
	b.Must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	b.Must(err)
	return response.StatusCode, string(body)
}

// Get loads the page of a path below Root.
func (b *Browser) Get(path string) (status int, page string) {
	b.T.Helper()
	return b.Do(b.NewRequest(http.MethodGet, path, nil))
}

// GetIn loads a page in a language, such as fr.
func (b *Browser) GetIn(language, path string) (status int, page string) {
	b.T.Helper()
	request := b.NewRequest(http.MethodGet, path, nil)
	request.AddCookie(&http.Cookie{Name: "berth-language", Value: language})
	return b.Do(request)
}

// Post sends a form to a path below Root.
func (b *Browser) Post(path string, form url.Values) (status int, page string) {
	b.T.Helper()
	return b.Do(b.NewRequest(http.MethodPost, path, form))
}

// NewRequest makes a request to a path below Root, which carries form when it is not nil.
func (b *Browser) NewRequest(method, path string, form url.Values) *http.Request {
	b.T.Helper()
	request, err := http.NewRequest(method, b.URL(path), strings.NewReader(form.Encode()))
	b.Must(err)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return request
}

// Send posts a form of the browser's session, which must be answered so, and returns the
// page.
func (b *Browser) Send(path string, want int, form url.Values) (page string) {
	b.T.Helper()
	form.Set("csrf", b.Token())
	status, page := b.Post(path, form)
	if status != want {
		b.T.Fatalf("%s is answered %d, want %d:\n%s", path, status, want, page)
	}
	return page
}

// Shows holds a page against what must be in it.
func (b *Browser) Shows(page string, texts ...string) {
	b.T.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			_, main, _ := strings.Cut(page, "<main")
			b.T.Errorf("the page does not show %q:\n%s", text, main)
		}
	}
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// Token is what the forms of the browser's session carry.
func (b *Browser) Token() string {
	b.T.Helper()
	_, page := b.Get("nowhere") // any page has the form that logs out
	found := csrfField.FindStringSubmatch(page)
	if found == nil {
		b.T.Fatalf("no form has a token:\n%s", page)
	}
	return found[1]
}

// Upload posts a form with a file, after its fields: names and values in turn. It returns
// the path below Root that the browser arrives at too.
func (b *Browser) Upload(path, name, content string, fields ...string) (status int, page, arrived string) {
	b.T.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		b.Must(form.WriteField(fields[i], fields[i+1]))
	}
	part, err := form.CreateFormFile("file", name)
	b.Must(err)
	_, err = io.WriteString(part, content)
	b.Must(err)
	b.Must(form.Close())
	request, err := http.NewRequest(http.MethodPost, b.URL(path), &body)
	b.Must(err)
	request.Header.Set("Content-Type", form.FormDataContentType())
	response, err := b.Client.Do(request)
	b.Must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	b.Must(err)
	return response.StatusCode, string(text), strings.TrimPrefix(response.Request.URL.Path, Root)
}

var (
	deletionLink = regexp.MustCompile(`href="` + Root + `(deletions/[^"]*)"`)
	listLink     = regexp.MustCompile(`class="button" href="` + Root + `([^"]*)">Back to the list`)
)

// DeleteAll deletes all that match, waits for the end and returns the page that says
// what came of it, and the path of the list that it leads back to.
func (b *Browser) DeleteAll(path string, form url.Values) (page, back string) {
	b.T.Helper()
	form.Set("every", "yes")
	form.Set("confirm", "yes")
	page = b.Send(path, http.StatusOK, form)
	refresh := deletionLink.FindStringSubmatch(page)
	if refresh == nil {
		b.T.Fatalf("%s leads to no page of a deletion:\n%s", path, page)
	}
	for deadline := time.Now().Add(time.Minute); strings.Contains(page, "<progress"); _, page = b.Get(refresh[1]) {
		if time.Now().After(deadline) {
			b.T.Fatalf("the deletion does not end:\n%s", page)
		}
	}
	found := listLink.FindStringSubmatch(page)
	if found == nil {
		b.T.Fatalf("no way leads back to the list:\n%s", page)
	}
	return page, strings.ReplaceAll(found[1], "&amp;", "&")
}
