package own

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/endpoint/rest"
)

// withoutConditions are the operations that go by no If-Match, with why.
var withoutConditions = map[string]string{
	"POST /enrollments":                                                 "each item has its own etag",
	"POST /enrollments/query":                                           "reads",
	"POST /enrollments/{id}/attestationmechanism":                       "reads",
	"POST /enrollmentGroups":                                            "each item has its own etag",
	"POST /enrollmentGroups/query":                                      "reads",
	"POST /enrollmentGroups/{id}/attestationmechanism":                  "reads",
	"POST /registrations/{id}/query":                                    "reads",
	"POST /devices":                                                     "each item has its own etag",
	"POST /jobs/create":                                                 "makes a job, which has no ETag before",
	"POST /devices/query":                                               "reads",
	"POST /devices/keys/regenerate":                                     "is about several devices",
	"POST /twins/{id}/methods":                                          "changes nothing here",
	"POST /twins/{id}/modules/{module}/methods":                         "changes nothing here",
	"POST /configurations/testQueries":                                  "reads",
	"PUT /berth/hub/twinindexes/{name}":                                 "an index is there or not",
	"DELETE /berth/hub/twinindexes/{name}":                              "likewise",
	"DELETE /registrations/{id}":                                        "needs a device: see package provisioning",
	"POST /digitaltwins/{id}/commands/{command}":                        "changes nothing here",
	"POST /digitaltwins/{id}/components/{component}/commands/{command}": "changes nothing here",
}

// conditionsOf are what an operation is tried on, where that is there.
var conditionsOf = strings.NewReplacer("{id}", "thing", "{module}", "thing", "{name}", "thing", "{host}", "hub.local",
	"{prefix}", url.PathEscape("192.0.2.0/24"), "{source}", "192.0.2.1", "{thumbprint}", strings.Repeat("AB", 32))

// counted is what configurations count, which comes a moment later.
var counted = regexp.MustCompile(`"results":\{[^}]*\}`)

// TestIfMatch tries every operation that changes something under an If-Match that is the
// ETag of nothing: it is refused, and all is as it was. Under its ETag a thing goes.
func TestIfMatch(t *testing.T) {
	f := newFixture(t)
	dps, iot := f.DPSToken(), f.HubToken()
	authority, err := credential.NewAuthority("thing", time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := authority.PEM()
	if err != nil {
		t.Fatal(err)
	}
	certificate := string(text)
	const issuers, policies = provisioningPath + "issuingauthorities", provisioningPath + "credentialpolicies"
	network := provisioningPath + "networks/" + url.PathEscape("192.0.2.0/24")
	transcript(t, f, dps,
		step{"PUT /enrollments/thing", `{"registrationId":"thing","attestation":{"type":"symmetricKey"}}`, 200, nil},
		step{"PUT /enrollmentGroups/thing", `{"enrollmentGroupId":"thing","attestation":{"type":"symmetricKey"}}`, 200,
			nil},
		step{"PUT " + provisioningPath + "certificates/thing", body(t, CertificateUpload{Certificate: certificate}),
			200, nil},
		step{"POST " + provisioningPath + "policies", `{"keyName":"thing","rights":["EnrollmentRead"]}`, 200, nil},
		step{"PUT " + network, `{"latencies":{"hub.local":12}}`, 200, nil},
		step{"POST " + issuers + "/thing/request", "", 200, nil},
		step{"PUT " + policies + "/thing", "{}", 200, nil})
	const configured = `{"content":{"deviceContent":{"properties.desired.a":1}},"priority":1}`
	transcript(t, f, iot, step{"PUT /devices/thing", `{"deviceId":"thing"}`, 200, nil},
		step{"PUT /devices/thing/modules/thing", `{"moduleId":"thing"}`, 200, nil},
		step{"PUT /configurations/thing", configured, 200, nil},
		step{"PUT /berth/hub/certificates/thing", body(t, CertificateUpload{Certificate: certificate}), 200, nil})
	state := func() (all string) {
		for _, list := range []string{"enrollments", "groups", "certificates", "policies", "networks", "hubs",
			"issuingauthorities", "credentialpolicies", "misbehaviours"} {
			all += f.Do(httpstest.Request{Method: "GET", Path: provisioningPath + list, Token: dps}).Text + "\n"
		}
		for _, thing := range []string{"/devices/thing", "/twins/thing", "/devices/thing/modules", "/twins/thing/modules/thing",
			"/configurations/thing", "/berth/hub/certificates/thing"} {
			all += f.Do(httpstest.Request{Method: "GET", Path: thing, Token: iot}).Text + "\n"
		}
		return counted.ReplaceAllString(all, "")
	}
	bodies := map[contract.Path]string{
		contract.HubAuthorities.One:       body(t, CertificateUpload{Certificate: certificate}),
		contract.HubAuthorities.Proof:     body(t, CertificateUpload{Certificate: certificate}),
		contract.EnrollmentPath:           `{"registrationId":"thing","attestation":{"type":"symmetricKey"},"provisioningStatus":"disabled"}`,
		contract.GroupPath:                `{"enrollmentGroupId":"thing","attestation":{"type":"symmetricKey"},"provisioningStatus":"disabled"}`,
		contract.DevicePath:               `{"deviceId":"thing","status":"disabled"}`,
		contract.ModulePath:               `{"managedBy":"another"}`,
		contract.TwinPath:                 `{"tags":{"a":1}}`,
		contract.ModuleTwinPath:           `{"tags":{"a":1}}`,
		contract.ConfigurationPath:        configured,
		contract.DigitalTwinPath:          `[{"op":"add","path":"/a","value":1}]`,
		contract.ServiceAuthorities.One:   body(t, CertificateUpload{Certificate: certificate}),
		contract.ServiceAuthorities.Proof: body(t, CertificateUpload{Certificate: certificate}),
		contract.AccessPolicyPath:         `{"rights":["EnrollmentRead","EnrollmentWrite"]}`,
		contract.AccessPolicyKeyPath:      `{"key":"primary"}`,
		contract.NetworkPath:              `{"latencies":{"hub.local":13}}`,
		contract.CredentialPolicyPath:     `{"validityMinutes":60}`,
		contract.IssuerActivationPath:     body(t, IssuingAuthorityChain{certificate}),
		contract.HubLinkPath:              `{"allocationWeight":9}`,
	}
	before := state()
	tried := 0
	for _, operation := range append(rest.Operations(rest.Config{}), Operations(Config{})...) {
		name := operation.Method + " " + string(operation.Path)
		if operation.Method == http.MethodGet || operation.Right == "" || withoutConditions[name] != "" {
			continue
		}
		token := dps
		if operation.API == https.HubAPI {
			token = iot
		}
		answer := f.Do(httpstest.Request{Method: operation.Method, Path: conditionsOf.Replace(string(operation.Path)),
			Token: token, Body: bodies[operation.Path], Header: http.Header{"If-Match": {`"bad"`}}})
		if answer.Status != http.StatusPreconditionFailed {
			t.Errorf("%s under If-Match \"bad\" is answered %d %s", name, answer.Status, answer.Text)
		}
		if after := state(); after != before {
			t.Fatalf("%s under If-Match \"bad\" has changed\n%s\nto\n%s", name, before, after)
		}
		tried++
	}
	if tried < 40 {
		t.Errorf("%d operations were tried", tried)
	}
	for _, path := range []string{policies + "/thing", issuers + "/thing", network} {
		list, name := path, "thing"
		if path == network {
			list = provisioningPath + "networks"
		}
		found := f.Do(httpstest.Request{Method: "GET", Path: list, Token: dps})
		_, etag, _ := strings.Cut(found.Text, `"etag":"\"`)
		etag, _, _ = strings.Cut(etag, `\"`)
		answer := f.Do(httpstest.Request{Method: "DELETE", Path: path, Token: dps,
			Header: http.Header{"If-Match": {`"` + etag + `"`}}})
		if answer.Status != http.StatusNoContent {
			t.Errorf("%s of %s under its ETag %q is answered %d %s", path, name, etag, answer.Status, answer.Text)
		}
	}
}

// Of the certificates that were issued, those are listed whose thumbprints begin as asked.
func TestIssuedCertificatesByPrefix(t *testing.T) {
	f := newFixture(t)
	const list = provisioningPath + "issuedcertificates"
	for _, certificate := range []string{"AA01", "AB02", "ab03"} {
		f.Damage("issuance/certificates", strings.ToUpper(certificate)) // which a list names, by its key
	}
	transcript(t, f, f.DPSToken(),
		step{"GET " + list + "?prefix=ab", "", 200, []string{`"items":[]`, "AB02", "AB03"}},
		step{"GET " + list + "?prefix=op24", "", 400, []string{"how a thumbprint begins"}},
		step{"GET " + list + "?prefix=AB&registrationId=d1", "", 400, []string{"registrationId and prefix"}},
		step{"GET " + list + "?registrationID=d1", "", 400, []string{`parameter \"registrationID\"`}})
	if got := f.Do(httpstest.Request{Method: "GET", Path: list + "?prefix=ab",
		Token: f.DPSToken()}); strings.Contains(got.Text,
		"AA01") {
		t.Errorf("certificates that begin otherwise are listed: %s", got.Text)
	}
}
