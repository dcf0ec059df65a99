package query

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/document"
)

// The property tests hold the evaluator against one that is written from the rules alone:
// it walks the tree that a condition was generated from, over values of Go.

// absent is what a path to nothing comes to, and all that can't be computed.
type absent struct{}

// formula is a generated expression: its text, and what it comes to.
type formula struct {
	text string
	eval func(map[string]any) any
}

var leaves = []string{"tags.a", "tags.b", "tags.c", "tags.none", "properties.reported.a"}

func constant() *rapid.Generator[formula] {
	return rapid.Custom(func(t *rapid.T) formula {
		switch rapid.IntRange(0, 4).Draw(t, "constant") {
		case 0:
			n := rapid.IntRange(-3, 3).Draw(t, "number")
			return formula{strconv.Itoa(n), func(map[string]any) any { return float64(n) }}
		case 1:
			s := rapid.SampledFrom([]string{"", "x", "xy", "it's", `back\slash`, "é😀"}).Draw(t, "string")
			quoted := "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
			return formula{quoted, func(map[string]any) any { return s }}
		case 2:
			b := rapid.Bool().Draw(t, "truth")
			return formula{strconv.FormatBool(b), func(map[string]any) any { return b }}
		case 3:
			return formula{"null", func(map[string]any) any { return nil }}
		}
		return formula{"undefined", func(map[string]any) any { return absent{} }}
	})
}

func leaf() *rapid.Generator[formula] {
	return rapid.Custom(func(t *rapid.T) formula {
		if rapid.Bool().Draw(t, "is constant") {
			return constant().Draw(t, "constant")
		}
		path := rapid.SampledFrom(leaves).Draw(t, "path")
		return formula{path, func(d map[string]any) any {
			if v, ok := d[path]; ok {
				return v
			}
			return absent{}
		}}
	})
}

func expressions(depth int) *rapid.Generator[formula] {
	if depth == 0 {
		return leaf()
	}
	return rapid.Custom(func(t *rapid.T) formula {
		inner := expressions(depth - 1)
		a := inner.Draw(t, "a")
		switch rapid.IntRange(0, 6).Draw(t, "form") {
		case 0:
			return formula{"(NOT " + a.text + ")", func(d map[string]any) any { return naiveNot(a.eval(d)) }}
		case 1:
			b, or := inner.Draw(t, "b"), rapid.Bool().Draw(t, "or")
			word := map[bool]string{false: " and ", true: " OR "}[or]
			return formula{"(" + a.text + word + b.text + ")", func(d map[string]any) any {
				return naiveJunction(or, a.eval(d), b.eval(d))
			}}
		case 2:
			b := inner.Draw(t, "b")
			operator := rapid.SampledFrom([]string{"=", "!=", "<>", "<", "<=", ">", ">="}).Draw(t, "operator")
			return formula{"(" + a.text + operator + b.text + ")", func(d map[string]any) any {
				return naiveCompare(operator, a.eval(d), b.eval(d))
			}}
		case 3:
			b, operator := inner.Draw(t, "b"), rapid.SampledFrom([]string{"+", "-", "*", "/", "%"}).Draw(t, "operator")
			return formula{"(" + a.text + " " + operator + " " + b.text + ")", func(d map[string]any) any {
				return naiveArithmetic(operator, a.eval(d), b.eval(d))
			}}
		case 4:
			set, word := rapid.SliceOfN(constant(), 0, 3).Draw(t, "set"), rapid.SampledFrom([]string{"IN", "NIN"}).Draw(t, "in")
			texts := make([]string, len(set))
			for i, element := range set {
				texts[i] = element.text
			}
			return formula{"(" + a.text + " " + word + " [" + strings.Join(texts, ", ") + "])", func(d map[string]any) any {
				found := naiveIn(a.eval(d), set)
				if word == "NIN" {
					return naiveNot(found)
				}
				return found
			}}
		case 5:
			return formula{"IS_DEFINED(" + a.text + ")", func(d map[string]any) any { return a.eval(d) != absent{} }}
		}
		b := inner.Draw(t, "b")
		return formula{"STARTSWITH(" + a.text + ", " + b.text + ")", func(d map[string]any) any {
			whole, ok1 := a.eval(d).(string)
			start, ok2 := b.eval(d).(string)
			if !ok1 || !ok2 {
				return absent{}
			}
			return strings.HasPrefix(whole, start)
		}}
	})
}

func naiveNot(v any) any {
	if b, ok := v.(bool); ok {
		return !b
	}
	return absent{}
}

func naiveJunction(or bool, a, b any) any {
	if a == or || b == or {
		return or
	}
	if a == !or && b == !or {
		return !or
	}
	return absent{}
}

func naiveCompare(operator string, a, b any) any {
	if a == (absent{}) || b == (absent{}) {
		return absent{}
	}
	order := 0
	switch operator {
	case "=":
		return a == b
	case "!=", "<>":
		return a != b
	}
	switch a := a.(type) {
	case float64:
		b, ok := b.(float64)
		if !ok {
			return absent{}
		}
		switch {
		case a < b:
			order = -1
		case a > b:
			order = 1
		}
	case string:
		b, ok := b.(string)
		if !ok {
			return absent{}
		}
		order = strings.Compare(a, b)
	default:
		return absent{}
	}
	return map[string]bool{"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]
}

func naiveArithmetic(operator string, a, b any) any {
	x, ok1 := a.(float64)
	y, ok2 := b.(float64)
	if !ok1 || !ok2 {
		return absent{}
	}
	result := map[string]float64{"+": x + y, "-": x - y, "*": x * y, "/": x / y, "%": math.Mod(x, y)}[operator]
	if math.IsNaN(result) || math.IsInf(result, 0) {
		return absent{}
	}
	return result
}

func naiveIn(v any, set []formula) any {
	if v == (absent{}) {
		return absent{}
	}
	for _, element := range set {
		if element.eval(nil) == v {
			return true
		}
	}
	return false
}

// someTwin is a document with some of the leaves, and these by their paths.
func someTwin(t *rapid.T) (text string, byPath map[string]any) {
	byPath = make(map[string]any)
	spelled := make(map[string]string)
	for _, path := range leaves[:3] {
		switch rapid.IntRange(0, 3).Draw(t, path) {
		case 0:
			n := rapid.IntRange(-3, 3).Draw(t, "number")
			byPath[path] = float64(n)
			spelled[path] = strconv.Itoa(n) + rapid.SampledFrom([]string{"", ".0", "e0", ".00"}).Draw(t, "spelling")
		case 1:
			s := rapid.SampledFrom([]string{"", "x", "xy", "it's", `back\slash`, "é😀"}).Draw(t, "string")
			byPath[path] = s
			spelled[path] = document.TextOf(s).String()
			if rapid.Bool().Draw(t, "ascii") {
				spelled[path] = strings.Trim(strconv.QuoteToASCII(s), `"`)
				spelled[path] = `"` + strings.ReplaceAll(spelled[path], `\U0001f600`, `\ud83d\ude00`) + `"`
			}
		case 2:
			b := rapid.Bool().Draw(t, "truth")
			byPath[path], spelled[path] = b, strconv.FormatBool(b)
		}
	}
	var tags []string
	for _, path := range leaves {
		if value, ok := spelled[path]; ok {
			tags = append(tags, fmt.Sprintf(" %q : %s", strings.TrimPrefix(path, "tags."), value))
		}
	}
	return `{"deviceId":"d","tags":{` + strings.Join(tags, ",") + `},"properties":{"reported":{}}}`, byPath
}

// TestLikeTheNaive generates conditions and twins.
func TestLikeTheNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := expressions(3).Draw(t, "expression")
		text, byPath := someTwin(t)
		condition, err := ParseCondition(e.text)
		if err != nil {
			t.Fatalf("%s: %v", e.text, err)
		}
		d, err := document.Parse([]byte(text), document.MaxDepth)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want := e.eval(byPath) == true
		if condition.Matches(d) != want || condition.MatchesJSON([]byte(text)) != want {
			t.Errorf("%s holds of %s: %v and %v, want %v", e.text, text, condition.Matches(d),
				condition.MatchesJSON([]byte(text)), want)
		}
		if want {
			checkBounds(t, condition, d)
		}
	})
}

// checkBounds holds what is told of where a condition holds against a document of which
// it does.
func checkBounds(t *rapid.T, condition Condition, d document.Object) {
	for _, b := range condition.Bounds() {
		v := valueOf(d.Get(b.Path...).AppendJSON(nil))
		if d.Get(b.Path...).Kind() == document.KindAbsent {
			v = value{}
		}
		within := b.Equal == nil && v.kind == text && strings.HasPrefix(string(v.bytes), b.Prefix)
		for _, e := range b.Equal {
			within = within || v.primitive() && equal(v, valueOf(e))
		}
		if !within {
			t.Errorf("%v is outside of %+v", d, b)
		}
	}
}

// FuzzParse reads any text, and evaluates what is a query.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"SELECT * FROM devices", "SELECT TOP 3 a AS b FROM devices.modules WHERE x = 'y'",
		"SELECT COUNT(), AVG(a.b) FROM devices WHERE NOT (a IN [1, 'x', null] OR b + -0x1F % 2 >= 1e5) GROUP BY c",
		"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = \"\\u0041\"", "configurations.[[a b]].status <> ''"} {
		f.Add(seed, twin)
	}
	f.Fuzz(func(t *testing.T, text, document string) {
		if condition, err := ParseCondition(text); err == nil {
			condition.MatchesJSON([]byte(document))
			condition.Bounds()
		}
		q, err := Parse(text)
		if err != nil {
			return
		}
		values := make([][]byte, len(q.Paths))
		q.finder.Find([]byte(document), values)
		if !q.Aggregates() {
			if q.Items != nil {
				q.AppendRow(nil, values)
			}
			return
		}
		groups := q.NewGroups()
		if groups.Add(values) == nil {
			groups.Rows()
		}
	})
}
