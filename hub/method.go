package hub

import (
	"context"

	"github.com/berth-iot/berth/hub/method"
)

// InvokeMethod calls a method of a device or module, to whichever node it is connected, and
// waits for its answer. It returns the faults 404001 and 404010, and those of
// method.Methods.Invoke.
func (h *Hub) InvokeMethod(ctx context.Context, id string, call method.Call) (method.Answer, error) {
	device, err := h.registry.Principal(ctx, id)
	if err != nil {
		return method.Answer{}, err
	}
	return h.connections.InvokeMethod(ctx, id, device.GenerationID, call)
}
