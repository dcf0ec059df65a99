package portal

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ctx  = context.Background()
)

// house is a portal on real services, with a clock that a test moves.
type house struct {
	*Portal
	t      *testing.T
	server *httptest.Server

	reads    reads
	attempts store.Log

	mutex   sync.Mutex
	now     time.Time
	trusted bool
	health  *health.Set
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h, dir, logger := &house{t: t, now: noon, trusted: true}, t.TempDir(), slog.New(slog.DiscardHandler)
	h.health = health.New(logger, h.clock)
	engine, err := pebble.Open(filepath.Join(dir, "documents"), pebble.Options{Logger: logger})
	h.must(err)
	t.Cleanup(func() { engine.Close() })
	documents := store.TrackReads(countedDocuments{engine, &h.reads})
	logs, err := segment.Open(filepath.Join(dir, "logs"), segment.Options{Now: h.clock, Logger: logger})
	h.must(err)
	t.Cleanup(func() { logs.Close() })
	telemetry, err := logs.Open("telemetry", store.LogOptions{Partitions: 4})
	h.must(err)
	attempts, err := logs.Open("attempts", store.LogOptions{Partitions: 1})
	h.must(err)
	telemetry, attempts = countedLog{telemetry, &h.reads}, countedLog{attempts, &h.reads}
	h.attempts = attempts
	hubs, err := hub.Open(ctx, hub.Config{Name: "berth", Host: "127.0.0.1", Documents: documents, Telemetry: telemetry, Bus: local.New(), Now: h.clock, Logger: logger})
	h.must(err)
	t.Cleanup(func() { hubs.Close(ctx) })
	changes := audit.Open(documents, h.clock)
	issuer, err := issuance.Open(ctx, issuance.Config{Documents: documents, Now: h.clock, Audit: changes})
	h.must(err)
	service, err := provisioning.Open(ctx,
		provisioning.Config{IDScope: "0ne1", Host: "localhost", Documents: documents, Attempts: attempts,
			Issuer: issuer, Audit: changes, Now: h.clock, Logger: logger})
	h.must(err)
	t.Cleanup(func() { service.Close(ctx) })
	h.Portal = New(Config{Issuer: issuer, Provisioning: service, Hubs: hub.NewDirectory(hubs), Audit: changes, Documents: documents, CAFile: "ca.pem", DataDir: dir, Now: h.clock, Trusted: func() bool { return h.trusted }, Health: h.health, Logger: logger})
	h.server = httptest.NewServer(h.Portal)
	t.Cleanup(func() { h.Close(); h.server.Close() })
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) clock() time.Time {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.now
}

func (h *house) advance(d time.Duration) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.now = h.now.Add(d)
}

// browser keeps cookies and follows redirects.
type browser struct {
	*house
	client *http.Client
}

func (h *house) browser() *browser {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	h.must(err)
	return &browser{h, &http.Client{Jar: jar}}
}

// loggedIn is a browser after a login.
func (h *house) loggedIn(role Role) *browser {
	h.t.Helper()
	b := h.browser()
	if status, page := b.get(strings.TrimPrefix(h.link(role), Root)); status != http.StatusOK {
		h.t.Fatalf("the login is answered %d:\n%s", status, page)
	}
	return b
}

func (h *house) link(role Role) string {
	h.t.Helper()
	path, _, err := h.Link(ctx, role)
	h.must(err)
	return path
}

func (b *browser) do(request *http.Request) (int, string) {
	b.t.Helper()
	response, err := b.client.Do(request)
	b.must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	b.must(err)
	return response.StatusCode, string(body)
}

func (b *browser) get(path string) (int, string) {
	b.t.Helper()
	request, err := http.NewRequest(http.MethodGet, b.server.URL+Root+path, nil)
	b.must(err)
	return b.do(request)
}

func (b *browser) post(path string, form url.Values) (int, string) {
	b.t.Helper()
	request, err := http.NewRequest(http.MethodPost, b.server.URL+Root+path, strings.NewReader(form.Encode()))
	b.must(err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(request)
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// token is what the forms of the browser's session carry.
func (b *browser) token() string {
	b.t.Helper()
	_, page := b.get("")
	found := csrfField.FindStringSubmatch(page)
	if found == nil {
		b.t.Fatalf("no form has a token:\n%s", page)
	}
	return found[1]
}
