package hub_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
)

// A twin's ETag changes with what back ends write and with nothing else, so that who
// changes a twin as it was read is not held up by its device.
func TestTwinETag(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	tag := func() string {
		t.Helper()
		twin, err := h.Twin(ctx, "d")
		if err != nil {
			t.Fatal(err)
		}
		return twin.ETag
	}
	fresh := tag()
	model := "dtmi:com:example:Pump;1"
	session, err := h.Connections().OpenSession(ctx, "d", credential.Evidence{Token: h.Token(device), ModelID: &model},
		false, new(hubtest.Line))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.Report(ctx, []byte(`{"level":1}`)); err != nil {
		t.Fatal(err)
	}
	session.Close(nil)
	device.Status = identity.Disabled
	if _, err := h.UpdateDevice(ctx, device, "*"); err != nil {
		t.Fatal(err)
	}
	h.Reopen()
	if got := tag(); got != fresh {
		t.Errorf("the ETag was %s, and is %s after what the device did", fresh, got)
	}
	seen := map[string]bool{fresh: true}
	for _, body := range []string{`{"tags":{"a":1}}`, `{"tags":{"a":1}}`, `{"properties":{"desired":{"b":1}}}`} {
		patched, err := h.PatchTwin(ctx, "d", json.RawMessage(body), `"`+tag()+`"`)
		if err != nil || seen[patched.ETag] || patched.ETag != tag() {
			t.Errorf("after %s the ETag is %s, then %s, error %v", body, patched.ETag, tag(), err)
		}
		seen[patched.ETag] = true
	}
	if _, err := h.ReplaceTwin(ctx, "d", json.RawMessage(`{}`), fresh); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("a stale ETag answers %v", err)
	}
	if err := h.DeleteDevice(ctx, "d", ""); err != nil {
		t.Fatal(err)
	}
	h.Advance(time.Second)
	h.Create(identity.Device{DeviceID: "d"})
	if seen[tag()] {
		t.Error("another device of the same id has a twin with an ETag of the first")
	}
}
