package twin

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
)

// A twin as earlier versions stored it, with sorted names, is read, and what is written
// to it from now on keeps its order.
func TestTwinsOfEarlierVersions(t *testing.T) {
	f := newFixture(t)
	owner := f.create("d")
	const at = `"$lastUpdated":"2026-11-20T10:00:00.0000000Z"`
	old := `{"generation":"` + generation + `","version":5,"tags":{"a":"\u003cb\u003e","z":1},` +
		`"desired":{"version":3,"properties":{"fan":{"mode":"auto","speed":3},"limit":[1,2]},` +
		`"metadata":{` + at + `,"$lastUpdatedVersion":3,"fan":{` + at + `,"$lastUpdatedVersion":2,"mode":{` +
		at + `,"$lastUpdatedVersion":2},"speed":{` + at + `,"$lastUpdatedVersion":2}},"limit":{` + at +
		`,"$lastUpdatedVersion":3}}},` +
		`"reported":{"version":1,"properties":{},"metadata":{` + at + `}}}`
	f.commit(store.Change{Collection: f.Collection(), Key: "d", Match: store.Always, Value: []byte(old)})
	const more = `{"tags":{"b":2},"properties":{"desired":{"fan":{"angle":1.0},"alarm":true}}}`
	if _, err := f.patch("d", more, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.report(owner, `{"z":1,"a":2}`); err != nil {
		t.Fatal(err)
	}
	f.reopen()
	twin := f.twin("d")
	if got := twin.Tags.String(); got != `{"a":"\u003cb\u003e","z":1,"b":2}` {
		t.Errorf("the tags are %s", got)
	}
	desired := twin.Properties.Desired
	if got := desired.Get("$metadata", "fan", "mode", "$lastUpdatedVersion").String(); got != "2" {
		t.Errorf("the metadata of what stays says version %s", got)
	}
	desired.Delete("$metadata")
	if got := desired.String(); got !=
		`{"fan":{"mode":"auto","speed":3,"angle":1.0},"limit":[1,2],"alarm":true,"$version":4}` {
		t.Errorf("the desired properties are %s", got)
	}
	reported := twin.Properties.Reported
	if reported.Delete("$metadata"); reported.String() != `{"z":1,"a":2,"$version":2}` {
		t.Errorf("the reported properties are %s", reported)
	}
}

// Null deletes what a device wrote, and not what the hub notes beside it.
func TestMetadataIsTheHubs(t *testing.T) {
	f := newFixture(t)
	owner := f.create("d")
	f.clock = f.clock.Add(time.Minute)
	for _, patch := range []string{`{"b":{"c":1,"d":2},"a":1}`,
		`{"b":{"c":null,"$lastUpdated":null},"$lastUpdated":null}`, `{"b":7}`, `{"b":{"e":1}}`,
		`{"a":null,"b":{"a":1}}`} {
		if _, err := f.report(owner, patch); err != nil {
			t.Fatal(err)
		}
	}
	twin := f.twin("d")
	const mark = `"$lastUpdated":"2026-11-23T12:01:00.0000000Z"`
	const want = `{` + mark + `,"b":{` + mark + `,"e":{` + mark + `},"a":{` + mark + `}}}`
	if got := twin.Properties.Reported.Get("$metadata").String(); got != want {
		t.Errorf("the metadata is %s, want %s", got, want)
	}
}

// A section that is too large only for its escapes is kept without those that need not
// be.
func TestPatchKeepsSpelling(t *testing.T) {
	f := newFixture(t)
	f.create("d")
	value := strings.Repeat(`\u003c`, 4095)
	var members []string
	for _, name := range []string{"a", "b"} {
		members = append(members, `"`+name+`":"`+value+`"`)
	}
	tags := `{` + strings.Join(members, ",") + `}`
	if _, err := f.patch("d", `{"tags":`+tags+`}`, ""); err != nil {
		t.Fatal(err)
	}
	twin := f.twin("d")
	if twin.Tags.Get("b").Text() != strings.Repeat("<", 4095) || twin.Tags.Size() > storedTagsLimit {
		t.Errorf("the tags have %d bytes", twin.Tags.Size())
	}
}

// What earlier versions stored has an ETag, which stays until a back end writes.
func TestTwinETagOfEarlierVersions(t *testing.T) {
	f := newFixture(t)
	owner := f.create("d")
	stored, err := f.Get(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	stored.Version, stored.Revision = 7, 0
	f.commit(f.table.Put("d", store.Always, stored))
	before := f.twin("d")
	if _, err := f.report(owner, `{"level":1}`); err != nil {
		t.Fatal(err)
	}
	after, err := f.patch("d", `{"tags":{"a":1}}`, before.ETag)
	if err != nil || after.ETag == before.ETag || after.Version != 9 {
		t.Errorf("the ETag was %s, and is %s in version %d, error %v", before.ETag, after.ETag, after.Version, err)
	}
}
