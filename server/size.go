package server

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as 64MiB, 2GiB, 1TiB or a bare number of
// bytes. It is a pflag.Value.
type Size int64

var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	for _, unit := range units {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n > (1<<62)/unit.bytes {
			break
		}
		*s = Size(n * unit.bytes)
		return nil
	}
	return errors.New("a whole number of bytes, KiB, MiB, GiB or TiB, such as 64MiB or 2GiB")
}

// String implements pflag.Value.
func (s Size) String() string {
	for _, unit := range units {
		if int64(s)%unit.bytes == 0 && (int64(s) != 0 || unit.bytes == 1) {
			return strconv.FormatInt(int64(s)/unit.bytes, 10) + unit.name
		}
	}
	return ""
}

// Type implements pflag.Value.
func (s *Size) Type() string { return "size" }

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	for _, unit := range units {
		if unit.bytes > 1 && n >= unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
