package backend

import (
	"context"
	"net/http"
	"strconv"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning"
)

// Attempt returns one attempt by its sequence, with all that its judgement depended
// on.
func (p *Provisioning) Attempt(ctx context.Context, sequence int64) (attempt attest.Attempt, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.AttemptPath.With(strconv.FormatInt(sequence, 10)),
		into: &attempt})
	return attempt, err
}

// CheckChain judges a chain of certificates (PEM, the device's own first) as if a
// device came with it now. registrationID may be "" for the common name.
func (p *Provisioning) CheckChain(ctx context.Context, chain []byte,
	registrationID string) (decision provisioning.Decision, err error) {
	body := map[string]string{"certificates": string(chain), "registrationId": registrationID}
	err = p.do(ctx, request{method: http.MethodPost, path: contract.CheckChainPath, body: body, into: &decision})
	return decision, err
}
