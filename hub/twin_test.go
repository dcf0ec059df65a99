package hub

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
	h := newHouse(t)
	device := h.create(identity.Device{DeviceID: "d"})
	session, down := h.connect(device, false)
	fresh, err := h.Twin(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	h.advance(time.Minute)
	patched, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"tags":{"site":"A"},"properties":{"desired":{"fan":{"speed":3,"mode":"auto"},"limit":[1,2]}}}`), fresh.ETag)
	if err != nil {
		t.Fatal(err)
	}
	h.advance(time.Minute)
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"properties":{"desired":{"fan":{"speed":4},"limit":null}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"tags":{}}`), patched.ETag); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("a stale ETag answers %v", err)
	}
	if version, err := session.Report(ctx, []byte(`{"fan":{"speed":4},"big":4503599627370495}`)); err != nil || version != 2 {
		t.Errorf("reported version %d, error %v", version, err)
	}
	want := []string{
		`{"fan":{"speed":3,"mode":"auto"},"limit":[1,2],"$version":2}`,
		`{"fan":{"speed":4},"limit":null,"$version":3}`,
	}
	if fmt.Sprint(down.desired) != fmt.Sprint(want) {
		t.Errorf("the device was told %v,\nwant %v", down.desired, want)
	}
	seen, err := session.Twin(ctx)
	if wantTwin := `{"desired":{"fan":{"speed":4,"mode":"auto"},"$version":3},"reported":{"fan":{"speed":4},"big":4503599627370495,"$version":2}}`; err != nil || string(seen) != wantTwin {
		t.Errorf("the device sees %s, error %v,\nwant %s", seen, err, wantTwin)
	}

	h.reopen()
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
	h := newHouse(t)
	session, down := h.connect(h.create(identity.Device{DeviceID: "d"}), false)
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"tags":{"a":1},"properties":{"desired":{"x":1,"y":2}}}`), ""); err != nil {
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
	if got := down.desired[1]; got != `{"y":2,"$version":3}` {
		t.Errorf("the device was told %s", got)
	}
	if after.Tags.String() != `{"b":2}` || after.Properties.Reported.Get("kept").String() != "true" {
		t.Errorf("the twin is %+v", after)
	}
}

func TestTwinsThatBreakALimit(t *testing.T) {
	h := newHouse(t)
	session, _ := h.connect(h.create(identity.Device{DeviceID: "d"}), false)
	before, _ := h.Twin(ctx, "d")
	deep := strings.Repeat(`{"a":`, 12) + "1" + strings.Repeat("}", 12)
	many := func(bytes int) string {
		var b strings.Builder
		for i := 0; b.Len() < bytes+bytes/8; i++ {
			fmt.Fprintf(&b, `"k%07d":"%s",`, i, strings.Repeat("x", 992))
		}
		return "{" + strings.TrimSuffix(b.String(), ",") + "}"
	}
	for _, c := range []struct{ name, patch, says string }{
		{"not an object", `[1]`, "JSON object"},
		{"null", `null`, "JSON object"},
		{"half", `{"a":`, "JSON"},
		{"two", `{}{}`, "follows"},
		{"deep", deep, "10 levels"},
		{"very deep", strings.Repeat("[", 100000), "10 levels"},
		{"long name", `{"` + strings.Repeat("n", 1025) + `":1}`, "1024"},
		{"name with a full stop", `{"a.b":1}`, "full stop"},
		{"name with a space inside", `{"x":{"a b":1}}`, "x: the name"},
		{"name with a dollar", `{"$a":1}`, "dollar"},
		{"name with a control character", `{"a\u0007":1}`, "control"},
		{"null in an array", `{"a":[{"b":null}]}`, "a[0].b: null"},
		{"not UTF-8", "{\"a\":\"\xff\"}", "UTF-8"},
		{"long number", `{"n":1.` + strings.Repeat("1", 63) + `}`, "65 characters"},
		{"number for no double", `{"n":-1e400}`, "double"},
		{"long string", `{"s":"` + strings.Repeat("s", 4097) + `"}`, "4096"},
		{"large integer", `{"n":4503599627370496}`, "out of range"},
		{"huge integer", `{"n":123456789012345678901234567890}`, "out of range"},
		{"too much", many(reportedLimit), "32768"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := session.Report(ctx, []byte(c.patch)); !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("reported is answered %.300v, want 400004 that says %q", err, c.says)
			}
			if c.patch != "null" {
				body := json.RawMessage(`{"properties":{"desired":` + c.patch + `}}`)
				if _, err := h.PatchTwin(ctx, "d", body, ""); !errors.Is(err, fault.ArgumentInvalid) {
					t.Errorf("desired is answered %.300v", err)
				}
			}
		})
	}
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"tags":`+many(tagsLimit)+`}`), ""); !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), "8192") {
		t.Errorf("too many tags are answered %.200v", err)
	}
	if after, _ := h.Twin(ctx, "d"); after.ETag != before.ETag {
		t.Error("a refused patch changed the twin")
	}
	if _, err := session.Report(ctx,
		[]byte(`{"a":1.5e300,"b":-4503599627370496,"c":{"d":[{"e":[]}]},"":1e-400,"`+strings.Repeat("n",
			1024)+`":"`+strings.Repeat("s", 4096)+`","one":`+
			strings.Repeat(`{"a":`, 9)+`{"ten":"deep"}`+strings.Repeat("}", 10))); err != nil {
		t.Errorf("what is allowed is answered %v", err)
	}
}

// Patches from many sides at once: none is lost, and the device is told in the
// order of the versions.
func TestTwinUnderContention(t *testing.T) {
	h := newHouse(t)
	session, down := h.connect(h.create(identity.Device{DeviceID: "d"}), false)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 10 {
				if _, err := h.PatchTwin(ctx, "d", json.RawMessage(fmt.Sprintf(`{"properties":{"desired":{"d%d":%d}}}`, i, j)), ""); err != nil {
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
	if twin.Properties.Desired.Get("$version").String() != "81" || twin.Properties.Reported.Get("$version").String() != "21" || len(down.desired) != 80 {
		t.Fatalf("desired is version %v, reported %v, and the device was told %d times", twin.Properties.Desired.Get("$version"), twin.Properties.Reported.Get("$version"), len(down.desired))
	}
	for i, told := range down.desired {
		if !strings.HasSuffix(told, fmt.Sprintf(`,"$version":%d}`, i+2)) {
			t.Fatalf("message %d is %s", i, told)
		}
	}
}
