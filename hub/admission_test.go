package hub_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
)

// TestAdmitOnCondition replaces the credentials of the identity that was looked at,
// and of no other that came in its place.
func TestAdmitOnCondition(t *testing.T) {
	h := newFixture(t)
	none, print := "", func(pair string) string { return strings.Repeat(pair, 32) }
	admit := func(thumbprint string, ifGeneration *string) (string, error) {
		return h.Admit(ctx, hub.Admission{DeviceID: "d", PrimaryThumbprint: thumbprint, IfGeneration: ifGeneration})
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
	h := newFixture(t)
	admission := hub.Admission{DeviceID: "new", PrimaryThumbprint: strings.Repeat("AB", 32), Tags: []byte(`{"site":1}`), Desired: []byte(`{"interval":5}`)}
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
	for name, bad := range map[string]hub.Admission{
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
