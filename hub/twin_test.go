package hub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
)

func TestTwinOfADevice(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	session, down := h.Connect(device, false)
	fresh, err := h.Twin(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	h.Advance(time.Minute)
	patched, err := h.PatchTwin(ctx, "d",
		json.RawMessage(
			`{"tags":{"site":"A"},"properties":{"desired":{"fan":{"speed":3,"mode":"auto"},"limit":[1,2]}}}`),
		fresh.ETag)
	if err != nil {
		t.Fatal(err)
	}
	h.Advance(time.Minute)
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"properties":{"desired":{"fan":{"speed":4},"limit":null}}}`),
		""); err != nil {
		t.Fatal(err)
	}
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"tags":{}}`), patched.ETag); !errors.Is(err,
		fault.PreconditionFailed) {
		t.Errorf("a stale ETag answers %v", err)
	}
	if version, err := session.Report(ctx, []byte(`{"fan":{"speed":4},"big":4503599627370495}`)); err != nil ||
		version != 2 {
		t.Errorf("reported version %d, error %v", version, err)
	}
	want := []string{
		`{"fan":{"speed":3,"mode":"auto"},"limit":[1,2],"$version":2}`,
		`{"fan":{"speed":4},"limit":null,"$version":3}`,
	}
	if fmt.Sprint(down.Notices()) != fmt.Sprint(want) {
		t.Errorf("the device was told %v,\nwant %v", down.Notices(), want)
	}
	seen, err := session.Twin(ctx)
	if wantTwin := `{"desired":{"fan":{"speed":4,"mode":"auto"},"$version":3},"reported":{"fan":{"speed":4},"big":4503599627370495,"$version":2}}`; err != nil || string(seen) != wantTwin {
		t.Errorf("the device sees %s, error %v,\nwant %s", seen, err, wantTwin)
	}

	h.Reopen()
	twin, err := h.Twin(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	encoded, _ := json.Marshal(twin.Properties.Desired)
	const wantDesired = `{"fan":{"speed":4,"mode":"auto"},"$metadata":{"$lastUpdated":"2026-11-23T12:02:00.0000000Z","$lastUpdatedVersion":3,"fan":{"$lastUpdated":"2026-11-23T12:02:00.0000000Z","$lastUpdatedVersion":3,"speed":{"$lastUpdated":"2026-11-23T12:02:00.0000000Z","$lastUpdatedVersion":3},"mode":{"$lastUpdated":"2026-11-23T12:01:00.0000000Z","$lastUpdatedVersion":2}}},"$version":3}`
	if string(encoded) != wantDesired {
		t.Errorf("desired is\n%s, want\n%s", encoded, wantDesired)
	}
	if twin.Tags.String() != `{"site":"A"}` || twin.Version != 4 {
		t.Errorf("tags %v, version %d", twin.Tags, twin.Version)
	}
}

func TestTwinIsReplaced(t *testing.T) {
	h := newFixture(t)
	session, down := h.Connect(h.Create(identity.Device{DeviceID: "d"}), false)
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"tags":{"a":1},"properties":{"desired":{"x":1,"y":2}}}`),
		""); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Report(ctx, []byte(`{"kept":true}`)); err != nil {
		t.Fatal(err)
	}
	// SDKs send the whole twin back.
	twin, _ := h.Twin(ctx, "d")
	twin.Properties.Desired.Delete("x")
	twin.Tags = document.Object{}
	twin.Tags.Set("b", document.IntegerOf(2))
	body, _ := json.Marshal(twin)
	after, err := h.ReplaceTwin(ctx, "d", body, `"`+twin.ETag+`"`)
	if err != nil {
		t.Fatal(err)
	}
	if got := down.Notices()[1]; got != `{"y":2,"$version":3}` {
		t.Errorf("the device was told %s", got)
	}
	if after.Tags.String() != `{"b":2}` || after.Properties.Reported.Get("kept").String() != "true" {
		t.Errorf("the twin is %+v", after)
	}
}

// Patches from many sides at once: none is lost, and the device is told in the
// order of the versions.
func TestTwinUnderContention(t *testing.T) {
	h := newFixture(t)
	session, down := h.Connect(h.Create(identity.Device{DeviceID: "d"}), false)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 10 {
				if _, err := h.PatchTwin(ctx, "d",
					json.RawMessage(fmt.Sprintf(`{"properties":{"desired":{"d%d":%d}}}`, i, j)), ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		for j := range 20 {
			if _, err := session.Report(ctx, fmt.Appendf(nil, `{"r":%d}`, j)); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	twin, _ := h.Twin(ctx, "d")
	if twin.Properties.Desired.Get("$version").String() != "81" ||
		twin.Properties.Reported.Get("$version").String() != "21" || len(down.Notices()) != 80 {
		t.Fatalf("desired is version %v, reported %v, and the device was told %d times",
			twin.Properties.Desired.Get("$version"), twin.Properties.Reported.Get("$version"), len(down.Notices()))
	}
	for i, told := range down.Notices() {
		if !strings.HasSuffix(told, fmt.Sprintf(`,"$version":%d}`, i+2)) {
			t.Fatalf("message %d is %s", i, told)
		}
	}
}
