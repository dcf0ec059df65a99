package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/document"
)

// JSONProblem says where a text that someone typed is not the JSON it should be.
type JSONProblem struct {
	Line, Column int    // from 1
	Offset       int    // in characters, for the page's script
	Excerpt      string // the line
	Caret        string // as much space as leads to the place
	Text         string // in English, a format
	Args         []any
}

// ProblemAt makes a problem at a byte of the text.
func ProblemAt(text string, at int, format string, args ...any) *JSONProblem {
	at = min(max(at, 0), len(text))
	for at > 0 && at < len(text) && !utf8.RuneStart(text[at]) {
		at--
	}
	begin := strings.LastIndexByte(text[:at], '\n') + 1
	line, _, _ := strings.Cut(text[begin:], "\n")
	before := text[begin:at]
	p := &JSONProblem{
		Line: 1 + strings.Count(text[:at], "\n"), Column: 1 + utf8.RuneCountInString(before),
		Offset: utf8.RuneCountInString(text[:at]), Text: format, Args: args,
	}
	// A long line is cut to what is around the place.
	const around = 60
	from, to := max(0, len(before)-around), min(len(line), len(before)+around)
	for from > 0 && !utf8.RuneStart(line[from]) {
		from--
	}
	for to < len(line) && !utf8.RuneStart(line[to]) {
		to++
	}
	p.Excerpt = line[from:to]
	p.Caret = strings.Repeat(" ", utf8.RuneCountInString(line[from:len(before)])) + "^"
	return p
}

// Members are the names that an object may have, with what they hold; nil is any
// object.
type Members map[string]Members

// CheckJSON holds a text against the shape of an object.
func CheckJSON(text string, shape Members) *JSONProblem {
	whole, problem := ParseJSON(text)
	if problem != nil {
		return problem
	}
	return checkShape(text, whole, shape, "")
}

// ParseJSON reads any JSON.
func ParseJSON(text string) (whole any, _ *JSONProblem) {
	if !utf8.ValidString(text) {
		return nil, ProblemAt(strings.ToValidUTF8(text, "?"), 0, "This is not text in UTF-8")
	}
	var half *document.TextError
	if errors.As(document.CheckText([]byte(text)), &half) {
		return nil, ProblemAt(text, half.Offset,
			"%s is half a character. It takes two such escapes, or write the character itself", half.Escape)
	}
	if document.CheckDepth([]byte(text), document.MaxFreeDepth) != nil {
		return nil, ProblemAt(text, 0, "This is nested deeper than %d levels", document.MaxFreeDepth)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&whole); err != nil {
		return nil, syntaxProblem(text, err)
	}
	end := int(decoder.InputOffset())
	if _, err := decoder.Token(); err != io.EOF {
		at := end
		at += len(text[at:]) - len(strings.TrimLeft(text[at:], " \t\r\n"))
		return nil, ProblemAt(text, at, "Something follows the end of the JSON object")
	}
	return whole, nil
}

func syntaxProblem(text string, err error) *JSONProblem {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || strings.Contains(err.Error(), "unexpected end") {
		return ProblemAt(text, len(strings.TrimRight(text, " \t\r\n")),
			"The text ends before the JSON does: a brace, bracket or quotation mark is missing")
	}
	at := max(0, int(syntax.Offset)-1)
	found, _ := utf8.DecodeRuneInString(text[min(at, len(text)):])
	before := strings.TrimRight(text[:min(at, len(text))], " \t\r\n")
	switch {
	case strings.HasSuffix(before, ",") && (found == '}' || found == ']'):
		return ProblemAt(text, len(before)-1, "This comma is too much: nothing follows it")
	case found == '\'' || found == '“' || found == '”' || found == '«':
		return ProblemAt(text, at, `JSON has names and texts between straight double quotes, "like this"`)
	case strings.Contains(err.Error(), "after object key") && !strings.Contains(err.Error(), "pair"):
		return ProblemAt(text, at, "A colon should be here, not %s", fmt.Sprintf("%q", found))
	case strings.Contains(err.Error(), "beginning of object key"):
		return ProblemAt(text, at, "A name between double quotes should be here, not %s", fmt.Sprintf("%q", found))
	case strings.Contains(err.Error(), "after object key:value pair"),
		strings.Contains(err.Error(), "after array element"):
		return ProblemAt(text, at, "A comma or the end of the object should be here, not %s", fmt.Sprintf("%q", found))
	}
	return ProblemAt(text, at, "%s is not expected here", fmt.Sprintf("%q", found))
}

func checkShape(text string, value any, shape Members, path string) *JSONProblem {
	object, ok := value.(map[string]any)
	if !ok {
		return ProblemAt(text, positionOf(text, path), "%s must be a JSON object, between braces", placeName(path))
	}
	if shape == nil {
		return nil
	}
	var names []string
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		inner, known := shape[name]
		here := strings.TrimPrefix(path+"."+name, ".")
		if !known {
			var allowed []string
			for name := range shape {
				allowed = append(allowed, name)
			}
			slices.Sort(allowed)
			return ProblemAt(text, positionOf(text, here), "%s is not known here. There can be: %s", placeName(here),
				strings.Join(allowed, ", "))
		}
		if object[name] == nil {
			continue
		}
		if problem := checkShape(text, object[name], inner, here); problem != nil {
			return problem
		}
	}
	return nil
}

func placeName(path string) string {
	if path == "" {
		return "JSON"
	}
	return path
}

// positionOf returns the byte at which the member at a path of names begins, or
// where the text does. The text is JSON.
func positionOf(text, path string) int {
	decoder := json.NewDecoder(strings.NewReader(text))
	skipSpace := func(at int) int {
		rest := text[at:]
		return at + len(rest) - len(strings.TrimLeft(rest, " \t\r\n,:"))
	}
	if path == "" {
		return skipSpace(0)
	}
	names := strings.Split(path, ".")
	for i, name := range names {
		if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
			break
		}
		for decoder.More() {
			at := skipSpace(int(decoder.InputOffset()))
			token, err := decoder.Token()
			if err != nil {
				return skipSpace(0)
			}
			if token == name {
				if i == len(names)-1 {
					return at
				}
				break
			}
			var skipped json.RawMessage
			if decoder.Decode(&skipped) != nil {
				return skipSpace(0)
			}
		}
	}
	return skipSpace(0)
}

// IndentJSON writes JSON for people. What is not JSON stays as it is.
func IndentJSON(text []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, text, "", "  ") != nil {
		return string(text)
	}
	return out.String()
}

// FormatJSON writes a value of the domain as JSON for people.
func FormatJSON(value any) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // the templates do that; what people read stays as it is
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("portal: %T is not JSON: %v", value, err)) // a mistake in the program
	}
	return IndentJSON(bytes.TrimSpace(text.Bytes()))
}
