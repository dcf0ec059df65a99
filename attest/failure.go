package attest

import (
	"errors"

	"github.com/berth-iot/berth/fault"
)

// Failure is the error of a device that may come in and was not assigned, with what its
// attempt tells the operator.
type Failure struct {
	Err              error      // what the device is told
	Check            string     // that failed, such as "allocation"
	Saw              fault.Text // zero for what Err says
	Expected, Advice fault.Text
	Detail           *fault.Error // what it was, for those who may configure the service; nil when all may know
}

// NewFailure is a failure of which all may know.
func NewFailure(check string, expected, advice fault.Text, err error) Failure {
	return Failure{Err: err, Check: check, Expected: expected, Advice: advice}
}

// Error is what the device is told.
func (f Failure) Error() string { return f.Err.Error() }

// Unwrap returns the error that the device is told.
func (f Failure) Unwrap() error { return f.Err }

// AddTo adds to a trace the check that failed.
func (f Failure) AddTo(trace *Trace) {
	saw := f.Saw
	// A fault, or why a hub could not be asked: the device is not told of that.
	var said interface {
		error
		Text() fault.Text
	}
	switch {
	case !saw.IsZero():
	case f.Detail != nil:
		saw = f.Detail.Text()
	case errors.As(f.Err, &said):
		saw = said.Text()
	default:
		saw = fault.From(f.Err).Text()
	}
	trace.Fail(f.Check, saw, f.Expected, f.Advice)
	(*trace)[len(*trace)-1].Confidential = f.Detail != nil
}
