// Package document is the JSON that others choose. It bounds it, so that all of it
// that is taken can be stored, put into other JSON, and read back: how deep it is
// nested, what of it is text, and which times it may hold. Package encoding/json goes
// 10,000 levels deep when it reads, and what it read at that depth can be put into
// nothing. And it keeps it as it came: an Object has its members in their order, and
// its numbers and strings as they were spelled.
package document

import (
	"encoding/json"
	"math"
	"time"

	"github.com/berth-iot/berth/fault"
)

const (
	// MaxDepth is how deep a whole document may be nested, a request or an answer:
	// .NET's and many other parsers go no deeper than 64.
	MaxDepth = 64

	// MaxFreeDepth is how deep the parts may be nested that devices and operators
	// choose, such as payloads: what they become part of stays below MaxDepth.
	MaxFreeDepth = 32
)

// A DepthError says that JSON is nested too deep.
type DepthError struct{ Limit int }

func (e *DepthError) Error() string { return e.Text().String() }

// Text is what the error says, to be translated.
func (e *DepthError) Text() fault.Text {
	return fault.Say("it is nested deeper than %d levels", e.Limit)
}

// CheckDepth returns a *DepthError when arrays and objects are nested deeper than
// limit in a text. It reads the text once and keeps nothing, whatever stands in it,
// so it comes before decoding. Whether the text is JSON is not its question.
func CheckDepth(text []byte, limit int) error {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return &DepthError{limit}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// CheckFreeDepth is CheckDepth with MaxFreeDepth, of a text that its error calls what.
func CheckFreeDepth(what string, text []byte) error {
	if err := CheckDepth(text, MaxFreeDepth); err != nil {
		return fault.NewReason("%s: %v", what, err).Because(err)
	}
	return nil
}

// Embeddable reports whether a text is JSON that can be put into other JSON and
// read by any parser: valid, as CheckText and CheckNumbers want it, and not nested too
// deep.
func Embeddable(text []byte) bool {
	return CheckDepth(text, MaxFreeDepth) == nil && CheckText(text) == nil &&
		json.Valid(text) && CheckNumbers(text) == nil
}

// The range of times that every client can read, in UTC: years 1 to 9999.
var (
	earliest = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999_999_900, time.UTC) // seven digits of a second, as .NET has
)

// InRange reports whether a time can be written and read back in UTC: its year
// there is 1 to 9999.
func InRange(t time.Time) bool { return !t.Before(earliest) && !t.After(latest) }

// The range of times that logs can hold, in nanoseconds since 1970, in whole years at
// its beginning.
var (
	earliestOfLogs = time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC)
	latestOfLogs   = time.Unix(0, math.MaxInt64) // in April 2262
)

// InLogs reports whether a log can hold something of this time: its year in UTC is 1678
// to 2262.
func InLogs(t time.Time) bool { return !t.Before(earliestOfLogs) && !t.After(latestOfLogs) }

// Bounded returns the time in UTC, or the nearest that can be written and read back.
func Bounded(t time.Time) time.Time {
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t.UTC()
}
