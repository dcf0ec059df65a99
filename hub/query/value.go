package query

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/berth-iot/berth/document"
)

// kind is the type of a value. Their order is that of Min and Max.
type kind int

const (
	undefined kind = iota // nothing is there, or it can't be computed
	null
	boolean
	number
	text
	array
	object
)

// value is what an expression comes to.
type value struct {
	kind   kind
	truth  bool
	number float64
	bytes  []byte // what a text says; of an array or object its JSON
}

func truth(t bool) value { return value{kind: boolean, truth: t} }

// valueOf reads the JSON that is at a path.
func valueOf(encoded []byte) value {
	if len(encoded) == 0 {
		return value{}
	}
	switch encoded[0] {
	case '"':
		return value{kind: text, bytes: unquote(encoded)}
	case '{':
		return value{kind: object, bytes: encoded}
	case '[':
		return value{kind: array, bytes: encoded}
	case 't', 'f':
		return truth(encoded[0] == 't')
	case 'n':
		return value{kind: null}
	}
	n, ok := integer(encoded)
	if !ok {
		var err error
		if n, err = strconv.ParseFloat(string(encoded), 64); err != nil {
			return value{}
		}
	}
	return value{kind: number, number: n}
}

// integer reads a number of at most 15 digits, as most are.
func integer(encoded []byte) (float64, bool) {
	digits := encoded
	if digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 15 {
		return 0, false
	}
	n := int64(0)
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = n*10 + int64(digit-'0')
	}
	if len(digits) < len(encoded) {
		return -float64(n), true
	}
	return float64(n), true
}

// unquote returns what a string in JSON says.
func unquote(encoded []byte) []byte {
	if len(encoded) >= 2 && bytes.IndexByte(encoded, '\\') < 0 {
		return encoded[1 : len(encoded)-1]
	}
	var said string
	if json.Unmarshal(encoded, &said) != nil {
		return nil
	}
	return []byte(said)
}

// json returns a value as JSON, nil for undefined.
func (v value) json() []byte {
	switch v.kind {
	case null:
		return []byte("null")
	case boolean:
		return strconv.AppendBool(nil, v.truth)
	case number:
		return appendNumber(nil, v.number)
	case text:
		return document.TextOf(string(v.bytes)).AppendJSON(nil)
	}
	return v.bytes
}

// appendNumber writes a number as JavaScript does: without an exponent where that is
// short.
func appendNumber(dst []byte, n float64) []byte {
	encoded, err := json.Marshal(n)
	if err != nil {
		return append(dst, "null"...) // infinite
	}
	return append(dst, encoded...)
}

// arrayOf returns a list of a query as a value.
func arrayOf(list []value) value {
	encoded := []byte{'['}
	for _, element := range list {
		if element.kind == undefined {
			continue // is in no array
		}
		if len(encoded) > 1 {
			encoded = append(encoded, ',')
		}
		encoded = append(encoded, element.json()...)
	}
	return value{kind: array, bytes: append(encoded, ']')}
}

// primitive reports whether a value can be compared.
func (v value) primitive() bool { return null <= v.kind && v.kind <= text }

// equal compares two primitive values. Those of different types are not equal.
func equal(a, b value) bool {
	if a.kind != b.kind {
		return false
	}
	switch a.kind {
	case boolean:
		return a.truth == b.truth
	case number:
		return a.number == b.number
	case text:
		return bytes.Equal(a.bytes, b.bytes)
	}
	return true
}

// compare orders two numbers or two texts; others have no order.
func compare(a, b value) (order int, ok bool) {
	switch {
	case a.kind != b.kind:
		return 0, false
	case a.kind == text:
		return bytes.Compare(a.bytes, b.bytes), true
	case a.kind != number:
		return 0, false
	case a.number < b.number:
		return -1, true
	case a.number > b.number:
		return 1, true
	}
	return 0, true
}
