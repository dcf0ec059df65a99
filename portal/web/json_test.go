package web

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// twinMembers is the shape of an initial twin.
var twinMembers = Members{"tags": nil, "properties": {"desired": nil}}

func TestCheckJSON(t *testing.T) {
	for _, test := range []struct {
		text  string
		shape Members
		where string // line:column, "" for none
		says  string
	}{
		{`{}`, nil, "", ""},
		{` {"tags":{"a":[1,{"b":null}]}, "properties":{"desired":{}}} `, twinMembers, "", ""},
		{`{"tags":null}`, twinMembers, "", ""},
		{``, nil, "1:1", "ends before"},
		{"{\n\"a\": 1", nil, "2:7", "ends before"},
		{"{\"a\":1,\n}", nil, "1:7", "comma"},
		{"[1,]", nil, "1:3", "comma"},
		{"{'a':1}", nil, "1:2", "double quotes"},
		{`{a:1}`, nil, "1:2", "name between"},
		{`{"a" 1}`, nil, "1:6", "colon"},
		{`{"a":1 "b":2}`, nil, "1:8", "comma or the end"},
		{`{"é":1,}`, nil, "1:7", "comma"},
		{`{} x`, nil, "1:4", "follows the end"},
		{`7`, nil, "1:1", "JSON object"},
		{"{\"tags\":{},\n  \"extra\":1}", twinMembers, "2:3", "not known"},
		{`{"tags":{"properties":1},"properties":{"x":1}}`, twinMembers, "1:40", "not known"},
		{`{"properties":{"desired":[]}}`, twinMembers, "1:16", "JSON object"},
		{"\xff{}", nil, "1:1", "UTF-8"},
	} {
		problem := CheckJSON(test.text, test.shape)
		if problem == nil {
			if test.where != "" {
				t.Errorf("%q passes", test.text)
			}
			continue
		}
		if where := fmt.Sprintf("%d:%d", problem.Line, problem.Column); where != test.where ||
			!strings.Contains(english.T(problem.Text, problem.Args...), test.says) {
			t.Errorf("%q: %s at %s, want %q at %q", test.text, english.T(problem.Text, problem.Args...), where,
				test.says, test.where)
		}
	}
}

// TestProblemPoints holds the excerpt and its caret against the text.
func TestProblemPoints(t *testing.T) {
	long := `{"` + strings.Repeat("é", 200) + `": tru}`
	problem := CheckJSON(long, nil)
	if problem == nil || len([]rune(problem.Excerpt)) > 130 {
		t.Fatalf("the excerpt of a long line is %+v", problem)
	}
	at := len([]rune(problem.Caret)) - 1
	if want := []rune(long)[problem.Offset]; []rune(problem.Excerpt)[at] != want {
		t.Errorf("the caret stands at %q of %q, want %q", []rune(problem.Excerpt)[at], problem.Excerpt, want)
	}
}

// TestCheckJSONNeverPanics tries what nobody would type.
func TestCheckJSONNeverPanics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("{}[]\",:' \n1aé\\t\x00"))).Draw(t, "text")
		if problem := CheckJSON(text, twinMembers); problem != nil &&
			(problem.Line < 1 || problem.Column < 1 || problem.Offset > len([]rune(text))) {
			t.Fatalf("%q: %+v", text, problem)
		}
	})
}

// TestDiff gives back both texts from their difference.
func TestDiff(t *testing.T) {
	lines := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "c"}), 0, 12)
	rapid.Check(t, func(t *rapid.T) {
		stored, typed := strings.Join(lines.Draw(t, "stored"), "\n"), strings.Join(lines.Draw(t, "typed"), "\n")
		var one, two []string
		for _, line := range DiffLines(stored, typed) {
			if line.Kind != "ins" {
				one = append(one, line.Text)
			}
			if line.Kind != "del" {
				two = append(two, line.Text)
			}
		}
		if strings.Join(one, "\n") != stored || strings.Join(two, "\n") != typed {
			t.Fatalf("%q and %q come back as %q and %q", stored, typed, one, two)
		}
	})
	same := DiffLines("a\nb", "a\nb")
	if slices.ContainsFunc(same, func(line DiffLine) bool { return line.Kind != "same" }) {
		t.Errorf("the same text differs: %v", same)
	}
}
