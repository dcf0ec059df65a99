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
func (r *Reason) In(translate func(text string) string) string {
	if len(r.args) == 0 {
		return translate(r.message)
	}
	return fmt.Sprintf(translate(r.format), translateArgs(r.args, translate)...)
}

// Because adds the error that the reason is a case of, for errors.Is. It is not shown.
func (r *Reason) Because(cause error) *Reason {
	r.cause = cause
	return r
}

// Unwrap returns the error that the reason is a case of.
func (r *Reason) Unwrap() error { return r.cause }

// translateArgs returns the arguments of a message with those in another language that
// are words of it.
func translateArgs(args []any, translate func(text string) string) []any {
	translated := make([]any, len(args))
	for i, arg := range args {
		translated[i] = arg
		switch arg := arg.(type) {
		case *Reason:
			translated[i] = arg.In(translate)
		case error:
			translated[i] = translate(arg.Error())
		case Word:
			translated[i] = translate(string(arg))
		}
	}
	return translated
}
