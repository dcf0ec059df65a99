package header

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

const limit = 32 << 10

// handshaking hands out connections whose handshake is done.
type handshaking struct{ net.Listener }

func (l handshaking) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err == nil {
		err = accepted.(*tls.Conn).Handshake()
	}
	return accepted, err
}

// newServer answers each request with its fields, a line each, and with whether it came over
// TLS.
func newServer(t *testing.T, secure bool) net.Addr {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		certified := httptest.NewUnstartedServer(nil)
		certified.StartTLS()
		certified.Close()
		inner = handshaking{tls.NewListener(inner, &tls.Config{Certificates: certified.TLS.Certificates})}
	}
	server := &http.Server{ConnContext: Context, Handler: Handler(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "tls=%t body=%d\n", r.TLS != nil && r.TLS.HandshakeComplete, r.ContentLength)
			for name, value := range Fields(r) {
				fmt.Fprintf(w, "%s=%s\n", name, value)
			}
			io.Copy(io.Discard, r.Body)
		}))}
	done := make(chan error, 1)
	go func() { done <- server.Serve(Listen(inner, limit)) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return inner.Addr()
}

// exchange sends text, cut into pieces of this size, and returns so many answers.
func exchange(t *testing.T, connection net.Conn, text string, size, answers int) (bodies []string) {
	t.Helper()
	defer connection.Close()
	sent := make(chan error, 1)
	go func() {
		for piece := range slices.Chunk([]byte(text), size) {
			if _, err := connection.Write(piece); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	reader := bufio.NewReader(connection)
	for range answers {
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(body))
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return bodies
}

// requests are sent one after the other, without a pause, and with all that may be between
// two headers.
const requests = "POST /a HTTP/1.1\r\nHost: x\r\nApp-fooBar: 1\r\nContent-Length: 31\r\n\r\n" +
	"GET /not-a-request HTTP/1.1\r\n\r\n" +
	"POST /b HTTP/1.1\r\nHOST: x\r\napp-FOObar:2\r\nApp-fooBar: 3\r\ntransfer-encoding: chunked\r\n\r\n" +
	"5;x=y\r\nGET /\r\n1\r\n\n\r\n0\r\nTrailer: x\r\n\r\n" +
	"\r\nOPTIONS * HTTP/1.1\r\nHost: x\r\nApp-OPTIONS: 0\r\n\r\n" + // answered by the server itself
	"GET /c HTTP/1.1\nHost: x\nA-b_C.d: 4\nFolded-Value: 5\n  Not-a-Name: 6\n\n"

var answers = []string{
	"tls=%t body=31\nApp-fooBar=1\nContent-Length=31\n",
	"tls=%t body=-1\napp-FOObar=2\nApp-fooBar=3\n",
	"",
	"tls=%t body=0\nA-b_C.d=4\nFolded-Value=5 Not-a-Name: 6\n",
}

func TestFields(t *testing.T) {
	for _, secure := range []bool{false, true} {
		address := newServer(t, secure)
		for _, size := range []int{1, 7, 64, len(requests)} {
			connection, err := net.Dial("tcp", address.String())
			if err != nil {
				t.Fatal(err)
			}
			if secure {
				connection = tls.Client(connection, &tls.Config{InsecureSkipVerify: true})
			}
			for i, got := range exchange(t, connection, requests, size, len(answers)) {
				want := answers[i]
				if want != "" {
					want = fmt.Sprintf(want, secure)
				}
				if got != want {
					t.Errorf("TLS %t, %d bytes at a time, request %d: got\n%s\nwant\n%s", secure, size, i, got, want)
				}
			}
		}
	}
}

// Without the listener, names are as package http has them.
func TestFieldsOfAnotherListener(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("app-fooBar", "1")
	r.Header.Add("app-fooBar", "2")
	var got []string
	for name, value := range Fields(r) {
		got = append(got, name+"="+value)
	}
	if want := []string{"App-Foobar=1", "App-Foobar=2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A header beyond the limit is not kept, nor is what follows an upgrade.
func TestScannerLimit(t *testing.T) {
	for name, text := range map[string]string{
		"a header too long": "GET / HTTP/1.1\r\nA: " + strings.Repeat("x", limit),
		"a line too long":   "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", limit),
		"an upgrade":        "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n" + strings.Repeat("x", 2*limit),
	} {
		s := scanner{limit: limit}
		for piece := range slices.Chunk([]byte(text), 100) {
			s.scan(piece)
		}
		if s.part != lost || s.text != nil {
			t.Errorf("%s: the scanner keeps %d bytes in part %d", name, len(s.text), s.part)
		}
	}
}

// FuzzScanner holds the scanner against package http: of all that http.ReadRequest reads one
// after the other, the scanner finds the headers, however the stream is cut, until it
// meets something that it does not follow.
func FuzzScanner(f *testing.F) {
	f.Add([]byte(requests), uint8(7))
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nx: y\r\n\r\n"),
		uint8(1))
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
		uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		s := scanner{limit: limit}
		var found []string
		for piece := range slices.Chunk(stream, int(size)+1) {
			found = append(found, s.scan(piece)...)
		}
		wasLost := s.part == lost
		reader := bufio.NewReader(bytes.NewReader(stream))
		for i := 0; ; i++ {
			for { // as http.Server tolerates them after a body
				if next, err := reader.Peek(1); err != nil || next[0] != '\r' && next[0] != '\n' {
					break
				}
				reader.Discard(1)
			}
			r, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			if i == len(found) {
				if !wasLost {
					t.Fatalf("request %d is not found: %s %s", i, r.Method, r.RequestURI)
				}
				return
			}
			names := make(map[string]bool)
			for line := range strings.Lines(found[i]) {
				name, _, _ := strings.Cut(line, ":")
				names[textproto.CanonicalMIMEHeaderKey(name)] = true
			}
			for key := range r.Header {
				if !names[key] {
					t.Fatalf("request %d has the field %q, which is not found in %q", i, key, found[i])
				}
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				if errors.Is(err, io.ErrUnexpectedEOF) && i+1 < len(found) {
					t.Fatalf("request %d ends too early, and another is found after it", i)
				}
				return
			}
		}
	})
}
