package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/berth-iot/berth/provisioning"
)

const (
	webhookTime   = 5 * time.Second // for one call, as Azure allows
	webhookAnswer = 256 << 10       // bytes
)

// webhook calls the operator's web services by HTTP.
type webhook struct{ client http.Client }

var _ provisioning.Webhook = (*webhook)(nil)

func newWebhook() *webhook {
	return &webhook{http.Client{
		Timeout: webhookTime,
		// A redirect could lead where the operator never pointed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Call implements provisioning.Webhook.
func (w *webhook) Call(ctx context.Context, address string, body []byte) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	response, err := w.client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("call the webhook: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, webhookAnswer+1))
	if err == nil && len(answer) > webhookAnswer {
		err = errors.New("the webhook's answer is larger than 256 KiB")
	}
	return response.StatusCode, answer, err
}
