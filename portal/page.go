package portal

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning/attest"
)

//go:embed templates
var templateFiles embed.FS

// page is a template file with the layout around it. Its block "live", where it
// has one, is kept up to date while the page is open.
type page struct{ *template.Template }

func parsePages() map[string]*page {
	common := template.Must(template.New("").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html", "templates/terms.html"))
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is wrong
	}
	pages := make(map[string]*page)
	for _, name := range names {
		own := template.Must(template.Must(common.Clone()).ParseFS(templateFiles, name))
		pages[strings.TrimSuffix(path.Base(name), ".html")] = &page{own}
	}
	return pages
}

// functions are what templates can do beyond the methods of view.
var functions = template.FuncMap{
	"of": func(v *view, data any) *view { inner := *v; inner.Data = data; return &inner },
	"args": func(pairs ...any) (map[string]any, error) {
		if len(pairs)%2 != 0 {
			return nil, fmt.Errorf("args has a name without a value")
		}
		m := make(map[string]any)
		for i := 0; i < len(pairs); i += 2 {
			m[fmt.Sprint(pairs[i])] = pairs[i+1]
		}
		return m, nil
	},
	"json": func(value any) (string, error) {
		text, err := json.MarshalIndent(value, "", "  ")
		return string(text), err
	},
}

// view is what a template sees.
type view struct {
	*call
	Page  string
	Data  any
	Flash *flash
}

// render answers with a page.
func (c *call) render(status int, name string, data any) error {
	v := &view{call: c, Page: name, Data: data, Flash: c.takeFlash()}
	var text bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&text, "layout", v); err != nil {
		return fmt.Errorf("make the page %s: %w", name, err)
	}
	c.answer(status, text.Bytes())
	return nil
}

// renderPart answers with one block of a page.
func (c *call) renderPart(name, block string, data any) error {
	text, err := c.part(name, block, data)
	if err != nil {
		return err
	}
	c.answer(http.StatusOK, text)
	return nil
}

func (c *call) part(name, block string, data any) ([]byte, error) {
	var text bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&text, block, &view{call: c, Page: name, Data: data}); err != nil {
		return nil, fmt.Errorf("make %s of the page %s: %w", block, name, err)
	}
	return text.Bytes(), nil
}

func (c *call) answer(status int, text []byte) {
	c.answered = true
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.Header().Set("Content-Language", c.language.Tag)
	c.w.Header().Set("Server-Timing", fmt.Sprintf("total;dur=%.2f", float64(time.Since(c.started).Microseconds())/1000))
	c.w.WriteHeader(status)
	c.w.Write(text) // the browser may be gone
}

// show answers with a page, or with the stream of its live part. A page follows what it
// reads of the documents; moving returns what else it shows, nil for nothing else.
func (c *call) show(name string, moving func() any, load func() (any, error)) error {
	if c.r.URL.Query().Has("live") {
		return c.stream(name, moving, load)
	}
	data, err := load()
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, name, data)
}

// T returns a text in the reader's language.
func (v *view) T(text string, args ...any) string { return v.language.T(text, args...) }

// Say returns what the services say in the reader's language.
func (v *view) Say(text fault.Text) string { return text.In(v.language.translate) }

// Trace returns the checks of a judgement in the reader's language.
func (v *view) Trace(checks attest.Trace) (translated attest.Trace) {
	for _, check := range checks {
		translated = append(translated, check.In(v.language.translate))
	}
	return translated
}

// N returns a text that depends on a number.
func (v *view) N(oneMany string, n int) string { return v.language.N(oneMany, n) }

// Number writes a whole number.
func (v *view) Number(n int) string { return v.language.Number(n) }

// Lang returns the reader's language.
func (v *view) Lang() *language { return v.language }

// Languages returns those that there are.
func (v *view) Languages() []*language { return languages }

// Theme returns the theme that the reader chose.
func (v *view) Theme() string { return v.theme }

// Themes returns those that there are.
func (v *view) Themes() []string { return themes }

// Root is the path of the overview.
func (v *view) Root() string { return Root }

// Here is the address of the page, for forms that come back to it.
func (v *view) Here() string {
	if v.r.Method != http.MethodGet {
		return v.r.URL.EscapedPath()
	}
	return v.r.URL.RequestURI()
}

// LoggedIn reports whether there is a session.
func (v *view) LoggedIn() bool { return v.session != nil }

// Operator reports whether the session may change things and see keys.
func (v *view) Operator() bool { return v.session != nil && v.session.Role == Operator }

// banner is a sentence above every page.
type banner struct{ Kind, Text string }

// Banners say what is wrong with the server, to those who have logged in.
func (v *view) Banners() (banners []banner) {
	if v.session == nil {
		return nil
	}
	for _, condition := range v.config.Health.Conditions() {
		kind := "warning"
		if condition.Grade == health.Failure {
			kind = "error"
		}
		banners = append(banners, banner{kind, condition.In(v.language.translate)})
	}
	return banners
}

// CSRF is what a form must carry.
func (v *view) CSRF() string {
	if v.session == nil {
		return ""
	}
	return v.session.csrf()
}

// Restored reports whether a form is shown again that another session filled in.
func (v *view) Restored() bool { return v.restored }

// Hubs returns the hubs for the menu.
func (v *view) Hubs() []*hub.Hub { return v.config.Hubs.All() }

// CaFile is the authority that clients must trust.
func (v *view) CAFile() string { return v.config.CAFile }

// Time writes a moment for people and for the page's script; a moment that never
// was is a dash.
func (v *view) Time(t time.Time) template.HTML {
	if t.IsZero() || t.Year() <= 1 {
		return "–"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.UTC().Format(time.RFC3339Nano), template.HTMLEscapeString(v.language.Time(t))))
}

// Says returns the message of a fault in the reader's language.
func (v *view) Says(problem *fault.Error) string { return problem.In(v.language.translate) }

// Or returns the first text that is not empty.
func (v *view) Or(texts ...string) string { return cmp.Or(texts...) }

// Asset returns the address of a file of the portal, which changes with it.
func (v *view) Asset(name string) string { return Root + "assets/" + name + "?v=" + assetVersion }

//go:embed assets
var assetFiles embed.FS

var assetVersion = hashAssets()

func hashAssets() string {
	hash := sha256.New()
	err := fs.WalkDir(assetFiles, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := assetFiles.ReadFile(name)
		hash.Write(content)
		return err
	})
	if err != nil {
		panic(err) // they are part of the program
	}
	return hex.EncodeToString(hash.Sum(nil))[:12]
}

// assets serves the files of the portal. They are the same for everybody.
func assets() http.Handler {
	files := http.StripPrefix(Root, http.FileServerFS(assetFiles))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("v") == assetVersion {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r)
			return
		}
		files.ServeHTTP(w, r)
	})
}

// flash is what the next page says of what was done on this one.
type flash struct {
	Kind string // ok or error
	Text string
}

const flashCookie = "flash"

// say puts a sentence on the next page.
func (c *call) say(kind, text string) {
	encoded, err := json.Marshal(flash{kind, text})
	if err != nil {
		return
	}
	c.setCookie(c.cookieName(flashCookie), base64.RawURLEncoding.EncodeToString(encoded), time.Minute)
}

func (c *call) takeFlash() (taken *flash) {
	decoded, err := base64.RawURLEncoding.DecodeString(c.cookie(flashCookie))
	if err != nil || json.Unmarshal(decoded, &taken) != nil {
		return nil
	}
	c.setCookie(c.cookieName(flashCookie), "", -time.Second)
	return taken
}

// Current reports whether a menu entry is the page; only, whether it is that
// alone and not what is below it.
func (v *view) Current(menu string, only bool) bool {
	own := v.r.URL.EscapedPath()
	one := strings.TrimSuffix(Root+menu, "s") // the page of one of a list's things
	return own == Root+menu || menu != "" && !only && (strings.HasPrefix(own, Root+menu+"/") || strings.HasPrefix(own, one+"/"))
}

// Tell returns what is wrong with a JSON text.
func (v *view) Tell(problem *jsonProblem) string { return v.T(problem.Text, problem.Args...) }

// Clock writes the time of day.
func (v *view) Clock(t time.Time) string { return t.UTC().Format("15:04 UTC") }

// Number64 writes a count.
func (v *view) Number64(n uint64) string { return v.language.Number(int(n)) }

// Decimal writes a number with one digit after the point.
func (v *view) Decimal(x float64) string {
	return strings.Replace(fmt.Sprintf("%.1f", x), ".", v.language.point, 1)
}

// Before is the number before n.
func (v *view) Before(n int64) int64 { return n - 1 }

// FailedCheck returns the name of the check that failed, or "".
func (v *view) FailedCheck(trace attest.Trace) string {
	failed, _ := trace.Failed()
	return failed.Name
}

// Heading is what a page of an error is called.
func (v *view) Heading(code fault.Code) string {
	switch code.Status() {
	case http.StatusNotFound:
		return v.T("Not found")
	case http.StatusForbidden:
		return v.T("Not allowed")
	case http.StatusUnauthorized:
		return v.T("Log in")
	}
	if code.Status() >= 500 {
		return v.T("The server could not do this")
	}
	return v.T("This could not be done")
}

// DeviceLink returns the address of a device's page, or "" when the hub is not
// one of this server's.
func (v *view) DeviceLink(host, deviceID string) string {
	if h := v.config.Hubs.ByHost(host); h != nil {
		return Root + devicePath(h, deviceID)
	}
	return ""
}

// Quote writes a word for a command.
func (v *view) Quote(word string) string { return Quote(word) }

// Command is what a shell runs, one command a line, on the data folder of this server:
// berth itself looks in the default one. Whoever is not logged in is not told where the
// folder is.
func (v *view) Command(lines string) string {
	if v.config.DataFlag == "" || v.session == nil {
		return lines
	}
	commands := strings.Split(lines, "\n")
	for i, command := range commands {
		if strings.HasPrefix(command, "berth ") && !withoutData(command) {
			commands[i] += v.config.DataFlag
		}
	}
	return strings.Join(commands, "\n")
}

// withoutData reports whether a command has nothing to do with a data folder, or names
// one.
func withoutData(command string) bool {
	return strings.HasPrefix(command, "berth cert device ") || strings.Contains(command, " --data ")
}

// Quote writes a word as a POSIX shell reads it back.
func Quote(word string) string {
	if !strings.ContainsAny(word, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
