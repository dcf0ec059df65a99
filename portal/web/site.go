// Package web is the frame that the portal's pages hang in: sessions and logins,
// languages, forms, lists, live pages, background jobs, uploads. It knows no service.
// What there is to see and to change, the packages of pages add to it as sections.
//
// Pages are made on the server and work as they arrive; htmx and one small script spare
// reloads.
package web

import (
	"context"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Root is the path below which the site is.
const Root = "/portal/"

// Config is what the frame needs, whatever the pages show.
type Config struct {
	Name      string      // keeps the cookies of this server apart from those of others on the machine
	Languages []*Language // that a reader can choose, the default one first; see ReadLanguages
	// Documents keeps the links and sessions. All that pages show is read through it too,
	// and it is a ReadTracker.
	Documents store.Documents
	DataDir   string // the server's data folder, where uploads are kept while they are taken
	DataFlag  string // how commands that are shown name it, with a space before; "" when they find it without
	Now       func() time.Time
	Trusted   func() bool // whether what is old by Now may be deleted; always when nil
	Records   Records     // nil knows of none
	Health    *health.Set // shown on every page
	Logger    *slog.Logger
	Panics    *panics.Recorder

	// Authorize returns the context of a request that comes from somebody who is logged
	// in, for what the role may see. nil leaves it as it is.
	Authorize func(ctx context.Context, role Role) context.Context
	// Act returns the context of a change that is made in the name of the role, asked for
	// from the address remote. nil leaves it as it is.
	Act func(ctx context.Context, role Role, remote string) context.Context
	// Refused keeps that somebody tried to change something at the page of this path, who
	// may not; ctx comes from Act. nil keeps nothing.
	Refused func(ctx context.Context, page string, refusal *fault.Error) error
	// HoldsSecret reports whether a text that was sent must not come back in a page. nil
	// knows of no such text.
	HoldsSecret func(text string) bool
	// Ticker says when live pages look for changes. nil is a time.Ticker.
	Ticker func(every time.Duration) (tick <-chan time.Time, stop func())
}

// Handler answers one request. What it returns as an error becomes a page.
type Handler func(*Call) error

// Routes are handlers by method and path below Root, such as "GET enrollment/{id}". They
// are wrapped in RequireSession or RequireOperator, but for those that are for everybody.
type Routes map[string]Handler

// Section is what a package of pages adds to the site.
type Section struct {
	Routes []Routes
	// Uploads are the handlers of forms with a file of any size, by their paths below
	// Root; see RequireUpload. The frame does not read these forms.
	Uploads Routes
	// Templates holds a folder "templates": each file of it is a page, which is rendered by
	// the file's name without .html, and the blocks of the files in "templates/shared" are
	// there for all pages of the site. No two pages have the same name.
	Templates fs.FS
	// Functions are what templates can do beyond the methods of their view.
	Functions template.FuncMap
}

// Site is an http.Handler for the paths below Root, on HTTPS and on loopback.
type Site struct {
	config   Config
	sessions *sessions
	pages    func() map[string]*template.Template // parsed when the first is asked for
	mux      *http.ServeMux
	watches  watches
	streams  struct {
		sync.Mutex
		all int
		of  map[string]int // by the session's token
	}
	stop    context.CancelFunc
	stopped context.Context // ends the live pages
	running sync.WaitGroup  // live pages and jobs
	jobs    jobs
}

// New returns a site of these sections. It panics when two of them claim the same path,
// and Templates does when two claim the same page or when a template is wrong, which are
// mistakes in the program.
func New(config Config, sections ...Section) *Site {
	if config.Ticker == nil {
		config.Ticker = newTicker
	}
	s := &Site{
		config:   config,
		sessions: openSessions(config.Documents, config.Now, config.Trusted),
		mux:      http.NewServeMux(),
	}
	s.watches.open = make(map[string]*watch)
	s.streams.of = make(map[string]int)
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.mux.Handle("GET "+Root+"assets/", assets())
	sections = append([]Section{{
		Routes:    []Routes{loginRoutes, recordRoutes, deletionRoutes},
		Templates: templateFiles,
	}}, sections...)
	s.pages = sync.OnceValue(func() map[string]*template.Template { return parsePages(sections) })
	for _, section := range sections {
		for _, routes := range section.Routes {
			for pattern, handle := range routes {
				method, path, _ := strings.Cut(pattern, " ")
				s.mux.Handle(method+" "+Root+path, s.handle(handle, true))
			}
		}
		for path, handle := range section.Uploads {
			s.mux.Handle("POST "+Root+path, s.handle(handle, false))
		}
	}
	s.mux.Handle(Root, s.handle(func(*Call) error {
		return fault.New(fault.NotFound, "There is no such page")
	}, true))
	return s
}

// Close ends the live pages, which would otherwise hold up a server's shutdown, and waits
// for the jobs.
func (s *Site) Close() {
	s.stop()
	s.running.Wait()
}

// Sweep clears away login links and sessions whose time is over.
func (s *Site) Sweep(ctx context.Context) error { return s.sessions.sweep(ctx) }

// Link makes a way to log in, which is good once and for an hour: the path and
// query of its address, and until when.
func (s *Site) Link(ctx context.Context, role Role) (path string, expires time.Time, err error) {
	code, expires, err := s.sessions.createLink(ctx, role)
	return Root + "login?code=" + code, expires, err
}

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; "+
		"img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	RequireLoopback(s.mux).ServeHTTP(w, r)
}

// RequireLoopback refuses what comes without TLS and by another name than this
// machine's for itself: the page of another site whose name leads here must not read
// what is here (DNS rebinding).
func RequireLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil && !isLoopback(r.Host) {
			http.Error(w, "Without TLS this answers at http://127.0.0.1 and http://localhost only.",
				http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// handle wraps a handler with what all need: language, session, forms, errors. The form
// of an upload is left to its handler.
func (s *Site) handle(handle Handler, readForm bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &Call{Request: r, Writer: w, site: s, language: s.languageOf(r), theme: themeOf(r), started: time.Now()}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Vary", "Accept-Language, Cookie")
		defer func() {
			value := recover()
			switch {
			case value == nil:
				return
			case value == http.ErrAbortHandler:
				panic(value)
			}
			s.config.Panics.Record(panics.Portal, value, "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr)
			if c.answered {
				panic(http.ErrAbortHandler) // so that the browser does not take it for the end
			}
			c.fail(panics.ErrPanic)
		}()
		if err := c.run(handle, readForm); err != nil {
			c.fail(err)
		}
	})
}

var crossOrigin = http.NewCrossOriginProtection()

func (c *Call) run(handle Handler, readForm bool) (err error) {
	if err := crossOrigin.Check(c.Request); err != nil {
		return fault.New(fault.Forbidden, "Another web site sent this. Nothing was done").Because(err)
	}
	if readForm && c.Request.Method == http.MethodPost {
		if err := c.readForm(); err != nil {
			return err
		}
	}
	if c.session, err = c.site.sessions.find(c.Context(), c.cookie(sessionCookie)); err != nil {
		return err
	}
	if authorize := c.site.config.Authorize; c.session != nil && authorize != nil {
		c.Request = c.Request.WithContext(authorize(c.Context(), c.session.Role))
	}
	if _, err := url.ParseQuery(c.Request.URL.RawQuery); err != nil { // package url would leave out what it can't read
		return fault.New(fault.BadRequest, "The address of this page has parameters that can't be read. "+
			"Open the page anew from the menu").Because(err)
	}
	return handle(c)
}

// fail answers with a page that says what went wrong, and writes the one line
// that the log has of it.
func (c *Call) fail(err error) {
	if errors.Is(err, context.Canceled) && c.Context().Err() != nil {
		return // the browser has gone
	}
	problem := fault.ForOperator(err)
	level := slog.LevelInfo
	if problem.Code.Status() >= 500 {
		level = slog.LevelError
	}
	c.Logger().Log(c.Context(), level, "portal refused", "method", c.Request.Method, "path", c.Request.URL.Path,
		"remote", c.Request.RemoteAddr, "trackingId", problem.TrackingID, "error", problem)
	if c.answered {
		return
	}
	if err := c.Render(problem.Code.Status(), "problem", problem); err != nil {
		c.Logger().Error("portal page failed", "path", c.Request.URL.Path, "error", err)
	}
}
