package hub_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
)

// TestEnsureDeviceIfGeneration replaces the credentials of the identity that was looked at,
// and of no other that came in its place.
func TestEnsureDeviceIfGeneration(t *testing.T) {
	h := newFixture(t)
	none, print := "", func(pair string) string { return strings.Repeat(pair, 32) }
	ensure := func(thumbprint string, ifGeneration *string) (string, error) {
		return h.EnsureDevice(ctx,
			hub.Admission{DeviceID: "d", PrimaryThumbprint: thumbprint, IfGeneration: ifGeneration})
	}
	first, err := ensure(print("AB"), &none)
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
		generation, err := ensure(c.thumbprint, c.condition)
		if c.code != 0 && !errors.Is(err, c.code) || c.code == 0 && (err != nil || generation != first) {
			t.Errorf("%s: generation %q, error %v", name, generation, err)
		}
	}
	if _, err := ensure(print("EF"), &first); err != nil {
		t.Errorf("replaced as expected: %v", err)
	}
	if err := h.DeleteDevice(ctx, "d", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := ensure(print("AB"), &first); err != nil {
		t.Errorf("where it was deleted: %v", err)
	}
}

func TestEnsureDeviceIsIdempotent(t *testing.T) {
	h := newFixture(t)
	admission := hub.Admission{DeviceID: "new", PrimaryThumbprint: strings.Repeat("AB", 32), Tags: []byte(`{"site":1}`),
		Desired: []byte(`{"interval":5}`)}
	if err := admission.Check(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := h.EnsureDevice(ctx, admission); err != nil {
			t.Fatal(err)
		}
	}
	before, err := h.Twin(ctx, "new")
	if err != nil || before.Properties.Desired.Get("interval").String() != "5" ||
		before.Tags.Get("site").String() != "1" {
		t.Fatalf("the twin is %+v, error %v", before, err)
	}
	device, _ := h.Device(ctx, "new")
	device.Status = "disabled"
	if _, err := h.UpdateDevice(ctx, device, ""); err != nil {
		t.Fatal(err)
	}

	// Another certificate: the identity follows, twin and status stay.
	admission.PrimaryThumbprint, admission.Desired = strings.Repeat("CD", 32), []byte(`{"interval":9}`)
	if _, err := h.EnsureDevice(ctx, admission); err != nil {
		t.Fatal(err)
	}
	after, err := h.Device(ctx, "new")
	if err != nil || *after.Authentication.X509Thumbprint.PrimaryThumbprint != admission.PrimaryThumbprint ||
		after.Status != "disabled" {
		t.Errorf("the device is %+v, error %v", after, err)
	}
	if twin, _ := h.Twin(ctx, "new"); twin.ETag != before.ETag {
		t.Error("ensuring again changed the twin")
	}
	for name, bad := range map[string]hub.Admission{
		"id":  {DeviceID: "a/b", PrimaryThumbprint: admission.PrimaryThumbprint},
		"tag": {DeviceID: "x", PrimaryThumbprint: admission.PrimaryThumbprint, Tags: []byte(`{"a.b":1}`)},
		"desired property": {DeviceID: "x", PrimaryThumbprint: admission.PrimaryThumbprint,
			Desired: []byte(`{"a":[null]}`)},
	} {
		_, ensured := h.EnsureDevice(ctx, bad)
		for door, err := range map[string]error{"written": bad.Check(), "used": ensured} {
			if !errors.Is(err, fault.ArgumentInvalid) {
				t.Errorf("a bad %s, when %s, is answered %v", name, door, err)
			}
		}
	}
}

// TestAdmitProofs: each way of attestation leaves its own proof in the hub, of a device that
// may be an IoT Edge device or the child of one.
func TestAdmitProofs(t *testing.T) {
	h := newFixture(t)
	key, other := credential.NewKey(32), credential.NewKey(32)
	if _, err := h.EnsureDevice(ctx, hub.Admission{DeviceID: "gateway", PrimaryKey: key, SecondaryKey: other,
		IoTEdge: true}); err != nil {
		t.Fatal(err)
	}
	gateway, err := h.Device(ctx, "gateway")
	if err != nil || gateway.Authentication.Type != identity.SAS || !gateway.Capabilities.IoTEdge ||
		*gateway.Authentication.SymmetricKey.SecondaryKey != other {
		t.Fatalf("the gateway is %+v, error %v", gateway, err)
	}
	print := strings.Repeat("AB", 32)
	for _, c := range []struct {
		name      string
		admission hub.Admission
		want      identity.AuthenticationType
	}{
		{"two certificates", hub.Admission{PrimaryThumbprint: print, SecondaryThumbprint: strings.Repeat("CD", 32)},
			identity.SelfSigned},
		{"operational certificates",
			hub.Admission{Issuance: &identity.Issuance{RegistrationID: "r", Policy: "default"}},
			identity.CertificateAuthority},
		{"a child", hub.Admission{PrimaryThumbprint: print, ParentDeviceID: "gateway"}, identity.SelfSigned},
	} {
		c.admission.DeviceID = strings.ReplaceAll(c.name, " ", "-")
		described, err := c.admission.Device()
		if err != nil || described.Authentication.Type != c.want {
			t.Errorf("%s: a hub elsewhere is told of %+v, error %v", c.name, described, err)
		}
		for range 2 {
			if _, err := h.EnsureDevice(ctx, c.admission); err != nil {
				t.Fatal(err)
			}
		}
		device, err := h.Device(ctx, c.admission.DeviceID)
		if err != nil {
			t.Fatal(err)
		}
		second := device.Authentication.X509Thumbprint.SecondaryThumbprint
		if device.Authentication.Type != c.want ||
			(second != nil) != (c.admission.SecondaryThumbprint != "") ||
			(len(device.ParentScopes) == 1 && device.ParentScopes[0] == gateway.DeviceScope) !=
				(c.admission.ParentDeviceID != "") {
			t.Errorf("%s: the device is %+v", c.name, device)
		}
	}
	for _, parent := range []string{"nobody", "a-child", "a/b"} {
		_, err := h.EnsureDevice(ctx,
			hub.Admission{DeviceID: "orphan", PrimaryThumbprint: print, ParentDeviceID: parent})
		if !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("a child of %q is answered %v", parent, err)
		}
	}

	// Who is admitted anew without a word of its parent keeps it.
	if _, err := h.EnsureDevice(ctx,
		hub.Admission{DeviceID: "a-child", PrimaryKey: key, SecondaryKey: other}); err != nil {
		t.Fatal(err)
	}
	child, err := h.Device(ctx, "a-child")
	if err != nil || child.Authentication.Type != identity.SAS || child.DeviceScope != gateway.DeviceScope {
		t.Errorf("the child is %+v, error %v", child, err)
	}
}
