package store

import (
	"math"
	"time"
)

// The range of times that can be told in nanoseconds since 1970: years 1677 to 2262.
var first, last = time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)

// UnixNano returns a time as Logs have it, in nanoseconds since 1970, or the nearest that
// can be told so: of one beyond, time.Time's own method tells some other time.
func UnixNano(t time.Time) int64 {
	switch {
	case t.Before(first):
		return math.MinInt64
	case t.After(last):
		return math.MaxInt64
	}
	return t.UnixNano()
}
