package connection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/method"
)

// Downlink is how the hub reaches a connected device; the device's connection
// implements it. Its methods return quickly, may be called from any goroutine,
// and may be called while OpenSession is still under way.
type Downlink interface {
	// Desired hands over new desired properties: a patch with its $version.
	Desired(version int64, patch json.RawMessage)
	// Messages says that there are messages to receive.
	Messages()
	// Call hands over a call of a method, which the device answers under this id
	// (Session.AnswerMethod). The error is method.ErrNoReceiver, or says why the device
	// can't be handed one more.
	Call(requestID, name string, payload []byte) error
	// Close ends the connection.
	Close(reason error)
}

// downlinkRequest is what a node asks of the one that holds a device.
type downlinkRequest struct {
	Revalidate bool            `json:"revalidate,omitempty"` // may the device go on? Else these are desired properties
	Messages   bool            `json:"messages,omitempty"`   // there are some to receive
	Call       *method.Request `json:"call,omitempty"`       // is answered with a method.Receipt
	Generation string          `json:"generation,omitempty"` // of the identity that this is for
	Version    int64           `json:"version,omitempty"`
	Desired    json.RawMessage `json:"desired,omitempty"`
}

func (r downlinkRequest) encode() []byte {
	encoded, err := document.Marshal(r)
	if err != nil {
		panic("hub: " + err.Error()) // Desired was JSON when it came in
	}
	return encoded
}

// Handle implements cluster.Server: another part of the hub, here or on another
// node, wants something of the device.
func (s *Session) Handle(ctx context.Context, request []byte) ([]byte, error) {
	var wanted downlinkRequest
	if err := json.Unmarshal(request, &wanted); err != nil {
		return nil, fmt.Errorf("a request to the device %q: %w", s.deviceID, err)
	}
	if wanted.Call != nil {
		return []byte(s.call(*wanted.Call, wanted.Generation)), nil
	}
	switch {
	case wanted.Revalidate:
		s.revalidate(ctx)
	case s.check() == nil && (wanted.Generation == "" || wanted.Generation == s.generation):
		if wanted.Messages {
			s.down.Messages()
		} else {
			s.down.Desired(wanted.Version, wanted.Desired)
		}
	}
	return nil, nil
}

// LockDesired keeps what a device is told in the order of its twin's versions: who changes
// desired properties on this node holds it from before the change until NotifyDesired has
// returned.
func (c *Connections) LockDesired(id string) (unlock func()) { return c.notices.lock(id) }

// LockDesiredOf is LockDesired for several devices or modules at once.
func (c *Connections) LockDesiredOf(ids ...string) (unlock func()) { return c.notices.lockAll(ids) }

// NotifyDesired sends new desired properties to the device of this generation if it is
// connected. The change is durable whether or not this succeeds: the device reads its twin
// when it connects.
func (c *Connections) NotifyDesired(
	ctx context.Context, id, generation string, version int64, notice json.RawMessage,
) {
	_, err := c.config.Bus.Request(ctx, c.subject(id),
		downlinkRequest{Generation: generation, Version: version, Desired: notice}.encode())
	if err != nil && !errors.Is(err, cluster.ErrNobody) {
		c.config.Logger.Warn("a device was not told of its desired properties", "hub", c.config.Hub, "device", id,
			"error", err)
	}
}
