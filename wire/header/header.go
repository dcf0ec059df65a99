// Package header keeps the header fields of HTTP/1.1 requests as their clients spelled
// them. Package http folds a name such as app-fooBar to App-Foobar, and where a name
// carries something that has case, that is lost. It knows nothing but HTTP.
package header

import (
	"context"
	"crypto/tls"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
)

// Listen returns a listener for an http.Server, whose connections remember how the names in
// the requests that come by them are spelled. limit is the size of the largest header in
// bytes: that of the server. The server needs Context as its ConnContext and Handler around
// its handler. Connections over TLS must have done their handshake when inner hands them
// out, and HTTP/2 must not be offered: there, names are in lower case anyway.
func Listen(inner net.Listener, limit int) net.Listener { return &listener{inner, limit} }

// slop is by how many bytes http.Server takes more than its MaxHeaderBytes.
const slop = 4 << 10

type listener struct {
	net.Listener
	limit int
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	remembering := &conn{Conn: inner, scanner: scanner{limit: l.limit + slop}}
	if secure, ok := inner.(*tls.Conn); ok {
		return secureConn{remembering, secure}, nil
	}
	return remembering, nil
}

// conn is a connection that remembers the header of each request until its handler begins.
type conn struct {
	net.Conn

	mutex   sync.Mutex // the server reads while a handler runs, to notice that the client has gone
	scanner scanner
	waiting []string // headers of requests whose handlers did not begin yet, in their order
	current string   // that of the request that is handled now
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.waiting = append(c.waiting, c.scanner.scan(b[:n])...)
	return n, err
}

// NetConn returns the connection below, as that of a tls.Conn does.
func (c *conn) NetConn() net.Conn { return c.Conn }

// begin makes the header of a request the current one. Before it there may be those of
// requests that the server has answered itself.
func (c *conn) begin(r *http.Request) {
	line := r.Method + " " + r.RequestURI + " " + r.Proto
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for c.current = ""; c.current == "" && len(c.waiting) > 0; c.waiting = c.waiting[1:] {
		if first, rest, _ := strings.Cut(c.waiting[0], "\n"); strings.TrimSuffix(first, "\r") == line {
			c.current = rest
		}
	}
}

// secureConn is a conn over TLS: http.Server asks it for Request.TLS.
type secureConn struct {
	*conn
	tls *tls.Conn
}

// ConnectionState is that of the TLS connection.
func (c secureConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

func (c secureConn) remembering() *conn { return c.conn }
func (c *conn) remembering() *conn      { return c }

type contextKey struct{}

// Context keeps a connection in the context of its requests. It is the ConnContext of an
// http.Server. Connections that Listen did not hand out are left aside.
func Context(ctx context.Context, connection net.Conn) context.Context {
	if c, ok := connection.(interface{ remembering() *conn }); ok {
		return context.WithValue(ctx, contextKey{}, c.remembering())
	}
	return ctx
}

func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(contextKey{}).(*conn)
	return c
}

// Handler returns a handler in which Fields knows the header of the request. It has to be
// told of every request.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := connOf(r); c != nil {
			c.begin(r)
		}
		next.ServeHTTP(w, r)
	})
}

// Fields yields the names and values in the header of a request that is being handled, in
// their order and with the names as the client spelled them. Host and what frames the body
// are left out, as http.Request has them elsewhere. Names whose spelling is not known come
// last, as http.Header has them: all of them when the request did not come through Listen
// and Handler.
func Fields(r *http.Request) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		var spelled string
		if c := connOf(r); c != nil {
			c.mutex.Lock()
			spelled = c.current
			c.mutex.Unlock()
		}
		seen := make(map[string]int) // how many values of a name were yielded
		for line := range strings.Lines(spelled) {
			name, _, ok := strings.Cut(line, ":")
			if !ok || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
				continue // the end, or the rest of a value that was folded
			}
			key := textproto.CanonicalMIMEHeaderKey(name)
			values, at := r.Header[key], seen[key]
			if at < len(values) {
				seen[key]++
				if !yield(name, values[at]) {
					return
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(r.Header)) {
			for _, value := range r.Header[key][seen[key]:] {
				if !yield(key, value) {
					return
				}
			}
		}
	}
}
