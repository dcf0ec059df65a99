package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// mark is what some editors put before a text in UTF-8.
const mark = "\xef\xbb\xbf"

// Text is what a file in UTF-8 holds, without the mark that some editors put before it.
// It returns fault 400006 for a file in another encoding: read as UTF-8, its letters
// would be lost.
func Text(content []byte) ([]byte, error) {
	if isUTF16(content) {
		return nil, errUTF16(JSON)
	}
	if at := invalidUTF8(content); at >= 0 {
		return nil, fault.New(fault.BadFormat, "Line %d is not UTF-8. Save the file as UTF-8",
			1+bytes.Count(content[:at], []byte("\n")))
	}
	return bytes.TrimPrefix(content, []byte(mark)), nil
}

// isUTF16 reports whether a text begins as one in UTF-16 does, with its mark or without:
// no other has a NUL among its first letters.
func isUTF16(begin []byte) bool {
	text := string(begin[:min(len(begin), 4)])
	return strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") || strings.Contains(text, "\x00")
}

func errUTF16(format Format) error {
	if format == CSV {
		return fault.New(fault.BadFormat, "The file is in UTF-16. Save it as CSV UTF-8")
	}
	return fault.New(fault.BadFormat, "The file is in UTF-16, or no text at all. Save it as UTF-8")
}

// invalidUTF8 is where a text is not UTF-8, or -1.
func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	at := 0
	for {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
}

// CheckJSON returns fault 400006 when a text is not JSON in UTF-8, or has text that no
// reader can take as it is: half of a surrogate pair, as languages with UTF-16 write it.
func CheckJSON(text []byte) error {
	if invalidUTF8(text) >= 0 {
		return fault.New(fault.BadFormat, "It is not UTF-8. Save it as UTF-8")
	}
	if !json.Valid(text) {
		var anything json.RawMessage
		return notJSON(text, json.Unmarshal(text, &anything))
	}
	return checkSurrogates(text)
}

// checkSurrogates refuses half of a surrogate pair in JSON, which parsers read as U+FFFD.
func checkSurrogates(text []byte) error {
	for at := 0; at+1 < len(text); {
		next := bytes.IndexByte(text[at:], '\\')
		if next < 0 {
			return nil
		}
		at += next
		first, ok := escaped(text[at:])
		switch {
		case !ok:
			at += 2 // of another escape
			continue
		case !utf16.IsSurrogate(first):
			at += 6
			continue
		}
		second, _ := escaped(text[at+6:])
		if utf16.DecodeRune(first, second) == utf8.RuneError {
			return fault.New(fault.BadFormat, `It has %s, which is half of a surrogate pair and no character`,
				text[at:at+6])
		}
		at += 12
	}
	return nil
}

// escaped is what \uXXXX at the beginning of a text stands for.
func escaped(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	code, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(code), err == nil
}

// notJSON says where a text is not JSON, in place of what package json says: it quotes
// a byte as if that were a character.
func notJSON(text []byte, err error) error {
	var syntax *json.SyntaxError
	before := bytes.TrimRight(text, " \t\r\n")
	if errors.As(err, &syntax) {
		before = text[:min(max(int(syntax.Offset)-1, 0), len(text))]
	}
	for len(before) > 0 && len(before) < len(text) && !utf8.RuneStart(text[len(before)]) {
		before = before[:len(before)-1]
	}
	if syntax == nil || len(before) == len(bytes.TrimRight(text, " \t\r\n")) ||
		strings.Contains(syntax.Error(), "unexpected end") {
		return fault.New(fault.BadFormat, "It is not JSON: it ends too early")
	}
	found, _ := utf8.DecodeRune(text[len(before):])
	before = bytes.TrimRight(before, " \t\r\n")
	shown := []rune(strings.ToValidUTF8(string(before[max(0, len(before)-20*utf8.UTFMax):]), ""))
	if len(shown) == 0 {
		return fault.New(fault.BadFormat, "It is not JSON: it begins with %q", found)
	}
	return fault.New(fault.BadFormat, "It is not JSON: after %#q there can't be %q",
		string(shown[max(0, len(shown)-20):]), found)
}

// formError says what in some JSON, which is to be read into a value of the type of into, has
// not the form of the service API.
func formError(text []byte, into any) error {
	misfit, ok := document.FindMisfit(text, into)
	switch {
	case !ok:
		return fault.New(fault.BadFormat, "It does not have the form of the service API")
	case misfit.Path == "":
		return fault.New(fault.BadFormat, "It does not have the form of the service API: it must be an object")
	}
	return fault.New(fault.BadFormat, "It does not have the form of the service API: %.200s must be %s, not %s",
		misfit.Path, fault.Word(misfit.Wanted), fault.Word(misfit.Got))
}
