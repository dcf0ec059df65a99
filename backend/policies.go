package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/contract"
)

// Host returns the host name of the service.
func (p *Provisioning) Host() string { return p.connection.HostName }

// Policies returns the shared access policies of the service, with their keys.
func (p *Provisioning) Policies(ctx context.Context) (policies []access.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.AccessPoliciesPath, into: &policies})
	return policies, err
}

// Policy returns a shared access policy with its keys.
func (p *Provisioning) Policy(ctx context.Context, name string) (policy access.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.AccessPolicyPath.With(name), into: &policy})
	return policy, err
}

// CreatePolicy makes a shared access policy with these rights and fresh keys.
func (p *Provisioning) CreatePolicy(ctx context.Context, name string,
	rights []string) (policy access.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.AccessPoliciesPath,
		body: map[string]any{"keyName": name, "rights": rights}, into: &policy})
	return policy, err
}

// SetPolicyRights gives a policy these rights in place of those it has, under the
// condition ifMatch.
func (p *Provisioning) SetPolicyRights(ctx context.Context, name string, rights []string,
	ifMatch string) (policy access.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: contract.AccessPolicyPath.With(name), ifMatch: ifMatch,
		body: map[string]any{"rights": rights}, into: &policy})
	return policy, err
}

// RegeneratePolicyKey makes the primary or secondary key of a policy anew.
func (p *Provisioning) RegeneratePolicyKey(ctx context.Context, name, key,
	ifMatch string) (policy access.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.AccessPolicyKeyPath.With(name), ifMatch: ifMatch,
		body: map[string]string{"key": key}, into: &policy})
	return policy, err
}

// DeletePolicy removes a policy under the condition ifMatch.
func (p *Provisioning) DeletePolicy(ctx context.Context, name, ifMatch string) error {
	return p.do(ctx, request{method: http.MethodDelete, path: contract.AccessPolicyPath.With(name), ifMatch: ifMatch})
}
