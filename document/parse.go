package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
)

// ErrNotObject says that JSON is something else than an object.
var ErrNotObject error = fault.NewReason("it is not a JSON object")

// Parse reads a JSON object that is nested at most so deep. Of members with the same
// name the last counts, in the place of the first. It returns a *DepthError, a
// *TextError, ErrNotObject, or what is wrong with the JSON, in words that follow what it
// is about and a colon.
func Parse(text []byte, depth int) (Object, error) {
	if err := CheckDepth(text, depth); err != nil {
		return Object{}, err
	}
	if err := CheckText(text); err != nil {
		return Object{}, err
	}
	if !json.Valid(text) {
		return Object{}, fault.NewReason("it is not JSON: %v", Syntax(text))
	}
	p := parser{text: string(text)}
	read := p.value()
	if read.object == nil {
		return Object{}, ErrNotObject
	}
	return *read.object, nil
}

// Syntax says where a text is not JSON, in words that follow "it is not JSON:"; nil for
// JSON. It names characters, where package json quotes a byte as if that were one.
func Syntax(text []byte) error {
	var syntax *json.SyntaxError
	if err := json.Unmarshal(text, new(json.RawMessage)); !errors.As(err, &syntax) {
		return err
	}
	at := int(syntax.Offset) - 1
	switch said := syntax.Error(); {
	case strings.HasPrefix(said, "unexpected end"):
		return fault.NewReason("it ends too early")
	case strings.Contains(said, "after top-level value"):
		return fault.NewReason("something follows its end, at byte %d", at+1)
	}
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	found, _ := utf8.DecodeRune(text[at:])
	before := text[:at]
	column := 1 + utf8.RuneCount(before[1+bytes.LastIndexByte(before, '\n'):])
	line := 1 + bytes.Count(before, []byte("\n"))
	return fault.NewReason("%q can't stand in line %d at character %d", found, line, column)
}

// parser goes through a text that is JSON.
type parser struct {
	text string
	at   int
}

// next skips space and returns the byte after it.
func (p *parser) next() byte {
	for {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return c
		}
	}
}

func (p *parser) value() Value {
	switch p.next() {
	case '{':
		return Value{object: p.object()}
	case '[':
		return Value{array: p.array()}
	case '"':
		return Value{text: p.quoted()}
	}
	begin := p.at
	for ; p.at < len(p.text); p.at++ {
		switch p.text[p.at] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return Value{text: p.text[begin:p.at]}
		}
	}
	return Value{text: p.text[begin:]}
}

// quoted takes a string with its quotation marks.
func (p *parser) quoted() string {
	begin := p.at
	for p.at++; p.text[p.at] != '"'; p.at++ {
		if p.text[p.at] == '\\' {
			p.at++
		}
	}
	p.at++
	return p.text[begin:p.at]
}

func (p *parser) object() *Object {
	o := &Object{members: []member{}}
	for p.at++; p.next() != '}'; {
		quoted := p.quoted()
		m := member{spelled: quoted[1 : len(quoted)-1]}
		if m.name = m.spelled; strings.IndexByte(m.name, '\\') >= 0 {
			m.name = unquote(quoted)
		}
		p.next()
		p.at++ // the colon
		m.value = p.value()
		if same := o.find(m.name); same >= 0 {
			o.members[same].value = m.value
		} else {
			o.add(m)
		}
		if p.next() == ',' {
			p.at++
		}
	}
	p.at++
	return o
}

func (p *parser) array() []Value {
	elements := []Value{}
	for p.at++; p.next() != ']'; {
		elements = append(elements, p.value())
		if p.next() == ',' {
			p.at++
		}
	}
	p.at++
	return elements
}
