package own

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/endpoint/rest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// policiesChanged counts how often the server was told that policies have changed.
var policiesChanged atomic.Int64

// newFixture is the door with Berth's own operations, and with Azure's, which make what
// these are about.
func newFixture(t testing.TB) *httpstest.Fixture {
	t.Helper()
	return httpstest.New(t, func(f *httpstest.Fixture) []https.Operation {
		dps, issuer, changes := f.Config.Provisioning, f.Issuer, f.Config.Audit
		return slices.Concat(
			rest.Operations(rest.Config{Provisioning: dps, Issuer: issuer, Audit: changes}),
			Operations(Config{Provisioning: dps, Issuer: issuer, Audit: changes, Records: f.Records,
				LoginLink: func(_ context.Context, role string) (credential.LoginLink, error) {
					if role != "operator" && role != "reader" {
						return credential.LoginLink{}, fault.New(fault.ArgumentInvalid, "there is no role %q", role)
					}
					return credential.LoginLink{URL: "http://127.0.0.1/", Role: role, Expires: time.Now()}, nil
				},
				CreateHub: func(context.Context, string, string) (linkedhub.Link, error) {
					return dps.Links().Get("hub.local")
				},
				PoliciesChanged: func() { policiesChanged.Add(1) }}))
	})
}
