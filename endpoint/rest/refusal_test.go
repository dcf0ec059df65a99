package rest

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
)

// Every operation of a back end is closed to those without a token, and opens to
// the policies that have its right and to no others.
func TestRightsOfEveryOperation(t *testing.T) {
	h := newFixture(t)
	later := time.Now().Add(time.Hour)
	hubRights := map[string][]string{
		"iothubowner":       {hub.RegistryRead, hub.RegistryWrite, hub.ServiceConnect},
		"service":           {hub.ServiceConnect},
		"device":            {},
		"registryRead":      {hub.RegistryRead},
		"registryReadWrite": {hub.RegistryRead, hub.RegistryWrite},
	}
	provisioningRights := map[string][]string{"provisioningserviceowner": {provisioning.EnrollmentRead,
		provisioning.EnrollmentWrite,
		provisioning.RegistrationStatusRead, provisioning.RegistrationStatusWrite, provisioning.ServiceConfig}}
	checked := 0
	for _, operation := range allOperations(h) {
		if operation.Right == "" {
			continue
		}
		checked++
		host, policies, other := "dps.local", provisioningRights, h.HubToken()
		if operation.API == https.HubAPI {
			host, policies, other = "hub.local", hubRights, h.DPSToken()
		}
		path := strings.ReplaceAll(string(operation.Path), "{id}", "nobody")
		status := func(token string) int {
			return h.Do(httpstest.Request{Method: operation.Method, Path: path + "?max=0",
				Token: token}).Status // 0 ends what would stream
		}
		for name, token := range map[string]string{
			"no token": "", "a token of the other service": other,
			"an expired token":         h.Token(host, firstOf(policies), time.Now().Add(-time.Hour)),
			"a signature cut":          strings.Replace(h.Token(host, firstOf(policies), later), "sig=", "sig=A", 1),
			"a token for one below it": h.Token(host+path+"/below", firstOf(policies), later),
			"a token for another":      h.Token(host+"/nonsense", firstOf(policies), later),
		} {
			if got := status(token); got != http.StatusUnauthorized {
				t.Errorf("%s %s with %s is answered %d", operation.Method, operation.Path, name, got)
			}
		}
		if got := status(h.Token(host+path, firstOf(policies), later)); got == http.StatusUnauthorized {
			t.Errorf("%s %s with a token for just that is answered %d", operation.Method, operation.Path, got)
		}
		for policy, rights := range policies {
			got := status(h.Token(host, policy, later))
			if allowed := slices.Contains(rights, operation.Right); allowed == (got == http.StatusUnauthorized) {
				t.Errorf("%s %s with the policy %s is answered %d", operation.Method, operation.Path, policy, got)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d operations were checked", checked)
	}
}

// firstOf is the policy with all rights.
func firstOf(policies map[string][]string) string {
	name := ""
	for policy, rights := range policies {
		if name == "" || len(rights) > len(policies[name]) {
			name = policy
		}
	}
	return name
}

func TestMethodsThatAreAllowed(t *testing.T) {
	h := newFixture(t)
	for path, want := range map[string]string{
		"/enrollments/d1": "GET, PUT, DELETE",
		"/devices":        "GET, POST",
		"/twins/d1":       "GET, PATCH, PUT",
		"/" + httpstest.Scope + "/registrations/d1/register":     "PUT",
		"/berth/hub/telemetry":                                   "GET",
		"/enrollmentGroups/g/AttestationMechanism/":              "POST",
		"/" + httpstest.Scope + "/registrations/d1/operations/o": "GET",
	} {
		if got := h.Do(httpstest.Request{Method: "OPTIONS",
			Path: path}); got.Status != 405 || got.Header.Get("Allow") != want {
			t.Errorf("OPTIONS %s is answered %d, allowing %q, want %q", path, got.Status, got.Header.Get("Allow"), want)
		}
	}
}

// A refusal is one line in the log, under the tracking id that its caller has,
// and without the caller's secrets.
func TestARefusalIsOneLineInTheLog(t *testing.T) {
	h := newFixture(t)
	var log bytes.Buffer
	config := h.Config
	config.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	h.Handler = https.New(config, allOperations(h)...)
	refused := h.Do(httpstest.Request{Method: "GET", Path: "/enrollments/nobody", Token: h.DPSToken()})
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("the log has not one line: %v: %s", err, log.Bytes())
	}
	if id := refused.Header.Get("x-ms-request-id"); id == "" || line["trackingId"] != id ||
		refused.Fields["trackingId"] != id {
		t.Errorf("the caller has the tracking id %q, the body %v, the log %v", id, refused.Fields["trackingId"],
			line["trackingId"])
	}
	if strings.Contains(log.String(), "sig=") {
		t.Errorf("the log has the token: %s", log.Bytes())
	}
	log.Reset()
	if got := h.Do(httpstest.Request{Method: "PUT",
		Path: "/" + httpstest.Scope + "/registrations/nobody/register"}); got.Status != 401 {
		t.Fatalf("answered %+v", got)
	}
	if log.Len() > 0 { // the provisioning service has written it, to its own log
		t.Errorf("a refused registration is logged twice: %s", log.Bytes())
	}
}

// Every change that a policy may be refused has a kind for the audit.
func TestChangesHaveKinds(t *testing.T) {
	changes := 0
	for _, operation := range allOperations(newFixture(t)) {
		kind, ok := operation.Changes()
		writes := operation.API == https.ProvisioningAPI && operation.Method != http.MethodGet &&
			(strings.HasSuffix(operation.Right, "Write") || operation.Right == provisioning.ServiceConfig)
		if ok != writes || ok && !slices.Contains(audit.Kinds, kind) {
			t.Errorf("%s %s is a change: %v, of the kind %q", operation.Method, operation.Path, ok, kind)
		}
		if ok {
			changes++
		}
	}
	if changes < 25 {
		t.Errorf("there are only %d changes", changes)
	}
}

// Who asks for an operation of Azure's that is not there is told what is missing, in the
// form of the hub.
func TestUnservedOperations(t *testing.T) {
	h := newFixture(t)
	for _, operation := range unservedOperations {
		path := strings.NewReplacer("{", "", "}", "").Replace(string(operation.path))
		for method := range strings.FieldsSeq(operation.methods) {
			got := h.Do(httpstest.Request{Method: method, Path: path, Token: h.HubToken(), Body: "{}"})
			message, _ := got.Fields["Message"].(string)
			if got.Status != 404 || !strings.HasPrefix(message,
				"ErrorCode:GenericNotFound;"+operation.what+" are not served") {
				t.Errorf("%s %s is answered %d %s", method, path, got.Status, got.Text)
			}
		}
	}
	got := h.Do(httpstest.Request{Method: "PATCH", Path: "/configurations/c", Token: h.HubToken()})
	if allowed := got.Header.Get("Allow"); got.Status != 405 || allowed != "GET, PUT, DELETE" {
		t.Errorf("another method is answered %d, allowing %s", got.Status, allowed)
	}
}
