package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/identity"
)

// InvokeMethod calls a direct method of a device or module, whose id is as identity.ModuleKey
// has it, and waits for its answer. The faults are
// 404103 when the device is not online, 404104 when it goes before it answers, and 504101
// when it does not answer in time.
func (h *Hub) InvokeMethod(
	ctx context.Context, id string, call contract.MethodCall,
) (answer contract.MethodAnswer, err error) {
	path := contract.MethodsPath.With(id)
	if deviceID, moduleID := identity.SplitKey(id); moduleID != "" {
		path = contract.ModuleMethodsPath.With(deviceID, moduleID)
	}
	err = h.do(ctx, request{method: http.MethodPost, path: path, body: call, into: &answer,
		maxAnswer: maxMethodAnswer})
	return answer, err
}

// maxMethodAnswer is the size of the largest answer in bytes: 128 KiB of payload, and the
// rest.
const maxMethodAnswer = 256 << 10
