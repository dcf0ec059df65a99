package own

import (
	"slices"
	"testing"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/endpoint/rest"
)

// newFixture is the door with Berth's own operations, and with Azure's, which make what
// these are about.
func newFixture(t testing.TB) *httpstest.Fixture {
	t.Helper()
	return httpstest.New(t, func(f *httpstest.Fixture) []https.Operation {
		dps, issuer, changes := f.Config.Provisioning, f.Issuer, f.Config.Audit
		return slices.Concat(
			rest.Operations(rest.Config{Provisioning: dps, Issuer: issuer, Audit: changes}),
			Operations(Config{Provisioning: dps, Issuer: issuer, Audit: changes, Records: f.Records}))
	})
}
