package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/panics"
)

// Call is one request on its way to its answer.
type Call struct {
	Request *http.Request
	Writer  http.ResponseWriter

	site     *Site
	language *Language
	theme    string
	session  *session // nil before login
	watch    *watch   // while a live page is loaded
	started  time.Time
	answered bool

	form      url.Values        // of a POST
	oversized map[string]string // fields whose file was too large, with its name
	restored  bool              // the form was filled in under another session and is shown again
}

// Context is the request's. It is over when the browser has gone.
func (c *Call) Context() context.Context { return c.Request.Context() }

// Now is the time by the clock of the site.
func (c *Call) Now() time.Time { return c.site.config.Now() }

// Logger is the site's.
func (c *Call) Logger() *slog.Logger { return c.site.config.Logger }

// Panics counts the panics of what a page does beside its request.
func (c *Call) Panics() *panics.Recorder { return c.site.config.Panics }

// Lang is the reader's language.
func (c *Call) Lang() *Language { return c.language }

// T returns a text in the reader's language, with its arguments.
func (c *Call) T(text string, args ...any) string { return c.language.T(text, args...) }

// N returns a text that depends on a number, named "one|many", in the reader's language.
func (c *Call) N(oneMany string, n int) string { return c.language.N(oneMany, n) }

// Number writes a whole number as the reader's language does.
func (c *Call) Number(n int) string { return c.language.Number(n) }

// Operator reports whether the session may change things and see keys.
func (c *Call) Operator() bool { return c.session != nil && c.session.Role == Operator }

// Query returns a parameter of the address.
func (c *Call) Query(name string) string { return c.Request.URL.Query().Get(name) }

// QueryNumber returns a parameter of the address that is a whole number, or 0.
func (c *Call) QueryNumber(name string) int64 {
	n, err := strconv.ParseInt(c.Query(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// ShowsSecret reports whether the page was called to show the secret of this name, with
// ?show=name, by somebody who may see it.
func (c *Call) ShowsSecret(name string) bool { return c.Operator() && c.Query("show") == name }

// System is the operating system that commands are to be for: linux, macos or windows.
// It is the one that was asked for with ?os=, else the browser's.
func (c *Call) System() string {
	switch asked := c.Query("os"); asked {
	case "linux", "macos", "windows":
		return asked
	}
	switch agent := c.Request.UserAgent(); {
	case strings.Contains(agent, "Windows"):
		return "windows"
	case strings.Contains(agent, "Mac OS"):
		return "macos"
	}
	return "linux"
}

// waitSlack is how much longer than it waits a request has for the rest.
const waitSlack = 30 * time.Second

// Wait gives a request longer than others have for its answer: it waits for somebody else,
// for so long at most.
func (c *Call) Wait(longest time.Duration) error {
	controller, end := http.NewResponseController(c.Writer), time.Now().Add(longest+waitSlack)
	// By the deadline for reading the server would also take the browser for gone.
	err := errors.Join(controller.SetReadDeadline(end), controller.SetWriteDeadline(end))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Redirect sends the browser to another page of the site, after a form.
func (c *Call) Redirect(path string) error {
	c.answered = true
	http.Redirect(c.Writer, c.Request, Root+path, http.StatusSeeOther)
	return nil
}

// Download begins an answer that is a file, which what is written becomes the content of.
func (c *Call) Download(contentType, name string) io.Writer {
	c.answered = true
	c.Writer.Header().Set("Content-Type", contentType)
	c.Writer.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%s", name))
	return c.Writer
}
