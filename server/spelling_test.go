package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// spelled is a document as somebody may write it: names in no order, numbers that a
// double reads as others, characters that are escaped or not.
const spelled = `{"z":{"y":1e16,"b":1.0,"a":1.10},"n":9007199254740993.0,"e":1E+2,"tiny":1e-400,"minus":-0,"text":"<\u00e9é>","list":[1.0,{"y":2,"x":1.50}]}`

// TestMigrationKeepsSpelling takes a device with all of this from its enrollment to a hub
// elsewhere and from there, read over REST, to one here.
func TestMigrationKeepsSpelling(t *testing.T) {
	h, elsewhere := newFixture(t), newElsewhere(t, "127.0.0.8")
	h.link(elsewhere)
	key := credential.NewKey(32)
	mover := enroll.Enrollment{RegistrationID: "mover", Settings: enroll.Settings{Hubs: []string{"127.0.0.8"},
		Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
			SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: key, SecondaryKey: credential.NewKey(32)}},
		InitialTwin: &linkedhub.InitialTwin{Tags: json.RawMessage(spelled),
			Properties: linkedhub.InitialTwinProperties{Desired: json.RawMessage(spelled)}}}}
	if _, err := h.provisioning.CreateEnrollment(t.Context(), mover); err != nil {
		t.Fatal(err)
	}
	enrollment, err := h.provisioning.Enrollment(t.Context(), "mover")
	if err != nil || string(enrollment.InitialTwin.Tags) != spelled ||
		string(enrollment.InitialTwin.Properties.Desired) != spelled {
		t.Errorf("the enrollment's twin is %s, error %v", enrollment.InitialTwin, err)
	}
	register := func(host, substatus string) {
		t.Helper()
		got := (&fleet{h, t, h.hub, "127.0.0.1"}).register("mover", key)
		state, _ := got.body["registrationState"].(map[string]any)
		if state["assignedHub"] != host || state["substatus"] != substatus {
			t.Fatalf("the device is answered %+v", got)
		}
	}
	read := func(of *fixture) {
		t.Helper()
		status, text := of.rest(of.Info().Hubs[0].ConnectionString, "GET", "/twins/mover", "")
		if status != 200 || !strings.Contains(text, `"tags":`+spelled+`,`) ||
			!strings.Contains(text, `"desired":`+strings.TrimSuffix(spelled, "}")+`,"$metadata":`) {
			t.Errorf("the twin is %d %s", status, text)
		}
		client, err := of.hub.Twin(t.Context(), "mover")
		if err != nil || client.Tags.String() != spelled {
			t.Errorf("the Go client reads %s, error %v", client.Tags, err)
		}
	}
	register("127.0.0.8", "initialAssignment")
	read(elsewhere)
	enrollment.Hubs = []string{"127.0.0.1"}
	if _, err := h.provisioning.PutEnrollment(t.Context(), enrollment, "*"); err != nil {
		t.Fatal(err)
	}
	register("127.0.0.1", "deviceDataMigrated")
	read(h)
	h.stop()
	h.start()
	read(h)
}

// TestSpellingOfTelemetry reads what a device sends through the REST API: numbers that
// no double holds are as they were sent, and keep nobody from the message.
func TestSpellingOfTelemetry(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "x")
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{}`)
	d := h.berth(&keys, "x")
	bodies := []string{spelled, `{"huge":1e400,"n":9007199254740993}`, `1.10`, `"text"`, `null`, `{"half":"\ud800"}`}
	for _, body := range bodies {
		if err := d.Publish("devices/x/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8", []byte(body), 1,
			nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var read []string
	if err := h.hub.Telemetry(ctx, telemetry.Position{Earliest: true}, "x", len(bodies),
		func(m telemetry.Message) error {
			if m.Unreadable != "" {
				t.Errorf("a message is unreadable: %s", m.Unreadable)
			}
			read = append(read, fmt.Sprintf("%s", m.Body))
			return nil
		}); err != nil {
		t.Fatal(err)
	}
	bodies[3] = "text" // a string of JSON, read as one
	if got, want := strings.Join(read, "\n"), strings.Join(bodies, "\n"); got != want {
		t.Errorf("they are read as\n%s\nwant\n%s", got, want)
	}
}
