package hub_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
)

// object is a JSON object as a model of one, with its numbers as they are written.
type object map[string]any

func (o *object) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode((*map[string]any)(o))
}

// names are of every kind, few enough that patches meet.
var names = rapid.OneOf(
	rapid.SampledFrom([]string{"a", "b", "c", "", "é", "<&>", `"\`, "\u2028", strings.Repeat("n", 1024)}),
	rapid.StringN(0, 20, 40),
)

var numbers = rapid.OneOf(
	rapid.Map(rapid.Int64(), func(n int64) any { return json.Number(fmt.Sprint(n)) }),
	rapid.Map(rapid.Float64(), func(n float64) any { return json.Number(fmt.Sprint(n)) }),
	rapid.SampledFrom([]any{json.Number("1.0"), json.Number("-0"), json.Number("1e400"), json.Number("1e-400"),
		json.Number("1E5"),
		json.Number("4503599627370495"), json.Number("4503599627370496"), json.Number("1." + strings.Repeat("0", 80))}),
)

// values are JSON of every kind; some break a limit.
func values(depth int) *rapid.Generator[any] {
	text := rapid.Map(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\u0001\u0002", "<script>",
		strings.Repeat("s", 4096), strings.Repeat("s", 4097)})),
		func(s string) any { return s })
	scalars := rapid.OneOf(text, numbers, rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Just[any](nil))
	if depth == 0 {
		return scalars
	}
	return rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return map[string]any(objects(depth-1).Draw(t, "object"))
		case 1:
			return rapid.SliceOfN(values(depth-1), 0, 3).Draw(t, "array")
		}
		return scalars.Draw(t, "scalar")
	})
}

func objects(depth int) *rapid.Generator[object] {
	return rapid.Map(rapid.MapOfN(names, values(depth), 0, 4), func(m map[string]any) object { return m })
}

// merged is RFC 7396 as it stands there.
func merged(target any, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result := map[string]any{}
	if former, ok := target.(map[string]any); ok {
		for name, value := range former {
			result[name] = value
		}
	}
	for name, value := range changes {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = merged(result[name], value)
		}
	}
	return result
}

// read is a JSON object with its numbers as they are written.
func read(t *rapid.T, b []byte) map[string]any {
	t.Helper()
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatalf("%s can't be read: %v", b, err)
	}
	return o
}

// asDoubles is how a reader sees JSON that knows only doubles, as most do.
func asDoubles(t *rapid.T, value any) any {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var read any
	if err := json.Unmarshal(encoded, &read); err != nil {
		t.Fatalf("a reader of doubles can't read %.200s: %v", encoded, err)
	}
	return read
}

// shaped checks that metadata has the shape of the properties, and nothing else.
func shaped(t *rapid.T, value any, metadata any, marked bool) {
	t.Helper()
	node, ok := metadata.(map[string]any)
	if !ok {
		t.Fatalf("the metadata of %v is %v", value, metadata)
	}
	properties, _ := value.(map[string]any)
	for name, child := range node {
		switch _, there := properties[name]; {
		case name == "$lastUpdated", marked && name == "$lastUpdatedVersion":
		case !there:
			t.Fatalf("there is metadata of %q, which is not there", name)
		default:
			shaped(t, properties[name], child, marked)
		}
	}
	for name := range properties {
		if _, there := node[name]; !there {
			t.Fatalf("there is no metadata of %q", name)
		}
	}
}

// Whatever patches a twin takes, it can be read back as it should be, by the device
// and by back ends, and be patched again. What it does not take changes nothing.
func TestTwinsReadBackAsTheyWereWritten(t *testing.T) {
	h := newFixture(t)
	round, taken := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		id := fmt.Sprint("d", round)
		session, down := h.Connect(h.Create(identity.Device{DeviceID: id}), false)
		defer session.Close(nil)
		model := map[string]any{"tags": map[string]any{}, "desired": map[string]any{}, "reported": map[string]any{}}
		versions := map[string]int{"desired": 1, "reported": 1}
		for range rapid.IntRange(1, 5).Draw(t, "patches") {
			patch := map[string]any(objects(3).Draw(t, "patch"))
			encoded, err := json.Marshal(patch)
			if err != nil {
				t.Skip(err) // NaN is no JSON
			}
			patch = read(t, encoded) // characters that are not UTF-8 have been replaced
			before, _ := h.Twin(ctx, id)
			section := rapid.SampledFrom([]string{"tags", "desired", "reported"}).Draw(t, "section")
			replace := section != "reported" && rapid.Bool().Draw(t, "replace")
			body := fmt.Appendf(nil, `{"properties":{"desired":%s}}`, encoded)
			if section == "tags" {
				body = fmt.Appendf(nil, `{"tags":%s}`, encoded)
			}
			told := len(down.Notices())
			switch {
			case section == "reported":
				_, err = session.Report(ctx, encoded)
			case replace:
				_, err = h.ReplaceTwin(ctx, id, body, "")
			default:
				_, err = h.PatchTwin(ctx, id, body, before.ETag)
			}
			if errors.Is(err, fault.ArgumentInvalid) {
				if after, err := h.Twin(ctx, id); err != nil || after.ETag != before.ETag {
					t.Fatalf("a patch that was refused changed the twin to %v, error %v", after, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s is answered %v", encoded, err)
			}
			taken++
			if replace {
				model["tags"], model["desired"] = map[string]any{}, map[string]any{}
			}
			model[section] = merged(model[section], patch)
			if section == "desired" || replace {
				versions["desired"]++
				if len(down.Notices()) != told+1 {
					t.Fatalf("the device was told %d times", len(down.Notices())-told)
				}
			} else if section == "reported" {
				versions["reported"]++
			}
		}
		byDevice, err := session.Twin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := h.Twin(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		var back twin.Twin // as clients read it
		if err := json.Unmarshal(encoded, &back); err != nil {
			t.Fatal(err)
		}
		byBackEnd, device := read(t, encoded), read(t, byDevice)
		asDoubles(t, byBackEnd)
		properties := byBackEnd["properties"].(map[string]any)
		for section, version := range versions {
			want := merged(model[section], map[string]any{"$version": json.Number(fmt.Sprint(version))})
			if !reflect.DeepEqual(device[section], want) {
				t.Fatalf("the device reads %s as %v, want %v", section, device[section], want)
			}
			shown := properties[section].(map[string]any)
			shaped(t, model[section], shown["$metadata"], section == "desired")
			delete(shown, "$metadata")
			if !reflect.DeepEqual(shown, want) {
				t.Fatalf("a back end reads %s as %v, want %v", section, shown, want)
			}
		}
		if !reflect.DeepEqual(byBackEnd["tags"], model["tags"]) ||
			!reflect.DeepEqual(read(t, []byte(back.Tags.String())),
				model["tags"]) {
			t.Fatalf("a back end reads the tags as %v and %v, want %v", byBackEnd["tags"], back.Tags, model["tags"])
		}
		// SDKs send the whole twin back. That changes nothing but the version.
		after, err := h.ReplaceTwin(ctx, id, encoded, whole.ETag)
		if err != nil {
			t.Fatalf("the twin can't be sent back: %v", err)
		}
		again := after.Properties.Desired
		again.Delete("$metadata")
		if !reflect.DeepEqual(read(t, []byte(again.String())), merged(model["desired"],
			map[string]any{"$version": json.Number(fmt.Sprint(versions["desired"] + 1))})) {
			t.Fatalf("sent back, the desired properties are %v", again)
		}
	})
	if taken < round/2 {
		t.Errorf("of %d twins, only %d patches were taken", round, taken)
	}
}
