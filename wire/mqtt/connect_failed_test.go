package mqtt

import (
	"errors"
	"io"
	"testing"
	"time"
)

// observer is a backend that is told of the clients that it is not asked about.
type observer struct {
	echo
	failures chan observed
}

type observed struct {
	connect *Connect
	err     error
}

func (o *observer) ConnectFailed(_ Peer, connect *Connect, err error) {
	o.failures <- observed{connect, err}
}

// Each client that does not get as far as Open is told of once, with who it is where
// that can be read; others are not.
func TestConnectFailed(t *testing.T) {
	backend := &observer{failures: make(chan observed, 10)}
	address := start(t, &Server{Backend: backend, ConnectTimeout: 500 * time.Millisecond})
	for _, c := range []struct {
		name, send, answer, clientID string
		want                         func(error) bool
	}{
		{"MQTT 5", "\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03dev", badVersion, "dev", isVersion},
		{"MQTT 3.1", "\x10\x11\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03dev", badVersion, "dev", isVersion},
		{"no client id", "\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00", "\x20\x02\x00\x02", "", is(ErrProtocol)},
		{"a password alone", "\x10\x11\x00\x04MQTT\x04\x42\x00\x3c\x00\x03dev\x00\x00", "", "dev", is(ErrProtocol)},
		{"a wrong name", "\x10\x0f\x00\x04MQTU\x04\x02\x00\x3c\x00\x03dev", "", "", is(ErrProtocol)},
		{"a CONNECT that is too large", "\x10\xff\xff\xff\x7f", "", "", is(ErrPacketTooLarge)},
		{"PUBLISH first", publishQoS0, "", "", isFirst(publishQoS0)},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "", "", isFirst("GET / HT")},
		{"a byte", "A", "", "", isFirst("A")},
		{"AMQP", "AMQP\x03\x01\x00\x00", "", "", isFirst("AMQP\x03\x01\x00\x00")},
		{"silence", "", "", "", is(ErrConnectTimeout)},
		{"half of a CONNECT", connectPacket[:9], "", "", is(ErrConnectTimeout)},
	} {
		client := dial(t, address)
		client.send(c.send)
		client.expect(c.answer)
		client.expectEnd()
		failure := <-backend.failures
		if !c.want(failure.err) {
			t.Errorf("%s: told of %v", c.name, failure.err)
		}
		if got := failure.connect; got == nil && c.clientID != "" || got != nil && got.ClientID != c.clientID {
			t.Errorf("%s: the client is %+v, want %q", c.name, got, c.clientID)
		}
	}
	gone := dial(t, address)
	gone.Close()
	if failure := <-backend.failures; failure.err != io.EOF || failure.connect != nil {
		t.Errorf("a client that goes without a word: told of %+v", failure)
	}
	for name, packet := range map[string]string{
		"accepted": connectPacket, "refused by the backend": "\x10\x14\x00\x04MQTT\x04\x02\x00\x3c\x00\x08stranger",
	} {
		client := dial(t, address)
		client.send(packet)
		client.expect("\x20\x02\x00")
		client.Close()
		if len(backend.failures) > 0 {
			t.Errorf("%s: told of %+v", name, <-backend.failures)
		}
	}
}

func is(want error) func(error) bool {
	return func(err error) bool { return errors.Is(err, want) && !isVersion(err) }
}

func isVersion(err error) bool { return errors.As(err, new(*VersionError)) }

func isFirst(bytes string) func(error) bool {
	return func(err error) bool {
		var first *FirstBytesError
		return errors.As(err, &first) && string(first.Bytes) == bytes && errors.Is(err, ErrProtocol)
	}
}

// A server that shuts down does not blame the clients that it cuts off.
func TestShutdownIsNoFailureOfClients(t *testing.T) {
	backend := &observer{failures: make(chan observed, 10)}
	server := &Server{Backend: backend}
	client := dial(t, start(t, server))
	client.send("\x10")
	until(t, "it has begun", func() bool { return server.Stats().BytesIn == 1 })
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	client.expectEnd()
	if len(backend.failures) > 0 {
		t.Errorf("told of %+v", <-backend.failures)
	}
}
