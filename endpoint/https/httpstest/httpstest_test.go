package httpstest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
)

// operations are one of each service, which say what they were asked.
func operations(f *Fixture) []https.Operation {
	echo := func(c *https.Call) (any, error) {
		if c.Query("fail") != "" {
			return nil, fault.New(fault.Conflict, "It was asked to fail")
		}
		return map[string]string{"asked": c.Query("text"), "id": c.Parameter("id")}, nil
	}
	return []https.Operation{
		https.ProvisioningAPI.Operation("GET", contract.EnrollmentPath, provisioning.EnrollmentRead, 0, echo),
		https.HubAPI.Operation("GET", contract.DevicePath, hub.RegistryRead, 0, echo),
	}
}

// TestDo sends requests to the service of their token, and reads the answers.
func TestDo(t *testing.T) {
	f := New(t, operations)
	for _, c := range []struct {
		name   string
		r      Request
		status int
		id     any
	}{
		{"the provisioning service", Request{Method: "GET", Path: "/enrollments/e1", Token: f.DPSToken()}, 200, "e1"},
		{"the hub", Request{Method: "GET", Path: "/devices/d1", Token: f.HubToken()}, 200, "d1"},
		{"a failure", Request{Method: "GET", Path: "/devices/d1?fail=yes", Token: f.HubToken()}, 409, nil},
		{"no token", Request{Method: "GET", Path: "/enrollments/e1"}, 401, nil},
		{"a token that is over", Request{Method: "GET", Path: "/enrollments/e1",
			Token: f.Token("dps.local", "provisioningserviceowner", time.Now().Add(-time.Hour))}, 401, nil},
		{"no such operation", Request{Method: "GET", Path: "/nothing", Token: f.DPSToken()}, 404, nil},
	} {
		answer := f.Do(c.r)
		if answer.Status != c.status || answer.Fields["id"] != c.id || answer.Header.Get("Content-Type") == "" {
			t.Errorf("%s: answered %d %s, want %d with %v", c.name, answer.Status, answer.Text, c.status, c.id)
		}
	}
	response, err := f.Server.Client().Get(f.Server.URL + "/nothing")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode == http.StatusOK {
		t.Errorf("behind TLS the answer is %d %s, error %v", response.StatusCode, text, err)
	}
}

// TestServices are real: devices send, records are damaged and found, enrollments have
// certificates.
func TestServices(t *testing.T) {
	f, ctx := New(t, operations), context.Background()
	send := f.Sender(ctx, "d")
	send("21.5")
	iot := f.Config.Hubs.All()[0]
	if messages, err := iot.Telemetry().Recent(ctx, "d", 10); err != nil || len(messages) != 1 {
		t.Errorf("the messages are %+v, error %v", messages, err)
	}
	f.Damage(iot.Registry().Collection(), "d")
	found, err := f.Records.Unreadable(ctx)
	if err != nil || len(found) != 1 || found[0].Key != "d" {
		t.Errorf("what can't be read is %+v, error %v", found, err)
	}
	for _, key := range []string{"d", "nothing"} {
		if err := f.Records.DeleteUnreadable(ctx, iot.Registry().Collection(), key); (err == nil) != (key == "d") {
			t.Errorf("the deletion of the record %q: %v", key, err)
		}
	}
	certificate, key := CertificatePEM(t, "e1")
	body := EnrollmentBody("e1", certificate)
	if !strings.Contains(key, "PRIVATE KEY") || !strings.Contains(body, `"registrationId":"e1"`) {
		t.Errorf("the key is %s, and the enrollment %s", key, body)
	}
}
