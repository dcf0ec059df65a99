package twin

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// digitalTwin is the twin of a device that follows the conventions, written at 12:00, which
// has reported at 12:01.
func digitalTwin(t *testing.T, desired, reported string) Document {
	t.Helper()
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	d, err := New(nil, json.RawMessage(desired), noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.apply(Patch{Desired: parsed(t, desired)}, false, noon); err != nil { // version 2
		t.Fatal(err)
	}
	if err := d.Reported.merge(limitsOfReported, *parsed(t, reported), false, noon.Add(time.Minute), false); err != nil {
		t.Fatal(err)
	}
	return d
}

func parsed(t *testing.T, text string) *document.Object {
	t.Helper()
	object, err := document.Parse([]byte(text), maxNesting)
	if err != nil {
		t.Fatal(err)
	}
	return &object
}

// The views are those of Microsoft Learn, concepts-digital-twin, with their values.
func TestDigitalTwin(t *testing.T) {
	const reportedAt = `"lastUpdateTime":"2026-11-27T12:01:00.0000000Z"`
	for name, c := range map[string]struct{ model, desired, reported, want string }{
		"components": {"dtmi:com:example:TemperatureController;1",
			`{"thermostat1":{"__t":"c","targetTemperature":21.80}}`,
			`{"serialNumber":"alwin","thermostat1":{"maxTempSinceLastReboot":25.3,"__t":"c",` +
				`"targetTemperature":{"value":21.80,"ac":200,"ad":"done","av":4}}}`,
			`{"$dtId":"d","serialNumber":"alwin","thermostat1":{"maxTempSinceLastReboot":25.3,"targetTemperature":21.80,` +
				`"$metadata":{"maxTempSinceLastReboot":{` + reportedAt + `},"targetTemperature":{"desiredValue":21.80,` +
				`"desiredVersion":2,"ackVersion":4,"ackCode":200,"ackDescription":"done",` + reportedAt + `}}},` +
				`"$metadata":{"$model":"dtmi:com:example:TemperatureController;1","serialNumber":{` + reportedAt + `}}}`},
		"a property of the root": {"", `{"fanSpeed":2.0}`, `{"fanSpeed":{"value":3.0,"ac":200,"av":1}}`,
			`{"$dtId":"d","fanSpeed":3.0,"$metadata":{"$model":"","fanSpeed":{"desiredValue":2.0,"desiredVersion":2,` +
				`"ackVersion":1,"ackCode":200,` + reportedAt + `}}}`},
		"only desired": {"", `{"fanSpeed":2,"engine":{"__t":"c","rpm":{"most":7}}}`, `{}`,
			`{"$dtId":"d","engine":{"$metadata":{"rpm":{"desiredValue":{"most":7},"desiredVersion":2}}},` +
				`"$metadata":{"$model":"","fanSpeed":{"desiredValue":2,"desiredVersion":2}}}`},
		"no conventions": {"", `{"a":{"b":[1]},"value":1}`, `{"a":{"value":1,"ad":"no ack"},"x":{"__t":"d","y":null}}`,
			`{"$dtId":"d","a":{"value":1,"ad":"no ack"},"x":{"__t":"d"},"$metadata":{"$model":"",` +
				`"a":{"desiredValue":{"b":[1]},"desiredVersion":2,` + reportedAt + `},"x":{` + reportedAt + `},` +
				`"value":{"desiredValue":1,"desiredVersion":2}}}`},
		"an empty component": {"", `{}`, `{"led":{"__t":"c"}}`,
			`{"$dtId":"d","led":{"$metadata":{}},"$metadata":{"$model":""}}`},
	} {
		d := digitalTwin(t, c.desired, c.reported)
		d.ModelID = c.model
		view, etag := d.Digital("d")
		if view.String() != c.want || etag != d.publicETag() {
			t.Errorf("%s: %s\nwant %s", name, view, c.want)
		}
	}
}

// A JSON Patch becomes a merge patch of the desired properties.
func TestDigitalPatch(t *testing.T) {
	const before = `{"speed":1,"limits":{"low":1,"high":{"a":1,"b":2}},"therm":{"__t":"c","target":20,"other":1}}`
	for name, c := range map[string]struct{ patch, want string }{
		"a property of a component": {`[{"op":"add","path":"/therm/target","value":21.40}]`,
			`{"therm":{"__t":"c","target":21.40}}`},
		"the same again": {`[{"op":"replace","path":"/therm/target","value":20}]`, `{"therm":{"__t":"c","target":20}}`},
		"a component replaced": {`[{"op":"replace","path":"/therm","value":{"target":5,"$metadata":{}}}]`,
			`{"therm":{"__t":"c","target":5,"other":null}}`},
		"a new component": {`[{"op":"add","path":"/led","value":{"$metadata":{},"on":true}}]`,
			`{"led":{"__t":"c","on":true}}`},
		"a component removed": {`[{"op":"remove","path":"/therm"}]`, `{"therm":null}`},
		"a property removed":  {`[{"op":"remove","path":"/therm/other"}]`, `{"therm":{"__t":"c","other":null}}`},
		"all properties removed": {`[{"op":"remove","path":"/therm/other"},{"op":"remove","path":"/therm/target"}]`,
			`{"therm":null}`},
		"nothing removed": {`[{"op":"remove","path":"/none"},{"op":"remove","path":"/none/one"}]`, `{}`},
		"an object replaced": {`[{"op":"replace","path":"/limits","value":{"low":0,"high":{"b":3}}}]`,
			`{"limits":{"low":0,"high":{"b":3,"a":null}}}`},
		"one after the other": {`[{"op":"add","path":"/therm/x","value":"1"},{"op":"add","path":"/speed","value":2},` +
			`{"op":"replace","path":"/therm","value":{"y":2,"$metadata":{}}}]`,
			`{"speed":2,"therm":{"__t":"c","y":2,"target":null,"other":null}}`},
		"removed and added": {`[{"op":"remove","path":"/therm"},{"op":"add","path":"/therm/new","value":1}]`,
			`{"therm":{"__t":"c","new":1,"target":null,"other":null}}`},
	} {
		patch, err := ReadDigitalPatch([]byte(c.patch))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := patch.desired(*parsed(t, before))
		if err != nil || got.String() != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
}

func TestDigitalPatchesThatCannotBe(t *testing.T) {
	const (
		noPatch, badValue = fault.DigitalTwinJSONPatchInvalid, fault.DigitalTwinPayloadInvalid
		badPatch, badPath = fault.DigitalTwinPatchInvalid, fault.DigitalTwinPatchPathInvalid
		removes           = `{"op":"remove","path":"/a"}`
	)
	many := `[` + strings.Repeat(removes+`,`, 256) + removes + `]`
	long := `[{"op":"add","path":"/` + strings.Repeat("a", 65) + `","value":1}]`
	for patch, code := range map[string]fault.Code{
		`{}`: noPatch, `null`: noPatch, ``: noPatch,
		` null`: noPatch, `[]`: noPatch,
		`[null]`: noPatch, `[1]`: noPatch,
		many:                                                                 noPatch,
		`[{"op":"test","path":"/a","value":1}]`:                              badPatch,
		`[{"path":"/a","value":1}]`:                                          badPatch,
		`[{"op":"add","value":1}]`:                                           badPath,
		`[{"op":"add","path":"a","value":1}]`:                                badPath,
		`[{"op":"add","path":"/","value":1}]`:                                badPath,
		`[{"op":"add","path":"/a/b/c","value":1}]`:                           badPath,
		`[{"op":"add","path":"/a/$metadata","value":1}]`:                     badPath,
		`[{"op":"add","path":"/_a","value":1}]`:                              badPath,
		long:                                                                 badPath,
		`[{"op":"add","path":"/a"}]`:                                         badValue,
		`[{"op":"add","path":"/a","value":null}]`:                            badValue,
		`[{"op":"add","path":"/a","value":[1]}]`:                             badValue,
		`[{"op":"add","path":"/a","value":{"b":null}}]`:                      badValue,
		`[{"op":"add","path":"/a","value":{"b c":1}}]`:                       badValue,
		`[{"op":"add","path":"/a","value":{"$metadata":{"x":1}}}]`:           badValue,
		`[{"op":"add","path":"/a/b","value":{"$metadata":{}}}]`:              badValue,
		`[{"op":"add","path":"/a","value":{"b":{"c":{"d":{"e":{"f":1}}}}}}]`: badValue,
	} {
		if _, err := ReadDigitalPatch([]byte(patch)); !errors.Is(err, code) {
			t.Errorf("%.80s: %v, want %d", patch, err, int(code))
		}
	}
	for patch, code := range map[string]fault.Code{
		`[{"op":"add","path":"/limits/low","value":1}]`:  badPatch,
		`[{"op":"remove","path":"/speed/x"}]`:            badPatch,
		`[{"op":"add","path":"/therm","value":{"a":1}}]`: badValue,
	} {
		read, err := ReadDigitalPatch([]byte(patch))
		if err != nil {
			t.Fatal(err)
		}
		before := parsed(t, `{"speed":1,"limits":{"low":1},"therm":{"__t":"c"}}`)
		if _, err := read.desired(*before); !errors.Is(err, code) {
			t.Errorf("%s: %v, want %d", patch, err, int(code))
		}
	}
}
