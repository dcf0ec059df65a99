package fault

import "fmt"

// Reason is why something is refused, for the message of a fault that quotes it, as
// "The certificate is refused: %v" does: it is translated with that message.
type Reason struct {
	message string
	format  string
	args    []any
	cause   error
}

// NewReason returns a reason: a sentence without capital and final stop. Arguments are
// as those of New.
func NewReason(format string, args ...any) *Reason {
	return &Reason{message: fmt.Sprintf(format, args...), format: format, args: args}
}

// ReasonOf returns the fault in err's chain as a reason: its own message, without code
// and cause.
func ReasonOf(err error) *Reason {
	problem := From(err)
	return &Reason{message: problem.Message, format: problem.format, args: problem.args, cause: problem}
}

// Error returns the sentence in English.
func (r *Reason) Error() string { return r.message }

// In returns the sentence in another language, as Error.In does.
func (r *Reason) In(translate func(text string) string) string { return r.Text().In(translate) }

// Text returns the sentence as a text.
func (r *Reason) Text() Text {
	if r.format == "" {
		return Text{format: literal(r.message)}
	}
	return Say(r.format, r.args...)
}

// Because adds the error that the reason is a case of, for errors.Is. It is not shown.
func (r *Reason) Because(cause error) *Reason {
	r.cause = cause
	return r
}

// Unwrap returns the error that the reason is a case of.
func (r *Reason) Unwrap() error { return r.cause }
