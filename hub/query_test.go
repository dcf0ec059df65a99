package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
)

func TestTwinsInPages(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	for i := range 5 {
		id := fmt.Sprintf("d%d", i)
		if _, err := h.CreateDevice(ctx, identity.Device{DeviceID: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.PatchTwin(ctx, id, []byte(fmt.Sprintf(`{"tags":{"n":%d}}`, i)), ""); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for after, pages := "", 0; ; pages++ {
		twins, next, err := h.Twins(ctx, after, 2)
		if err != nil || len(twins) > 2 || pages > 5 {
			t.Fatalf("page %d has %d twins, error %v", pages, len(twins), err)
		}
		for i, twin := range twins {
			text, err := json.Marshal(twin)
			if want := fmt.Sprintf(`"tags":{"n":%d}`, len(seen)); err != nil || !strings.Contains(string(text),
				want) || twin.Status != "enabled" || twin.ETag == "" {
				t.Errorf("twin %d of page %d is %s, error %v, want %s", i, pages, text, err, want)
			}
			seen = append(seen, twin.DeviceID)
		}
		if after = next; next == "" {
			break
		}
	}
	if !slices.Equal(seen, []string{"d0", "d1", "d2", "d3", "d4"}) {
		t.Errorf("the twins are those of %v", seen)
	}
}

func TestRenewKeys(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
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
