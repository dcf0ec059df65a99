package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
)

func TestCountedSize(t *testing.T) {
	for _, c := range []struct {
		json string
		want int
	}{
		{`{}`, 0},
		{`{"name":"value"}`, 9},
		{`{"é":"日本"}`, 8},
		{`{"a":1}`, 9},
		{`{"a":1234567890.5e10}`, 9},
		{`{"a":true,"b":false}`, 10},
		{`{"a":{"b":{"c":1}}}`, 11},
		{`{"a":[1,"two",true,[]]}`, 16},
		{`{"a":[],"b":{},"c":""}`, 3},
		{`{"a":"a\u0000\u001f\u0080\u009fb\u00a0"}`, 5},
		{`{ "a" : "  " }`, 3},
	} {
		var o document.Object
		if err := json.Unmarshal([]byte(c.json), &o); err != nil {
			t.Fatal(err)
		}
		if got := countedSize(document.ValueOf(o)); got != c.want {
			t.Errorf("%s counts %d, want %d", c.json, got, c.want)
		}
	}
}

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
		case name == lastUpdated, marked && name == lastVersion:
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
	h := newHouse(t)
	round, taken := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		id := fmt.Sprint("d", round)
		session, down := h.connect(h.create(identity.Device{DeviceID: id}), false)
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
			told := len(down.desired)
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
				if len(down.desired) != told+1 {
					t.Fatalf("the device was told %d times", len(down.desired)-told)
				}
			} else if section == "reported" {
				versions["reported"]++
			}
		}
		byDevice, err := session.Twin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		twin, err := h.Twin(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(twin)
		if err != nil {
			t.Fatal(err)
		}
		var back Twin // as clients read it
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
		if !reflect.DeepEqual(byBackEnd["tags"], model["tags"]) || !reflect.DeepEqual(read(t, []byte(back.Tags.String())),
			model["tags"]) {
			t.Fatalf("a back end reads the tags as %v and %v, want %v", byBackEnd["tags"], back.Tags, model["tags"])
		}
		// SDKs send the whole twin back. That changes nothing but the version.
		after, err := h.ReplaceTwin(ctx, id, encoded, twin.ETag)
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

// growth makes a section of n properties that count little and take much.
type growth struct {
	name  string
	patch func(from, to int) string
}

func each(from, to int, property string) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, property, fmt.Sprintf("%x", i))
	}
	return "{" + b.String() + "}"
}

var growths = []growth{
	{"empty arrays", func(from, to int) string { return each(from, to, `"%s":[]`) }},
	{"Booleans", func(from, to int) string { return each(from, to, `"%s":true`) }},
	{"long numbers", func(from, to int) string { return each(from, to, `"%s":0.`+strings.Repeat("9", 62)) }},
	{"control characters", func(from, to int) string {
		return each(from, to, `"%s":"`+strings.Repeat(`\u0001`,
			200)+`"`)
	}},
	{"arrays of arrays", func(from, to int) string { return each(from, to, `"%s":[[],[[],[]],[[[],[]]]]`) }},
	{"names with escapes", func(from, to int) string { return each(from, to, `"<<<<%s":"<<<<"`) }},
	{"nested", func(from, to int) string { return each(from, to, `"%s":{"a":{"b":{"c":{"d":{"e":{"f":{}}}}}}}`) }},
}

// grow adds properties until that is refused, and returns the refusal.
func grow(t *testing.T, patch func(from, to int) string, write func(patch string) error) error {
	t.Helper()
	for from := 0; from < 1<<20; {
		to := from + 2000 + from/2
		if err := write(patch(from, to)); err != nil {
			return err
		}
		from = to
	}
	t.Fatal("it grows without end")
	return nil
}

// A twin is refused more before it can't be stored, in every section, whatever it is
// filled with; and all sections can be full at once.
func TestTwinsGrowNoLargerThanCanBeStored(t *testing.T) {
	h := newHouse(t)
	for _, g := range growths {
		t.Run(g.name, func(t *testing.T) {
			id := strings.ReplaceAll(g.name, " ", "-")
			session, _ := h.connect(h.create(identity.Device{DeviceID: id}), false)
			doors := []struct {
				section string
				write   func(string) error
			}{
				{"properties.reported", func(patch string) error { _, err := session.Report(ctx, []byte(patch)); return err }},
				{"properties.desired", func(patch string) error {
					_, err := h.PatchTwin(ctx, id, json.RawMessage(`{"properties":{"desired":`+patch+`}}`), "")
					return err
				}},
				{"tags", func(patch string) error {
					_, err := h.PatchTwin(ctx, id, json.RawMessage(`{"tags":`+patch+`}`), "")
					return err
				}},
			}
			for _, door := range doors {
				err := grow(t, g.patch, door.write)
				if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), door.section+" is too large: ") ||
					!strings.Contains(err.Error(), "allowed") {
					t.Fatalf("%s is refused with %v", door.section, err)
				}
			}
			// Full in every section, it is read, sent back and patched.
			if _, err := session.Twin(ctx); err != nil {
				t.Error(err)
			}
			twin, err := h.Twin(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			whole, _ := json.Marshal(twin)
			if _, err := h.ReplaceTwin(ctx, id, whole, twin.ETag); err != nil {
				t.Errorf("a full twin of %d bytes is sent back and answered %v", len(whole), err)
			}
			for _, door := range doors {
				if err := door.write(strings.NewReplacer("[]", "null").Replace(`{"0":null,"<<<<0":null}`)); err != nil {
					t.Errorf("%s: a property is deleted, answered %v", door.section, err)
				}
			}
			stored, _, err := h.twins.Get(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if size := len(h.twins.Put(id, store.Always, stored).Value); size > maxDocument {
				t.Errorf("the twin takes %d bytes", size)
			}
			if err := h.DeleteDevice(ctx, id, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

// A twin that grew too large by the rules of an earlier version is read, made smaller
// and deleted, and does not grow.
func TestTwinsThatAreTooLargeAlready(t *testing.T) {
	h := newHouse(t)
	session, _ := h.connect(h.create(identity.Device{DeviceID: "d"}), false)
	stored, _, err := h.twins.Get(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	stored.Generation = ""
	var one document.Object
	if err := json.Unmarshal([]byte(`{"array":[null],"mark":{"$lastUpdated":"2026-11-23T12:00:00.0000000Z"}}`),
		&one); err != nil {
		t.Fatal(err)
	}
	for i := 0; sizeOf(stored.Reported.Properties, stored.Reported.Metadata).stored < 1_000_874; i += 1000 {
		for j := i; j < i+1000; j++ {
			name := fmt.Sprintf("%x $", j) // a name that is not allowed either
			stored.Reported.Properties.Set(name, one.Get("array"))
			stored.Reported.Metadata.Set(name, one.Get("mark"))
		}
	}
	if _, err := h.config.Documents.Commit(ctx, h.twins.Put("d", store.Always, stored)); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Twin(ctx); err != nil {
		t.Error(err)
	}
	for _, patch := range []string{`{"new":1}`, each(0, 20000, `"%s":[1,2,3]`)} {
		if _, err := session.Report(ctx, []byte(patch)); !errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), "is too large") {
			t.Errorf("more is answered %.300v", err)
		}
	}
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"properties":{"desired":`+each(0, 1000, `"%s":1`)+`}}`),
		""); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("much in another section is answered %v", err)
	}
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"tags":{"site":"A"}}`), ""); err != nil {
		t.Errorf("a tag is answered %v", err)
	}
	for stored.Reported.Properties.Len() > 100 {
		patch := object{}
		for name := range stored.Reported.Properties.All() {
			if patch[name] = nil; len(patch) > 5000 {
				break
			}
		}
		encoded, err := json.Marshal(patch)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.Report(ctx, encoded); err != nil {
			t.Fatalf("less is answered %v", err)
		}
		stored, _, _ = h.twins.Get(ctx, "d")
	}
	if _, err := session.Report(ctx, []byte(`{"new":1}`)); err != nil {
		t.Errorf("with %d left, more is answered %v", stored.Reported.Properties.Len(), err)
	}
	if err := h.DeleteDevice(ctx, "d", ""); err != nil {
		t.Error(err)
	}
}

// An initial twin has the same limits, when it is written and when the device comes.
func TestInitialTwinsThatAreTooLarge(t *testing.T) {
	h := newHouse(t)
	for name, admission := range map[string]Admission{
		"tags is too large: its names":               {Tags: json.RawMessage(each(0, 1000, `"%s":1`))},
		"properties.desired is too large: its names": {Desired: json.RawMessage(each(0, 5000, `"%s":1`))},
		"properties.desired is too large: it takes":  {Desired: json.RawMessage(each(0, 8000, `"%s":[]`))},
		"properties.desired is too large: it has": {Desired: json.RawMessage(`{"a":1` + strings.Repeat(`,"a":1`,
			50000) + `}`)},
		"tags is too large: it has": {Tags: json.RawMessage(`{"a":"` + strings.Repeat(`\u003c`,
			4000) + strings.Repeat(`","a":"`+strings.Repeat(`\u003c`, 4000), 12) + `"}`)},
		"properties.desired.a[0]: null deletes":            {Desired: json.RawMessage(`{"a":[null]}`)},
		"properties.desired.a: the number 1e400 is out of": {Desired: json.RawMessage(`{"a":1e400}`)},
		"tags.a.a.a.a.a.a.a.a.a.a.a: nested deeper than 10": {Tags: json.RawMessage(strings.Repeat(`{"a":`,
			12) + "1" + strings.Repeat("}", 12))},
	} {
		admission.DeviceID, admission.PrimaryThumbprint = "d", strings.Repeat("A", 64)
		_, admitted := h.Admit(ctx, admission)
		for door, err := range map[string]error{"written": admission.Check(), "used": admitted} {
			if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s, when %s, is answered %.300v", name, door, err)
			}
		}
	}
	full := Admission{DeviceID: "full", PrimaryThumbprint: strings.Repeat("A", 64), Tags: json.RawMessage(each(0, 700,
		`"%s":1`)), Desired: json.RawMessage(each(0, 2500, `"%s":1`))}
	_, err := h.Admit(ctx, full)
	if err = errors.Join(full.Check(), err); err != nil {
		t.Errorf("an initial twin within the limits is answered %v", err)
	}
	// Nulls in it delete nothing and leave nothing.
	empty := Admission{DeviceID: "empty", PrimaryThumbprint: strings.Repeat("A", 64), Tags: json.RawMessage(`{"a":null}`),
		Desired: json.RawMessage(`{"a":null,"b":{"c":null}}`)}
	if _, err := h.Admit(ctx, empty); err != nil {
		t.Fatal(err)
	}
	twin, err := h.Twin(ctx, "empty")
	desired, _ := json.Marshal(twin.Properties.Desired)
	const mark = `"$lastUpdated":"2026-11-23T12:00:00.0000000Z","$lastUpdatedVersion":1`
	if want := `{"b":{},"$metadata":{` + mark + `,"b":{` + mark + `}},"$version":1}`; err != nil ||
		string(desired) != want || twin.Tags.Len() != 0 || twin.Version != 1 {
		t.Errorf("the twin is %s with the tags %v in version %d, error %v;\nwant %s", desired, twin.Tags, twin.Version, err,
			want)
	}
}
