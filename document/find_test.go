package document

import (
	"strings"
	"testing"
)

// TestFinder looks for paths, also in what is not whole.
func TestFinder(t *testing.T) {
	finder := NewFinder([]string{"a"}, []string{"b", "c"}, []string{"b"}, []string{"none", "x"}, []string{"q\"uote"},
		[]string{"é"}, nil)
	for _, c := range []struct{ text, found string }{
		{`{}`, `|||||| {}`},
		{` { "a" : 1 , "b" : { "x" : [ 1 , { "c" : 9 } ] , "c" : "}\"" } } `,
			`1|"}\""|{ "x" : [ 1 , { "c" : 9 } ] , "c" : "}\"" }||||whole`},
		{`{"x":{"a":2},"none":1,"q\"uote":null,"\u00e9":[true]}`, `||||null|[true]|whole`},
		{`{"none":{"x":-1.0e5},"b":[{"c":1}],"a":"\\"}`, `"\\"||[{"c":1}]|-1.0e5|||whole`},
		{`{"a":1,"a":2}`, `1||||||whole`},
		{`[1]`, `||||||whole`},
		{``, `||||||whole`},
	} {
		found := make([][]byte, 7)
		finder.Find([]byte(c.text), found)
		var texts []string
		for _, value := range found {
			texts = append(texts, string(value))
		}
		if string(found[6]) != strings.TrimSpace(c.text) {
			t.Errorf("all of %s is %s", c.text, found[6])
		}
		want := c.found[:strings.LastIndexByte(c.found, '|')]
		if got := strings.Join(texts[:6], "|"); got != want {
			t.Errorf("%s has %s, want %s", c.text, got, want)
		}
	}
}

func TestElements(t *testing.T) {
	for text, want := range map[string]string{`[]`: "",
		` [ 1 , "a,]" , [ 2 , 3 ] , {"b":[4]} ] `: `1|"a,]"|[ 2 , 3 ]|{"b":[4]}`,
		`1`: "", ``: "", `[`: "", `[1`: "1", `[1,`: "1", `[}`: ""} {
		var elements []string
		for element := range Elements([]byte(text)) {
			elements = append(elements, string(element))
		}
		if got := strings.Join(elements, "|"); got != want {
			t.Errorf("%s has the elements %s, want %s", text, got, want)
		}
	}
}

// FuzzFinder holds what is found against what Parse reads, for JSON; of anything else it
// only has to end.
func FuzzFinder(f *testing.F) {
	f.Add(`{"a":{"b":1,"c":[2,"x"]},"d":"\"","a\u0062":null}`, "a", "b")
	f.Add(`{"a":{"b" : {}}, "a":1}`, "a", "b")
	f.Add(`{"a":"\`, "a", "b")
	f.Fuzz(func(t *testing.T, text, first, second string) {
		found := make([][]byte, 2)
		NewFinder([]string{first}, []string{first, second}).Find([]byte(text), found)
		for element := range Elements([]byte(text)) {
			if len(element) == 0 {
				t.Errorf("%q has an element that is nothing", text)
			}
		}
		parsed, err := Parse([]byte(text), MaxDepth)
		if err != nil || hasRepeated(parsed, text) {
			return
		}
		for i, want := range []Value{parsed.Get(first), parsed.Get(first, second)} {
			got, err := Parse([]byte(`{"v":`+string(found[i])+`}`), MaxDepth)
			if want.Kind() == KindAbsent {
				if found[i] != nil {
					t.Errorf("%q has %q at path %d, and nothing is there", text, found[i], i)
				}
				continue
			}
			if err != nil || got.Get("v").String() != want.String() {
				t.Errorf("%q has %q at path %d, want %v", text, found[i], i, want)
			}
		}
	})
}

// hasRepeated reports whether a member of a text stands twice: what was parsed is shorter
// then.
func hasRepeated(parsed Object, text string) bool {
	size, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			size++
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(" \t\r\n", c) >= 0:
			continue
		}
		size++
	}
	return parsed.Size() < size
}
