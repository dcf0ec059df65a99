// Package fault holds the one error that Berth shows to those outside: a
// six-digit code as Azure's services use, whose first three digits are the HTTP
// status, and a sentence that says what to do. Domain code returns it; each
// endpoint renders it in one place (HTTP body, MQTT topic, AMQP condition).
package fault

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Error is a refusal or failure with its code.
type Error struct {
	Code       Code
	Message    string            // for the caller: what was wrong and what to do; no secret
	TrackingID string            // a GUID that also stands in the log and the attestation trace
	Info       map[string]string // more for the caller, optional
	RetryAfter time.Duration     // when to come back; zero is no advice

	cause  error
	format string // of Message
	args   []any
}

// New returns a fault. The message is a sentence without a final stop. One that an
// argument makes too long is cut.
func New(code Code, format string, args ...any) *Error {
	message := cut(fmt.Sprintf(format, args...))
	return &Error{Code: code, Message: message, TrackingID: NewTrackingID(), format: format, args: args}
}

// maxMessage is the size of the longest message in bytes. Callers choose much of what
// a message quotes, and it is answered, logged and kept.
const maxMessage = 1 << 10

func cut(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}

// Word is an argument of a message that is a word of the message's language and
// no data, such as "enrollment" in "The %s was changed".
type Word string

// In returns the message in another language. translate is given the format of
// the message, with its verbs, and each argument that is a Word, a Reason or another
// error; it returns what it does not know as it is.
func (e *Error) In(translate func(text string) string) string {
	return e.Text().In(translate)
}

// Because adds the error beneath, for the log. It is not shown to the caller.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// Error returns code, name and message, and the cause where there is one.
func (e *Error) Error() string {
	text := fmt.Sprintf("%d %s: %s", int(e.Code), e.Code.Name(), e.Message)
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, fault.DeviceNotFound) work.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// From returns the fault in err's chain. Any other error becomes Internal: its
// text is the cause, for the log, and the caller sees only the tracking id.
func From(err error) *Error {
	var fault *Error
	if errors.As(err, &fault) {
		return fault
	}
	return New(Internal, "The server could not do this. Its log says why, under the tracking id").Because(err)
}

// Precondition holds an If-Match ("", "*" or an ETag, quoted or not) against the present
// ETag of a thing that is there, and returns fault 412001 when it does not hold. It shows
// the condition as the ETag is given, with quotes or without.
func Precondition(thing Word, ifMatch, etag string) error {
	wanted := strings.Trim(ifMatch, `"`)
	if ifMatch == "" || wanted == "*" || wanted == strings.Trim(etag, `"`) {
		return nil
	}
	if !strings.HasPrefix(etag, `"`) {
		ifMatch = wanted
	}
	return New(PreconditionFailed,
		"The %s was changed since: its ETag is %s, not %.64s. Read it again and repeat the change",
		thing, etag, ifMatch)
}

// PreconditionOf is Precondition for a thing that may not be there, etag is then unused:
// an If-Match asks for one that is, so that any but "" is fault 412001.
func PreconditionOf(thing Word, ifMatch, etag string, exists bool) error {
	if ifMatch != "" && !exists {
		return New(PreconditionFailed, "There is no such %s, and If-Match asks for one", thing)
	}
	return Precondition(thing, ifMatch, etag)
}

// About notes in the fault of an error which field of a form it is about, in
// Info["field"]. It returns the error, and does nothing when there is no fault in it.
func About(field string, err error) error { return Note(err, "field", field) }

// Note adds to the Info of the fault in err's chain, if there is one, and returns err.
func Note(err error, name, value string) error {
	var problem *Error
	if errors.As(err, &problem) {
		if problem.Info == nil {
			problem.Info = make(map[string]string)
		}
		problem.Info[name] = value
	}
	return err
}

// ForOperator returns the fault as From does. Where there is none, those who manage
// the service are told what an error in the chain advises them: why a record can't be
// read, which is nothing for devices.
func ForOperator(err error) *Error {
	var advised interface {
		error
		Advice() string
	}
	if problem := new(Error); !errors.As(err, &problem) && errors.As(err, &advised) {
		return New(Internal, "%s", advised.Advice()).Because(err)
	}
	return From(err)
}

// NewTrackingID returns a random GUID in lower case.
func NewTrackingID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
