package web

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/health"
)

//go:embed templates
var templateFiles embed.FS

// parsePages returns the pages of all sections by name: each a template file with the
// layout around it. Its block "live", where it has one, is kept up to date while the page
// is open.
func parsePages(sections []Section) map[string]*template.Template {
	shared := template.New("").Funcs(functions)
	for _, section := range sections {
		shared.Funcs(section.Functions)
	}
	for _, section := range sections {
		if names := glob(section.Templates, "templates/shared/*.html"); len(names) > 0 {
			template.Must(shared.ParseFS(section.Templates, names...))
		}
	}
	pages := make(map[string]*template.Template)
	for _, section := range sections {
		for _, file := range glob(section.Templates, "templates/*.html") {
			name := strings.TrimSuffix(path.Base(file), ".html")
			if pages[name] != nil {
				panic(fmt.Sprintf("portal: there are two pages %s", name))
			}
			pages[name] = template.Must(template.Must(shared.Clone()).ParseFS(section.Templates, file))
		}
	}
	return pages
}

func glob(files fs.FS, pattern string) []string {
	if files == nil {
		return nil
	}
	names, err := fs.Glob(files, pattern)
	if err != nil {
		panic(err) // the pattern is wrong
	}
	return names
}

// Templates returns the pages by name, for a test that reads their texts.
func (s *Site) Templates() map[string]*template.Template { return maps.Clone(s.pages()) }

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
	"segment": Segment,
	"json": func(value any) (string, error) {
		text, err := json.MarshalIndent(value, "", "  ")
		return string(text), err
	},
}

// view is what a template sees.
type view struct {
	*Call
	Page  string
	Data  any
	Flash *flash
}

// Render answers with a page of this status and name, whose template sees data as .Data.
func (c *Call) Render(status int, name string, data any) error {
	v := &view{Call: c, Page: name, Data: data, Flash: c.takeFlash()}
	var text bytes.Buffer
	if err := c.site.pages()[name].ExecuteTemplate(&text, "layout", v); err != nil {
		return fmt.Errorf("make the page %s: %w", name, err)
	}
	c.answer(status, text.Bytes())
	return nil
}

// RenderPart answers with one block of a page.
func (c *Call) RenderPart(name, block string, data any) error {
	text, err := c.Part(name, block, data)
	if err != nil {
		return err
	}
	c.answer(http.StatusOK, text)
	return nil
}

// Part returns the HTML of one block of a page, for a stream of events.
func (c *Call) Part(name, block string, data any) ([]byte, error) {
	var text bytes.Buffer
	if err := c.site.pages()[name].ExecuteTemplate(&text, block, &view{Call: c, Page: name, Data: data}); err != nil {
		return nil, fmt.Errorf("make %s of the page %s: %w", block, name, err)
	}
	return text.Bytes(), nil
}

func (c *Call) answer(status int, text []byte) {
	c.answered = true
	header := c.Writer.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", c.language.Tag)
	milliseconds := float64(time.Since(c.started).Microseconds()) / 1000
	header.Set("Server-Timing", fmt.Sprintf("total;dur=%.2f", milliseconds))
	c.Writer.WriteHeader(status)
	c.Writer.Write(text) // the browser may be gone
}

// Show answers with a page, or with the stream of its live part. A page follows what it
// reads of the documents; revision returns what else it shows, in a form that
// reflect.DeepEqual compares, and is nil for nothing else.
func (c *Call) Show(name string, revision func() any, load func() (any, error)) error {
	if c.Request.URL.Query().Has("live") {
		return c.stream(name, revision, load)
	}
	data, err := load()
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, name, data)
}

// Say returns what the services say in the reader's language.
func (v *view) Say(text fault.Text) string { return text.In(v.language.Translate) }

// Languages returns those that there are.
func (v *view) Languages() []*Language { return v.site.config.Languages }

// Theme returns the theme that the reader chose.
func (v *view) Theme() string { return v.theme }

// Themes returns those that there are.
func (v *view) Themes() []string { return Themes }

// Root is the path of the overview.
func (v *view) Root() string { return Root }

// Here is the address of the page, for forms that come back to it.
func (v *view) Here() string {
	if v.Request.Method != http.MethodGet {
		return v.Request.URL.EscapedPath()
	}
	return v.Request.URL.RequestURI()
}

// LoggedIn reports whether there is a session.
func (v *view) LoggedIn() bool { return v.session != nil }

// banner is a sentence above every page.
type banner struct{ Kind, Text string }

// Banners say what is wrong with the server, to those who have logged in.
func (v *view) Banners() (banners []banner) {
	if v.session == nil {
		return nil
	}
	for _, condition := range v.site.config.Health.Conditions() {
		kind := "warning"
		if condition.Grade == health.Failure {
			kind = "error"
		}
		banners = append(banners, banner{kind, condition.In(v.language.Translate)})
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

// Time writes a moment for people and for the page's script; a moment that never
// was is a dash.
func (v *view) Time(t time.Time) template.HTML {
	if t.IsZero() || t.Year() <= 1 {
		return "–"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`,
		t.UTC().Format(time.RFC3339Nano), template.HTMLEscapeString(v.language.Time(t))))
}

// Says returns the message of a fault in the reader's language.
func (v *view) Says(problem *fault.Error) string { return problem.In(v.language.Translate) }

// Or returns the first text that is not empty.
func (v *view) Or(texts ...string) string { return cmp.Or(texts...) }

// flash is what the next page says of what was done on this one.
type flash struct {
	Kind string // ok or error
	Text string
}

const flashCookie = "flash"

// Notify puts a sentence on the next page. kind is ok or error.
func (c *Call) Notify(kind, text string) {
	encoded, err := json.Marshal(flash{kind, text})
	if err != nil {
		return
	}
	c.setCookie(c.cookieName(flashCookie), base64.RawURLEncoding.EncodeToString(encoded), time.Minute)
}

func (c *Call) takeFlash() (taken *flash) {
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
	here := v.Request.URL.EscapedPath()
	one := strings.TrimSuffix(Root+menu, "s") // the page of one of a list's things
	return here == Root+menu ||
		menu != "" && !only && (strings.HasPrefix(here, Root+menu+"/") || strings.HasPrefix(here, one+"/"))
}

// Explain returns what is wrong with a JSON text.
func (v *view) Explain(problem *JSONProblem) string { return v.T(problem.Text, problem.Args...) }

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
