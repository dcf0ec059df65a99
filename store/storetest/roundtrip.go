package storetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/store"
)

// RoundTrip proves that any value of a type that a Table keeps is written, and read
// back as it was: with any text in UTF-8, any time of the years 1 to 9999 in steps of
// 100 nanoseconds, and any JSON of up to 32 levels.
func RoundTrip[T any](t *testing.T) {
	t.Helper()
	kind := reflect.TypeFor[T]()
	t.Run(kind.String(), func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			value := reflect.New(kind).Elem()
			fill(t, value, 4)
			wanted := value.Interface().(T)
			change := store.Table[T]{}.Put("key", store.Always, wanted)
			if change.Err != nil {
				t.Fatalf("%+v can't be written: %v", wanted, change.Err)
			}
			var got T
			if err := json.Unmarshal(change.Value, &got); err != nil {
				t.Fatalf("%s can't be read: %v", change.Value, err)
			}
			if diff := cmp.Diff(wanted, got, sameJSON, sameTime, sameEmpty, exportedOnly); diff != "" {
				t.Fatalf("%s is read otherwise:\n%s", change.Value, diff)
			}
		})
	})
}

var (
	isRaw    = func(path cmp.Path) bool { return path.Last().Type() == rawType }
	sameJSON = cmp.FilterPath(isRaw, cmp.Comparer(func(a, b json.RawMessage) bool {
		var x, y bytes.Buffer
		if len(a) == 0 || len(b) == 0 {
			return len(a) == len(b)
		}
		return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
	}))
	sameTime     = cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	sameEmpty    = cmp.FilterPath(func(path cmp.Path) bool { return !isRaw(path) }, cmpopts.EquateEmpty())
	exportedOnly = cmp.FilterPath(func(path cmp.Path) bool {
		field, ok := path.Last().(cmp.StructField)
		return ok && field.Name() != "" && field.Name()[0] >= 'a'
	}, cmp.Ignore())
)

var (
	rawType    = reflect.TypeFor[json.RawMessage]()
	objectType = reflect.TypeFor[document.Object]()
	timeType   = reflect.TypeFor[time.Time]()
)

// fill gives a value any content; deeper is how many levels of pointers, slices and
// maps it may have yet.
func fill(t *rapid.T, value reflect.Value, deeper int) {
	switch value.Type() {
	case rawType:
		if rapid.Bool().Draw(t, "present") {
			value.SetBytes(anyRaw(t))
		}
		return
	case objectType:
		object, err := document.Parse(anyObject(t, deeper), document.MaxDepth)
		if err != nil {
			t.Fatal(err)
		}
		value.Set(reflect.ValueOf(object))
		return
	case timeType:
		const first, last = -62135596800, 253402300799 // of the years 1 to 9999
		seconds := rapid.Int64Range(first, last).Draw(t, "seconds")
		ticks := rapid.Int64Range(0, 9_999_999).Draw(t, "ticks")
		value.Set(reflect.ValueOf(time.Unix(seconds, 100*ticks).UTC()))
		return
	}
	switch value.Kind() {
	case reflect.String:
		value.SetString(rapid.String().Draw(t, "text"))
	case reflect.Bool:
		value.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		value.SetInt(rapid.Int64().Draw(t, "int") >> (64 - value.Type().Bits()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		value.SetUint(rapid.Uint64().Draw(t, "uint") >> (64 - value.Type().Bits()))
	case reflect.Float64:
		value.SetFloat(rapid.Float64().Draw(t, "float"))
	case reflect.Interface:
		if content := anyContent(t, deeper); content != nil {
			value.Set(reflect.ValueOf(content))
		}
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				fill(t, value.Field(i), deeper)
			}
		}
	case reflect.Array:
		for i := range value.Len() {
			fill(t, value.Index(i), deeper)
		}
	case reflect.Pointer:
		if deeper > 0 && rapid.Bool().Draw(t, "present") {
			value.Set(reflect.New(value.Type().Elem()))
			fill(t, value.Elem(), deeper-1)
		}
	case reflect.Slice:
		if deeper > 0 {
			n := rapid.IntRange(0, 3).Draw(t, "length")
			value.Set(reflect.MakeSlice(value.Type(), n, n))
			for i := range n {
				fill(t, value.Index(i), deeper-1)
			}
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			element := reflect.New(value.Type().Elem()).Elem()
			fill(t, element, deeper-1)
			value.SetMapIndex(reflect.ValueOf(rapid.String().Draw(t, "name")).Convert(value.Type().Key()), element)
		}
	default:
		t.Fatalf("nobody knows how to fill a %s", value.Type())
	}
}

// anyContent is a value of JSON whose numbers are written as they were.
func anyContent(t *rapid.T, deeper int) any {
	switch kind := rapid.IntRange(0, 4).Draw(t, "kind"); {
	case kind == 0:
		return rapid.Bool().Draw(t, "bool")
	case kind == 1:
		return json.Number(fmt.Sprint(rapid.Int64().Draw(t, "number")))
	case kind == 2 && deeper > 0:
		return []any{anyContent(t, deeper-1), nil}
	case kind == 3 && deeper > 0:
		return map[string]any{rapid.String().Draw(t, "name"): anyContent(t, deeper-1)}
	}
	return rapid.String().Draw(t, "text")
}

// anyObject is a JSON object with names in any order and numbers in any spelling.
func anyObject(t *rapid.T, deeper int) []byte {
	object := []byte("{")
	for i := range rapid.IntRange(0, 3).Draw(t, "members") {
		if i > 0 {
			object = append(object, ',')
		}
		name, err := json.Marshal(fmt.Sprint(rapid.String().Draw(t, "name"), i))
		if err != nil {
			t.Fatal(err)
		}
		object = append(append(object, name...), ':')
		if deeper > 0 && rapid.Bool().Draw(t, "object") {
			object = append(object, anyObject(t, deeper-1)...)
		} else {
			object = append(object, anyRaw(t)...)
		}
	}
	return append(object, '}')
}

// anyRaw is JSON as somebody may send it, up to 32 levels deep.
func anyRaw(t *rapid.T) []byte {
	text, err := json.Marshal(rapid.String().Draw(t, "text"))
	if err != nil {
		t.Fatal(err)
	}
	numbers := []string{"0", "-1", "1.0", "1e999", "123456789012345678901234567890", "0.1e-400"}
	number := rapid.SampledFrom(numbers).Draw(t, "number")
	values := []string{string(text), number, "true", "null", `{"a" : 1, "a":2}`, " [ ] "}
	inner := rapid.SampledFrom(values).Draw(t, "inner")
	levels := rapid.IntRange(0, 31).Draw(t, "levels")
	if levels == 0 {
		return []byte(inner)
	}
	return []byte(strings.Repeat(`[{"b":`, levels/2) + strings.Repeat("[", levels%2) + inner +
		strings.Repeat("]", levels%2) + strings.Repeat("}]", levels/2))
}
