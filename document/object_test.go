package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// spelling is a string as somebody may write it in JSON, without its quotation marks:
// each character plain or escaped.
func spelling(t *rapid.T) string {
	var text strings.Builder
	for _, r := range rapid.SliceOfN(rapid.RuneFrom([]rune("ab\"\\/<&é\u2028\U0001F600\x00\n$")), 0, 6).Draw(t,
		"runes") {
		escape := rapid.IntRange(0, 2).Draw(t, "escape")
		switch {
		case escape == 1 && r > 0xffff:
			high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			fmt.Fprintf(&text, `\u%04x\u%04X`, high, low)
		case escape == 1, r < ' ':
			fmt.Fprintf(&text, `\u%04x`, r)
		case r == '"' || r == '\\' || r == '/' && escape == 2:
			text.WriteString(`\` + string(r))
		default:
			text.WriteRune(r)
		}
	}
	return text.String()
}

// writtenJSON is JSON as somebody may write it, without space and with no name twice.
func writtenJSON(t *rapid.T, levels int) string {
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if levels == 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		return `"` + spelling(t) + `"`
	case 1, 2:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
	case 3:
		return rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "literal")
	case 4:
		elements := make([]string, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range elements {
			elements[i] = writtenJSON(t, levels-1)
		}
		return "[" + strings.Join(elements, ",") + "]"
	}
	return writtenObject(t, levels)
}

func writtenObject(t *rapid.T, levels int) string {
	var members []string
	taken := make(map[string]bool)
	for range rapid.SampledFrom([]int{0, 1, 2, 3, 40}).Draw(t, "members") {
		name := `"` + spelling(t) + `"`
		if read := unquote(name); !taken[read] {
			taken[read] = true
			members = append(members, name+":"+writtenJSON(t, max(0, levels-1)))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func parsed(t interface{ Fatalf(string, ...any) }, text string) Object {
	o, err := Parse([]byte(text), MaxDepth)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

// What is written goes out byte for byte as it came, space aside, whatever way it
// takes.
func TestObjectsGoOutAsTheyCame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := writtenObject(t, 4)
		o := parsed(t, text)
		if got := o.String(); got != text {
			t.Fatalf("%s became %s", text, got)
		}
		if o.Size() != len(text) {
			t.Fatalf("%s has the size %d, and not %d", text, o.Size(), len(text))
		}
		var spaced bytes.Buffer
		if err := json.Indent(&spaced, []byte(text), "\r", " \t"); err != nil {
			t.Fatal(err)
		}
		if got := parsed(t, " "+spaced.String()+"\n").String(); got != text {
			t.Fatalf("%s became %s", spaced.String(), got)
		}
		enclosed, err := Marshal(struct{ O Object }{o})
		if err != nil || string(enclosed) != `{"O":`+text+`}` {
			t.Fatalf("%s became %s, %v", text, enclosed, err)
		}
		var back struct{ O Object }
		if err := json.Unmarshal(enclosed, &back); err != nil || !back.O.Equal(o) {
			t.Fatalf("%s is read as %s, %v", enclosed, back.O, err)
		}
		var theirs, ours any
		if err := errors.Join(json.Unmarshal([]byte(text), &theirs),
			json.Unmarshal([]byte(o.String()), &ours)); err == nil &&
			fmt.Sprint(theirs) != fmt.Sprint(ours) {
			t.Fatalf("%s is read as %v", text, ours)
		}
	})
}

// Plain says the same in fewer bytes, and stays as it is.
func TestPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := parsed(t, writtenObject(t, 3))
		before, plain := o.String(), o.Plain()
		var said, says any
		if err := errors.Join(json.Unmarshal([]byte(before), &said),
			json.Unmarshal([]byte(plain.String()), &says)); err == nil &&
			fmt.Sprint(said) != fmt.Sprint(says) {
			t.Fatalf("%s became %s", before, plain)
		}
		if plain.Size() > len(before) || !plain.Plain().Equal(plain) || o.String() != before {
			t.Fatalf("%s became %s, and that %s", before, plain, plain.Plain())
		}
	})
}

// members are those of a model: an object as a list.
type members []struct {
	name  string
	value any // members, or text
}

func modelOf(o Object) (model members) {
	for name, value := range o.All() {
		m := struct {
			name  string
			value any
		}{name, value.String()}
		if value.Kind() == KindObject {
			m.value = modelOf(value.Object())
		}
		model = append(model, m)
	}
	return model
}

// patched is RFC 7396 on a list: what is there keeps its place, what is new comes last.
func patched(target, patch members) (result members) {
	change := func(name string) (any, bool) {
		for _, m := range patch {
			if m.name == name {
				return m.value, true
			}
		}
		return nil, false
	}
	merge := func(former any, value any) any {
		inner, ok := value.(members)
		if !ok {
			return value
		}
		before, _ := former.(members)
		return patched(before, inner)
	}
	there := make(map[string]bool)
	for _, m := range target {
		there[m.name] = true
		value, changed := change(m.name)
		switch {
		case !changed:
			result = append(result, m)
		case value != "null":
			m.value = merge(m.value, value)
			result = append(result, m)
		}
	}
	for _, m := range patch {
		if !there[m.name] && m.value != "null" {
			m.value = merge(nil, m.value)
			result = append(result, m)
		}
	}
	return result
}

func TestMergeKeepsTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := parsed(t, writtenObject(t, 3))
		var kept []Object
		var were []string
		for range rapid.IntRange(1, 4).Draw(t, "patches") {
			patch := parsed(t, writtenObject(t, 3))
			kept, were = append(kept, o.Clone(), patch), append(were, o.String(), patch.String())
			want := patched(modelOf(o), modelOf(patch))
			o.Merge(patch)
			if got := modelOf(o); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%s became\n%v, want\n%v", patch, got, want)
			}
			if read := parsed(t, o.String()); !read.Equal(o) {
				t.Fatalf("%s is read as %s", o, read)
			}
			for name, value := range o.All() {
				if o.Get(name).String() != value.String() {
					t.Fatalf("%q is %s by its name and %s by its place", name, o.Get(name), value)
				}
			}
		}
		for i, o := range kept {
			if o.String() != were[i] {
				t.Fatalf("%s was changed to %s by merging", were[i], o)
			}
		}
	})
}

func TestMerge(t *testing.T) {
	for _, c := range []struct{ before, patch, after string }{
		{`{"z":1,"a":2}`, `{"m":3,"z":4}`, `{"z":4,"a":2,"m":3}`},
		{`{"z":1,"a":2}`, `{"z":null}`, `{"a":2}`},
		{`{"z":{"y":1,"b":2},"a":0}`, `{"z":{"c":1.10,"y":null}}`, `{"z":{"b":2,"c":1.10},"a":0}`},
		{`{"z":1,"a":2}`, `{"z":{"x":null,"w":1e16}}`, `{"z":{"w":1e16},"a":2}`},
		{`{"z":{"x":1},"a":2}`, `{"z":[{"x":null}]}`, `{"z":[{"x":null}],"a":2}`},
		{`{}`, `{"a":{"b":{"c":null}}}`, `{"a":{"b":{}}}`},
	} {
		o := parsed(t, c.before)
		if o.Merge(parsed(t, c.patch)); o.String() != c.after {
			t.Errorf("%s with %s is %s, want %s", c.before, c.patch, o, c.after)
		}
	}
	// What is removed and comes again comes last.
	o := parsed(t, `{"z":1,"a":2}`)
	o.Merge(parsed(t, `{"z":null}`))
	o.Merge(parsed(t, `{"z":3}`))
	if o.String() != `{"a":2,"z":3}` {
		t.Errorf("%s", o)
	}
}

func TestObject(t *testing.T) {
	o := parsed(t, `{"b" : {"c":[1, "x"]}, "a":"\u0041\n", "b2":null, "a":true, "a":"last" }`)
	if got := o.String(); got != `{"b":{"c":[1,"x"]},"a":"last","b2":null}` {
		t.Errorf("it is %s", got)
	}
	if got := o.Get("b", "c").Elements(); len(got) != 2 || got[1].Text() != "x" || got[0].Text() != "" {
		t.Errorf("the array is %v", got)
	}
	if got := []any{o.Get("a").Text(), o.Get("b2").Kind(), o.Get("b", "d").Kind(),
		o.Get("a", "d").String()}; fmt.Sprint(
		got) != fmt.Sprint([]any{"last", KindNull, KindAbsent, ""}) {
		t.Errorf("the members are %v", got)
	}
	o.Set("a", TextOf("<é>\n"))
	o.Set("new", IntegerOf(-5))
	o.Delete("b", "not there")
	if got := o.String(); got != `{"a":"<é>\n","b2":null,"new":-5}` {
		t.Errorf("it is %s", got)
	}
	var zero Object
	if zero.Set("x", ValueOf(Object{})); zero.String() != `{"x":{}}` || !new(Object).IsZero() || zero.IsZero() {
		t.Errorf("it is %s", zero)
	}
	if err := json.Unmarshal([]byte("null"), &zero); err != nil || !zero.IsZero() || zero.String() != "{}" {
		t.Errorf("null is %s, %v", zero, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, says := range map[string]string{
		``:                       "ends too early",
		`{"a":`:                  "ends too early",
		`{"a":1}}`:               "follows",
		`{}{}`:                   "follows",
		"{\n\"a\":x}":            "line 2",
		`[1]`:                    "not a JSON object",
		`null`:                   "not a JSON object",
		`"{}"`:                   "not a JSON object",
		`{"a":01}`:               "not JSON",
		"{\"a\":\"\xe9\"}":       "byte 7 is not UTF-8",
		`{"a":"\ud800"}`:         `\ud800 at byte 7 is half`,
		`{"\udc00":1}`:           `\udc00 at byte 3 is half`,
		`{"a":"\ud83dx\ude00"}`:  `\ud83d`,
		`{"a":"\\\ud83d"}`:       `\ud83d at byte 9`,
		`{"a":"\ud83d\u0041"}`:   `\ud83d`,
		`{"a":"\ude00\ud83d"}`:   `\ude00`,
		string(nested(MaxDepth)): "not a JSON object",
		strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1): "nested deeper than 64",
	} {
		if o, err := Parse([]byte(text), MaxDepth); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %s, %v, want an error that says %q", text, o, err, says)
		}
	}
}

// CheckText finds what encoding/json replaces in silence, and nothing else.
func TestCheckText(t *testing.T) {
	pieces := rapid.SliceOf(rapid.SampledFrom([]string{`\ud83d`, `\uDE00`, `\udbff`, `\\`, `\"`, `\u0041`, `\n`, "u",
		"d83d", "é", "\U0001F600", "\xc3", "\xa9", "\xff", "a"}))
	rapid.Check(t, func(t *rapid.T) {
		text := `"` + strings.Join(pieces.Draw(t, "pieces"), "") + `"`
		var read string
		if err := json.Unmarshal([]byte(text), &read); err != nil {
			t.Fatal(err)
		}
		lost := strings.ContainsRune(read, utf8.RuneError)
		if err := CheckText([]byte(text)); (err != nil) != lost {
			t.Fatalf("%q: %v, and it is read as %q", text, err, read)
		}
	})
}

// CheckNumbers finds what a reader of doubles fails on, and nothing else.
func TestCheckNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := writtenJSON(t, 3)
		var read any
		err := json.Unmarshal([]byte(text), &read)
		if got := CheckNumbers([]byte(text)); (got == nil) != (err == nil) {
			t.Fatalf("%s: %v, and it is read with %v", text, got, err)
		}
	})
	for text, out := range map[string]bool{`1e308`: false, `-1e309`: true, `[1,{"a":1e400}]`: true, `"1e400\""`: false,
		strings.Repeat("9", 400): true, `1e-999`: false, `{"1e999":"\"1e999"}`: false, ``: false} {
		if err := CheckNumbers([]byte(text)); (err != nil) != out {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func TestTrimPadding(t *testing.T) {
	for payload, want := range map[string]string{
		"{}\x00\x00": "{}", "{}\n\x00": "{}\n", "{} ": "{} ", "\x00\x00": "", "": "", "{}": "{}",
		"{\x00}\x00": "{\x00}",
	} {
		if got := string(TrimPadding([]byte(payload))); got != want {
			t.Errorf("%q is %q, want %q", payload, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{`{"a":1.0,"b":[{"c":null}]}`, `{"\u0061":"\ud83d\ude00","a":2}`, "{\"a\":\"\xff\"}",
		`{"a" : [ 1 , { } ] }`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := Parse(text, MaxDepth)
		if err != nil {
			return
		}
		again, err := Parse([]byte(o.String()), MaxDepth)
		if err != nil || !again.Equal(o) || o.Size() != len(o.String()) {
			t.Fatalf("%q became %s, read as %s, %v", text, o, again, err)
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	target := parsed(b, `{"fan":{"speed":3,"mode":"auto"},"limit":[1,2],"name":"café"}`)
	patch := []byte(`{"fan":{"speed":4},"limit":null,"more":{"a":1.10}}`)
	b.ReportAllocs()
	for b.Loop() {
		read, err := Parse(patch, MaxDepth)
		if err != nil {
			b.Fatal(err)
		}
		o := target.Clone()
		o.Merge(read)
	}
}

// Syntax names the character that can't stand where it does.
func TestSyntax(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1}`:                "",
		` "é" `:                  "",
		``:                       "it ends too early",
		`{"é":`:                  "it ends too early",
		`{} {}`:                  "something follows its end, at byte 4",
		`{é}`:                    "'é' can't stand in line 1 at character 2",
		"{\"é\":1,\r\n \"ü\" 中}": "'中' can't stand in line 2 at character 6",
		`[tru😀]`:                 "'😀' can't stand in line 1 at character 5",
		"[\"a\nb\"]":             `'\n' can't stand in line 1 at character 4`,
		`{"a":01}`:               "'1' can't stand in line 1 at character 7",
	} {
		got := ""
		if err := Syntax([]byte(text)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
