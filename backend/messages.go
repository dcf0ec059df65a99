package backend

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/identity"
)

// SendMessage puts a message into the queue of a device or module, whose id is as
// identity.ModuleKey has it. It is durable when this returns.
func (h *Hub) SendMessage(ctx context.Context, id string,
	message contract.DeviceMessage) (sent contract.SentMessage, err error) {
	path := contract.DeviceMessagePath.With(id)
	if deviceID, moduleID := identity.SplitKey(id); moduleID != "" {
		path = contract.ModuleMessagePath.With(deviceID, moduleID)
	}
	err = h.do(ctx, request{method: http.MethodPost, path: path, body: message, into: &sent})
	return sent, err
}

// PurgeMessages removes all messages from the queue of a device or module and returns how
// many there were.
func (h *Hub) PurgeMessages(ctx context.Context, id string) (int, error) {
	path := contract.DeviceQueuePath.With(id)
	if deviceID, moduleID := identity.SplitKey(id); moduleID != "" {
		path = contract.ModuleMessagePath.With(deviceID, moduleID)
	}
	var result contract.PurgeResult
	err := h.do(ctx, request{method: http.MethodDelete, path: path, into: &result})
	return result.Purged, err
}

// FeedbackBatch is feedback that was received and not settled yet.
type FeedbackBatch struct {
	LockToken string
	Records   []contract.Feedback
}

// ReceiveFeedback returns some of the feedback on messages to devices, no records when
// there is none. Until it is completed, or the lock's time is over, nobody else gets it.
func (h *Hub) ReceiveFeedback(ctx context.Context) (batch FeedbackBatch, err error) {
	response, err := h.send(ctx, request{method: http.MethodGet, path: contract.FeedbackPath})
	if err != nil {
		return batch, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNoContent {
		return batch, nil
	}
	batch.LockToken = strings.Trim(response.Header.Get("ETag"), `"`)
	err = json.NewDecoder(http.MaxBytesReader(nil, response.Body, maxDocument)).Decode(&batch.Records)
	return batch, err
}

// CompleteFeedback removes feedback that was received.
func (h *Hub) CompleteFeedback(ctx context.Context, lockToken string) error {
	return h.do(ctx, request{method: http.MethodDelete, path: contract.FeedbackLockPath.With(lockToken)})
}
