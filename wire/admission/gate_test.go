//go:build unix

package admission

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door is a gate with one listener on loopback, and what a test needs of it.
type door struct {
	*Gate
	*Listener
	t        *testing.T
	client   *tls.Config
	accepted chan net.Conn
}

// open serves a gate on a free port until the test ends. What it lets in stays open
// and unread until the test takes it from accepted.
func open(t *testing.T, gate *Gate, secure bool) *door {
	t.Helper()
	if !secure {
		return openWith(t, gate, nil)
	}
	server, client := newTLS(t)
	d := openWith(t, gate, server)
	d.client = client
	return d
}

func openWith(t *testing.T, gate *Gate, config *tls.Config) *door {
	t.Helper()
	if gate.Logger == nil {
		gate.Logger = slog.New(slog.DiscardHandler)
	}
	d := &door{Gate: gate, t: t, accepted: make(chan net.Conn, 10000)}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.Listener = gate.Listen(inner, config)
	var serving sync.WaitGroup
	serving.Go(func() {
		defer close(d.accepted)
		for {
			conn, err := d.Accept()
			if err != nil {
				return
			}
			d.accepted <- conn
		}
	})
	t.Cleanup(func() {
		d.Listener.Close()
		serving.Wait()
		for conn := range d.accepted {
			conn.Close()
		}
		if stats := gate.Stats(); stats.Connections != 0 || stats.Waiting != 0 || stats.Unproven != 0 ||
			gate.came != 0 || len(gate.sources) != 0 || gate.free != gate.Handshakes {
			t.Errorf("when all is closed, %+v are left, %d addresses, %d turns of %d", stats, len(gate.sources),
				gate.free, gate.Handshakes)
		}
	})
	return d
}

func newTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "server"},
		DNSNames: []string{"berth.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, ServerName: "berth.example"}
}

// dial connects from an address of loopback, "" for any.
func (d *door) dial(from string) net.Conn {
	d.t.Helper()
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial("tcp", d.Addr().String())
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// handshake connects and does the handshake.
func (d *door) handshake(from string) (client *tls.Conn, server *Conn) {
	d.t.Helper()
	client = tls.Client(d.dial(from), d.client)
	if err := client.Handshake(); err != nil {
		d.t.Fatal(err)
	}
	return client, d.next()
}

// next is the next connection that is let in.
func (d *door) next() *Conn {
	d.t.Helper()
	select {
	case conn := <-d.accepted:
		d.t.Cleanup(func() { conn.Close() })
		return Of(conn)
	case <-time.After(20 * time.Second):
		d.t.Fatal("no connection was let in")
		return nil
	}
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

func isOpen(t *testing.T, conn net.Conn) bool {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := conn.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func expectEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection stays open")
	}
}

// requireDescriptors makes sure that a test can have as many connections.
func requireDescriptors(t *testing.T, want uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < want {
		t.Fatalf("the test needs %d file descriptors and may have %d: raise the limit with ulimit -n", want, limit.Cur)
	}
}

// Thousands of connections from two addresses that say nothing do not keep out a
// client of a third, also when they take all that strangers may have. They make room
// for each other and for it, not it for them.
func TestSilentConnections(t *testing.T) {
	const strangers, room = 3000, 2000
	requireDescriptors(t, 2*strangers+1000)
	d := open(t, &Gate{MaxUnproven: room, FirstByteTimeout: time.Minute}, true)
	for i := range strangers {
		d.dial([]string{"127.0.0.2", "127.0.0.3"}[i%2])
	}
	until(t, "they are there", func() bool { return d.Stats().Accepted == strangers })
	began := time.Now()
	client, _ := d.handshake("127.0.0.1")
	t.Logf("connected in %v", time.Since(began))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("an honest client connected in %v", took)
	}
	for range room {
		d.dial("127.0.0.2")
	}
	until(t, "more are there", func() bool { return d.Stats().Accepted == strangers+1+room })
	if !isOpen(t, client) {
		t.Error("the honest client made room for strangers")
	}
	if stats := d.Stats(); stats.Waiting+servedWeight*stats.Unproven != room ||
		stats.Refused[Displaced] != strangers+servedWeight {
		t.Errorf("the figures are %+v", stats)
	}
}

// Who has proved who they are stays; who has not makes room, the oldest of the address
// with most of them first; when nobody is left to do so, newcomers are refused, and the
// log says so.
func TestLimit(t *testing.T) {
	var log bytes.Buffer
	d := open(t, &Gate{MaxConnections: 5, Logger: slog.New(slog.NewTextHandler(&log, nil))}, true)
	var proven []net.Conn
	for range 2 {
		client, server := d.handshake("127.0.0.2")
		server.Proven()
		proven = append(proven, client)
	}
	lone, loneServer := d.handshake("127.0.0.1")
	first, _ := d.handshake("127.0.0.2")
	second, secondServer := d.handshake("127.0.0.2")

	third, thirdServer := d.handshake("127.0.0.3")
	expectEnd(t, first)
	for name, conn := range map[string]net.Conn{"lone": lone, "second": second, "third": third, "proven": proven[0]} {
		if !isOpen(t, conn) {
			t.Errorf("the connection %q is closed", name)
		}
	}
	for _, server := range []*Conn{loneServer, secondServer, thirdServer} {
		server.Proven()
	}
	expectEnd(t, d.dial("127.0.0.4"))
	stats := d.Stats()
	if stats.Connections != 5 || stats.Limit != 5 || stats.Unproven != 0 || stats.Refused[ByLimit] != 1 ||
		stats.Refused[Displaced] != 1 {
		t.Errorf("the figures are %+v", stats)
	}
	second.Close()
	secondServer.Close()
	_, replacement := d.handshake("127.0.0.4")
	d.SetMaxConnections(6)
	d.handshake("127.0.0.4")
	if !isOpenServer(replacement) {
		t.Error("a higher limit changed nothing")
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "127.0.0.2") ||
		strings.Count(text, "connections refused") != 2 {
		t.Errorf("the log is %q", text)
	}
}

func isOpenServer(c *Conn) bool { return c.cause.Load() == nil }

// A client that proves nothing is sent away, one that does is not; the reason is the
// error of the connection.
func TestProofTimeout(t *testing.T) {
	d := open(t, &Gate{ProofTimeout: 300 * time.Millisecond}, true)
	proven, server := d.handshake("")
	server.Proven()
	_, stranger := d.handshake("")
	if _, err := stranger.Read(make([]byte, 1)); !errors.Is(err, Unproven) {
		t.Errorf("reading from a client that proved nothing returns %v", err)
	}
	if !isOpen(t, proven) {
		t.Error("the client that proved who it is was sent away")
	}
	stranger.Proven() // too late, and harmless
}

// What is silent, or never ends its handshake, goes when its time is over, and the
// turns for handshakes come back.
func TestTimeouts(t *testing.T) {
	d := open(t,
		&Gate{FirstByteTimeout: 200 * time.Millisecond, HandshakeTimeout: 200 * time.Millisecond, Handshakes: 1}, true)
	for _, send := range []string{"", "\x16", "\x16\x03\x01\x40\x00", "\x16\x03\x01\x00\x10\x01\x00\x00\x0c\x03\x03",
		"GET / HTTP/1.1\r\n\r\n", "\x10\x10\x00\x04MQTT"} {
		conn := d.dial("")
		conn.Write([]byte(send))
		expectEnd(t, conn)
	}
	until(t, "the failures are counted", func() bool { return d.HandshakeFailures() == 5 })
	if got := d.Stats().Refused[Silent]; got != 1 {
		t.Errorf("%d were silent, want 1", got)
	}
	d.handshake("")
}

// occupied is a door whose only turn for a handshake is taken until release.
func occupied(t *testing.T, gate *Gate) *door {
	gate.Handshakes = 1
	d := open(t, gate, true)
	d.mutex.Lock()
	d.free--
	d.mutex.Unlock()
	return d
}

// hello begins a handshake and waits until the gate knows of it. The result comes
// when it is over.
func (d *door) hello(from string) (net.Conn, <-chan error) {
	d.t.Helper()
	before := d.readyCount()
	conn := d.dial(from)
	done := make(chan error, 1)
	go func() { done <- tls.Client(conn, d.client).Handshake() }()
	until(d.t, "the connection waits for its turn", func() bool { return d.readyCount() > before })
	return conn, done
}

func (d *door) readyCount() (n int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, s := range d.sources {
		n += s.list(ready).length
	}
	return n
}

// Addresses get their turns one after the other, and the newest connection of an
// address is first.
func TestTurns(t *testing.T) {
	d := occupied(t, &Gate{})
	names := make(map[string]string) // by the client's address
	for _, c := range []struct{ name, from string }{{"A1", "127.0.0.2"}, {"A2", "127.0.0.2"}, {"A3", "127.0.0.2"},
		{"B1", "127.0.0.3"}, {"B2", "127.0.0.3"}, {"C1", "127.0.0.4"}} {
		conn, _ := d.hello(c.from)
		names[conn.LocalAddr().String()] = c.name
	}
	// All turns at once, each given back in its time.
	var order []string
	granted := make(map[*Conn]bool)
	d.mutex.Lock()
	for range names {
		d.passTurn()
		for _, s := range d.sources {
			for c := s.list(begun).oldest; c != nil; c = c.newer {
				if !granted[c] {
					granted[c] = true
					order = append(order, names[c.RemoteAddr().String()])
				}
			}
		}
	}
	d.free -= len(names) - 1
	d.mutex.Unlock()
	for range names {
		d.next()
	}
	if got := strings.Join(order, " "); got != "A3 B2 C1 A2 B1 A1" {
		t.Errorf("the turns were %s", got)
	}
}

// A turn does not come too late, or it does not come at all.
func TestTurnTimeout(t *testing.T) {
	d := occupied(t, &Gate{TurnTimeout: 300 * time.Millisecond})
	conn, done := d.hello("")
	<-done
	expectEnd(t, conn)
	if got := d.Stats().Refused[NoTurn]; got != 1 {
		t.Errorf("%d waited too long, want 1", got)
	}
	d.release()
	d.handshake("")
}

// A client that is slow to answer in its handshake keeps nobody else waiting.
func TestSlowHandshakeHoldsNoTurn(t *testing.T) {
	d := open(t, &Gate{Handshakes: 1}, true)
	for range 20 {
		conn := d.dial("127.0.0.2")
		// All of a ClientHello but its end.
		if _, err := conn.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "they have begun", func() bool { return d.Stats().Unproven == 20 })
	began := time.Now()
	d.handshake("127.0.0.1")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the client after them took %v", took)
	}
}

// A panic in a handshake, or in what is told that one failed, neither ends the process
// nor keeps the turn.
func TestPanic(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, client := newTLS(t)
	certificate := server.Certificates[0]
	server.Certificates = nil
	server.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "panic.example" {
			panic("certificate")
		}
		return &certificate, nil
	}
	gate := &Gate{Handshakes: 1, Logger: slog.New(slog.DiscardHandler)}
	listener := gate.Listen(inner, server)
	defer listener.Close()
	told := make(chan any, 10)
	listener.Panicked = func(_ net.Addr, value any) { told <- value }
	listener.HandshakeFailed = func(*tls.Conn, error) { panic("told") }
	go func() {
		for range 2 {
			conn, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			config := client.Clone()
			config.ServerName = "panic.example"
			if err := tls.Client(conn, config).Handshake(); err == nil {
				t.Error("a handshake that panicked succeeds")
			}
		}
		conn, err := tls.Dial("tcp", inner.Addr().String(), client)
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, want := range []string{"certificate", "told", "certificate", "told"} {
		if value := <-told; value != want {
			t.Errorf("told of the panic %v, want %s", value, want)
		}
	}
}

// Close ends what was not handed out, at whatever stage.
func TestClose(t *testing.T) {
	d := occupied(t, &Gate{FirstByteTimeout: time.Minute, TurnTimeout: time.Minute, HandshakeTimeout: time.Minute})
	silent := d.dial("")
	waiting, done := d.hello("")
	until(t, "both are there", func() bool { return d.Stats().Connections == 2 })
	d.Listener.Close()
	expectEnd(t, silent)
	<-done
	expectEnd(t, waiting)
	d.release()
}

// Without TLS connections are let in as they come.
func TestListenWithoutTLS(t *testing.T) {
	d := open(t, &Gate{MaxConnections: 2, ProofTimeout: -1}, false)
	first := d.dial("")
	d.next()
	second := d.dial("")
	d.next()
	d.dial("")
	d.next()
	expectEnd(t, first)
	if !isOpen(t, second) {
		t.Error("another than the oldest made room")
	}
}

// failing is a listener that has no descriptors left for some time.
type failing struct {
	net.Listener
	failures int
	calls    int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.calls++; f.calls <= f.failures {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return f.Listener.Accept()
}

// An accept that fails is tried again, ever more slowly, and logged once.
func TestAcceptFails(t *testing.T) {
	var log bytes.Buffer
	gate := &Gate{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := gate.Listen(&failing{Listener: inner, failures: 7}, nil)
	defer listener.Close()
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	began := time.Now()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if took := time.Since(began); took < (1+2+4+8+16+32+64)*time.Millisecond {
		t.Errorf("seven failures took %v: the pause does not grow", took)
	}
	gate.mutex.Lock()
	defer gate.mutex.Unlock()
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "too many open files") {
		t.Errorf("the log is %q", text)
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7":             "192.0.2.7/32",
		"::ffff:192.0.2.7":      "192.0.2.7/32",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1:2::/64",
		"fe80::1":               "fe80::/64",
		"2001:db8:1:2:ff::ff:1": "2001:db8:1:2::/64",
	} {
		if got := addressOf(&net.TCPAddr{IP: net.ParseIP(text), Port: 1}).String(); got != want {
			t.Errorf("%s counts as %s, want %s", text, got, want)
		}
	}
}
