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

// stream answers with server-sent events: the live part of a page, each time that it
// has changed, for as long as the page is open.
func (c *call) stream(name string, moving func() any, load func() (any, error)) error {
	w := c.watches.join(c.watchKey(name))
	defer c.watches.leave(w)
	var shown int
	var before []byte
	return c.events(func(send func(event string, text []byte) error) error {
		data, number, err := c.look(w, shown == 0, moving, load)
		if err != nil || number == shown {
			return err
		}
		shown = number
		text, err := c.part(name, "live", data)
		if err != nil || bytes.Equal(text, before) {
			return err
		}
		before = text
		return send("live", text)
	})
}

// maxStreams bounds how many pages are kept up to date at once, maxSessionStreams those
// of one session: many more than anybody looks at.
const (
	maxStreams        = 256
	maxSessionStreams = 32
)

// openStream takes a place for a stream, until close is called.
func (c *call) openStream() (closed func(), err error) {
	c.streams.Lock()
	defer c.streams.Unlock()
	token := c.session.token
	switch {
	case c.streams.all >= maxStreams:
		return nil, fault.New(fault.Unavailable,
			"Too many pages are being kept up to date, %d. Close some, or load the page again when you need it", maxStreams)
	case c.streams.of[token] >= maxSessionStreams:
		return nil, fault.New(fault.Unavailable, "Too many pages of your session are being kept up to date, %d. "+
			"Close some, or load the page again when you need it", maxSessionStreams)
	}
	c.streams.all++
	c.streams.of[token]++
	c.open.Add(1)
	return func() {
		c.streams.Lock()
		defer c.streams.Unlock()
		c.streams.all--
		if c.streams.of[token]--; c.streams.of[token] == 0 {
			delete(c.streams.of, token)
		}
		c.open.Done()
	}, nil
}

// events opens a stream of server-sent events and calls look every second until
// the browser leaves, the session ends, or the server does.
func (c *call) events(look func(send func(event string, text []byte) error) error) error {
	closed, err := c.openStream()
	if err != nil {
		return err
	}
	defer closed()
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
	tick, stop := c.ticker(lookAgain)
	defer stop()
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
		case <-tick:
		}
	}
}

// newTicker is a time.Ticker as a stream uses it.
func newTicker(every time.Duration) (tick <-chan time.Time, stop func()) {
	ticker := time.NewTicker(every)
	return ticker.C, ticker.Stop
}
