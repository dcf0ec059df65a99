package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
)

// InvokeMethod calls a direct method of a device and waits for its answer. The faults are
// 404103 when the device is not online, 404104 when it goes before it answers, and 504101
// when it does not answer in time.
func (h *Hub) InvokeMethod(
	ctx context.Context, deviceID string, call contract.MethodCall,
) (answer contract.MethodAnswer, err error) {
	err = h.do(ctx, request{method: http.MethodPost, path: contract.MethodsPath.With(deviceID), body: call, into: &answer,
		maxAnswer: maxMethodAnswer})
	return answer, err
}

// maxMethodAnswer is the size of the largest answer in bytes: 128 KiB of payload, and the
// rest.
const maxMethodAnswer = 256 << 10
