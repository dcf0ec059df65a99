package portal

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
)

var loginRoutes = map[string]handler{
	"GET login":        logIn,
	"POST login":       logIn,
	"POST logout":      logOut,
	"POST preferences": setPreferences,
}

const sessionCookie = "session"

// cookieName keeps apart what several servers on one machine give the browser,
// which does not tell ports from each other.
func (c *call) cookieName(name string) string {
	return "berth-" + name + "-" + c.config.Provisioning.IDScope()
}

func (c *call) cookie(name string) string {
	cookie, err := c.r.Cookie(c.cookieName(name))
	if err != nil {
		return ""
	}
	return cookie.Value
}

func (c *call) setCookie(name, value string, age time.Duration) {
	http.SetCookie(c.w, &http.Cookie{
		Name: name, Value: value, Path: Root, MaxAge: int(age.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.r.TLS != nil,
	})
}

// Link makes a way to log in, which is good once and for an hour: the path and
// query of its address, and until when.
func (p *Portal) Link(ctx context.Context, role Role) (path string, expires time.Time, err error) {
	code, expires, err := p.sessions.invite(ctx, role)
	return Root + "login?code=" + code, expires, err
}

// logIn takes the code of a link, from the link itself or from the form of the
// page that asks for it.
func logIn(c *call) error {
	code := codeOf(c.query("code"))
	if c.r.Method == http.MethodPost {
		code = codeOf(c.value("code"))
	}
	switch {
	case c.r.Method == http.MethodHead:
		return nil // a look at the link does not use it up
	case code == "" && c.session != nil:
		return c.redirect("")
	case code == "":
		return c.askToLogIn(http.StatusOK, nil)
	}
	if err := c.enter(code); err != nil && c.session == nil {
		return c.askToLogIn(http.StatusUnauthorized, fault.From(err))
	}
	return c.redirect("")
}

// enter begins a session with a link's code.
func (c *call) enter(code string) error {
	opened, err := c.sessions.login(c.r.Context(), code)
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

func logOut(c *call) error {
	if c.session == nil {
		return c.redirect("login")
	}
	if !c.genuine() {
		return errNotGenuine()
	}
	if err := c.sessions.logout(c.r.Context(), c.session.token); err != nil {
		return err
	}
	c.setCookie(c.cookieName(sessionCookie), "", -time.Second)
	return c.redirect("login")
}

// setPreferences keeps the reader's language and theme, before login too.
func setPreferences(c *call) error {
	if l := findLanguage(c.value("lang")); l != nil {
		c.setCookie(languageCookie, l.Tag, 365*24*time.Hour)
	}
	if theme := c.value("theme"); slices.Contains(themes, theme) {
		c.setCookie(themeCookie, theme, 365*24*time.Hour)
	}
	back, err := url.Parse(c.value("back"))
	if err != nil {
		return c.redirect("")
	}
	path, ours := strings.CutPrefix(back.EscapedPath(), Root)
	if !ours || back.Host != "" {
		return c.redirect("")
	}
	if back.RawQuery != "" {
		path += "?" + back.RawQuery
	}
	return c.redirect(path)
}

// genuine reports whether a form was made for this session.
func (c *call) genuine() bool {
	return c.session != nil && subtle.ConstantTimeCompare([]byte(c.value("csrf")), []byte(c.session.csrf())) == 1
}

func errNotGenuine() error {
	return fault.New(fault.Forbidden, "This form was not made for your session, so nothing was done. Go back, load the page again, and repeat")
}

// reading lets those in who are logged in.
func reading(handle handler) handler {
	return func(c *call) error {
		if c.session == nil {
			return c.askToLogIn(http.StatusUnauthorized, nil)
		}
		return handle(c)
	}
}

// writing lets operators in whose form was made for their session, to do. A form
// that was filled in under a session that is over comes back by again, as it
// was, to be looked at and sent once more.
func writing(again, do handler) handler {
	return func(c *call) error {
		if c.session == nil {
			code := codeOf(c.value("code"))
			if code == "" {
				return c.askToLogIn(http.StatusUnauthorized, nil)
			}
			if err := c.enter(code); err != nil {
				return c.askToLogIn(http.StatusUnauthorized, fault.From(err))
			}
		}
		if c.session.Role != Operator {
			return c.refuseReader()
		}
		if !c.genuine() {
			c.restored = true
			return again(c)
		}
		c.r = c.r.WithContext(c.asActor())
		return do(c)
	}
}

// asActor is the context of what is done in the session's name.
func (c *call) asActor() context.Context {
	return audit.WithActor(c.r.Context(), audit.Actor{Name: "portal " + string(c.session.Role), Remote: c.r.RemoteAddr})
}

// refuseReader refuses a change, and keeps it in the audit that somebody tried.
func (c *call) refuseReader() error {
	refusal := fault.New(fault.Forbidden, "You are logged in as a reader and can't change anything. An operator's link is made with: berth portal link --role operator")
	page := strings.TrimPrefix(c.r.URL.Path, Root)
	return errors.Join(c.config.Audit.Refuse(c.asActor(), audit.Portal, page, refusal.Message, nil, nil), refusal)
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
func (c *call) askToLogIn(status int, problem *fault.Error) error {
	asked := loginPage{Problem: problem, Action: Root + "login", Command: "berth portal link"}
	if c.r.TLS == nil {
		asked.Command += " --data " + Quote(c.config.DataDir) // who is on this machine may know where it is
	}
	if c.r.Method == http.MethodPost && c.r.URL.Path != Root+"login" {
		asked.Action = c.r.URL.RequestURI()
		for name, values := range c.form {
			for _, value := range values {
				if name != "csrf" && name != "code" && !holdsPrivateKey(value) {
					asked.Fields = append(asked.Fields, field{name, value})
				}
			}
		}
		slices.SortFunc(asked.Fields, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	}
	return c.render(status, "login", asked)
}
