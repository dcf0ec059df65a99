package document

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Object is a JSON object that goes out as it came in: its members keep their order,
// and its names, strings and numbers their spelling. The zero value is an empty one.
//
// It is like a slice: a copy has the same members, so whoever changes one makes a
// Clone first. Reading is for many goroutines at once, changing for one.
type Object struct {
	members []member       // nil in one that was never there
	index   map[string]int // by name, once there are many
}

type member struct {
	name    string
	spelled string // the name as it stands in JSON, between its quotation marks
	value   Value
}

// indexed is how many members are looked through before it takes an index.
const indexed = 12

// IsZero reports whether there is no object: JSON had null, or nothing.
func (o Object) IsZero() bool { return o.members == nil }

// Len returns the number of members.
func (o Object) Len() int { return len(o.members) }

// All yields the members in their order.
func (o Object) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for _, m := range o.members {
			if !yield(m.name, m.value) {
				return
			}
		}
	}
}

// Get returns the value at a path of names, the zero Value when there is none.
func (o Object) Get(path ...string) (found Value) {
	inside := &o
	for _, name := range path {
		at := -1
		if inside != nil {
			at = inside.find(name)
		}
		if at < 0 {
			return Value{}
		}
		found = inside.members[at].value
		inside = found.object
	}
	return found
}

// Set gives a member its value: where it stands, or at the end when it is new.
func (o *Object) Set(name string, value Value) {
	if at := o.find(name); at >= 0 {
		o.members[at].value = value
		return
	}
	quoted := quote(name)
	o.add(member{name, quoted[1 : len(quoted)-1], value})
}

// Delete removes members.
func (o *Object) Delete(names ...string) {
	if slices.ContainsFunc(names, func(name string) bool { return o.find(name) >= 0 }) {
		o.DeleteFunc(func(name string, _ Value) bool { return slices.Contains(names, name) })
	}
}

// DeleteFunc removes the members that unwanted tells.
func (o *Object) DeleteFunc(unwanted func(name string, value Value) bool) {
	before := len(o.members)
	o.members = slices.DeleteFunc(o.members, func(m member) bool { return unwanted(m.name, m.value) })
	if len(o.members) != before {
		o.reindex()
	}
}

// Merge is a JSON merge patch (RFC 7396): null deletes, objects merge, all else takes
// the place of what was there. What is there keeps its place, what is new comes at the
// end, in the order of the patch. The patch is not changed, now or later.
func (o *Object) Merge(patch Object) {
	if o.members == nil {
		o.members = []member{}
	}
	deletes := false
	for _, change := range patch.members {
		if change.value.Kind() == KindNull {
			deletes = true
			continue
		}
		at := o.find(change.name)
		if inner := change.value.object; inner != nil {
			var merged Object
			if at >= 0 {
				merged = o.members[at].value.Object().Clone()
			}
			merged.Merge(*inner)
			change.value = Value{object: &merged}
		}
		if at < 0 {
			o.add(change)
			continue
		}
		o.members[at].value = change.value
	}
	if deletes {
		o.DeleteFunc(func(name string, _ Value) bool { return patch.Get(name).Kind() == KindNull })
	}
}

// Clone returns the object with members of its own; what is in them stays shared.
func (o Object) Clone() Object {
	clone := Object{members: make([]member, len(o.members), len(o.members)+2)}
	copy(clone.members, o.members)
	clone.reindex()
	return clone
}

// Plain returns the object with the shortest spelling of its names and strings: without
// the escapes that need not be.
func (o Object) Plain() Object {
	plain := o.Clone()
	for i := range plain.members {
		m := &plain.members[i]
		quoted := shortest(`"` + m.spelled + `"`)
		m.spelled = quoted[1 : len(quoted)-1]
		m.value = m.value.plain()
	}
	return plain
}

// Equal reports whether two objects are written alike.
func (o Object) Equal(other Object) bool { return o.String() == other.String() }

// AppendJSON appends the object without any space.
func (o Object) AppendJSON(text []byte) []byte {
	text = append(text, '{')
	for i, m := range o.members {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(append(text, '"'), m.spelled...), `":`...)
		text = m.value.AppendJSON(text)
	}
	return append(text, '}')
}

// Size is the length of what AppendJSON appends.
func (o Object) Size() int {
	size := len("{}") + max(0, len(o.members)-1)
	for _, m := range o.members {
		size += len(m.spelled) + len(`"":`) + m.value.Size()
	}
	return size
}

// String returns the object as JSON.
func (o Object) String() string { return string(o.AppendJSON(nil)) }

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) { return o.AppendJSON(make([]byte, 0, o.Size())), nil }

// UnmarshalJSON implements json.Unmarshaler. null is the zero Object.
func (o *Object) UnmarshalJSON(text []byte) (err error) {
	if string(text) == "null" {
		*o = Object{}
		return nil
	}
	*o, err = Parse(text, MaxDepth)
	return err
}

func (o *Object) find(name string) int {
	if o.index != nil {
		if at, ok := o.index[name]; ok {
			return at
		}
		return -1
	}
	for i := range o.members {
		if o.members[i].name == name {
			return i
		}
	}
	return -1
}

func (o *Object) add(m member) {
	o.members = append(o.members, m)
	if o.index != nil {
		o.index[m.name] = len(o.members) - 1
	} else if len(o.members) > indexed {
		o.reindex()
	}
}

func (o *Object) reindex() {
	o.index = nil
	if len(o.members) <= indexed {
		return
	}
	o.index = make(map[string]int, len(o.members))
	for i := range o.members {
		o.index[o.members[i].name] = i
	}
}

// Kind is what sort of JSON a Value is.
type Kind int

const (
	KindAbsent Kind = iota // of the zero Value
	KindNull
	KindBoolean
	KindNumber
	KindString
	KindArray
	KindObject
)

// Value is a JSON value, written as it was. It does not change.
type Value struct {
	text   string  // of a scalar, as it is spelled
	array  []Value // not nil in an array
	object *Object
}

// Null is null as a Value.
var Null = Value{text: "null"}

// TextOf returns a string as a Value.
func TextOf(text string) Value { return Value{text: quote(text)} }

// IntegerOf returns a whole number as a Value.
func IntegerOf(n int64) Value { return Value{text: strconv.FormatInt(n, 10)} }

// ValueOf returns an object as a Value.
func ValueOf(o Object) Value { return Value{object: &o} }

// Kind returns the sort of the value.
func (v Value) Kind() Kind {
	switch {
	case v.object != nil:
		return KindObject
	case v.array != nil:
		return KindArray
	case v.text == "":
		return KindAbsent
	}
	switch v.text[0] {
	case '"':
		return KindString
	case 'n':
		return KindNull
	case 't', 'f':
		return KindBoolean
	}
	return KindNumber
}

// Object returns the value if it is an object, and else the zero Object.
func (v Value) Object() Object {
	if v.object == nil {
		return Object{}
	}
	return *v.object
}

// Elements returns those of an array.
func (v Value) Elements() []Value { return v.array }

// Text returns what a string says, "" for all that is none.
func (v Value) Text() string {
	if v.Kind() != KindString {
		return ""
	}
	return unquote(v.text)
}

func (v Value) plain() Value {
	switch v.Kind() {
	case KindObject:
		return ValueOf(v.object.Plain())
	case KindArray:
		elements := make([]Value, len(v.array))
		for i, element := range v.array {
			elements[i] = element.plain()
		}
		return Value{array: elements}
	case KindString:
		return Value{text: shortest(v.text)}
	}
	return v
}

// AppendJSON appends the value without any space; the zero Value is null.
func (v Value) AppendJSON(text []byte) []byte {
	switch {
	case v.object != nil:
		return v.object.AppendJSON(text)
	case v.array != nil:
		text = append(text, '[')
		for i, element := range v.array {
			if i > 0 {
				text = append(text, ',')
			}
			text = element.AppendJSON(text)
		}
		return append(text, ']')
	case v.text == "":
		return append(text, "null"...)
	}
	return append(text, v.text...)
}

// Size is the length of what AppendJSON appends.
func (v Value) Size() int {
	switch {
	case v.object != nil:
		return v.object.Size()
	case v.array != nil:
		size := len("[]") + max(0, len(v.array)-1)
		for _, element := range v.array {
			size += element.Size()
		}
		return size
	case v.text == "":
		return len("null")
	}
	return len(v.text)
}

// String returns the value as JSON, "" for the zero Value.
func (v Value) String() string {
	if v.Kind() == KindAbsent {
		return ""
	}
	return string(v.AppendJSON(nil))
}

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil), nil }

// quote returns a string as JSON, with quotation marks and as few escapes as can be.
func quote(text string) string {
	quoted := make([]byte, 1, len(text)+2)
	quoted[0] = '"'
	for _, c := range []byte(strings.ToValidUTF8(text, "\uFFFD")) {
		switch {
		case c == '"' || c == '\\':
			quoted = append(quoted, '\\', c)
		case c < ' ' && escapes[c] != 0:
			quoted = append(quoted, '\\', escapes[c])
		case c < ' ':
			quoted = fmt.Appendf(quoted, `\u%04x`, c)
		default:
			quoted = append(quoted, c)
		}
	}
	return string(append(quoted, '"'))
}

// escapes are those of control characters that have a letter.
var escapes = [' ']byte{'\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// shortest is a string of JSON with no escape that need not be.
func shortest(quoted string) string {
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted
	}
	return quote(unquote(quoted))
}

// unquote returns what a string of JSON says.
func unquote(quoted string) (text string) {
	if err := json.Unmarshal([]byte(quoted), &text); err != nil {
		panic("document: " + err.Error()) // it was read as JSON
	}
	return text
}
