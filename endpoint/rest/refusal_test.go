package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
)

// Every operation of a back end is closed to those without a token, and opens to
// the policies that have its right and to no others.
func TestRightsOfEveryOperation(t *testing.T) {
	h := newHouse(t)
	later := time.Now().Add(time.Hour)
	hubRights := map[string][]string{
		"iothubowner":       {hub.RegistryRead, hub.RegistryWrite, hub.ServiceConnect},
		"service":           {hub.ServiceConnect},
		"device":            {},
		"registryRead":      {hub.RegistryRead},
		"registryReadWrite": {hub.RegistryRead, hub.RegistryWrite},
	}
	provisioningRights := map[string][]string{"provisioningserviceowner": {provisioning.EnrollmentRead, provisioning.EnrollmentWrite,
		provisioning.RegistrationStatusRead, provisioning.RegistrationStatusWrite, provisioning.ServiceConfig}}
	checked := 0
	for _, operation := range h.handler.(*handler).routes {
		if operation.right == "" {
			continue
		}
		checked++
		host, policies, other := "dps.local", provisioningRights, h.hubToken()
		if operation.service == hubAPI {
			host, policies, other = "hub.local", hubRights, h.dpsToken()
		}
		path := strings.ReplaceAll(string(operation.path), "{id}", "nobody")
		status := func(token string) int {
			return h.do(request{method: operation.method, path: path + "?max=0", token: token}).status // 0 ends what would stream
		}
		for name, token := range map[string]string{
			"no token": "", "a token of the other service": other,
			"an expired token":         h.token(host, firstOf(policies), time.Now().Add(-time.Hour)),
			"a signature cut":          strings.Replace(h.token(host, firstOf(policies), later), "sig=", "sig=A", 1),
			"a token for one below it": h.token(host+path+"/below", firstOf(policies), later),
			"a token for another":      h.token(host+"/nonsense", firstOf(policies), later),
		} {
			if got := status(token); got != http.StatusUnauthorized {
				t.Errorf("%s %s with %s is answered %d", operation.method, operation.path, name, got)
			}
		}
		if got := status(h.token(host+path, firstOf(policies), later)); got == http.StatusUnauthorized {
			t.Errorf("%s %s with a token for just that is answered %d", operation.method, operation.path, got)
		}
		for policy, rights := range policies {
			got := status(h.token(host, policy, later))
			if allowed := slices.Contains(rights, operation.right); allowed == (got == http.StatusUnauthorized) {
				t.Errorf("%s %s with the policy %s is answered %d", operation.method, operation.path, policy, got)
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
	h := newHouse(t)
	for path, want := range map[string]string{
		"/enrollments/d1": "GET, PUT, DELETE",
		"/devices":        "GET, POST",
		"/twins/d1":       "GET, PATCH, PUT",
		"/" + scope + "/registrations/d1/register":     "PUT",
		"/berth/hub/telemetry":                         "GET",
		"/enrollmentGroups/g/AttestationMechanism/":    "POST",
		"/" + scope + "/registrations/d1/operations/o": "GET",
	} {
		if got := h.do(request{method: "OPTIONS", path: path}); got.status != 405 || got.header.Get("Allow") != want {
			t.Errorf("OPTIONS %s is answered %d, allowing %q, want %q", path, got.status, got.header.Get("Allow"), want)
		}
	}
}

// A refusal is one line in the log, under the tracking id that its caller has,
// and without the caller's secrets.
func TestARefusalIsOneLineInTheLog(t *testing.T) {
	h := newHouse(t)
	var log bytes.Buffer
	config := h.config
	config.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	h.handler = New(config)
	refused := h.do(request{method: "GET", path: "/enrollments/nobody", token: h.dpsToken()})
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("the log has not one line: %v: %s", err, log.Bytes())
	}
	if id := refused.header.Get("x-ms-request-id"); id == "" || line["trackingId"] != id || refused.fields["trackingId"] != id {
		t.Errorf("the caller has the tracking id %q, the body %v, the log %v", id, refused.fields["trackingId"], line["trackingId"])
	}
	if strings.Contains(log.String(), "sig=") {
		t.Errorf("the log has the token: %s", log.Bytes())
	}
	log.Reset()
	if got := h.do(request{method: "PUT", path: "/" + scope + "/registrations/nobody/register"}); got.status != 401 {
		t.Fatalf("answered %+v", got)
	}
	if log.Len() > 0 { // the provisioning service has written it, to its own log
		t.Errorf("a refused registration is logged twice: %s", log.Bytes())
	}
}

// full is a client to which nothing can be written any more.
type full struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (f *full) Write([]byte) (int, error)           { return 0, errors.New("write: timed out") }
func (f *full) SetWriteDeadline(at time.Time) error { f.deadline = at; return nil }

// A reader of telemetry that stops reading is let go, and a stream that breaks
// off does not look as if it had ended.
func TestABrokenStreamIsCutOff(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	h.sender(ctx, "d")("hello")
	asked := httptest.NewRequestWithContext(ctx, "GET", "https://hub.local/berth/hub/telemetry?from=earliest", nil)
	asked.Header.Set("Authorization", h.hubToken())
	client := &full{ResponseRecorder: httptest.NewRecorder()}
	defer func() {
		if cause := recover(); cause != http.ErrAbortHandler {
			t.Errorf("the stream ended with %v", cause)
		}
		if left := time.Until(client.deadline); left <= 0 || left > patience {
			t.Errorf("the client has %v to take a message", left)
		}
	}()
	h.handler.ServeHTTP(client, asked)
	t.Error("the stream ended in good order")
}

// Every change that a policy may be refused has a kind for the audit.
func TestChangesHaveKinds(t *testing.T) {
	changes := 0
	for _, operation := range newHouse(t).handler.(*handler).routes {
		kind, ok := operation.changes()
		writes := operation.service == provisioningAPI && operation.method != http.MethodGet &&
			(strings.HasSuffix(operation.right, "Write") || operation.right == provisioning.ServiceConfig)
		if ok != writes || ok && !slices.Contains(audit.Kinds, kind) {
			t.Errorf("%s %s is a change: %v, of the kind %q", operation.method, operation.path, ok, kind)
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
	h := newHouse(t)
	for _, operation := range unservedOperations {
		path := strings.NewReplacer("{", "", "}", "").Replace(string(operation.path))
		for method := range strings.FieldsSeq(operation.methods) {
			got := h.do(request{method: method, path: path, token: h.hubToken(), body: "{}"})
			message, _ := got.fields["Message"].(string)
			if got.status != 404 || !strings.HasPrefix(message, "ErrorCode:GenericNotFound;"+operation.what+" are not served") {
				t.Errorf("%s %s is answered %d %s", method, path, got.status, got.text)
			}
		}
	}
	got := h.do(request{method: "PATCH", path: "/configurations/c", token: h.hubToken()})
	if allowed := got.header.Get("Allow"); got.status != 405 || allowed != "GET, PUT, DELETE" {
		t.Errorf("another method is answered %d, allowing %s", got.status, allowed)
	}
}
