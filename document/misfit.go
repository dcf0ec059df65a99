package document

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Misfit says which value in JSON is of another sort than its place takes.
type Misfit struct {
	Path   string // of the value, such as attestation.type or [2].iotHubs[0]; "" for all of it
	Wanted string // one of Kinds
	Got    string // one of Kinds, or a number or time as it is written
}

// Kinds are what a Misfit calls the sorts of values.
func Kinds() []string {
	return []string{wantsObject, wantsArray, wantsString, wantsNumber, wantsWhole, wantsBoolean, wantsTime,
		wantsCalendar, wantsBase64}
}

const (
	wantsObject   = "an object"
	wantsArray    = "an array"
	wantsString   = "a string"
	wantsNumber   = "a number"
	wantsWhole    = "a whole number"
	wantsBoolean  = "true or false"
	wantsTime     = "a time such as 2026-11-23T12:00:00Z"
	wantsCalendar = "a time of the years 1 to 9999 in UTC"
	wantsBase64   = "a string in base64"
)

// FindMisfit returns the first value of JSON that package json does not read into a value
// of the type of into, and reports false when it finds none. The errors of package json
// name Go's types in place of the path.
func FindMisfit(text []byte, into any) (Misfit, bool) {
	if CheckDepth(text, MaxDepth) != nil || !json.Valid(text) {
		return Misfit{}, false
	}
	p := parser{text: string(text)}
	found := misfit("", p.value(), reflect.TypeOf(into))
	if found == nil {
		return Misfit{}, false
	}
	return *found, true
}

var (
	rawType     = reflect.TypeFor[json.RawMessage]()
	objectType  = reflect.TypeFor[Object]()
	timeType    = reflect.TypeFor[time.Time]()
	ownTimeType = reflect.TypeFor[Time]()
	readsItself = reflect.TypeFor[json.Unmarshaler]()
)

// misfit returns the first misfit in a value that is to be read as a type, nil for none.
func misfit(path string, value Value, t reflect.Type) *Misfit {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t == rawType || value.Kind() == KindNull {
		return nil
	}
	kind := value.Kind()
	wrong := func(wanted string) *Misfit { return &Misfit{path, wanted, kindName(kind)} }
	unread := func(wanted, got string) *Misfit {
		if json.Unmarshal([]byte(value.text), reflect.New(t).Interface()) == nil {
			return nil
		}
		return &Misfit{path, wanted, got}
	}
	switch {
	case t == timeType || t == ownTimeType:
		if kind != KindString {
			return wrong(wantsTime)
		}
		if json.Unmarshal([]byte(value.text), new(time.Time)) == nil {
			return unread(wantsCalendar, shown(value))
		}
		return unread(wantsTime, shown(value))
	case t == objectType:
		if kind != KindObject {
			return wrong(wantsObject)
		}
		return nil
	case t.Kind() == reflect.Struct:
		if kind != KindObject {
			return wrong(wantsObject)
		}
		return misfitOfStruct(path, value, t)
	case reflect.PointerTo(t).Implements(readsItself):
		return nil // it says itself what it takes
	}
	switch t.Kind() {
	case reflect.Map:
		if kind != KindObject {
			return wrong(wantsObject)
		}
		for name, member := range value.Object().All() {
			if found := misfit(join(path, name), member, t.Elem()); found != nil {
				return found
			}
		}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			switch kind {
			case KindString:
				return unread(wantsBase64, wantsString)
			case KindArray:
				return nil // of numbers, which nobody sends
			}
			return wrong(wantsBase64)
		}
		if kind != KindArray {
			return wrong(wantsArray)
		}
		for i, element := range value.Elements() {
			if found := misfit(fmt.Sprintf("%s[%d]", path, i), element, t.Elem()); found != nil {
				return found
			}
		}
	case reflect.String:
		if kind != KindString {
			return wrong(wantsString)
		}
	case reflect.Bool:
		if kind != KindBoolean {
			return wrong(wantsBoolean)
		}
	case reflect.Float32, reflect.Float64:
		if kind != KindNumber {
			return wrong(wantsNumber)
		}
		return unread(wantsNumber, shown(value))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if kind != KindNumber {
			return wrong(wantsWhole)
		}
		return unread(wantsWhole, shown(value))
	}
	return nil
}

func misfitOfStruct(path string, value Value, t reflect.Type) *Misfit {
	fields := make(map[string]reflect.StructField) // by their names in JSON; what lies less deep goes first
	folded := make(map[string]string)
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || !field.IsExported() || field.Anonymous && name == "" {
			continue
		}
		name = cmp.Or(name, field.Name)
		if other, ok := fields[name]; !ok || len(field.Index) < len(other.Index) {
			fields[name], folded[strings.ToLower(name)] = field, name
		}
	}
	for name, member := range value.Object().All() {
		if _, ok := fields[name]; !ok {
			name = folded[strings.ToLower(name)]
		}
		field, ok := fields[name]
		if !ok {
			continue
		}
		if found := misfit(join(path, name), member, field.Type); found != nil {
			return found
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func kindName(kind Kind) string {
	switch kind {
	case KindObject:
		return wantsObject
	case KindArray:
		return wantsArray
	case KindString:
		return wantsString
	case KindNumber:
		return wantsNumber
	}
	return wantsBoolean
}

// shown is a number or a string as it is written, if it is short; else its kind. What is
// shown has no percent sign, so that it can stand in a format.
func shown(value Value) string {
	text := value.text
	if value.Kind() == KindString {
		text = strconv.Quote(value.Text())
	}
	if len(text) > 64 || strings.Contains(text, "%") {
		return kindName(value.Kind())
	}
	return text
}
