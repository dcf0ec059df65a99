package web

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/berth-iot/berth/fault"
)

const (
	checkInterval     = time.Second      // how often a live page looks for changes
	keepAliveInterval = 15 * time.Second // after which a stream without changes says that it is there
	writeTimeout      = 10 * time.Second // that a browser may take for one change
	sessionInterval   = 10 * time.Second // how often a stream asks whether its session is over
)

// errGone is that nobody reads a stream any more.
var errGone = errors.New("the browser has gone")

// stream answers with server-sent events: the live part of a page, each time that it
// has changed, for as long as the page is open.
func (c *Call) stream(name string, revision func() any, load func() (any, error)) error {
	w := c.site.watches.join(c.watchKey(name))
	defer c.site.watches.leave(w)
	var shown int
	var before []byte
	return c.Events(func(send func(event string, text []byte) error) error {
		data, number, err := c.refresh(w, shown == 0, revision, load)
		if err != nil || number == shown {
			return err
		}
		shown = number
		text, err := c.Part(name, "live", data)
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
func (c *Call) openStream() (closed func(), err error) {
	c.site.streams.Lock()
	defer c.site.streams.Unlock()
	token := c.session.token
	switch {
	case c.site.streams.all >= maxStreams:
		return nil, fault.New(fault.Unavailable,
			"Too many pages are being kept up to date, %d. Close some, or load the page again when you need it",
			maxStreams)
	case c.site.streams.of[token] >= maxSessionStreams:
		return nil, fault.New(fault.Unavailable, "Too many pages of your session are being kept up to date, %d. "+
			"Close some, or load the page again when you need it", maxSessionStreams)
	}
	c.site.streams.all++
	c.site.streams.of[token]++
	c.site.running.Add(1)
	return func() {
		c.site.streams.Lock()
		defer c.site.streams.Unlock()
		c.site.streams.all--
		if c.site.streams.of[token]--; c.site.streams.of[token] == 0 {
			delete(c.site.streams.of, token)
		}
		c.site.running.Done()
	}, nil
}

// Events opens a stream of server-sent events and calls look every second until
// the browser leaves, the session ends, or the server does.
func (c *Call) Events(look func(send func(event string, text []byte) error) error) error {
	closed, err := c.openStream()
	if err != nil {
		return err
	}
	defer closed()
	c.answered = true
	c.Writer.Header().Set("Content-Type", "text/event-stream")
	c.Writer.WriteHeader(http.StatusOK)
	controller := http.NewResponseController(c.Writer)
	// The deadline is for the request, which is read; a page stays open for long.
	if err := controller.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	written := time.Now()
	write := func(text string) error {
		written = time.Now()
		if err := controller.SetWriteDeadline(written.Add(writeTimeout)); err != nil &&
			!errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := c.Writer.Write([]byte(text)); err != nil {
			return errGone
		}
		if controller.Flush() != nil {
			return errGone
		}
		return nil
	}
	send := func(event string, text []byte) error {
		lines := bytes.ReplaceAll(text, []byte("\n"), []byte("\ndata: "))
		return write(fmt.Sprintf("event: %s\ndata: %s\n\n", event, lines))
	}
	tick, stop := c.site.config.Ticker(checkInterval)
	defer stop()
	for asked := time.Now(); ; {
		err := look(send)
		if err == nil && time.Since(written) > keepAliveInterval {
			err = write(": nothing new\n\n")
		}
		if err == nil && time.Since(asked) > sessionInterval {
			asked = time.Now()
			var still bool
			if still, err = c.site.sessions.alive(c.Context(), c.session.token); err == nil && !still {
				err = errors.Join(send("over", nil), errGone)
			}
		}
		switch {
		case errors.Is(err, errGone) || c.Context().Err() != nil:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-c.Context().Done():
			return nil
		case <-c.site.stopped.Done():
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
