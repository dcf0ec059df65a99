//go:build !race

package connection_test

import (
	"testing"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
)

// The race detector makes pools forget, so this runs without it.

func TestSendAllocatesNothing(t *testing.T) {
	h := newFixture(t)
	h.discardTelemetry()
	session, _ := h.Connect(h.Create(identity.Device{DeviceID: "d"}), false)
	m := &message.Message{
		System:     []message.Property{{Name: []byte("message-id"), Value: []byte("1")}},
		Properties: []message.Property{{Name: []byte("a"), Value: []byte("b")}},
		Payload:    make([]byte, 256),
	}
	done := new(counting)
	if n := testing.AllocsPerRun(1000, func() {
		if err := session.Send(m, done, 1); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a message", n)
	}
}
