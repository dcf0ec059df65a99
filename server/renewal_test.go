package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/portal/web"
)

const day = 24 * time.Hour

// timedFixture is a running server whose clock and timer the test moves.
type timedFixture struct {
	*fixture
	log    lockedBuffer
	pauses chan time.Duration // that the server asks its timer for
	tick   chan time.Time

	mutex sync.Mutex
	now   time.Time
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.String()
}

// newTimed starts a server at a time, and waits until it has looked once at what
// expires.
func newTimed(t *testing.T, now time.Time) *timedFixture {
	t.Helper()
	h := &timedFixture{pauses: make(chan time.Duration, 1), tick: make(chan time.Time), now: now}
	h.fixture = &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
			// its time passes, and is not set
			Now: h.clock, elapsed: func() time.Duration { return h.clock().Sub(now) },
			Logger: slog.New(slog.NewTextHandler(&h.log, nil)),
			After: func(pause time.Duration) <-chan time.Time {
				h.pauses <- pause
				return h.tick
			}}}
	h.start()
	t.Cleanup(h.stop)
	h.wait()
	return h
}

func (h *timedFixture) clock() time.Time {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.now
}

// at sets the clock and lets the timer run out; it returns the pause until the next
// look.
func (h *timedFixture) at(now time.Time) time.Duration {
	h.t.Helper()
	h.mutex.Lock()
	h.now = now
	h.mutex.Unlock()
	select {
	case h.tick <- now:
	case <-time.After(20 * time.Second):
		h.t.Fatal("the server does not wait for its timer")
	}
	return h.wait()
}

func (h *timedFixture) wait() time.Duration {
	h.t.Helper()
	select {
	case pause := <-h.pauses:
		return pause
	case <-time.After(20 * time.Second):
		h.t.Fatal("the server does not ask its timer")
		return 0
	}
}

// handshake shakes hands on a port as a client does whose clock is right, and which
// trusts the authority's file as it is now. It returns the server's certificate.
func (h *timedFixture) handshake(port int) *x509.Certificate {
	h.t.Helper()
	file, err := os.ReadFile(h.Info().CAFile)
	if err != nil {
		h.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(file)
	conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		&tls.Config{RootCAs: roots, ServerName: "localhost", Time: h.clock})
	if err != nil {
		h.t.Fatalf("a handshake at %s: %v", h.clock(), err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// valid fails unless handshakes on both ports succeed with one certificate, which is
// good for some time and belongs to the key on disk.
func (h *timedFixture) valid() *x509.Certificate {
	h.t.Helper()
	leaf := h.handshake(h.Info().Ports.MQTT)
	if !leaf.Equal(h.handshake(h.Info().Ports.HTTPS)) {
		h.t.Error("MQTT and HTTPS have different certificates")
	}
	if left := leaf.NotAfter.Sub(h.clock()); left < serverRenewBefore {
		h.t.Errorf("the certificate is good for %s more", left)
	}
	if pair, err := tls.LoadX509KeyPair(h.certificates.serverFiles()); err != nil || !pair.Leaf.Equal(leaf) {
		h.t.Errorf("the files hold another certificate, error %v", err)
	}
	return leaf
}

func (h *timedFixture) authority() *x509.Certificate {
	h.t.Helper()
	file, err := os.ReadFile(h.Info().CAFile)
	if err != nil {
		h.t.Fatal(err)
	}
	block, _ := pem.Decode(file)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		h.t.Fatal(err)
	}
	return certificate
}

// metric returns a value of /metrics.
func (h *timedFixture) metric(name string) float64 {
	h.t.Helper()
	response, err := http.Get(h.Info().PortalURL + "metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		h.t.Fatalf("there is no %s in\n%s", name, text)
	}
	value, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return value
}

const serverExpiry = `berth_certificate_expiry_seconds{certificate="server",name=""}`

// A server that runs for years always has a certificate for new handshakes, and keeps
// the connections that it has.
func TestServerCertificateIsRenewedWhileTheServerRuns(t *testing.T) {
	begin := time.Now()
	h := newTimed(t, begin)
	keys := validKeys(t, "d1")
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "d1").ask(registerTopic, `{"registrationId":"d1"}`)
	connected := h.berth(&keys, "d1")
	connected.subscribe("$iothub/twin/res/#")

	first, authority := h.valid(), h.authority()
	if left := h.metric(serverExpiry); left < (396*day).Seconds() || left > (397*day).Seconds() {
		t.Errorf("the metric says that the certificate expires in %v s", left)
	}
	if pause := h.at(begin.Add(366 * day)); pause != renewEvery || !h.valid().Equal(first) {
		t.Errorf("31 days before its end the certificate was renewed, or the next look is in %s", pause)
	}
	h.at(begin.Add(368 * day))
	second := h.valid()
	if second.Equal(first) {
		t.Error("29 days before its end the certificate is the old one")
	}
	if left := h.metric(serverExpiry); left < (396 * day).Seconds() {
		t.Errorf("the metric says that the certificate expires in %v s", left)
	}
	if twin := connected.ask("$iothub/twin/GET/?$rid=1", ""); !strings.HasPrefix(twin.topic, "$iothub/twin/res/200") {
		t.Errorf("a device that stayed connected is answered %s", twin.topic)
	}
	if !h.authority().Equal(authority) {
		t.Error("the authority is another")
	}
	// A hub that is added needs a certificate of its name; the next look keeps it.
	if _, err := h.CreateHub(context.Background(), "east", "east.example"); err != nil {
		t.Fatal(err)
	}
	named := h.valid()
	if h.at(begin.Add(369 * day)); !h.valid().Equal(named) || named.VerifyHostname("east.example") != nil {
		t.Errorf("the certificate names %v", named.DNSNames)
	}

	// The authority follows, two years before its end: those who trust the former file
	// go on until it expires.
	h.at(begin.Add(9 * 365 * day))
	renewed := h.authority()
	if renewed.Equal(authority) || !bytes.Equal(renewed.RawSubject, authority.RawSubject) ||
		!bytes.Equal(renewed.RawSubjectPublicKeyInfo, authority.RawSubjectPublicKeyInfo) {
		t.Errorf("after nine years the authority is %s until %s", renewed.Subject, renewed.NotAfter)
	}
	former := x509.NewCertPool()
	former.AddCert(authority)
	if _, err := h.valid().Verify(x509.VerifyOptions{Roots: former, CurrentTime: h.clock(),
		DNSName: "localhost"}); err != nil {
		t.Errorf("a client with the former file: %v", err)
	}
	if !strings.Contains(h.log.String(), "the certificate authority was renewed: give its file to clients") {
		t.Errorf("the log does not say that there is a new file:\n%s", h.log.String())
	}
	for _, name := range []string{`certificate="authority",name=""`, `certificate="issuing_authority",name="default"`,
		`certificate="issuing_root",name=""`} {
		if left := h.metric("berth_certificate_expiry_seconds{" + name + "}"); left < (9 * 365 * day).Seconds() {
			t.Errorf("after nine years %s is good for %v s", name, left)
		}
	}
}

// What was renewed by a clock that was wrong is made good as soon as it is right, and
// so is what was made by one.
func TestRenewalByAWrongClock(t *testing.T) {
	now := time.Now()
	for _, wrong := range []time.Duration{400 * day, -400 * day, 10 * day, -2 * time.Hour, 11 * 365 * day,
		-20 * 365 * day} {
		t.Run("renewed "+wrong.String(), func(t *testing.T) {
			h := newTimed(t, now)
			h.at(now.Add(wrong))
			h.valid()
			h.at(now)
			h.valid()
		})
		t.Run("started "+wrong.String(), func(t *testing.T) {
			h := newTimed(t, now.Add(wrong))
			h.valid()
			h.at(now)
			h.valid()
			for _, authority := range []string{"issuing_authority\",name=\"default", "issuing_root\",name=\""} {
				if left := h.metric(`berth_certificate_expiry_seconds{certificate="` + authority +
					`"}`); left < (365 * day).Seconds() {
					t.Errorf("%s is good for %v s", authority, left)
				}
			}
		})
	}
}

// A certificate that can't be written is not used as long as there is another one. The
// server says so, tries again with longer pauses, and goes on when it can.
func TestRenewalOnAFullDisk(t *testing.T) {
	begin := time.Now()
	h := newTimed(t, begin)
	first := h.valid()
	full := func(path string, _ []byte, _ fs.FileMode) error {
		return &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
	}
	h.certificates.write = full // the server waits for its timer
	soon := begin.Add(370 * day)
	var pauses []time.Duration
	for range 7 {
		pauses = append(pauses, h.at(soon))
		if leaf := h.handshake(h.Info().Ports.MQTT); !leaf.Equal(first) {
			t.Fatal("a certificate is used that could not be written")
		}
	}
	if fmt.Sprint(pauses) != "[1m0s 2m0s 4m0s 8m0s 16m0s 16m0s 16m0s]" {
		t.Errorf("the pauses are %v", pauses)
	}
	if log := h.log.String(); strings.Count(log, "level=ERROR") != 7 ||
		!strings.Contains(log, "renew the server certificate: write") {
		t.Errorf("the log is\n%s", log)
	}
	if failures := h.metric("berth_renewal_failures_total"); failures != 7 {
		t.Errorf("%v failures were counted", failures)
	}
	h.certificates.write = writeFile
	if pause := h.at(soon); pause != renewEvery || h.valid().Equal(first) {
		t.Errorf("when there is room again, the certificate is the old one, or the next look is in %s", pause)
	}
	// When the present one has expired, one that a restart forgets is better than none.
	h.certificates.write = full
	h.at(soon.Add(400 * day))
	h.handshake(h.Info().Ports.MQTT)
}

// A disk that is full when a renewal is due does not keep a server from starting, as
// long as it has a certificate that is valid.
func TestStartOnAFullDisk(t *testing.T) {
	begin := time.Now()
	dir, hosts := t.TempDir(), []string{"localhost"}
	var made certificates
	if err := made.open(dir, slog.New(slog.DiscardHandler), hosts, begin); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	full := certificates{write: func(string, []byte, fs.FileMode) error { return syscall.ENOSPC }}
	if err := full.open(dir, slog.New(slog.NewTextHandler(&log, nil)), hosts, begin.Add(370*day)); err != nil ||
		!full.server.Load().Leaf.Equal(made.server.Load().Leaf) || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("with a certificate for 27 days more: error %v, log %s", err, log.String())
	}
	full = certificates{write: full.write}
	if err := full.open(t.TempDir(), slog.New(slog.DiscardHandler), hosts, begin); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("without any: error %v", err)
	}
}

// Login links and sessions go when their time is over, though nobody asks for others.
func TestLinksAndSessionsAreClearedAway(t *testing.T) {
	begin := time.Now()
	h := newTimed(t, begin)
	ctx := context.Background()
	for range 3 {
		if _, err := h.LoginLink(ctx, string(web.Reader)); err != nil {
			t.Fatal(err)
		}
	}
	link, err := h.LoginLink(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(link.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	count := func(collection string) int {
		n, err := h.documents.Count(ctx, collection)
		if err != nil {
			t.Fatal(err)
		}
		return n[0]
	}
	if links, sessions := count("portal/links"), count("portal/sessions"); links < 3 || sessions != 1 {
		t.Fatalf("there are %d links and %d sessions", links, sessions)
	}
	if h.at(begin.Add(2 * time.Hour)); count("portal/links") != 0 || count("portal/sessions") != 1 {
		t.Errorf("after two hours there are %d links and %d sessions", count("portal/links"), count("portal/sessions"))
	}
	if h.at(begin.Add(9 * time.Hour)); count("portal/sessions") != 0 {
		t.Errorf("after nine hours there are %d sessions", count("portal/sessions"))
	}
}

// Operators are told once a day what only they can renew.
func TestOperatorsAreWarnedOfExpiry(t *testing.T) {
	begin := time.Now()
	h := newTimed(t, begin)
	root, err := credential.NewAuthority("Factory", begin.Add(-time.Hour), 60*day)
	if err != nil {
		t.Fatal(err)
	}
	certificatePEM, _, err := root.PEM()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.provisioning.PutAuthority(context.Background(), "factory", certificatePEM, true, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Duration
		want int
	}{{2 * day, 0}, {31 * day, 1}, {31*day + time.Hour, 1}, {33 * day, 2}, {61 * day, 3}} {
		h.at(begin.Add(c.at))
		if n := strings.Count(h.log.String(),
			`msg="a certificate authority of devices must be renewed" authority=factory`); n != c.want {
			t.Errorf("after %s the log has warned %d times, want %d", c.at, n, c.want)
		}
	}
	if log := h.log.String(); !strings.Contains(log, "days=28 warning=expiresSoon") ||
		!strings.Contains(log, "warning=expired") {
		t.Errorf("the log is\n%s", log)
	}
}
