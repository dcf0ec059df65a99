package portal

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/berth-iot/berth/fault"
)

const (
	lookAgain   = time.Second      // how often a live page looks for changes
	keepAlive   = 15 * time.Second // after which a stream without changes says that it is there
	writeTime   = 10 * time.Second // that a browser may take for one change
	sessionLook = 10 * time.Second // how often a stream asks whether its session is over
)

// errGone is that nobody reads a stream any more.
var errGone = errors.New("the browser has gone")

// stream answers with server-sent events: the live part of a page, each time
// that it has changed, for as long as the page is open. A page shows what is in
// the store, whoever changed it, so the part is made anew and compared.
func (c *call) stream(name string, load func() (any, error)) error {
	var before []byte
	return c.events(func(send func(event string, text []byte) error) error {
		data, err := load()
		if err != nil {
			return err
		}
		text, err := c.part(name, "live", data)
		if err != nil || bytes.Equal(text, before) {
			return err
		}
		before = text
		return send("live", text)
	})
}

// events opens a stream of server-sent events and calls look every second until
// the browser leaves, the session ends, or the server does.
func (c *call) events(look func(send func(event string, text []byte) error) error) error {
	select {
	case c.streams <- struct{}{}:
	default:
		return fault.New(fault.Unavailable, "Too many pages are being kept up to date, %d. Close some, or load the page again when you need it", maxStreams)
	}
	c.open.Add(1)
	defer func() { <-c.streams; c.open.Done() }()
	c.answered = true
	c.w.Header().Set("Content-Type", "text/event-stream")
	c.w.WriteHeader(http.StatusOK)
	controller := http.NewResponseController(c.w)
	// The deadline is for the request, which is read; a page stays open for long.
	if err := controller.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	written := time.Now()
	write := func(text string) error {
		written = time.Now()
		if err := controller.SetWriteDeadline(written.Add(writeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := c.w.Write([]byte(text)); err != nil {
			return errGone
		}
		if controller.Flush() != nil {
			return errGone
		}
		return nil
	}
	send := func(event string, text []byte) error {
		return write(fmt.Sprintf("event: %s\ndata: %s\n\n", event, bytes.ReplaceAll(text, []byte("\n"), []byte("\ndata: "))))
	}
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for asked := time.Now(); ; {
		err := look(send)
		if err == nil && time.Since(written) > keepAlive {
			err = write(": nothing new\n\n")
		}
		if err == nil && time.Since(asked) > sessionLook {
			asked = time.Now()
			var still bool
			if still, err = c.sessions.alive(c.r.Context(), c.session.token); err == nil && !still {
				err = errors.Join(send("over", nil), errGone)
			}
		}
		switch {
		case errors.Is(err, errGone) || c.r.Context().Err() != nil:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-c.r.Context().Done():
			return nil
		case <-c.stopped.Done():
			return nil
		case <-ticker.C:
		}
	}
}
