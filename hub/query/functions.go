package query

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/berth-iot/berth/document"
)

// function is one that expressions can call.
type function struct {
	arguments int
	eval      func(arguments [maxArguments]value) value
}

// functions are those of twin and job queries, by their names in upper case. Azure
// documents IS_DEFINED alone; STARTSWITH, ENDSWITH and ARRAY_CONTAINS are what its own
// tools use. The names with an underscore, STARTS_WITH and ENDS_WITH, are of routes, and
// Azure refuses them here.
var functions = map[string]function{
	"IS_DEFINED":   ofKinds(null, boolean, number, text, array, object),
	"IS_NULL":      ofKinds(null),
	"IS_BOOL":      ofKinds(boolean),
	"IS_NUMBER":    ofKinds(number),
	"IS_STRING":    ofKinds(text),
	"IS_ARRAY":     ofKinds(array),
	"IS_OBJECT":    ofKinds(object),
	"IS_PRIMITIVE": ofKinds(null, boolean, number, text),

	"STARTSWITH": ofTexts(bytes.HasPrefix),
	"ENDSWITH":   ofTexts(bytes.HasSuffix),
	"CONTAINS":   ofTexts(bytes.Contains),

	"ARRAY_CONTAINS": {2, arrayContains},
	"ARRAY_LENGTH":   {1, arrayLength},
}

// functionNames lists them for who has called another.
func functionNames() string { return strings.Join(slices.Sorted(maps.Keys(functions)), ", ") }

// ofKinds is a function that tells whether a value is one of these types.
func ofKinds(kinds ...kind) function {
	return function{1, func(arguments [maxArguments]value) value {
		return truth(slices.Contains(kinds, arguments[0].kind))
	}}
}

// ofTexts is a function of two texts, undefined for anything else.
func ofTexts(holds func(whole, part []byte) bool) function {
	return function{2, func(arguments [maxArguments]value) value {
		if arguments[0].kind != text || arguments[1].kind != text {
			return value{}
		}
		return truth(holds(arguments[0].bytes, arguments[1].bytes))
	}}
}

func arrayContains(arguments [maxArguments]value) value {
	whole, wanted := arguments[0], arguments[1]
	if whole.kind != array || !wanted.primitive() {
		return value{}
	}
	for element := range document.Elements(whole.bytes) {
		if v := valueOf(element); v.primitive() && equal(v, wanted) {
			return truth(true)
		}
	}
	return truth(false)
}

func arrayLength(arguments [maxArguments]value) value {
	if arguments[0].kind != array {
		return value{}
	}
	n := 0
	for range document.Elements(arguments[0].bytes) {
		n++
	}
	return value{kind: number, number: float64(n)}
}
