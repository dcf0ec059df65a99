package document

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func nested(levels int) []byte {
	return []byte(strings.Repeat("[", levels) + strings.Repeat("]", levels))
}

func TestCheckDepth(t *testing.T) {
	for _, example := range []struct {
		text  string
		depth int
	}{
		{`1`, 0}, {`"[[["`, 0}, {`"\"[["`, 0}, {`"\\"`, 0}, {`"\\[",[`, 1}, {`[]`, 1}, {`{"a":[1,{"b":[]}]}`, 4},
		{`[[],[],[[]]]`, 3}, {`]]][`, 0}, {``, 0},
	} {
		if example.depth > 0 {
			var tooDeep *DepthError
			if err := CheckDepth([]byte(example.text), example.depth-1); !errors.As(err, &tooDeep) {
				t.Errorf("%s at a limit of %d: %v, want a DepthError", example.text, example.depth-1, err)
			}
		}
		if err := CheckDepth([]byte(example.text), example.depth); err != nil {
			t.Errorf("%s at a limit of %d: %v", example.text, example.depth, err)
		}
	}
}

// TestDepthOfJSON holds CheckDepth against the decoded value.
func TestDepthOfJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := anyJSON(t, 6)
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		depth := depthOf(value)
		if err := CheckDepth(text, depth); err != nil {
			t.Fatalf("%s: %v, and its depth is %d", text, err, depth)
		}
		if depth > 0 && CheckDepth(text, depth-1) == nil {
			t.Fatalf("%s passes at a limit of %d, and its depth is %d", text, depth-1, depth)
		}
	})
}

func anyJSON(t *rapid.T, levels int) any {
	kind := rapid.IntRange(0, 4).Draw(t, "kind")
	if levels == 0 {
		kind %= 3
	}
	switch kind {
	case 0:
		return rapid.String().Draw(t, "string")
	case 1:
		return rapid.Float64().Draw(t, "number")
	case 2:
		return nil
	case 3:
		array := make([]any, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range array {
			array[i] = anyJSON(t, levels-1)
		}
		return array
	}
	object := map[string]any{}
	for range rapid.IntRange(0, 3).Draw(t, "members") {
		object[rapid.StringOf(rapid.RuneFrom([]rune(`a"\[{]}é`))).Draw(t, "name")] = anyJSON(t, levels-1)
	}
	return object
}

func depthOf(value any) int {
	deepest := 0
	switch value := value.(type) {
	case []any:
		for _, inner := range value {
			deepest = max(deepest, depthOf(inner))
		}
	case map[string]any:
		for _, inner := range value {
			deepest = max(deepest, depthOf(inner))
		}
	default:
		return 0
	}
	return deepest + 1
}

func TestEmbeddable(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":1}`: true, `"é"`: true, `"\ud800"`: false, `[1e400]`: false, `{"1e400":"1e400"}`: true, `{`: false,
		"": false, "\"\xff\"": false,
		string(nested(MaxFreeDepth)): true, string(nested(MaxFreeDepth + 1)): false, string(nested(1_000_000)): false,
	} {
		if Embeddable([]byte(text)) != want {
			t.Errorf("%.40q: embeddable %t, want %t", text, !want, want)
		}
	}
}

// TestBoundedTimes proves that what Bounded returns is written and read back, and
// that what InRange lets through is not changed.
func TestBoundedTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", rapid.IntRange(-14*3600, 14*3600).Draw(t, "offset"))
		moment := time.Unix(rapid.Int64Range(-63_000_000_000, 260_000_000_000).Draw(t, "seconds"), 0).In(zone)
		bounded := Bounded(moment)
		if InRange(moment) && !bounded.Equal(moment) {
			t.Fatalf("%v became %v", moment, bounded)
		}
		text, err := json.Marshal(bounded)
		if err != nil {
			t.Fatal(err)
		}
		var read time.Time
		if err := json.Unmarshal(text, &read); err != nil || !read.Equal(bounded) {
			t.Fatalf("%s is read as %v, %v", text, read, err)
		}
	})
	edge := time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)) // 10000 in UTC
	if InRange(edge) || Bounded(edge).Year() != 9999 {
		t.Errorf("%v is in range %t and becomes %v", edge, InRange(edge), Bounded(edge))
	}
	if past := time.Date(1, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)); InRange(past) || Bounded(past).Year() != 1 {
		t.Errorf("%v is in range %t and becomes %v", past, InRange(past), Bounded(past))
	}
}

func BenchmarkCheckDepth(b *testing.B) {
	text := []byte(`{"temperature":21.5,"tags":["a","b"],"where":{"floor":3}}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckDepth(text, MaxFreeDepth); err != nil {
			b.Fatal(err)
		}
	}
}
