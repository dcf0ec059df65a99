package hub_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
)

func TestDevice(t *testing.T) {
	h := newFixture(t)
	created := h.Create(identity.Device{DeviceID: "Thermostat#1"})
	if created.Status != "enabled" || created.Authentication.Type != identity.SAS ||
		!credential.ValidKey(*created.Authentication.SymmetricKey.SecondaryKey) {
		t.Errorf("created %+v with %+v", created, created.Authentication)
	}
	if _, err := h.CreateDevice(ctx, identity.Device{DeviceID: "Thermostat#1"}); !errors.Is(err,
		fault.DeviceAlreadyExists) {
		t.Errorf("creating it again answers %v", err)
	}
	h.Reopen()
	read, err := h.Device(ctx, "Thermostat#1")
	if err != nil || read.ETag != created.ETag || read.GenerationID != created.GenerationID {
		t.Fatalf("read %+v, error %v", read, err)
	}
	if _, err := h.Device(ctx, "thermostat#1"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("with another case it answers %v", err)
	}

	read.Status, read.StatusReason = "disabled", new("lost")
	updated, err := h.UpdateDevice(ctx, read, read.ETag)
	if err != nil || updated.Status != "disabled" || updated.ETag == read.ETag ||
		!updated.StatusUpdatedTime.Equal(hubtest.Noon) {
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

func TestDevices(t *testing.T) {
	h := newFixture(t)
	for i := range 25 {
		h.Create(identity.Device{DeviceID: fmt.Sprintf("page-%02d", i)})
	}
	h.Create(identity.Device{DeviceID: "other"})
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

func TestRenewKeys(t *testing.T) {
	h := newFixture(t)
	before, err := h.CreateDevice(ctx, identity.Device{DeviceID: "d", Status: "disabled"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ primary, secondary bool }{{true, false}, {false, true}, {true, true}} {
		after, err := h.RenewKeys(ctx, "d", c.primary, c.secondary)
		if err != nil || after.Status != "disabled" || after.GenerationID != before.GenerationID ||
			after.ETag == before.ETag {
			t.Fatalf("the device is %+v, error %v", after, err)
		}
		old, fresh := before.Authentication.SymmetricKey, after.Authentication.SymmetricKey
		if (*old.PrimaryKey != *fresh.PrimaryKey) != c.primary ||
			(*old.SecondaryKey != *fresh.SecondaryKey) != c.secondary {
			t.Errorf("with %+v the keys %v became %v", c, old, fresh)
		}
		if stored, err := h.Device(ctx, "d"); err != nil ||
			*stored.Authentication.SymmetricKey.PrimaryKey != *fresh.PrimaryKey {
			t.Errorf("stored is %+v, error %v", stored, err)
		}
		before = after
	}
	if _, err := h.RenewKeys(ctx, "nobody", true, true); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("a device that is not there is answered %v", err)
	}
	if _, err := h.CreateDevice(ctx, identity.Device{DeviceID: "c",
		Authentication: &identity.Authentication{Type: identity.CertificateAuthority}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.RenewKeys(ctx, "c", true, true); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("a device without keys is answered %v", err)
	}
}
