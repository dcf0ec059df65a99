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

// SendMessage puts a message into the queue of a device or module, and returns when it is
// durable. One that is connected and has subscribed gets it at once, another when it comes.
// It returns the faults 404001 and 404010, and those of c2d.Messages.PrepareSend.
func (h *Hub) SendMessage(ctx context.Context, id string, out c2d.Outgoing) (c2d.Receipt, error) {
	var to c2d.Recipient
	prepared, err := store.RetryOnConflict(ctx, func() (c2d.Prepared, error) {
		device, err := h.registry.Principal(ctx, id)
		if err != nil {
			return c2d.Prepared{}, err
		}
		out.System = withAddress(out.System, id)
		to = c2d.Recipient{DeviceID: id, Generation: device.GenerationID}
		prepared, err := h.messages.PrepareSend(ctx, to, out)
		if err != nil {
			return c2d.Prepared{}, err
		}
		_, err = h.config.Documents.Commit(ctx, append(prepared.Changes, h.registry.Unchanged(device))...)
		return prepared, err
	})
	if err != nil {
		return c2d.Receipt{}, err
	}
	prepared.Committed()
	h.connections.NotifyMessages(ctx, id, to.Generation)
	return prepared.Receipt, nil
}

// PurgeMessages removes all messages from the queue of a device or module and returns how
// many there were. It returns the faults 404001 and 404010.
func (h *Hub) PurgeMessages(ctx context.Context, id string) (int, error) {
	device, err := h.registry.Principal(ctx, id)
	if err != nil {
		return 0, err
	}
	return h.messages.Purge(ctx, c2d.Recipient{DeviceID: id, Generation: device.GenerationID})
}

// withAddress names the device or module as to whom the message is, before what else there
// is.
func withAddress(system []message.Property, id string) []message.Property {
	to := contract.To.Bytes()
	others := slices.DeleteFunc(slices.Clone(system), func(p message.Property) bool { return bytes.Equal(p.Name, to) })
	address := message.Property{Name: to, Value: []byte(contract.DeviceboundAddress(id))}
	return append([]message.Property{address}, others...)
}
