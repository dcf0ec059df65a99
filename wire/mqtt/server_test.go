package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func (r raw) expect(want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		r.t.Fatalf("read %x, error %v; want %x", got[:n], err, want)
	}
}

func (r raw) expectEnd() {
	r.t.Helper()
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		r.t.Fatalf("read %x, error %v; want the end of the connection", rest, err)
	}
}

const (
	accepted   = "\x20\x02\x00\x00"
	refused    = "\x20\x02\x00\x05"
	badVersion = "\x20\x02\x00\x01"
)

func TestServer(t *testing.T) {
	backend := &echo{ended: make(chan error, 1)}
	client := dial(t, start(t, &Server{Backend: backend}))
	client.send(connectPacket)
	client.expect(accepted)
	client.send(subscribePacket)
	client.expect("\x90\x03\x00\x05\x01")
	client.send(publishQoS1) // PUBACK comes before what the message gave rise to
	client.expect("\x40\x02\x00\x07" + "\x32\x0c\x00\x06echo/t\x00\x01ok")
	client.send("\x40\x02\x00\x01", pingPacket, "\xa2\x07\x00\x06\x00\x03a/b")
	client.expect("\xd0\x00" + "\xb0\x02\x00\x06")
	client.send(disconnectPacket)
	client.expectEnd()
	if reason := <-backend.ended; reason != nil {
		t.Errorf("the session ended with %v, want nil after DISCONNECT", reason)
	}
}

func TestPacketsInAnyPieces(t *testing.T) {
	address := start(t, &Server{Backend: &echo{}})
	all := connectPacket + subscribePacket + publishQoS1 + pingPacket + disconnectPacket
	answer := accepted + "\x90\x03\x00\x05\x01" + "\x40\x02\x00\x07" + "\x32\x0c\x00\x06echo/t\x00\x01ok" + "\xd0\x00"
	for _, size := range []int{1, 2, 3, 7, len(all)} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			client := dial(t, address)
			for rest := all; rest != ""; rest = rest[min(size, len(rest)):] {
				client.send(rest[:min(size, len(rest))])
			}
			client.expect(answer)
			client.expectEnd()
		})
	}
}

func TestConnectionEnds(t *testing.T) {
	large := "\x30\xff\xff\xff\x7f\x00\x01t"
	for _, c := range []struct {
		name, send, answer string
		reason             error
	}{
		{"second CONNECT", connectPacket + connectPacket, accepted, ErrProtocol},
		{"QoS 2", connectPacket + "\x34\x07\x00\x01t\x00\x07ok", accepted, ErrQoS2},
		{"too large", connectPacket + large, accepted, ErrPacketTooLarge},
		{"a packet for clients", connectPacket + "\xd0\x00", accepted, ErrProtocol},
		{"type 0", connectPacket + "\x00\x00", accepted, ErrProtocol},
		{"type 15", connectPacket + "\xf0\x00", accepted, ErrProtocol},
		{"empty SUBSCRIBE", connectPacket + "\x82\x02\x00\x05", accepted, ErrProtocol},
		{"publish to a wildcard", connectPacket + "\x30\x05\x00\x03a/#", accepted, ErrProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			backend := &echo{ended: make(chan error, 1)}
			client := dial(t, start(t, &Server{Backend: backend}))
			client.send(c.send)
			client.expect(c.answer)
			client.expectEnd()
			if reason := <-backend.ended; !errors.Is(reason, c.reason) {
				t.Errorf("the session ended with %v, want %v", reason, c.reason)
			}
		})
	}
	for _, c := range []struct{ name, send, answer string }{
		{"refused", "\x10\x14\x00\x04MQTT\x04\x02\x00\x3c\x00\x08stranger", refused},
		{"MQTT 5", "\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03dev", badVersion},
		{"publish before CONNECT", publishQoS0, ""},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", ""},
		{"CONNECT of 200 MB", "\x10\xff\xff\xff\x7f", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dial(t, start(t, &Server{Backend: &echo{}}))
			client.send(c.send)
			client.expect(c.answer)
			client.expectEnd()
		})
	}
}

func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name, send string
		server     *Server
		reason     error
	}{
		{"a packet that is never finished", connectPacket + publishQoS1[:5],
			&Server{PacketTimeout: 50 * time.Millisecond}, ErrPacketTimeout},
		{"silence", connectPacket, &Server{MaxKeepAlive: 50 * time.Millisecond}, ErrKeepAlive},
	} {
		t.Run(c.name, func(t *testing.T) {
			backend := &echo{ended: make(chan error, 1)}
			c.server.Backend = backend
			client := dial(t, start(t, c.server))
			client.send(c.send)
			client.expect(accepted)
			client.expectEnd()
			if reason := <-backend.ended; !errors.Is(reason, c.reason) {
				t.Errorf("the session ended with %v, want %v", reason, c.reason)
			}
		})
	}
	t.Run("CONNECT that never comes", func(t *testing.T) {
		client := dial(t, start(t, &Server{Backend: &echo{}, ConnectTimeout: 50 * time.Millisecond}))
		client.expectEnd()
	})
	t.Run("CONNECT that comes a byte at a time, for ever", func(t *testing.T) {
		client := dial(t, start(t, &Server{Backend: &echo{}, ConnectTimeout: 200 * time.Millisecond}))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			client.expectEnd()
		}()
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for rest := connectPacket; ; {
			select {
			case <-ended:
				return
			case <-ticker.C:
				if len(rest) > 1 { // the last byte never comes
					client.Write([]byte(rest[:1]))
					rest = rest[1:]
				}
			}
		}
	})
}

// Two thousand connections that say nothing do not keep out one that talks, and
// are gone when their time is over.
func TestSilentConnections(t *testing.T) {
	server := &Server{Backend: &echo{}, ConnectTimeout: 3 * time.Second}
	address := start(t, server)
	var silent []raw
	for range 2000 {
		silent = append(silent, dial(t, address))
	}
	client := dial(t, address)
	client.send(connectPacket)
	client.expect(accepted)
	for _, connection := range silent {
		connection.expectEnd()
	}
	client.send(pingPacket)
	client.expect("\xd0\x00")
}

func TestClientStopsReading(t *testing.T) {
	backend := &echo{ended: make(chan error, 1)}
	client := dial(t,
		start(t,
			&Server{Backend: backend, WriteTimeout: 100 * time.Millisecond, MaxOutbound: 1 << 20,
				MaxPacketSize: 1 << 20}))
	client.send(connectPacket)
	client.expect(accepted)
	payload := strings.Repeat("x", 64<<10)
	message := string(appendPublish(nil, "t", []byte(payload), 0, false, false, 0))
	for {
		if _, err := client.Write([]byte(message)); err != nil {
			break
		}
	}
	if reason := <-backend.ended; reason == nil {
		t.Error("the session ended as if by DISCONNECT")
	}
}

func TestBackpressureUnacknowledged(t *testing.T) {
	backend := &echo{hold: true}
	client := dial(t, start(t, &Server{Backend: backend, MaxInFlight: 4}))
	client.send(connectPacket)
	client.expect(accepted)
	var want string
	for id := uint16(1); id <= 8; id++ {
		client.send(string(appendPublish(nil, "quiet", nil, 1, false, false, id)))
		want += string(appendPuback(nil, id))
	}
	// The backend gets four and no more until some are acknowledged; they are,
	// in another order than they came.
	for acknowledged := 0; acknowledged < 8; {
		backend.mutex.Lock()
		held, conn := backend.held, backend.conns["dev"]
		if len(held) > 4 {
			t.Errorf("%d messages are with the backend", len(held))
		}
		if len(held) == 4 {
			backend.held = nil
		}
		backend.mutex.Unlock()
		if len(held) == 4 {
			for _, i := range []int{2, 0, 3, 1} {
				conn.Acknowledge(held[i])
				acknowledged++
			}
		}
	}
	client.expect(want)
}

func TestASecondConnectionReplacesTheFirst(t *testing.T) {
	backend := &echo{ended: make(chan error, 2)}
	address := start(t, &Server{Backend: backend})
	first, second := dial(t, address), dial(t, address)
	first.send(connectPacket)
	first.expect(accepted)
	second.send(connectPacket)
	second.expect(accepted)
	first.expectEnd()
	if reason := <-backend.ended; !errors.Is(reason, ErrReplaced) {
		t.Errorf("the first ended with %v", reason)
	}
	second.send(pingPacket)
	second.expect("\xd0\x00")
}

// What was taken before the server shuts down is acknowledged.
func TestShutdownOwesAcknowledgements(t *testing.T) {
	backend := &echo{hold: true, ended: make(chan error, 1)}
	server := &Server{Backend: backend}
	client := dial(t, start(t, server))
	client.send(connectPacket)
	client.expect(accepted)
	client.send(string(appendPublish(nil, "quiet", nil, 1, false, false, 9)))
	var conn *Conn
	for conn == nil {
		backend.mutex.Lock()
		if len(backend.held) == 1 {
			conn = backend.conns["dev"]
		}
		backend.mutex.Unlock()
	}
	done := make(chan error, 1)
	go func() { done <- server.Shutdown(context.Background()) }()
	for closing := false; !closing; {
		conn.mutex.Lock()
		closing = conn.closing
		conn.mutex.Unlock()
	}
	conn.Acknowledge(9)
	client.expect("\x40\x02\x00\x09")
	client.expectEnd()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if reason := <-backend.ended; !errors.Is(reason, ErrShutdown) {
		t.Errorf("the session ended with %v", reason)
	}
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	backend := &echo{hold: true}
	server := &Server{Backend: backend}
	client := dial(t, start(t, server))
	client.send(connectPacket)
	client.expect(accepted)
	client.send(string(appendPublish(nil, "quiet", nil, 1, false, false, 9)), pingPacket)
	client.expect("\xd0\x00")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown answers %v", err)
	}
}

// The client side, with many goroutines publishing at once.
func TestClient(t *testing.T) {
	address := start(t, &Server{Backend: &echo{}})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var echoes sync.WaitGroup
	client, _, err := NewClient(ctx, conn, &Connect{ClientID: "many", CleanSession: true, KeepAlive: 60},
		func(topic string, payload []byte) {
			if topic != "echo/"+string(payload) {
				t.Errorf("%s came back with %s", topic, payload)
			}
			echoes.Done()
		})
	if err != nil {
		t.Fatal(err)
	}
	codes, err := client.Subscribe(ctx, Subscription{"echo/+", 2}, Subscription{"#", 0})
	if err != nil || !bytes.Equal(codes, []byte{1, Refused}) {
		t.Fatalf("granted %v, error %v", codes, err)
	}
	var acknowledged sync.WaitGroup
	for i := range 10 {
		for j := range 50 {
			acknowledged.Add(1)
			echoes.Add(1)
			topic := fmt.Sprintf("%d-%d", i, j)
			go func() {
				if err := client.Publish(topic, []byte(topic), 1, func(err error) {
					if err != nil {
						t.Error(err)
					}
					acknowledged.Done()
				}); err != nil {
					t.Error(err)
				}
			}()
		}
	}
	acknowledged.Wait()
	echoes.Wait()
	if err := client.Disconnect(); err != nil {
		t.Error(err)
	}
	if err := client.Publish("t", nil, 0, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("publishing afterwards answers %v", err)
	}

	conn, err = net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var refusal *RefusedError
	if _, _, err := NewClient(ctx, conn, &Connect{ClientID: "stranger", CleanSession: true}, nil); !errors.As(err,
		&refusal) || refusal.Code != NotAuthorized {
		t.Errorf("a stranger is told %v", err)
	}
}

// FuzzConnection sends bytes to a served connection: it must end, and leave
// nothing behind.
func FuzzConnection(f *testing.F) {
	for _, c := range packets {
		f.Add([]byte(connectPacket + c.bytes + disconnectPacket))
	}
	server := &Server{Backend: &echo{}, PacketTimeout: time.Second, ConnectTimeout: time.Second}
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			server.ServeConn(there, Peer{RemoteAddr: there.RemoteAddr()})
		}()
		go io.Copy(io.Discard, here)
		here.SetWriteDeadline(time.Now().Add(5 * time.Second))
		here.Write(b)
		here.Close()
		<-ended
	})
}
