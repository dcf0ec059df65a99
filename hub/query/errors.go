package query

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
)

// A syntaxError is what is wrong at a place of a query.
type syntaxError struct {
	at     int // in bytes
	reason error
}

func (e *syntaxError) Error() string { return fmt.Sprintf("byte %d: %v", e.at, e.reason) }

// errorAt returns an error at a place, in words that follow "at column 7:".
func errorAt(at int, format string, args ...any) error {
	return &syntaxError{at, fault.NewReason(format, args...)}
}

// locate makes the fault of an error in a text. The format takes the line and the column,
// in characters from 1, and the reason.
func locate(text string, err error, format string) error {
	var wrong *syntaxError
	if !errors.As(err, &wrong) {
		return err
	}
	before := text[:wrong.at]
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[1+strings.LastIndexByte(before, '\n'):])
	return fault.New(fault.ArgumentInvalid, format, line, column, wrong.reason)
}
