package hub

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
)

func TestADeviceIsCreatedReadUpdatedAndDeleted(t *testing.T) {
	h := newHouse(t)
	created := h.create(identity.Device{DeviceID: "Thermostat#1"})
	if created.Status != "enabled" || created.Authentication.Type != identity.SAS || !credential.ValidKey(*created.Authentication.SymmetricKey.SecondaryKey) {
		t.Errorf("created %+v with %+v", created, created.Authentication)
	}
	if _, err := h.CreateDevice(ctx, identity.Device{DeviceID: "Thermostat#1"}); !errors.Is(err, fault.DeviceAlreadyExists) {
		t.Errorf("creating it again answers %v", err)
	}
	h.reopen()
	read, err := h.Device(ctx, "Thermostat#1")
	if err != nil || read.ETag != created.ETag || read.GenerationID != created.GenerationID {
		t.Fatalf("read %+v, error %v", read, err)
	}
	if _, err := h.Device(ctx, "thermostat#1"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("with another case it answers %v", err)
	}

	read.Status, read.StatusReason = "disabled", text("lost")
	updated, err := h.UpdateDevice(ctx, read, read.ETag)
	if err != nil || updated.Status != "disabled" || updated.ETag == read.ETag || !updated.StatusUpdatedTime.Equal(noon) {
		t.Fatalf("updated to %+v, error %v", updated, err)
	}
	if *updated.Authentication.SymmetricKey.PrimaryKey != *created.Authentication.SymmetricKey.PrimaryKey {
		t.Error("the update changed the keys")
	}
	for _, stale := range []string{read.ETag, `"` + read.ETag + `"`, `""`} {
		if _, err := h.UpdateDevice(ctx, read, stale); !errors.Is(err, fault.PreconditionFailed) {
			t.Errorf("updating with the stale ETag %s answers %v", stale, err)
		}
		if err := h.DeleteDevice(ctx, read.DeviceID, stale); !errors.Is(err, fault.PreconditionFailed) {
			t.Errorf("deleting with the stale ETag %s answers %v", stale, err)
		}
	}
	h.wantStatistics(statistics(0, 1))
	for _, wrong := range []identity.Device{{DeviceID: "a/b"}, {DeviceID: read.DeviceID, Status: "asleep"}} {
		if _, err := h.CreateDevice(ctx, wrong); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("creating %+v answers %v", wrong, err)
		}
		if _, err := h.UpdateDevice(ctx, wrong, ""); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("updating to %+v answers %v", wrong, err)
		}
	}
	if err := h.DeleteDevice(ctx, read.DeviceID, `"*"`); err != nil {
		t.Error(err)
	}
	if _, err := h.Twin(ctx, read.DeviceID); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("its twin then answers %v", err)
	}
}

func TestDevicesInPages(t *testing.T) {
	h := newHouse(t)
	for i := range 25 {
		h.create(identity.Device{DeviceID: fmt.Sprintf("page-%02d", i)})
	}
	h.create(identity.Device{DeviceID: "other"})
	var seen []string
	for next, first := "", true; first || next != ""; first = false {
		devices, after, err := h.Devices(ctx, "page-", next, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, device := range devices {
			seen = append(seen, device.DeviceID)
		}
		next = after
	}
	if len(seen) != 25 || seen[0] != "page-00" || seen[24] != "page-24" {
		t.Errorf("paged through %v", seen)
	}
}

// TestAdmitOnCondition replaces the credentials of the identity that was looked at,
// and of no other that came in its place.
func TestAdmitOnCondition(t *testing.T) {
	h := newHouse(t)
	none, print := "", func(pair string) string { return strings.Repeat(pair, 32) }
	admit := func(thumbprint string, ifGeneration *string) (string, error) {
		return h.Admit(ctx, Admission{DeviceID: "d", PrimaryThumbprint: thumbprint, IfGeneration: ifGeneration})
	}
	first, err := admit(print("AB"), &none)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		thumbprint string
		condition  *string
		code       fault.Code
	}{
		"none expected":          {print("CD"), &none, fault.DeviceAlreadyExists},
		"none expected, as is":   {print("AB"), &none, 0},
		"expected and there":     {print("AB"), &first, 0},
		"another that was there": {print("CD"), new("1"), fault.DeviceAlreadyExists},
		"any":                    {print("AB"), nil, 0},
	} {
		generation, err := admit(c.thumbprint, c.condition)
		if c.code != 0 && !errors.Is(err, c.code) || c.code == 0 && (err != nil || generation != first) {
			t.Errorf("%s: generation %q, error %v", name, generation, err)
		}
	}
	if _, err := admit(print("EF"), &first); err != nil {
		t.Errorf("replaced as expected: %v", err)
	}
	if err := h.DeleteDevice(ctx, "d", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := admit(print("AB"), &first); err != nil {
		t.Errorf("where it was deleted: %v", err)
	}
}

func TestAdmitIsSafeToRepeat(t *testing.T) {
	h := newHouse(t)
	admission := Admission{DeviceID: "new", PrimaryThumbprint: strings.Repeat("AB", 32), Tags: []byte(`{"site":1}`), Desired: []byte(`{"interval":5}`)}
	if err := admission.Check(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := h.Admit(ctx, admission); err != nil {
			t.Fatal(err)
		}
	}
	before, err := h.Twin(ctx, "new")
	if err != nil || before.Properties.Desired.Get("interval").String() != "5" || before.Tags.Get("site").String() != "1" {
		t.Fatalf("the twin is %+v, error %v", before, err)
	}
	device, _ := h.Device(ctx, "new")
	device.Status = "disabled"
	if _, err := h.UpdateDevice(ctx, device, ""); err != nil {
		t.Fatal(err)
	}

	// Another certificate: the identity follows, twin and status stay.
	admission.PrimaryThumbprint, admission.Desired = strings.Repeat("CD", 32), []byte(`{"interval":9}`)
	if _, err := h.Admit(ctx, admission); err != nil {
		t.Fatal(err)
	}
	after, err := h.Device(ctx, "new")
	if err != nil || *after.Authentication.X509Thumbprint.PrimaryThumbprint != admission.PrimaryThumbprint || after.Status != "disabled" {
		t.Errorf("the device is %+v, error %v", after, err)
	}
	if twin, _ := h.Twin(ctx, "new"); twin.ETag != before.ETag {
		t.Error("admitting again changed the twin")
	}
	for name, bad := range map[string]Admission{
		"id":  {DeviceID: "a/b", PrimaryThumbprint: admission.PrimaryThumbprint},
		"tag": {DeviceID: "x", PrimaryThumbprint: admission.PrimaryThumbprint, Tags: []byte(`{"a.b":1}`)},
		"desired property": {DeviceID: "x", PrimaryThumbprint: admission.PrimaryThumbprint,
			Desired: []byte(`{"a":[null]}`)},
	} {
		_, admitted := h.Admit(ctx, bad)
		for door, err := range map[string]error{"written": bad.Check(), "used": admitted} {
			if !errors.Is(err, fault.ArgumentInvalid) {
				t.Errorf("a bad %s, when %s, is answered %v", name, door, err)
			}
		}
	}
}

func TestActivityIsKept(t *testing.T) {
	h := newHouse(t)
	device := h.create(identity.Device{DeviceID: "d"})
	session, _ := h.connect(device, false)
	h.advance(time.Minute)
	h.send(session, message.Message{Payload: []byte("x")})
	if seen, _ := h.Device(ctx, "d"); seen.ConnectionState != "Connected" || !seen.LastActivityTime.Equal(noon.Add(time.Minute)) || !seen.ConnectionStateUpdatedTime.Equal(noon) {
		t.Errorf("while connected it is %+v", seen)
	}
	if statistics, _ := h.ServiceStatistics(ctx); statistics.ConnectedDeviceCount != 1 {
		t.Errorf("%d devices are connected", statistics.ConnectedDeviceCount)
	}
	h.advance(time.Minute)
	session.Close(nil)
	h.reopen()
	if seen, _ := h.Device(ctx, "d"); seen.ConnectionState != "Disconnected" || !seen.LastActivityTime.Equal(noon.Add(time.Minute)) || !seen.ConnectionStateUpdatedTime.Equal(noon.Add(2*time.Minute)) {
		t.Errorf("afterwards it is %+v", seen)
	}
}
