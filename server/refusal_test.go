package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/wire/mqtt"
)

// Every refusal of a registration over the real wire: the status on the topic,
// the code and the reason in the body, and the check that the operator sees.
func TestRefusedRegistrations(t *testing.T) {
	h := newFixture(t)
	scope, now := h.Info().IDScope, time.Now()
	device, impostor, stranger := validKeys(t, "d1"), validKeys(t, "d1"), validKeys(t, "stranger")
	expired := newKeys(t, "expired", now.Add(-48*time.Hour), time.Hour)
	early := newKeys(t, "early", now.Add(time.Hour), time.Hour)
	disabled := validKeys(t, "disabled")
	for _, keys := range []deviceKeys{device, expired, early} {
		h.enroll(keys)
	}
	h.enroll(disabled, func(e *enroll.Enrollment) { e.ProvisioningStatus = enroll.Disabled })

	for _, c := range []struct {
		name, scope, id, body string
		keys                  *deviceKeys
		code                  int
		says, check           string
	}{
		{"unknown ID scope", "0ne00000000", "d1", "", &device, 401002, "ID scope", "ID scope"},
		{"unknown registration id", scope, "stranger", "", &stranger, 401002, "not enrolled", "enrollment"},
		{"common name of another", scope, "d2", "", &device, 401002, "common name", "common name"},
		{"another certificate", scope, "d1", "", &impostor, 401002, "not enrolled", "enrolled certificate"},
		{"expired certificate", scope, "expired", "", &expired, 401002, "expired", "validity"},
		{"certificate of the future", scope, "early", "", &early, 401002, "not valid before", "validity"},
		{"no certificate", scope, "d1", "", nil, 401002, "certificate", "client certificate"},
		{"disabled enrollment", scope, "disabled", "", &disabled, 401002, "disabled", "provisioning status"},
		{"malformed JSON", scope, "d1", `{"registrationId": d1}`, &device, 400004, "JSON", "request"},
		{"oversized JSON", scope, "d1", `{"payload":"` + strings.Repeat("x", 100<<10) + `"}`, &device, 400004, "98304",
			"request"},
		{"id that breaks the rules", scope, "no space", "", &device, 400202, "character", "registration id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.provision(c.keys, c.scope, c.id).ask(registerTopic, c.body)
			message, _ := got.body["message"].(string)
			if want := fmt.Sprintf("$dps/registrations/res/%d/?$rid=r1", c.code/1000); got.topic != want ||
				got.body["errorCode"] != float64(c.code) || !strings.Contains(message, c.says) {
				t.Fatalf("answered %+v, want %s, code %d, %q", got, want, c.code, c.says)
			}
			attempts, err := h.provisioning.Attempts(context.Background(),
				attempts.Filter{RegistrationID: c.id, Max: 1})
			if err != nil || len(attempts) != 1 {
				t.Fatalf("%d attempts, error %v", len(attempts), err)
			}
			failed, _ := attempts[0].Checks.Failed()
			if failed.Name != c.check || attempts[0].TrackingID != got.body["trackingId"] ||
				attempts[0].Outcome != attest.Refused {
				t.Errorf("the operator sees %+v", attempts[0])
			}
		})
	}
	got := h.provision(&device, scope, "d1").ask(registerTopic, "")
	if got.topic != "$dps/registrations/res/200/?$rid=r1" {
		t.Errorf("afterwards the enrolled device is answered %+v", got)
	}
}

// What has no answer in MQTT ends the connection; what it was is on record.
func TestConnectionsEnded(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "d1")
	h.enroll(keys)
	scope := h.Info().IDScope
	if got := h.provision(&keys, scope, "d1").ask(registerTopic,
		""); got.topic != "$dps/registrations/res/200/?$rid=r1" {
		t.Fatalf("registering is answered %+v", got)
	}
	seen := map[string]bool{} // tracking ids
	for _, c := range []struct {
		name, topic string
		payload     []byte
		connect     func() *device
	}{
		{"provisioning, unknown topic", "$dps/registrations/DELETE/?$rid=1", nil,
			func() *device { return h.provision(&keys, scope, "d1") }},
		{"provisioning, topic of a hub", "devices/d1/messages/events/", nil,
			func() *device { return h.provision(&keys, scope, "d1") }},
		{"provisioning, no request id", "$dps/registrations/PUT/iotdps-register/?x=1", nil,
			func() *device { return h.provision(&keys, scope, "d1") }},
		{"hub, unknown topic", "weather/today", nil, func() *device { return h.berth(&keys, "d1") }},
		{"hub, another device's topic", "devices/d2/messages/events/", nil,
			func() *device { return h.berth(&keys, "d1") }},
		{"hub, bag that is not encoded", "devices/d1/messages/events/a=%zz", nil,
			func() *device { return h.berth(&keys, "d1") }},
		{"hub, message that is too large", "devices/d1/messages/events/", make([]byte, 257<<10),
			func() *device { return h.berth(&keys, "d1") }},
		{"hub, packet that is too large", "devices/d1/messages/events/", make([]byte, 400<<10),
			func() *device { return h.berth(&keys, "d1") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.connect()
			// The connection may end while this is still being written.
			if err := d.Publish(c.topic, c.payload, 1, nil); err != nil {
				t.Log(err)
			}
			select {
			case <-d.Ended():
			case <-time.After(20 * time.Second):
				t.Fatal("the connection lives on")
			}
			if !strings.HasPrefix(c.name, "provisioning") {
				return
			}
			// The record follows the end of the connection.
			for deadline := time.Now().Add(20 * time.Second); ; {
				attempts, err := h.provisioning.Attempts(context.Background(),
					attempts.Filter{RegistrationID: "d1", Refused: true, Max: 1})
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("the operator sees %+v, error %v", attempts, err)
				}
				if len(attempts) == 1 && attempts[0].Checks[0].Name == "protocol" && !seen[attempts[0].TrackingID] {
					seen[attempts[0].TrackingID] = true
					return
				}
			}
		})
	}
	codes := h.provision(&keys, scope, "d1").subscribe("$dps/other/#", "#", "+/registrations/res/#")
	if fmt.Sprint(codes) != "[128 128 128]" {
		t.Errorf("filters that match no answer are granted %v", codes)
	}
}

// CONNECTs that are refused, by the return code that SDKs take for bad
// credentials.
func TestRefusedConnections(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "d1")
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "d1").ask(registerTopic, "")
	impostor := validKeys(t, "d1")
	for _, c := range []struct {
		name, clientID, username string
		keys                     *deviceKeys
	}{
		{"another certificate", "d1", "127.0.0.1/d1/?api-version=2021-04-12", &impostor},
		{"no certificate", "d1", "127.0.0.1/d1/?api-version=2021-04-12", nil},
		{"unknown device", "d2", "127.0.0.1/d2/?api-version=2021-04-12", &keys},
		{"another client id", "d2", "127.0.0.1/d1/?api-version=2021-04-12", &keys},
		{"unknown hub", "d1", "elsewhere.local/d1/?api-version=2021-04-12", &keys},
		{"a module", "d1/m1", "127.0.0.1/d1/m1/?api-version=2021-04-12", &keys},
		{"no user name", "d1", "", &keys},
		{"another registration id", "d2", h.Info().IDScope + "/registrations/d1/api-version=2019-03-31", &keys},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := h.connect(c.keys, c.clientID, c.username)
			var refusal *mqtt.RefusedError
			if !errors.As(err, &refusal) || refusal.Code != mqtt.NotAuthorized {
				t.Errorf("answered %v, want CONNACK 5", err)
			}
		})
	}
}
