package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
)

// A TextError says where a text is not text: a byte that is no UTF-8, or an escape of
// JSON that is half a character.
type TextError struct {
	Offset int    // in bytes, from 0
	Escape string // such as \ud800; "" for a byte that is no UTF-8
}

func (e *TextError) Error() string { return e.Text().String() }

// Text is what the error says, to be translated.
func (e *TextError) Text() fault.Text {
	if e.Escape != "" {
		return fault.Say("the escape %s at byte %d is half a character. It takes two, such as \\ud83d\\ude00, or the "+
			"character itself in UTF-8", e.Escape, e.Offset+1)
	}
	return fault.Say("byte %d is not UTF-8. Send it in UTF-8", e.Offset+1)
}

// CheckText returns a *TextError when JSON holds what no reader can tell: bytes that
// are not UTF-8, or a surrogate without its other half, \ud800 for example. Parsers
// read them as U+FFFD, or as whatever else they like. Whether the text is JSON is not
// its question.
func CheckText(text []byte) error {
	if !utf8.Valid(text) {
		at := 0
		for at < len(text) {
			r, size := utf8.DecodeRune(text[at:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			at += size
		}
		return &TextError{Offset: at}
	}
	for at := 0; ; {
		next := bytes.IndexByte(text[at:], '\\')
		if next < 0 {
			return nil
		}
		at += next
		first := escaped(text[at:])
		switch {
		case !utf16.IsSurrogate(first):
			at = min(at+len(`\"`), len(text))
		case utf16.DecodeRune(first, escaped(text[min(at+escapeSize, len(text)):])) == utf8.RuneError:
			return &TextError{Offset: at, Escape: string(text[at : at+escapeSize])}
		default:
			at += 2 * escapeSize
		}
	}
}

const escapeSize = len(`\u0000`)

// escaped is the code unit that an escape at the beginning of a text stands for, -1
// when there is none.
func escaped(text []byte) rune {
	if len(text) < escapeSize || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(text[2:escapeSize]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}

// A NumberError says that JSON holds a number that no double can hold, such as 1e400.
// Most parsers know no others, and fail on the whole of what it stands in.
type NumberError struct{ Number string }

func (e *NumberError) Error() string { return e.Text().String() }

// Text is what the error says, to be translated.
func (e *NumberError) Text() fault.Text {
	return fault.Say("the number %.40s is out of range, a double can't hold it", e.Number)
}

// CheckNumbers returns a *NumberError when JSON holds a number that is beyond the range
// of doubles. What a double holds less exactly is in range. Whether the text is JSON is
// not its question.
func CheckNumbers(text []byte) error {
	for at := 0; at < len(text); {
		c := text[at]
		switch {
		case c == '"':
			for at++; at < len(text) && text[at] != '"'; at++ {
				if text[at] == '\\' {
					at++
				}
			}
			at++
		case c >= '0' && c <= '9':
			begin := at
			for at < len(text) && strings.IndexByte("0123456789.eE+-", text[at]) >= 0 {
				at++
			}
			number := string(text[begin:at])
			if _, err := strconv.ParseFloat(number, 64); errors.Is(err, strconv.ErrRange) {
				return &NumberError{number}
			}
		default:
			at++
		}
	}
	return nil
}

// TrimPadding returns a payload without the NULs at its end: clients in C send the whole
// of a buffer that holds JSON. Space counts, as it does everywhere.
func TrimPadding(payload []byte) []byte { return bytes.TrimRight(payload, "\x00") }

// Marshal is json.Marshal, but for <, > and &, which stay as they are written.
func Marshal(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}
