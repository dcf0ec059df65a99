package mqtt

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"testing"
	"time"
)

// resting reports whether a connection goes on in a goroutine that it rests in.
func resting() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Contains(stacks, []byte("created by github.com/berth-iot/berth/wire/mqtt.(*Conn).continueReading"))
}

// halves lets what is written through it arrive in two halves while half is set.
type halves struct {
	net.Conn
	half bool
	rest []byte
}

func (h *halves) Write(b []byte) (int, error) {
	if !h.half {
		return h.Conn.Write(b)
	}
	h.rest = bytes.Clone(b[len(b)/2:])
	_, err := h.Conn.Write(b[:len(b)/2])
	return len(b), err
}

// A connection that has been silent for a while waits in a goroutine of its own, and
// nothing else about it changes: what came in part before is whole afterwards, and its
// time is over when it would have been.
func TestRest(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			backend := &echo{ended: make(chan error, 1)}
			address, config := startTLS(t,
				&Server{Backend: backend, RestAfter: 20 * time.Millisecond, MaxKeepAlive: 2 * time.Second})
			config.MinVersion, config.MaxVersion = version, version
			client := dial(t, address)
			cut := &halves{Conn: client.Conn}
			client.Conn = tls.Client(cut, config)
			client.send(connectPacket)
			client.expect(accepted)
			for range 2 {
				until(t, "the connection rests", resting)
				client.send(pingPacket)
				client.expect("\xd0\x00")
			}
			until(t, "the connection rests again", resting)
			cut.half = true
			client.send(publishQoS1)
			cut.half = false
			time.Sleep(100 * time.Millisecond) // rests with a part of a record
			if _, err := cut.Write(cut.rest); err != nil {
				t.Fatal(err)
			}
			client.expect("\x40\x02\x00\x07" + "\x30\x0a\x00\x06echo/tok")
			sent := time.Now()
			client.expectEnd()
			if reason := <-backend.ended; !errors.Is(reason, ErrKeepAlive) {
				t.Errorf("the session ended with %v", reason)
			}
			if silent := time.Since(sent); silent < 1900*time.Millisecond || silent > 10*time.Second {
				t.Errorf("the connection ended after %v of silence", silent)
			}
		})
	}
}

// A server that shuts down does not forget those that rest.
func TestRestAtShutdown(t *testing.T) {
	backend := &echo{ended: make(chan error, 1)}
	server := &Server{Backend: backend, RestAfter: 10 * time.Millisecond}
	client := dial(t, start(t, server))
	client.send(connectPacket)
	client.expect(accepted)
	until(t, "the connection rests", resting)
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case reason := <-backend.ended:
		if !errors.Is(reason, ErrShutdown) {
			t.Errorf("the session ended with %v", reason)
		}
	default:
		t.Error("Shutdown returned before the session's end")
	}
	if got := server.Stats().Connections; got != 0 {
		t.Errorf("%d connections are counted", got)
	}
}
