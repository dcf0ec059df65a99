package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Text is a sentence with what stands in it kept apart, so that it can be said in
// another language later. In JSON it is {"format": …, "args": […]}, where an argument
// is a string or a text of its own.
type Text struct {
	format string
	args   []argument
}

// argument is data, as its verb writes it, or a text.
type argument struct {
	data string
	text *Text
}

// Say returns the text of a format of package fmt. An argument that is a Text, a Word,
// a Reason or another error is translated with the sentence; any other is data.
func Say(format string, args ...any) Text {
	said := Text{format: format}
	for _, part := range split(format) {
		if part.verb == "" {
			continue
		}
		if len(said.args) == len(args) {
			return data(fmt.Sprintf(format, args...)) // a mistake in the program, which is shown
		}
		said.args = append(said.args, argumentOf(part.verb, args[len(said.args)]))
	}
	if len(said.args) < len(args) {
		return data(fmt.Sprintf(format, args...))
	}
	return said
}

func argumentOf(verb string, arg any) argument {
	switch arg := arg.(type) {
	case Text:
		return argument{text: &arg}
	case Word:
		return argument{text: &Text{format: string(arg)}}
	case interface{ Text() Text }: // an Error, a Reason
		text := arg.Text()
		return argument{text: &text}
	case error:
		return argument{text: &Text{format: literal(fmt.Sprintf(verb, arg))}}
	}
	return argument{data: cut(fmt.Sprintf(verb, arg))}
}

// data is a text that is the same in every language.
func data(text string) Text { return Text{format: "%s", args: []argument{{data: cut(text)}}} }

// Text returns the fault's message as a text.
func (e *Error) Text() Text {
	if e.format == "" {
		return data(e.Message)
	}
	return Say(e.format, e.args...)
}

// TextOf returns what an error says: of a fault its message, of a Reason and others that
// have a Text their sentence, of any other all of it, which is translated where it is
// known as a whole.
func TextOf(err error) Text {
	if problem := (*Error)(nil); errors.As(err, &problem) {
		return problem.Text()
	}
	if said, ok := err.(interface{ Text() Text }); ok { // a Reason, or an error of package document
		return said.Text()
	}
	return Text{format: literal(err.Error())}
}

// literal is the format of a text that stands as it is.
func literal(text string) string { return strings.ReplaceAll(cut(text), "%", "%%") }

// IsZero reports whether there is no text.
func (t Text) IsZero() bool { return t.format == "" }

// String returns the text in English. One that its arguments make too long is cut.
func (t Text) String() string { return t.In(func(text string) string { return text }) }

// In returns the text in another language. translate is given the format of the text
// and of each text in it; it returns what it does not know as it is.
func (t Text) In(translate func(text string) string) string {
	var b strings.Builder
	next := 0
	for _, part := range split(translate(t.format)) {
		b.WriteString(part.literal)
		if part.verb == "" {
			continue
		}
		if part.arg > 0 {
			next = part.arg - 1
		}
		if next < len(t.args) {
			b.WriteString(t.args[next].in(translate))
		}
		next++
	}
	return cut(b.String())
}

func (a argument) in(translate func(text string) string) string {
	if a.text != nil {
		return a.text.In(translate)
	}
	return a.data
}

// part is a piece of a format: what stands as it is, and the verb behind it, "" at the
// end of the format.
type part struct {
	literal string
	verb    string
	arg     int // the number of its argument where it is named, else 0
}

var verbs = regexp.MustCompile(`%(?:%|[-+# 0]*\d*(?:\.\d+)?(?:\[(\d+)\])?[a-zA-Z])`)

func split(format string) (parts []part) {
	var literal strings.Builder
	last := 0
	for _, found := range verbs.FindAllStringSubmatchIndex(format, -1) {
		literal.WriteString(format[last:found[0]])
		verb := format[found[0]:found[1]]
		last = found[1]
		if verb == "%%" {
			literal.WriteByte('%')
			continue
		}
		one := part{literal: literal.String(), verb: verb}
		if found[2] >= 0 {
			one.arg, _ = strconv.Atoi(format[found[2]:found[3]]) // digits, 0 when there are too many
		}
		parts = append(parts, one)
		literal.Reset()
	}
	literal.WriteString(format[last:])
	return append(parts, part{literal: literal.String()})
}

// MarshalJSON implements json.Marshaler.
func (t Text) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Format string     `json:"format"`
		Args   []argument `json:"args,omitempty"`
	}{t.format, t.args})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(encoded []byte) error {
	var decoded struct {
		Format string     `json:"format"`
		Args   []argument `json:"args"`
	}
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		return err
	}
	t.format, t.args = decoded.Format, decoded.Args
	return nil
}

// MarshalJSON implements json.Marshaler.
func (a argument) MarshalJSON() ([]byte, error) {
	if a.text != nil {
		return json.Marshal(a.text)
	}
	return json.Marshal(a.data)
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *argument) UnmarshalJSON(encoded []byte) error {
	if json.Unmarshal(encoded, &a.data) == nil {
		return nil
	}
	a.text = new(Text)
	return json.Unmarshal(encoded, a.text)
}
