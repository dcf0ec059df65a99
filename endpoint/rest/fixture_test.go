package rest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/endpoint/own"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// newFixture is the door of a server: Azure's operations, and Berth's own, which people
// use beside them.
func newFixture(t testing.TB, configure ...func(*provisioning.Config)) *httpstest.Fixture {
	t.Helper()
	return httpstest.New(t, allOperations, configure...)
}

func allOperations(f *httpstest.Fixture) []https.Operation {
	dps := f.Config.Provisioning
	return slices.Concat(
		Operations(Config{Provisioning: dps, Issuer: f.Issuer, Audit: f.Config.Audit}),
		own.Operations(own.Config{Provisioning: dps, Issuer: f.Issuer, Audit: f.Config.Audit, Records: f.Records,
			LoginLink: func(_ context.Context, role string) (credential.LoginLink, error) {
				return credential.LoginLink{URL: "http://127.0.0.1/", HTTPSURL: "https://dps.local/", Role: role,
					Expires: time.Now()}, nil
			},
			CreateHub: func(context.Context, string, string) (linkedhub.Link, error) {
				return dps.Links().Get("hub.local")
			},
			PoliciesChanged: func() {}}))
}
