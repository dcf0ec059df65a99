//go:build unix

package admission

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestReconnectStorm: clients that all come at once, wait for a sixth of the time that
// the server takes for all of them, give up and come again, all get in, and soon: the
// server works for those who are still there. Its work is a wait here, one after the
// other, so that the test does not depend on how busy the machine is.
func TestReconnectStorm(t *testing.T) {
	const (
		clients = 60
		work    = 50 * time.Millisecond // for each handshake
		timeout = clients * work / 6
		limit   = time.Minute
	)
	server, client := newTLS(t)
	certificate := server.Certificates[0]
	client.CurvePreferences = []tls.CurveID{tls.X25519} // the cheapest for so many clients on one machine
	var core sync.Mutex
	var handshakes atomic.Int64
	server.Certificates = nil
	server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		core.Lock()
		defer core.Unlock()
		handshakes.Add(1)
		time.Sleep(work)
		return &certificate, nil
	}
	d := openWith(t, &Gate{Handshakes: 1}, server)

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	var in, attempts atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				attempts.Add(1)
				trying, cancel := context.WithTimeout(ctx, timeout)
				conn, err := (&tls.Dialer{Config: client}).DialContext(trying, "tcp", d.Addr().String())
				cancel()
				if err == nil {
					in.Add(1)
					defer conn.Close()
					<-ctx.Done()
					return
				}
				select {
				case <-time.After(rand.N(timeout / 4)):
				case <-ctx.Done():
				}
			}
		})
	}
	for in.Load() < clients && ctx.Err() == nil {
		select {
		case conn := <-d.accepted:
			Of(conn).Proven()
			defer conn.Close()
		case <-ctx.Done():
		case <-time.After(work):
		}
	}
	took := time.Since(began)
	cancel()
	all.Wait()
	t.Logf("%d of %d clients were in after %v, with %d attempts and %d handshakes", in.Load(), clients, took,
		attempts.Load(), handshakes.Load())
	if in.Load() < clients {
		t.Errorf("%d of %d clients are not in after %v", clients-in.Load(), clients, limit)
	}
	if wasted := handshakes.Load() - in.Load(); wasted > clients {
		t.Errorf("%d handshakes were done for nobody", wasted)
	}
}
