package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
)

// movedClock is a clock that a test sets, and the time that passes whatever it is
// set to.
type movedClock struct {
	mutex   sync.Mutex
	ahead   time.Duration
	elapsed time.Duration
}

func (c *movedClock) Now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return time.Now().Add(c.ahead + c.elapsed)
}

func (c *movedClock) Elapsed() time.Duration {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.elapsed
}

func (c *movedClock) set(by time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.ahead += by
}

func (c *movedClock) pass(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.elapsed += d
}

// journal is a log that is written at once from many goroutines.
type journal struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.text.String()
}

// TestLostTime takes the mark with the time of the last run away: nobody knows whether the
// clock goes on from there, so that it is not trusted in the first hour, also after another
// start within it. The first start of a folder trusts it.
func TestLostTime(t *testing.T) {
	c, log := &movedClock{}, &journal{}
	h := &fixture{t: t, config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1",
		Listen: "127.0.0.1", Now: c.Now, elapsed: c.Elapsed, Logger: slog.New(slog.NewTextHandler(log, nil))}}
	h.start()
	if !h.clock.Trusted() {
		t.Error("the first start does not trust the clock")
	}
	h.stop()
	for _, lose := range []func(path string) error{os.Remove, func(path string) error { return os.Truncate(path, 0) }} {
		if err := lose(filepath.Join(h.config.DataDir, "marks", "clock")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			h.start()
			if h.clock.Trusted() || h.clock.Jumped() || !strings.Contains(log.String(), "it is not known what time") {
				t.Errorf("trusted %v, jumped %v; the log says\n%s", h.clock.Trusted(), h.clock.Jumped(), log)
			}
			h.stop()
		}
	}
}

// TestClockAhead sets the clock 400 days ahead for seventeen seconds: messages have
// the right time again as soon as it is right, nothing is deleted, the server says
// so until the clock has run evenly for an hour, and a restart in the middle of it
// changes nothing.
func TestClockAhead(t *testing.T) {
	c, log := &movedClock{}, &journal{}
	h := &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
			Now: c.Now, elapsed: c.Elapsed, Logger: slog.New(slog.NewTextHandler(log, nil))}}
	h.start()
	t.Cleanup(func() { h.stop() })
	keys := newKeys(t, "d1", time.Now().Add(-time.Hour), 1000*24*time.Hour)
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "d1").ask(registerTopic, `{"registrationId":"d1"}`)
	readyz := func() string {
		t.Helper()
		response, err := http.Get(strings.TrimSuffix(h.Info().PortalURL, "/") + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 200 {
			t.Fatalf("/readyz answers %d %s, %v", response.StatusCode, text, err)
		}
		return string(text)
	}
	await := func(says bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); strings.Contains(readyz(),
			clockJumped) != says; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("/readyz says %s", readyz())
			}
		}
	}
	send := func() time.Time {
		t.Helper()
		d := h.berth(&keys, "d1")
		acknowledged := make(chan error, 1)
		if err := d.Publish("devices/d1/messages/events/", []byte("x"), 1,
			func(err error) { acknowledged <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-acknowledged; err != nil {
			t.Fatal(err)
		}
		messages, err := h.hubs.All()[0].Telemetry().Recent(context.Background(), "d1", 1)
		if err != nil || len(messages) != 1 {
			t.Fatalf("%v, %v", messages, err)
		}
		return messages[0].EnqueuedTime.Time
	}
	send()
	c.set(400 * 24 * time.Hour)
	await(true)
	send()
	h.stop() // and the sweep of the next start comes at once
	h.start()
	c.pass(17 * time.Second)
	send()
	c.set(-400 * 24 * time.Hour)
	await(true)
	if at := send(); at.Sub(c.Now()).Abs() > time.Minute {
		t.Errorf("the clock is right, and a message is of %v", at)
	}
	if messages, err := h.hubs.All()[0].Telemetry().Recent(context.Background(), "", 10); err != nil ||
		len(messages) != 4 {
		t.Errorf("there are %d messages of 4, %v", len(messages), err)
	}
	if entries, _, err := h.audit.Entries(context.Background(), audit.Filter{}); err != nil || len(entries) == 0 {
		t.Errorf("the audit has %d entries, %v", len(entries), err)
	}
	if attempts, err := h.Server.provisioning.Attempts().Outcomes(context.Background(),
		c.Now().Add(-time.Hour)); err != nil || len(attempts) == 0 {
		t.Errorf("the outcomes are %v, %v", attempts, err)
	}
	c.pass(time.Hour)
	await(false)
	for _, want := range []string{"level=WARN", "clock was set by 9600h0m",
		"the clock is far from where it was in the last run"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}
