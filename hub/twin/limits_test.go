package twin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

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
		return each(from, to, `"%s":"`+strings.Repeat(`\u0001`, 200)+`"`)
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
	f := newFixture(t)
	for _, g := range growths {
		t.Run(g.name, func(t *testing.T) {
			id := strings.ReplaceAll(g.name, " ", "-")
			owner := f.create(id)
			doors := []struct {
				section string
				write   func(string) error
			}{
				{"properties.reported", func(patch string) error { _, err := f.report(owner, patch); return err }},
				{"properties.desired", func(patch string) error {
					_, err := f.patch(id, `{"properties":{"desired":`+patch+`}}`, "")
					return err
				}},
				{"tags", func(patch string) error {
					_, err := f.patch(id, `{"tags":`+patch+`}`, "")
					return err
				}},
			}
			for _, door := range doors {
				err := grow(t, g.patch, door.write)
				if !errors.Is(err, fault.ArgumentInvalid) ||
					!strings.Contains(err.Error(), door.section+" is too large: ") ||
					!strings.Contains(err.Error(), "allowed") {
					t.Fatalf("%s is refused with %v", door.section, err)
				}
			}
			// Full in every section, it is read, sent back and patched.
			if _, err := f.ForDevice(ctx, owner); err != nil {
				t.Error(err)
			}
			twin := f.twin(id)
			whole, _ := json.Marshal(twin)
			if _, err := f.replace(id, string(whole), twin.ETag); err != nil {
				t.Errorf("a full twin of %d bytes is sent back and answered %v", len(whole), err)
			}
			for _, door := range doors {
				if err := door.write(strings.NewReplacer("[]", "null").Replace(`{"0":null,"<<<<0":null}`)); err != nil {
					t.Errorf("%s: a property is deleted, answered %v", door.section, err)
				}
			}
			stored, _, err := f.table.Get(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if size := len(f.table.Put(id, store.Always, stored).Value); size > maxDocument {
				t.Errorf("the twin takes %d bytes", size)
			}
			if _, err := f.documents.Commit(ctx, f.PrepareDelete(id)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A twin that grew too large by the rules of an earlier version is read, made smaller
// and deleted, and does not grow.
func TestTwinsThatAreTooLargeAlready(t *testing.T) {
	f := newFixture(t)
	owner := f.create("d")
	stored, _, err := f.table.Get(ctx, "d")
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
	if _, err := f.documents.Commit(ctx, f.table.Put("d", store.Always, stored)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ForDevice(ctx, owner); err != nil {
		t.Error(err)
	}
	for _, patch := range []string{`{"new":1}`, each(0, 20000, `"%s":[1,2,3]`)} {
		if _, err := f.report(owner, patch); !errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), "is too large") {
			t.Errorf("more is answered %.300v", err)
		}
	}
	if _, err := f.patch("d", `{"properties":{"desired":`+each(0, 1000, `"%s":1`)+`}}`, ""); !errors.Is(err,
		fault.ArgumentInvalid) {
		t.Errorf("much in another section is answered %v", err)
	}
	if _, err := f.patch("d", `{"tags":{"site":"A"}}`, ""); err != nil {
		t.Errorf("a tag is answered %v", err)
	}
	for stored.Reported.Properties.Len() > 100 {
		patch := map[string]any{}
		for name := range stored.Reported.Properties.All() {
			if patch[name] = nil; len(patch) > 5000 {
				break
			}
		}
		encoded, err := json.Marshal(patch)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.report(owner, string(encoded)); err != nil {
			t.Fatalf("less is answered %v", err)
		}
		stored, _, _ = f.table.Get(ctx, "d")
	}
	if _, err := f.report(owner, `{"new":1}`); err != nil {
		t.Errorf("with %d left, more is answered %v", stored.Reported.Properties.Len(), err)
	}
	if _, err := f.documents.Commit(ctx, f.PrepareDelete("d")); err != nil {
		t.Error(err)
	}
}

func TestTwinsThatBreakALimit(t *testing.T) {
	f := newFixture(t)
	owner := f.create("d")
	before := f.twin("d")
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
			_, err := f.report(owner, c.patch)
			if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("reported is answered %.300v, want 400004 that says %q", err, c.says)
			}
			if c.patch != "null" {
				body := `{"properties":{"desired":` + c.patch + `}}`
				if _, err := f.patch("d", body, ""); !errors.Is(err, fault.ArgumentInvalid) {
					t.Errorf("desired is answered %.300v", err)
				}
			}
		})
	}
	_, err := f.patch("d", `{"tags":`+many(tagsLimit)+`}`, "")
	if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), "8192") {
		t.Errorf("too many tags are answered %.200v", err)
	}
	if f.twin("d").ETag != before.ETag {
		t.Error("a refused patch changed the twin")
	}
	if _, err := f.report(owner,
		`{"a":1.5e300,"b":-4503599627370496,"c":{"d":[{"e":[]}]},"":1e-400,"`+strings.Repeat("n",
			1024)+`":"`+strings.Repeat("s", 4096)+`","one":`+
			strings.Repeat(`{"a":`, 9)+`{"ten":"deep"}`+strings.Repeat("}", 10)); err != nil {
		t.Errorf("what is allowed is answered %v", err)
	}
}

// An initial twin has the same limits.
func TestNewRefuses(t *testing.T) {
	for says, parts := range map[string]struct{ tags, desired string }{
		"tags is too large: its names":               {tags: each(0, 1000, `"%s":1`)},
		"properties.desired is too large: its names": {desired: each(0, 5000, `"%s":1`)},
		"properties.desired is too large: it takes":  {desired: each(0, 8000, `"%s":[]`)},
		"properties.desired is too large: it has":    {desired: `{"a":1` + strings.Repeat(`,"a":1`, 50000) + `}`},
		"tags is too large: it has": {tags: `{"a":"` + strings.Repeat(`\u003c`, 4000) +
			strings.Repeat(`","a":"`+strings.Repeat(`\u003c`, 4000), 12) + `"}`},
		"properties.desired.a[0]: null deletes":            {desired: `{"a":[null]}`},
		"properties.desired.a: the number 1e400 is out of": {desired: `{"a":1e400}`},
		"tags.a.a.a.a.a.a.a.a.a.a.a: nested deeper than 10": {
			tags: strings.Repeat(`{"a":`, 12) + "1" + strings.Repeat("}", 12)},
	} {
		_, err := New(json.RawMessage(parts.tags), json.RawMessage(parts.desired), noon)
		if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s is answered %.300v", says, err)
		}
	}
	_, err := New(json.RawMessage(each(0, 700, `"%s":1`)), json.RawMessage(each(0, 2500, `"%s":1`)), noon)
	if err != nil {
		t.Errorf("an initial twin within the limits is answered %v", err)
	}
}

// Nulls in an initial twin delete nothing and leave nothing.
func TestNewWithNulls(t *testing.T) {
	d, err := New(json.RawMessage(`{"a":null}`), json.RawMessage(`{"a":null,"b":{"c":null}}`), noon)
	if err != nil {
		t.Fatal(err)
	}
	twin := d.Describe(identity.Device{})
	desired, _ := json.Marshal(twin.Properties.Desired)
	const mark = `"$lastUpdated":"2026-11-23T12:00:00.0000000Z","$lastUpdatedVersion":1`
	if want := `{"b":{},"$metadata":{` + mark + `,"b":{` + mark + `}},"$version":1}`; string(desired) != want ||
		twin.Tags.Len() != 0 || twin.Version != 1 {
		t.Errorf("the twin is %s with the tags %v in version %d;\nwant %s", desired, twin.Tags, twin.Version, want)
	}
}
