package hub

import (
	"context"
	"time"

	"github.com/berth-iot/berth/contract"
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

// CallOf returns a call as back ends describe it. Of a time that is left out or null the
// default holds.
func CallOf(body contract.MethodCall) method.Call {
	call := method.Call{Name: body.MethodName, Payload: body.Payload, ConnectTimeout: seconds(body.ConnectTimeout),
		ResponseTimeout: method.DefaultResponseTimeout}
	for _, given := range []*int{body.Timeout, body.ResponseTimeout} {
		if given != nil {
			call.ResponseTimeout = seconds(given)
		}
	}
	return call
}

// maxSeconds is beyond all limits, and no overflow.
const maxSeconds = 1 << 30

func seconds(n *int) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(max(-maxSeconds, min(*n, maxSeconds))) * time.Second
}
