package hub

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
)

// A twin as earlier versions stored it, with sorted names, is read, and what is written
// to it from now on keeps its order.
func TestTwinsOfEarlierVersions(t *testing.T) {
	h := newHouse(t)
	device := h.create(identity.Device{DeviceID: "d"})
	const at = `"$lastUpdated":"2026-11-20T10:00:00.0000000Z"`
	old := `{"generation":"` + device.GenerationID + `","version":5,"tags":{"a":"\u003cb\u003e","z":1},` +
		`"desired":{"version":3,"properties":{"fan":{"mode":"auto","speed":3},"limit":[1,2]},` +
		`"metadata":{` + at + `,"$lastUpdatedVersion":3,"fan":{` + at + `,"$lastUpdatedVersion":2,"mode":{` + at + `,"$lastUpdatedVersion":2},"speed":{` +
		at + `,"$lastUpdatedVersion":2}},"limit":{` + at + `,"$lastUpdatedVersion":3}}},` +
		`"reported":{"version":1,"properties":{},"metadata":{` + at + `}}}`
	if _, err := h.config.Documents.Commit(ctx, store.Change{Collection: h.twins.Collection, Key: "d", Match: store.Always,
		Value: []byte(old)}); err != nil {
		t.Fatal(err)
	}
	session, _ := h.connect(device, false)
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"tags":{"b":2},"properties":{"desired":{"fan":{"angle":1.0},"alarm":true}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Report(ctx, []byte(`{"z":1,"a":2}`)); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	twin, err := h.Twin(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	if got := twin.Tags.String(); got != `{"a":"\u003cb\u003e","z":1,"b":2}` {
		t.Errorf("the tags are %s", got)
	}
	desired := twin.Properties.Desired
	if got := desired.Get("$metadata", "fan", "mode", "$lastUpdatedVersion").String(); got != "2" {
		t.Errorf("the metadata of what stays says version %s", got)
	}
	desired.Delete("$metadata")
	if got := desired.String(); got != `{"fan":{"mode":"auto","speed":3,"angle":1.0},"limit":[1,2],"alarm":true,"$version":4}` {
		t.Errorf("the desired properties are %s", got)
	}
	reported := twin.Properties.Reported
	if reported.Delete("$metadata"); reported.String() != `{"z":1,"a":2,"$version":2}` {
		t.Errorf("the reported properties are %s", reported)
	}
}

// Null deletes what a device wrote, and not what the hub notes beside it.
func TestMetadataIsTheHubs(t *testing.T) {
	h := newHouse(t)
	session, _ := h.connect(h.create(identity.Device{DeviceID: "d"}), false)
	h.advance(time.Minute)
	for _, patch := range []string{`{"b":{"c":1,"d":2},"a":1}`, `{"b":{"c":null,"$lastUpdated":null},"$lastUpdated":null}`, `{"b":7}`,
		`{"b":{"e":1}}`, `{"a":null,"b":{"a":1}}`} {
		if _, err := session.Report(ctx, []byte(patch)); err != nil {
			t.Fatal(err)
		}
	}
	twin, err := h.Twin(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	const mark = `"$lastUpdated":"2026-11-23T12:01:00.0000000Z"`
	if got, want := twin.Properties.Reported.Get("$metadata").String(), `{`+mark+`,"b":{`+mark+`,"e":{`+mark+`},"a":{`+mark+`}}}`; got != want {
		t.Errorf("the metadata is %s, want %s", got, want)
	}
}

// A section that is too large only for its escapes is kept without those that need not
// be.
func TestSpellingIsNoReasonToRefuse(t *testing.T) {
	h := newHouse(t)
	h.create(identity.Device{DeviceID: "d"})
	value := strings.Repeat(`\u003c`, 4095)
	var members []string
	for _, name := range []string{"a", "b"} {
		members = append(members, `"`+name+`":"`+value+`"`)
	}
	tags := `{` + strings.Join(members, ",") + `}`
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"tags":`+tags+`}`), ""); err != nil {
		t.Fatal(err)
	}
	twin, err := h.Twin(ctx, "d")
	if err != nil || twin.Tags.Get("b").Text() != strings.Repeat("<", 4095) || twin.Tags.Size() > storedTagsLimit {
		t.Errorf("the tags have %d bytes, error %v", twin.Tags.Size(), err)
	}
}
