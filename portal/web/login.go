package web

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
)

var loginRoutes = Routes{
	"GET login":        logIn,
	"POST login":       logIn,
	"POST logout":      logOut,
	"POST preferences": setPreferences,
}

const sessionCookie = "session"

// cookieName keeps apart what several servers on one machine give the browser,
// which does not tell ports from each other.
func (c *Call) cookieName(name string) string {
	return "berth-" + name + "-" + c.site.config.Name
}

func (c *Call) cookie(name string) string {
	cookie, err := c.Request.Cookie(c.cookieName(name))
	if err != nil {
		return ""
	}
	return cookie.Value
}

func (c *Call) setCookie(name, value string, age time.Duration) {
	http.SetCookie(c.Writer, &http.Cookie{
		Name: name, Value: value, Path: Root, MaxAge: int(age.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.Request.TLS != nil,
	})
}

// logIn takes the code of a link, from the link itself or from the form of the
// page that asks for it.
func logIn(c *Call) error {
	code := codeOf(c.Query("code"))
	if c.Request.Method == http.MethodPost {
		code = codeOf(c.Value("code"))
	}
	switch {
	case c.Request.Method == http.MethodHead:
		return nil // a look at the link does not use it up
	case code == "" && c.session != nil:
		return c.Redirect("")
	case code == "":
		return c.askToLogIn(http.StatusOK, nil)
	}
	if err := c.openSession(code); err != nil && c.session == nil {
		return c.askToLogIn(http.StatusUnauthorized, fault.From(err))
	}
	return c.Redirect("")
}

// openSession begins a session with a link's code.
func (c *Call) openSession(code string) error {
	opened, err := c.site.sessions.login(c.Context(), code)
	if err != nil {
		return err
	}
	c.session = opened
	c.setCookie(c.cookieName(sessionCookie), opened.token, absoluteTime)
	return nil
}

// codeOf takes a code, or a link that has one.
func codeOf(text string) string {
	text = strings.TrimSpace(text)
	if address, err := url.Parse(text); err == nil && address.Query().Has("code") {
		return address.Query().Get("code")
	}
	return text
}

func logOut(c *Call) error {
	if c.session == nil {
		return c.Redirect("login")
	}
	if !c.genuine() {
		return errNotGenuine()
	}
	if err := c.site.sessions.logout(c.Context(), c.session.token); err != nil {
		return err
	}
	c.setCookie(c.cookieName(sessionCookie), "", -time.Second)
	return c.Redirect("login")
}

// setPreferences keeps the reader's language and theme, before login too.
func setPreferences(c *Call) error {
	if l := c.site.findLanguage(c.Value("lang")); l != nil {
		c.setCookie(languageCookie, l.Tag, 365*24*time.Hour)
	}
	if theme := c.Value("theme"); slices.Contains(Themes, theme) {
		c.setCookie(themeCookie, theme, 365*24*time.Hour)
	}
	back, err := url.Parse(c.Value("back"))
	if err != nil {
		return c.Redirect("")
	}
	path, ours := strings.CutPrefix(back.EscapedPath(), Root)
	if !ours || back.Host != "" {
		return c.Redirect("")
	}
	if back.RawQuery != "" {
		path += "?" + back.RawQuery
	}
	return c.Redirect(path)
}

// genuine reports whether a form was made for this session.
func (c *Call) genuine() bool {
	return c.session != nil && subtle.ConstantTimeCompare([]byte(c.Value("csrf")), []byte(c.session.csrf())) == 1
}

func errNotGenuine() error {
	return fault.New(fault.Forbidden, "This form was not made for your session, so nothing was done. "+
		"Go back, load the page again, and repeat")
}

// RequireSession lets those in who are logged in.
func RequireSession(handle Handler) Handler {
	return func(c *Call) error {
		if c.session == nil {
			return c.askToLogIn(http.StatusUnauthorized, nil)
		}
		return handle(c)
	}
}

// RequireOperator lets operators in whose form was made for their session, to do
// something. A form that was filled in under a session that is over comes back by
// restore, as it was, to be looked at and sent once more.
func RequireOperator(restore, do Handler) Handler {
	return func(c *Call) error {
		if c.session == nil {
			code := codeOf(c.Value("code"))
			if code == "" {
				return c.askToLogIn(http.StatusUnauthorized, nil)
			}
			if err := c.openSession(code); err != nil {
				return c.askToLogIn(http.StatusUnauthorized, fault.From(err))
			}
		}
		if c.session.Role != Operator {
			return c.refuseReader()
		}
		if !c.genuine() {
			c.restored = true
			return restore(c)
		}
		c.Request = c.Request.WithContext(c.actContext())
		return do(c)
	}
}

// actContext is the context of what is done in the session's name.
func (c *Call) actContext() context.Context {
	if act := c.site.config.Act; act != nil {
		return act(c.Context(), c.session.Role, c.Request.RemoteAddr)
	}
	return c.Context()
}

// refuseReader refuses a change, and has it kept that somebody tried.
func (c *Call) refuseReader() error {
	refusal := fault.New(fault.Forbidden, "You are logged in as a reader and can't change anything. "+
		"An operator's link is made with: berth portal link --role operator")
	refused := c.site.config.Refused
	if refused == nil {
		return refusal
	}
	page := strings.TrimPrefix(c.Request.URL.Path, Root)
	return errors.Join(refused(c.actContext(), page, refusal), refusal)
}

// loginPage is what the page asks for that stands where there is no session.
type loginPage struct {
	Problem *fault.Error // with an earlier code
	Action  string       // where the form goes, with Fields: what was typed when the session ended
	Fields  []field
	Command string // that makes a link
}

// field is a value of a form that is carried on.
type field struct{ Name, Value string }

// askToLogIn answers with the page that asks for a login link. What was sent
// with a form goes into the page and back with the next one.
func (c *Call) askToLogIn(status int, problem *fault.Error) error {
	asked := loginPage{Problem: problem, Action: Root + "login", Command: "berth portal link"}
	if c.Request.TLS == nil {
		asked.Command += " --data " + Quote(c.site.config.DataDir) // who is on this machine may know where it is
	}
	if c.Request.Method == http.MethodPost && c.Request.URL.Path != Root+"login" {
		asked.Action = c.Request.URL.RequestURI()
		holdsSecret := c.site.config.HoldsSecret
		for name, values := range c.form {
			for _, value := range values {
				if name != "csrf" && name != "code" && (holdsSecret == nil || !holdsSecret(value)) {
					asked.Fields = append(asked.Fields, field{name, value})
				}
			}
		}
		slices.SortFunc(asked.Fields, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	}
	return c.Render(status, "login", asked)
}
