package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// properties are many that count little: two bytes of name, and nothing for the value.
func properties(n int, value string) json.RawMessage {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%x":%s`, i, value)
	}
	return json.RawMessage("{" + strings.TrimPrefix(b.String(), ",") + "}")
}

// refusedTwin checks that a twin is refused as Azure does it, with a sentence that
// says which section has how much, and what is allowed.
func refusedTwin(t *testing.T, door, section string, err error) {
	t.Helper()
	if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), section+" is too large: ") ||
		!strings.Contains(err.Error(), "allowed") {
		t.Errorf("%s: %.300v", door, err)
	}
}

// What is too large for a twin is refused at every door with the same words, and what
// one door takes is read and changed by every other.
func TestTwinsAtEveryDoor(t *testing.T) {
	f := newFleet(t)
	client, err := device.Connect(f.ctx, f.create("d"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	// The device fills its reported properties with what counts nothing.
	for from := 0; ; from += 2000 {
		var patch strings.Builder
		for i := from; i < from+2000; i++ {
			fmt.Fprintf(&patch, `,"%x":[]`, i)
		}
		if _, err = client.Report(f.ctx, json.RawMessage("{"+patch.String()[1:]+"}")); err != nil {
			break
		}
	}
	refusedTwin(t, "reported", "properties.reported", err)
	for name, value := range map[string]string{"numbers": "1", "empty": "[]"} {
		desired := fmt.Appendf(nil, `{"properties":{"desired":%s}}`, properties(9000, value))
		_, err := f.Hub.PatchTwin(f.ctx, "d", desired, "*")
		refusedTwin(t, "PATCH "+name, "properties.desired", err)
		_, err = f.Hub.ReplaceTwin(f.ctx, "d", desired, "*")
		refusedTwin(t, "PUT "+name, "properties.desired", err)
		_, err = f.Hub.PatchTwin(f.ctx, "d", fmt.Appendf(nil, `{"tags":%s}`, properties(9000, value)), "*")
		refusedTwin(t, "PATCH tags "+name, "tags", err)
	}

	// Numbers come through as they are written, and the whole twin can be sent back.
	const exact = `{"a":4503599627370495,"b":0.1234567890123456789012345,"c":1.0,"d":1e-400}`
	if _, err := f.Hub.PatchTwin(f.ctx, "d", json.RawMessage(`{"tags":`+exact+`,"properties":{"desired":`+exact+`}}`),
		"*"); err != nil {
		t.Fatal(err)
	}
	twin, err := f.Hub.Twin(f.ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := json.Marshal(twin)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) < 256<<10 {
		t.Errorf("the twin is no large one: it has %d bytes", len(whole))
	}
	if _, err := f.Hub.ReplaceTwin(f.ctx, "d", whole, twin.ETag); err != nil {
		t.Errorf("the twin of %d bytes is sent back, answered %v", len(whole), err)
	}
	desired, reported, err := client.Twin(f.ctx)
	if err != nil || string(desired) != strings.TrimSuffix(exact, "}")+`,"$version":3}` || len(reported) < 10000 {
		t.Errorf("the device reads %.300s and %d bytes of its own, error %v", desired, len(reported), err)
	}
	if tags, _ := json.Marshal(twin.Tags); string(tags) != exact {
		t.Errorf("a back end reads %s", tags)
	}
	if _, err := client.Report(f.ctx, json.RawMessage(`{"0":null,"here":true}`)); err != nil {
		t.Errorf("a property in the place of another is answered %v", err)
	}
	for _, patch := range []string{`{"a":[null]}`, `{"a":1e400}`, `{"a":4503599627370496}`,
		`{"a":1.` + strings.Repeat("0", 1000) + `}`} {
		if _, err := client.Report(f.ctx, json.RawMessage(patch)); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%.40s is answered %v", patch, err)
		}
	}
}

// An initial twin that is too large is refused when it is written, whatever writes
// it, and an allocation webhook that answers with one assigns nothing.
func TestInitialTwinsAtEveryDoor(t *testing.T) {
	f := newFleet(t)
	key := credential.NewKey(32)
	mechanism := enroll.AttestationMechanism{Type: "symmetricKey",
		SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: key, SecondaryKey: key}}
	large := &linkedhub.InitialTwin{Properties: linkedhub.InitialTwinProperties{Desired: properties(9000, "[]")}}
	enrollment := enroll.Enrollment{RegistrationID: "d",
		Settings: enroll.Settings{Attestation: mechanism, InitialTwin: large}}
	_, err := f.Provisioning.PutEnrollment(f.ctx, enrollment, "")
	refusedTwin(t, "enrollment", "properties.desired", err)
	_, err = f.Provisioning.PutGroup(f.ctx,
		enroll.Group{EnrollmentGroupID: "g", Settings: enroll.Settings{Attestation: mechanism,
			InitialTwin: large}}, "")
	refusedTwin(t, "group", "properties.desired", err)
	failed, err := f.Provisioning.BulkEnrollments(f.ctx, backend.BulkCreate, []enroll.Enrollment{enrollment})
	if err != nil || len(failed) != 1 || !strings.Contains(fmt.Sprint(failed[0]), "properties.desired is too large: ") {
		t.Errorf("bulk: %v, error %v", failed, err)
	}

	webhook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, `{"iotHubHostName":"127.0.0.1","initialTwin":{"properties":{"desired":%s}}}`,
			properties(9000, "[]"))
	}))
	defer webhook.Close()
	enrollment.InitialTwin, enrollment.AllocationPolicy = nil, allocation.Custom
	enrollment.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: webhook.URL,
		APIVersion: "2021-10-01"}
	if _, err := f.Provisioning.PutEnrollment(f.ctx, enrollment, ""); err != nil {
		t.Fatal(err)
	}
	_, err = device.Provision(f.ctx, device.ProvisioningOptions{Host: f.MQTTAddress(), IDScope: f.Info().IDScope,
		RegistrationID: "d", SASKey: key, RootCAs: f.RootCAs})
	if err == nil || !strings.Contains(err.Error(), "properties.desired is too large: ") {
		t.Errorf("webhook: %.300v", err)
	}
	if _, err := f.Hub.Device(f.ctx, "d"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("the device is in the hub all the same: %v", err)
	}
}
