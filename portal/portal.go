// Package portal is the web portal: Azure's portal for the provisioning service
// and the hub, in English and French. Pages are made here and work as they
// arrive; htmx and one small script spare reloads. The portal calls the same
// domain as REST and the command line do, and has no rule of its own.
package portal

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/store"
)

// Root is the path below which the portal is.
const Root = "/portal/"

// Config is what the portal shows and changes.
type Config struct {
	Provisioning *provisioning.Service
	Hubs         *hub.Directory
	Audit        *audit.Log
	Issuer       *issuance.Service
	// PoliciesChanged is told that keys or rights of the provisioning service's
	// policies have changed.
	PoliciesChanged func()
	Records         Records // nil knows of none
	// Proven is told that a request, whose context this is, comes from somebody who is
	// logged in.
	Proven    func(context.Context)
	CreateHub func(ctx context.Context, name, host string) (provisioning.HubLink, error)
	Documents store.Documents // keeps the links and sessions; all that is shown is read through it too, and it is Watched
	CAFile    string          // the authority that clients must trust
	DataDir   string          // the server's data folder
	DataFlag  string          // how commands that are shown name it, with a space before; "" when they find it without
	MQTTPort  int
	HTTPSPort int
	Now       func() time.Time
	Trusted   func() bool // whether what is old by Now may be deleted; always when nil
	Health    *health.Set // shown on every page
	Logger    *slog.Logger
	Panics    *panics.Recorder
}

// Portal is an http.Handler for the paths below Root, on HTTPS and on loopback.
type Portal struct {
	config   Config
	sessions *sessions
	pages    map[string]*page
	mux      *http.ServeMux
	watches  watches
	streams  struct {
		sync.Mutex
		all int
		of  map[string]int // by the session's token
	}
	ticker  func(time.Duration) (tick <-chan time.Time, stop func())
	stop    context.CancelFunc
	stopped context.Context // ends the live pages
	open    sync.WaitGroup  // live pages and jobs
	jobs    jobs
}

// New returns the portal on its services.
func New(config Config) *Portal {
	p := &Portal{
		config:   config,
		sessions: openSessions(config.Documents, config.Now, config.Trusted),
		pages:    parsePages(),
		mux:      http.NewServeMux(),
		ticker:   newTicker,
	}
	p.watches.open = make(map[string]*watch)
	p.streams.of = make(map[string]int)
	p.stopped, p.stop = context.WithCancel(context.Background())
	p.mux.Handle("GET "+Root+"assets/", assets())
	for _, routes := range []map[string]handler{
		loginRoutes, overviewRoutes, enrollmentRoutes, groupRoutes, registrationRoutes, attemptRoutes, policyRoutes, hubRoutes, deviceRoutes, quickstartRoutes, linkRoutes, authorityRoutes, auditRoutes, checkRoutes, misbehaviourRoutes, exchangeRoutes, lockoutRoutes, networkRoutes, credentialRoutes, issuerRoutes, recordRoutes, everyRoutes,
	} {
		for pattern, handle := range routes {
			method, path, _ := strings.Cut(pattern, " ")
			p.mux.Handle(method+" "+Root+path, p.handle(handle))
		}
	}
	for path, handle := range uploadRoutes {
		p.mux.Handle("POST "+Root+path, p.handle(uploading(handle)))
	}
	p.mux.Handle(Root, p.handle(func(*call) error {
		return fault.New(fault.NotFound, "There is no such page")
	}))
	return p
}

// Close ends the live pages, which would otherwise hold up a server's shutdown.
func (p *Portal) Close() {
	p.stop()
	p.open.Wait()
}

// Sweep clears away login links and sessions whose time is over.
func (p *Portal) Sweep(ctx context.Context) error { return p.sessions.sweep(ctx) }

// ServeHTTP implements http.Handler.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	RequireLoopback(p.mux).ServeHTTP(w, r)
}

// RequireLoopback refuses what comes without TLS and by another name than this
// machine's for itself: the page of another site whose name leads here must not read
// what is here (DNS rebinding).
func RequireLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil && !isLoopback(r.Host) {
			http.Error(w, "Without TLS this answers at http://127.0.0.1 and http://localhost only.", http.StatusMisdirectedRequest)
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

// handler answers one request. What it returns as an error becomes a page.
type handler func(*call) error

// call is one request on its way to its answer.
type call struct {
	*Portal
	w        http.ResponseWriter
	r        *http.Request
	language *language
	theme    string
	session  *session // nil before login
	watch    *watch   // while a live page is loaded
	started  time.Time
	answered bool

	form      url.Values        // of a POST
	oversized map[string]string // fields whose file was too large, with its name
	restored  bool              // the form was filled in under another session and is shown again
}

// handle wraps a handler with what all need: language, session, forms, errors.
func (p *Portal) handle(handle handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Portal: p, w: w, r: r, language: languageOf(r), theme: themeOf(r), started: time.Now()}
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
			p.config.Panics.Record(panics.Portal, value, "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr)
			if c.answered {
				panic(http.ErrAbortHandler) // so that the browser does not take it for the end
			}
			c.fail(panics.ErrPanic)
		}()
		if err := c.run(handle); err != nil {
			c.fail(err)
		}
	})
}

var crossOrigin = http.NewCrossOriginProtection()

func (c *call) run(handle handler) (err error) {
	if err := crossOrigin.Check(c.r); err != nil {
		return fault.New(fault.Forbidden, "Another web site sent this. Nothing was done").Because(err)
	}
	if _, isUpload := uploadRoutes[strings.TrimPrefix(c.r.URL.Path, Root)]; c.r.Method == http.MethodPost && !isUpload {
		if err := c.readForm(); err != nil {
			return err
		}
	}
	if c.session, err = c.sessions.find(c.r.Context(), c.cookie(sessionCookie)); err != nil {
		return err
	}
	if c.session != nil && c.config.Proven != nil {
		c.config.Proven(c.r.Context())
	}
	if c.session != nil && c.session.Role == Operator {
		c.r = c.r.WithContext(provisioning.WithConfidential(c.r.Context()))
	}
	return handle(c)
}

// fail answers with a page that says what went wrong, and writes the one line
// that the log has of it.
func (c *call) fail(err error) {
	if errors.Is(err, context.Canceled) && c.r.Context().Err() != nil {
		return // the browser has gone
	}
	problem := fault.ForOperator(err)
	level := slog.LevelInfo
	if problem.Code.Status() >= 500 {
		level = slog.LevelError
	}
	c.config.Logger.Log(c.r.Context(), level, "portal refused", "method", c.r.Method, "path", c.r.URL.Path, "remote", c.r.RemoteAddr,
		"trackingId", problem.TrackingID, "error", problem)
	if c.answered {
		return
	}
	if err := c.render(problem.Code.Status(), "problem", problem); err != nil {
		c.config.Logger.Error("portal page failed", "path", c.r.URL.Path, "error", err)
	}
}

// redirect sends the browser to another page of the portal, after a form.
func (c *call) redirect(path string) error {
	c.answered = true
	http.Redirect(c.w, c.r, Root+path, http.StatusSeeOther)
	return nil
}

// query returns a parameter of the address.
func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }
