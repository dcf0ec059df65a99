package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/portal/portaltest"
)

// What can't be searched by what is new alone is not searched all the time.
func TestStreamPause(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{time.Millisecond: 900 * time.Millisecond,
		500 * time.Millisecond: 10 * time.Second} {
		if pause := (&watch{took: took}).pause(); pause != want {
			t.Errorf("after a look of %s the next is in %s, want %s", took, pause, want)
		}
	}
}

// One session can't take all the places for live pages.
func TestLivePagesOfASession(t *testing.T) {
	h := newFixture(t)
	greedy, other := h.loggedIn(Reader), h.loggedIn(Operator)
	var tabs []*portaltest.Tab
	for range maxSessionStreams {
		tabs = append(tabs, greedy.Open(""))
	}
	if status, page := greedy.Get("?live=1"); status != http.StatusServiceUnavailable ||
		!strings.Contains(page, "Too many pages of your session") {
		t.Errorf("one page too many is answered %d:\n%s", status, page)
	}
	other.Open("")
	tabs[0].Close()
	// The server notices at its own time that the browser has gone.
	for deadline := time.Now().Add(20 * time.Second); ; {
		h.Site.streams.Lock()
		n := h.Site.streams.all
		h.Site.streams.Unlock()
		if n == maxSessionStreams {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d places are taken", n)
		}
	}
	greedy.Open("")
}
