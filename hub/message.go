package hub

import (
	"bytes"
	"context"
	"slices"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// SendMessage puts a message into the queue of a device, and returns when it is durable. A
// device that is connected and has subscribed gets it at once, another when it comes. It
// returns fault 404001, and those of c2d.Messages.PrepareSend.
func (h *Hub) SendMessage(ctx context.Context, deviceID string, out c2d.Outgoing) (c2d.Receipt, error) {
	var to c2d.Recipient
	receipt, err := store.RetryOnConflict(ctx, func() (c2d.Receipt, error) {
		device, err := h.registry.Get(ctx, deviceID)
		if err != nil {
			return c2d.Receipt{}, err
		}
		out.System = withAddress(out.System, deviceID)
		to = c2d.Recipient{DeviceID: deviceID, Generation: device.GenerationID}
		changes, receipt, err := h.messages.PrepareSend(ctx, to, out)
		if err != nil {
			return c2d.Receipt{}, err
		}
		_, err = h.config.Documents.Commit(ctx, append(changes, h.registry.Unchanged(device))...)
		return receipt, err
	})
	if err == nil {
		h.connections.NotifyMessages(ctx, deviceID, to.Generation)
	}
	return receipt, err
}

// PurgeMessages removes all messages from the queue of a device and returns how many there
// were. It returns fault 404001.
func (h *Hub) PurgeMessages(ctx context.Context, deviceID string) (int, error) {
	device, err := h.registry.Get(ctx, deviceID)
	if err != nil {
		return 0, err
	}
	return h.messages.Purge(ctx, c2d.Recipient{DeviceID: deviceID, Generation: device.GenerationID})
}

// withAddress names the device as to whom the message is, after what else there is.
func withAddress(system []message.Property, deviceID string) []message.Property {
	to := contract.To.Bytes()
	others := slices.DeleteFunc(slices.Clone(system), func(p message.Property) bool { return bytes.Equal(p.Name, to) })
	address := message.Property{Name: to, Value: []byte(contract.DeviceboundAddress(deviceID))}
	return append([]message.Property{address}, others...)
}
