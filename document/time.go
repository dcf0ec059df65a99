package document

import (
	"time"

	"github.com/berth-iot/berth/fault"
)

// Time is a time in JSON as both services write it: in UTC, with the seven fractional
// digits that .NET has. The zero time is written as clients compare it,
// 0001-01-01T00:00:00Z.
type Time struct{ time.Time }

// timeLayout is the one form of times on the wire.
const timeLayout = "2006-01-02T15:04:05.0000000Z"

// unset is a time that nothing has happened at.
const unset = "0001-01-01T00:00:00Z"

// FormatTime returns a time as Time has it in JSON. One beyond the range of InRange is
// the nearest within.
func FormatTime(t time.Time) string {
	t = Bounded(t)
	if t.Sub(earliest) < 100*time.Nanosecond {
		return unset
	}
	return t.Format(timeLayout)
}

// MarshalJSON writes the time as FormatTime does.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + FormatTime(t.Time) + `"`), nil }

// UnmarshalJSON reads a time with any number of digits, and refuses what MarshalJSON
// could not write.
func (t *Time) UnmarshalJSON(text []byte) error {
	if err := t.Time.UnmarshalJSON(text); err != nil {
		return err
	}
	if !InRange(t.Time) {
		return fault.NewReason("the time %.40s is not in the years 1 to 9999 of UTC", text)
	}
	return nil
}
