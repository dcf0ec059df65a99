package own

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// step is a request with what it is to be answered.
type step struct {
	request string // method and path
	body    string
	status  int
	says    []string // parts of the answer
}

// transcript makes the requests one after the other and returns the last answer.
func transcript(t *testing.T, f *httpstest.Fixture, token string, steps ...step) (last httpstest.Response) {
	t.Helper()
	for _, s := range steps {
		method, path, _ := strings.Cut(s.request, " ")
		last = f.Do(httpstest.Request{Method: method, Path: path, Token: token, Body: s.body})
		if last.Status != s.status {
			t.Errorf("%s is answered %d %s, want %d", s.request, last.Status, last.Text, s.status)
		}
		for _, part := range s.says {
			if !strings.Contains(last.Text, part) {
				t.Errorf("%s is answered %s, which does not say %s", s.request, last.Text, part)
			}
		}
	}
	return last
}

// body is a value in JSON.
func body(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

const provisioningPath = "/berth/provisioning/"

// Linked hubs and networks are what devices can be assigned by; a preview says where one
// would go.
func TestAllocationOverREST(t *testing.T) {
	f := newFixture(t)
	const hubs, networks = provisioningPath + "hubs", provisioningPath + "networks"
	prefix := networks + "/" + url.PathEscape("192.0.2.0/24")
	transcript(t, f, f.DPSToken(),
		step{"GET " + hubs, "", 200, []string{`"name":"hub.local"`}},
		step{"GET " + hubs + "/hub.local", "", 200, []string{`"name":"hub.local"`}},
		step{"GET " + hubs + "/hub.local?count=true", "", 200, []string{`"assignedDevices":0`}},
		step{"GET " + hubs + "/hub.local?count=1", "", 200, []string{`"assignedDevices":0`}},
		step{"GET " + hubs + "/hub.local?count=yes", "", 400, []string{`count must be true or false, not \"yes\"`}},
		step{"GET " + hubs + "/other.local", "", 404, []string{"404"}},
		step{"DELETE " + hubs + "/hub.local?force=yes", "", 400, []string{"force must be true or false"}},
		step{"PUT " + hubs + "/hub.local", `{"allocationWeight":7,"name":"of the body"}`, 200,
			[]string{`"allocationWeight":7`, `"name":"hub.local"`}},
		step{"PUT " + hubs + "/hub.local", `{"allocationWeight":-1}`, 400, []string{"allocationWeight"}},
		step{"PUT " + hubs + "/hub.local", "", 400, []string{"no body"}},
		step{"POST " + hubs, `{"hub":"second","name":"second.local"}`, 200, []string{`"name":"hub.local"`}},
		step{"POST " + hubs, "{", 400, []string{"not JSON"}},
		step{"GET " + networks, "", 200, nil},
		step{"PUT " + prefix, `{"latencies":{"hub.local":12}}`, 200, []string{`"192.0.2.0/24"`, "12"}},
		step{"PUT " + prefix, `{"latencies":{"hub.local":null}}`, 400,
			[]string{`The latency of \"hub.local\" is null`}},
		step{"PUT " + prefix, `{"latencies":{"hub.local":"x"}}`, 400, []string{"latencies.hub.local must be a number"}},
		step{"PUT " + prefix, `{"latencies":null}`, 400, []string{"latencies of 1 to"}},
		step{"PUT " + prefix, "[]", 400, []string{"must be an object, not an array"}},
		step{"PUT " + networks + "/nowhere", `{"latencies":{"hub.local":12}}`, 400, []string{"nowhere"}},
		step{"GET " + networks, "", 200, []string{`"192.0.2.0/24"`}},
		step{"DELETE " + prefix, "", 204, nil},
		step{"DELETE " + prefix, "", 404, nil},
		step{"PUT /enrollments/pump-1", `{"registrationId":"pump-1","attestation":{"type":"symmetricKey"}}`, 200, nil},
		step{"POST " + provisioningPath + "allocate", `{"registrationId":"pump-1"}`, 200, []string{"hub.local"}},
		step{"POST " + provisioningPath + "allocate", "", 400, []string{"no body"}},
		step{"DELETE " + hubs + "/hub.local?force=true", "", 204, nil},
		step{"GET " + hubs + "/hub.local", "", 404, nil},
	)
}

// The lists of everything come in pages, each with where the next one begins.
func TestListsComeInPages(t *testing.T) {
	f := newFixture(t)
	const individual = `{"registrationId":"%s","attestation":{"type":"symmetricKey"}}`
	const group = `{"enrollmentGroupId":"%s","attestation":{"type":"symmetricKey"}}`
	for _, id := range []string{"a-1", "a-2", "b-1"} {
		transcript(t, f, f.DPSToken(),
			step{"PUT /enrollments/" + id, fmt.Sprintf(individual, id), 200, nil},
			step{"PUT /enrollmentGroups/" + id, fmt.Sprintf(group, id), 200, nil})
		transcript(t, f, f.HubToken(), step{"PUT /devices/" + id, `{"deviceId":"` + id + `"}`, 200, nil})
	}
	for _, c := range []struct{ path, token, id string }{
		{provisioningPath + "enrollments", f.DPSToken(), "registrationId"},
		{provisioningPath + "groups", f.DPSToken(), "enrollmentGroupId"},
		{"/berth/hub/devices", f.HubToken(), "deviceId"},
	} {
		var ids []string
		for after := ""; ; {
			answer := f.Do(httpstest.Request{Method: "GET", Token: c.token,
				Path: c.path + "?prefix=a-&top=1&after=" + url.QueryEscape(after)})
			items, _ := answer.Fields["items"].([]any)
			if answer.Status != 200 || len(items) > 1 || len(ids) > 2 {
				t.Fatalf("%s is answered %d %s", c.path, answer.Status, answer.Text)
			}
			for _, item := range items {
				ids = append(ids, fmt.Sprint(item.(map[string]any)[c.id]))
			}
			if after, _ = answer.Fields["next"].(string); after == "" {
				break
			}
		}
		if fmt.Sprint(ids) != "[a-1 a-2]" {
			t.Errorf("%s lists %v", c.path, ids)
		}
		transcript(t, f, c.token,
			step{"GET " + c.path + "?top=none", "", 400, []string{`top must be a whole number from 1, not \"none\"`}})
	}
	transcript(t, f, f.DPSToken(),
		step{"GET " + provisioningPath + "registrations", "", 200, []string{`"items":[]`}},
		step{"GET " + provisioningPath + "service", "", 200, []string{httpstest.Scope}})
}

// A record that can't be read is named in the page of the list in which it would be, and
// can be deleted by itself.
func TestUnreadableRecordsOverREST(t *testing.T) {
	f := newFixture(t)
	const list, unreadable = provisioningPath + "enrollments", "/berth/unreadable"
	transcript(t, f, f.DPSToken(),
		step{"PUT /enrollments/pump-1", `{"registrationId":"pump-1","attestation":{"type":"symmetricKey"}}`, 200, nil},
		step{"GET " + unreadable, "", 200, []string{"[]"}})
	found := f.Do(httpstest.Request{Method: "GET", Path: list, Token: f.DPSToken()})
	if strings.Contains(found.Text, "unreadable") {
		t.Fatalf("the list is %s", found.Text)
	}
	f.Damage(enroll.EnrollmentRecords, "pump-1")
	address := unreadable + "?collection=" + enroll.EnrollmentRecords + "&key=pump-1"
	transcript(t, f, f.DPSToken(),
		step{"GET " + unreadable, "", 200,
			[]string{`"collection":"` + enroll.EnrollmentRecords + `"`, `"key":"pump-1"`}},
		step{"GET " + list, "", 200, []string{`"items":[]`, `"unreadable":[`, `"key":"pump-1"`}},
		step{"GET " + list + "?prefix=other", "", 200, []string{`{"items":[]}`}},
		step{"DELETE " + unreadable, "", 400, []string{"collection and key"}},
		step{"DELETE " + unreadable + "?collection=" + enroll.EnrollmentRecords, "", 400,
			[]string{"collection and key"}},
		step{"DELETE " + unreadable + "?collection=" + enroll.EnrollmentRecords + "&key=pump-2", "", 404, nil},
		step{"DELETE " + address, "", 204, nil},
		step{"GET " + unreadable, "", 200, []string{"[]"}})
}

// An authority is trusted once the one who holds its key has signed the code.
func TestProofOfPossessionOverREST(t *testing.T) {
	f := newFixture(t)
	made, err := credential.NewAuthority("Factory", time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := made.PEM()
	if err != nil {
		t.Fatal(err)
	}
	const one = provisioningPath + "certificates/factory"
	answer := transcript(t, f, f.DPSToken(),
		step{"PUT " + one, "{}", 400, []string{"no certificate"}},
		step{"PUT " + one, body(t, CertificateUpload{Certificate: string(certificate)}), 200,
			[]string{`"isVerified":false`}},
		step{"GET " + provisioningPath + "certificates", "", 200, []string{`"name":"factory"`}},
		step{"POST " + one + "/verify", body(t, CertificateUpload{Certificate: string(certificate)}), 400, nil},
		step{"POST " + one + "/verify", "{}", 400, []string{"no certificate"}},
		step{"POST " + one + "/generateVerificationCode", "", 200, []string{`"verificationCode":"`}})
	if answer.Header.Get("ETag") == "" {
		t.Errorf("the answer has no ETag, but %v", answer.Header)
	}
}

// The shared access policies of the service can be changed by who may configure it, and
// the server is told where that concerns keys or rights.
func TestPoliciesOverREST(t *testing.T) {
	f := newFixture(t)
	const policies = provisioningPath + "policies"
	before := policiesChanged.Load()
	transcript(t, f, f.DPSToken(),
		step{"GET " + policies, "", 200, []string{`"keyName":"provisioningserviceowner"`}},
		step{"POST " + policies, `{"keyName":"reader","rights":["EnrollmentRead"]}`, 200, []string{`"primaryKey":"`}},
		step{"POST " + policies, `{"keyName":"reader","rights":["EnrollmentRead"]}`, 409, nil},
		step{"POST " + policies, `{"keyName":"other","rights":["Everything"]}`, 400, []string{"Everything"}},
		step{"POST " + policies, "", 400, []string{"no body"}},
		step{"GET " + policies + "/reader", "", 200, []string{"EnrollmentRead"}},
		step{"GET " + policies + "/nobody", "", 404, nil})
	if got := policiesChanged.Load() - before; got != 0 {
		t.Errorf("the server was told %d times of what changes nothing that it has written down", got)
	}
	reader := f.Token("dps.local", "reader", time.Now().Add(time.Hour))
	transcript(t, f, reader,
		step{"GET " + provisioningPath + "enrollments", "", 200, nil},
		step{"GET " + policies, "", 401, nil},
		step{"DELETE " + policies + "/reader", "", 401, nil})
	transcript(t, f, f.DPSToken(),
		step{"PUT " + policies + "/reader", `{"rights":["RegistrationStatusRead"]}`, 200,
			[]string{"RegistrationStatusRead"}},
		step{"PUT " + policies + "/reader", "{", 400, nil},
		step{"PUT " + policies + "/nobody", `{"rights":["RegistrationStatusRead"]}`, 404, nil})
	transcript(t, f, reader, step{"GET " + provisioningPath + "enrollments", "", 401, nil})
	transcript(t, f, f.DPSToken(),
		step{"POST " + policies + "/reader/regenerateKey", `{"key":"primary"}`, 200, []string{`"primaryKey":"`}},
		step{"POST " + policies + "/reader/regenerateKey", `{"key":"third"}`, 400, []string{"third"}},
		step{"POST " + policies + "/reader/regenerateKey", "", 400, []string{"no body"}})
	transcript(t, f, reader, step{"GET " + provisioningPath + "registrations", "", 401, nil})
	transcript(t, f, f.DPSToken(),
		step{"DELETE " + policies + "/reader", "", 204, nil},
		step{"DELETE " + policies + "/reader", "", 404, nil})
	if got := policiesChanged.Load() - before; got != 3 {
		t.Errorf("the server was told of %d changes, want 3: rights, a key, a deletion", got)
	}
}

// Faults are injected on request, and not any more once that is taken back.
func TestInjectedFaultsOverREST(t *testing.T) {
	f := newFixture(t)
	const all = provisioningPath + "misbehaviours"
	answer := transcript(t, f, f.DPSToken(),
		step{"GET " + all, "", 200, []string{"[]"}},
		step{"POST " + all, `{"kind":"explode","times":1}`, 400, []string{"explode"}},
		step{"POST " + all, "", 400, []string{"no body"}},
		step{"POST " + all, `{"kind":"fail","times":2}`, 200, nil},
		step{"POST " + all, `{"kind":"delay","times":1,"seconds":1}`, 200, []string{`"kind":"delay"`}})
	id := fmt.Sprint(answer.Fields["id"])
	transcript(t, f, f.DPSToken(),
		step{"DELETE " + all + "/" + id, "", 204, nil},
		step{"DELETE " + all + "/" + id, "", 404, nil},
		step{"GET " + all, "", 200, []string{`"kind":"fail"`}},
		step{"DELETE " + all, "", 204, nil},
		step{"GET " + all, "", 200, []string{"[]"}})
}

// Attempts, the audit and lock-outs are read, and their filters judged.
func TestRecordsOfWhatHappened(t *testing.T) {
	f := newFixture(t)
	const attempts, audits = provisioningPath + "attempts", provisioningPath + "audit"
	const lockouts = provisioningPath + "lockouts"
	refused := f.Do(httpstest.Request{Method: "PUT", Path: "/" + httpstest.Scope + "/registrations/stranger/register",
		Body: `{"registrationId":"stranger"}`})
	if refused.Status != 401 {
		t.Fatalf("a stranger is answered %d %s", refused.Status, refused.Text)
	}
	transcript(t, f, f.DPSToken(),
		step{"PUT /enrollments/pump-1", `{"registrationId":"pump-1","attestation":{"type":"symmetricKey"}}`, 200, nil},
		step{"GET " + attempts + "?registrationId=stranger&refused=true", "", 200,
			[]string{`"sequence":0`, `"refused"`}},
		step{"GET " + attempts + "?registrationId=pump-1", "", 200, []string{"[]"}},
		step{"GET " + attempts + "?max=0", "", 400, []string{"max"}},
		step{"GET " + attempts + "/0", "", 200, []string{`"registrationId":"stranger"`}},
		step{"GET " + attempts + "/7", "", 404, nil},
		step{"GET " + attempts + "/first", "", 400, []string{`not \"first\"`}},
		step{"GET " + audits + "?kind=enrollment&id=pump-1", "", 200,
			[]string{`"kind":"enrollment"`, "policy provisioningserviceowner"}},
		step{"GET " + audits + "?since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z", "", 200,
			[]string{`"items":[]`}},
		step{"GET " + audits + "?kind=weather", "", 400,
			[]string{"kind must be enrollment, ", ` or record, not \"weather\"`}},
		step{"GET " + audits + "?since=0001-01-01T00:00:00Z&top=1", "", 200, []string{`"items":[{`}},
		step{"GET " + audits + "?until=0001-01-01T00:00:00Z", "", 400,
			[]string{"until must be a time of the years 1678 to 2262"}},
		step{"GET " + audits + "?since=9999-01-01T00:00:00Z", "", 400,
			[]string{"since must be a time of the years 1678 to 2262"}},
		step{"GET " + audits + "?since=yesterday", "", 400,
			[]string{`since must be a time such as 2026-11-23T12:00:00Z, not \"yesterday\"`}},
		step{"GET " + audits + "?top=all", "", 400, []string{`top must be a whole number from 1, not \"all\"`}},
		step{"GET " + audits + "/none", "", 404, []string{"no bulk operation"}},
		step{"GET " + lockouts, "", 200, []string{"[]"}},
		step{"DELETE " + lockouts + "/192.0.2.1", "", 404, nil})
}

// A chain is judged before any device comes with it, and a login link made for a role.
func TestOperatorsTools(t *testing.T) {
	f := newFixture(t)
	made, err := credential.NewAuthority("pump-1", time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := made.PEM()
	if err != nil {
		t.Fatal(err)
	}
	transcript(t, f, f.DPSToken(),
		step{"POST " + provisioningPath + "checkchain", body(t, ChainBody{Certificates: string(certificate)}), 200,
			[]string{`"client certificate"`}},
		step{"POST " + provisioningPath + "checkchain", body(t, ChainBody{Certificates: "none"}), 400, nil},
		step{"POST " + provisioningPath + "checkchain", "", 400, []string{"no body"}},
		step{"POST /berth/portal/links", `{"role":"reader"}`, 200, []string{`"role":"reader"`}},
		step{"POST /berth/portal/links", `{"role":"king"}`, 400, []string{"king"}},
		step{"POST /berth/portal/links", "", 400, []string{"no body"}})
}

// Credential policies, the authorities that issue by them, and what was issued.
func TestCredentialsOverREST(t *testing.T) {
	f := newFixture(t)
	const policies = provisioningPath + "credentialpolicies"
	const issuers, issued = provisioningPath + "issuingauthorities", provisioningPath + "issuedcertificates"
	nobody := strings.Repeat("AB", 32)
	transcript(t, f, f.DPSToken(),
		step{"PUT " + issuers + "/line-1", "", 200, []string{`"name":"line-1"`}},
		step{"PUT " + issuers + "/line-1", "", 409, nil},
		step{"GET " + issuers + "/line-1", "", 200, []string{"BEGIN CERTIFICATE"}},
		step{"GET " + issuers + "/line-9", "", 404, nil},
		step{"GET " + issuers, "", 200, []string{`"name":"line-1"`}},
		step{"PUT " + policies + "/short", `{"issuingAuthority":"line-1","validityMinutes":60}`, 200,
			[]string{`"name":"short"`}},
		step{"PUT " + policies + "/wrong", `{"issuingAuthority":"line-1","validityMinutes":-60}`, 400, nil},
		step{"PUT " + policies + "/wrong", "", 400, []string{"no body"}},
		step{"GET " + policies + "/short", "", 200, []string{`"name":"short"`}},
		step{"GET " + policies + "/none", "", 404, nil},
		step{"GET " + policies, "", 200, []string{`"name":"short"`}},
		step{"DELETE " + policies + "/short", "", 204, nil},
		step{"DELETE " + policies + "/short", "", 404, nil},
		step{"POST " + issuers + "/own/request", `{"commonName":"Our operational CA"}`, 200,
			[]string{"BEGIN CERTIFICATE REQUEST"}},
		step{"POST " + issuers + "/own/request", "{", 400, []string{"not JSON"}},
		step{"POST " + issuers + "/own/activate", body(t, IssuingAuthorityChain{"none"}), 400, nil},
		step{"POST " + issuers + "/own/activate", "", 400, []string{"no body"}},
		step{"POST " + issuers + "/line-1/revoke?replacement=line-2", "", 200,
			[]string{`"name":"line-1"`, `"revoked":"`}},
		step{"POST " + issuers + "/line-2/revoke", "", 200, []string{`"name":"line-2"`}},
		step{"DELETE " + issuers + "/own", "", 204, nil},
		step{"DELETE " + issuers + "/own?force=TRUE", "", 404, nil},
		step{"GET " + issued, "", 200, []string{`"items":[]`}},
		step{"GET " + issued + "?registrationId=pump-1", "", 200, nil},
		step{"GET " + issued + "?registrationId=pump-1&top=x", "", 400,
			[]string{`top must be a whole number from 1, not \"x\"`}},
		step{"GET " + issued + "/" + nobody, "", 404, nil},
		step{"POST " + issued + "/" + nobody + "/revoke", "", 404, nil},
		step{"POST " + issued + "/revoke?registrationId=pump-1", "", 404, []string{"No certificate was issued"}},
		step{"POST " + issued + "/revoke", "", 400, []string{"no registrationId"}})
}

// Reading of telemetry ends after as many messages as were asked for, and begins where it
// was asked to.
func TestTelemetryFromAPosition(t *testing.T) {
	f := newFixture(t)
	send := f.Sender(t.Context(), "d1")
	other := f.Sender(t.Context(), "d2")
	for _, text := range []string{"one", "two", "three"} {
		send(text)
		other("other " + text)
	}
	for query, want := range map[string]string{
		"from=earliest&device=d1&max=2":             "one two",
		"from=2026-01-01T00:00:00Z&device=d2&max=1": "other one",
		"from=0001-01-01T00:00:00Z&device=d1&max=1": "one",
		"from=1678-01-01T00:00:00Z&device=d1&max=1": "one",
	} {
		asked := httptest.NewRequest("GET", "https://hub.local/berth/hub/telemetry?"+query, nil)
		asked.Header.Set("Authorization", f.HubToken())
		got := httptest.NewRecorder()
		f.Handler.ServeHTTP(got, asked)
		var bodies []string
		for line := range strings.Lines(got.Body.String()) {
			var message struct{ Body string }
			if err := json.Unmarshal([]byte(line), &message); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			bodies = append(bodies, message.Body)
		}
		if strings.Join(bodies, " ") != want {
			t.Errorf("%s reads %q, want %s", query, bodies, want)
		}
	}
	transcript(t, f, f.HubToken(),
		step{"GET /berth/hub/telemetry?from=tomorrow", "", 400, []string{"tomorrow"}},
		step{"GET /berth/hub/telemetry?from=0001-01-01T00:00:01Z", "", 400, []string{"1678 to 2262"}},
		step{"GET /berth/hub/telemetry?from=2262-12-31T00:00:00Z", "", 400, []string{"1678 to 2262"}},
		step{"GET /berth/hub/telemetry?from=9999-12-31T23:59:59-01:00", "", 400, []string{"1678 to 2262"}},
		step{"GET /berth/hub/telemetry?from=earliest&max=none", "", 400, []string{"none"}})
}
