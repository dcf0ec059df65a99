package exchange

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// ReadEnrollments hands over the individual enrollments of a file. It returns an
// error for what makes the rest of the file unreadable, and what each returns.
func ReadEnrollments(reader io.Reader, format Format, each func(Row[enroll.Enrollment]) error) error {
	if format == CSV {
		return readCSV(reader, each)
	}
	return readJSON(reader, each)
}

// ReadGroups hands over the enrollment groups of a file in JSON, as ReadEnrollments
// does.
func ReadGroups(reader io.Reader, each func(Row[enroll.Group]) error) error {
	return readJSON(reader, each)
}

// readJSON reads an array, or one object after the other.
func readJSON[T any](reader io.Reader, each func(Row[T]) error) error {
	buffered, err := open(reader, JSON)
	if err != nil {
		return err
	}
	line := 1
	for {
		first, err := buffered.Peek(1)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case first[0] == '[':
			return readArray(buffered, line, each)
		case !strings.ContainsRune(" \t\r\n", rune(first[0])):
			return readObjects(buffered, line, each)
		case first[0] == '\n':
			line++
		}
		buffered.Discard(1)
	}
}

// readArray reads the elements of an array. What is no JSON ends it: nobody knows
// where the next element begins.
func readArray[T any](reader io.Reader, line int, each func(Row[T]) error) error {
	bounded := &boundedReader{Reader: reader}
	lines := &lineReader{Reader: bounded, line: line}
	decoder := json.NewDecoder(lines)
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		var text json.RawMessage
		if err := decoder.Decode(&text); err != nil {
			return lines.readError(decoder, err)
		}
		if err := each(rowOf[T](lines.lineAt(decoder.InputOffset()-int64(len(text))), text)); err != nil {
			return err
		}
		bounded.next()
	}
	if _, err := decoder.Token(); err != nil {
		return lines.readError(decoder, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fault.New(fault.BadFormat, "After the end of the array there is more, which was not read")
	}
	return nil
}

// maxObject is how long one object may be among several, in bytes. The service takes
// less.
const maxObject = 1 << 20

// readObjects reads one object after the other. Each begins in a line of its own, at
// its very beginning, so that a broken one does not hide those after it.
func readObjects[T any](reader *bufio.Reader, line int, each func(Row[T]) error) error {
	var object, text []byte
	for begin := line; ; line++ {
		var err error
		if text, err = appendLine(text[:0], reader); err != nil && err != io.EOF {
			return err
		}
		if len(object) > 0 && len(text) > 0 && text[0] == '{' {
			if err := eachOf(object, begin, each); err != nil {
				return err
			}
			object = object[:0]
		}
		if len(bytes.TrimSpace(object)) == 0 {
			object, begin = object[:0], line
		}
		object = append(object, text...)
		object = object[:min(len(object), maxObject+1)]
		if err == io.EOF {
			return eachOf(object, begin, each)
		}
	}
}

// appendLine reads a line. Of one that is too long it keeps as much as shows that.
func appendLine(object []byte, reader *bufio.Reader) ([]byte, error) {
	for {
		text, err := reader.ReadSlice('\n')
		if room := maxObject + 1 - len(object); len(text) > room {
			text = text[:max(room, 0)]
		}
		object = append(object, text...)
		if err != bufio.ErrBufferFull {
			return object, err
		}
	}
}

// eachOf hands over the objects of some lines, which are most often one.
func eachOf[T any](text []byte, line int, each func(Row[T]) error) error {
	if len(text) > maxObject {
		return each(Row[T]{Line: line, Err: fault.New(fault.BadFormat, "It is longer than %d bytes", maxObject)})
	}
	if invalidUTF8(text) >= 0 {
		return each(Row[T]{Line: line, Item: itemWithID[T](text), Err: errNotUTF8()})
	}
	for decoder := json.NewDecoder(bytes.NewReader(text)); ; {
		var one json.RawMessage
		err := decoder.Decode(&one)
		if err == io.EOF {
			return nil
		}
		row := Row[T]{Line: line}
		if err != nil {
			row.Err = notJSON(text, err)
		} else {
			row = rowOf[T](line, one)
		}
		if failed := each(row); failed != nil || err != nil {
			return failed
		}
	}
}

// maxRowDepth is how deep one enrollment may be nested: what is free in it, and its own
// few levels.
const maxRowDepth = document.MaxFreeDepth + 8

func rowOf[T any](line int, text []byte) Row[T] {
	row := Row[T]{Line: line}
	if invalidUTF8(text) >= 0 {
		row.Item, row.Err = itemWithID[T](text), errNotUTF8()
	} else if err := document.CheckDepth(text, maxRowDepth); err != nil {
		row.Err = fault.New(fault.BadFormat, "It is nested deeper than %d levels", maxRowDepth)
	} else if row.Err = checkSurrogates(text); row.Err != nil {
		row.Item = itemWithID[T](text)
	} else {
		row.Item, row.Unknown, row.Err = decode[T](text)
	}
	return row
}

// itemWithID is an item with its id alone, by which it is found in a file where it can't be
// read as a whole.
func itemWithID[T any](text []byte) (item T) {
	var id struct {
		Registration string `json:"registrationId,omitempty"`
		Group        string `json:"enrollmentGroupId,omitempty"`
	}
	if json.Unmarshal(bytes.ToValidUTF8(text, []byte("?")), &id) != nil {
		return item
	}
	if alone, err := json.Marshal(id); err == nil {
		_ = json.Unmarshal(alone, &item) // which of both there is, the type knows
	}
	return item
}

func errNotUTF8() error {
	return fault.New(fault.BadFormat, "It is not UTF-8. Save the file as UTF-8")
}

// decode reads an item, and says which of its members there is no place for.
func decode[T any](text []byte) (item T, unknown []string, err error) {
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if strict.Decode(&item) == nil {
		return item, nil, nil
	}
	var again T
	if err := json.Unmarshal(text, &again); err != nil {
		return again, nil, formError(text, again)
	}
	return again, unknownMembers(text, reflect.TypeFor[T](), ""), nil
}

// unknownMembers returns the members of an object that a type has no place for. Those
// without a value are none.
func unknownMembers(text []byte, of reflect.Type, path string) (unknown []string) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	var members map[string]json.RawMessage
	if of.Kind() != reflect.Struct || reflect.PointerTo(of).Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		json.Unmarshal(text, &members) != nil {
		return nil
	}
	known := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		known[strings.ToLower(cmp.Or(name, field.Name))] = field.Type
	}
	for name, value := range members {
		switch inner, ok := known[strings.ToLower(name)]; {
		case inner == reflect.TypeFor[*provisioning.Registration](): // is not written at all
		case ok:
			unknown = append(unknown, unknownMembers(value, inner, path+name+".")...)
		case !slices.Contains([]string{"null", "{}", "[]", `""`}, string(bytes.TrimSpace(value))):
			unknown = append(unknown, path+name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// lineReader knows in which line each byte is that went through it and was not asked
// for yet.
type lineReader struct {
	io.Reader
	passed int64   // bytes
	ends   []int64 // where lines end, beyond what was asked for
	line   int     // that ends[0] ends
	failed error   // why there is no more, other than io.EOF
}

func (r *lineReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	for i, b := range p[:n] {
		if b == '\n' {
			r.ends = append(r.ends, r.passed+int64(i))
		}
	}
	r.passed += int64(n)
	if err != io.EOF {
		r.failed = err
	}
	return n, err
}

// lineAt returns the line of the byte at an offset, which may not go back.
func (r *lineReader) lineAt(offset int64) int {
	passed := 0
	for passed < len(r.ends) && r.ends[passed] < offset {
		passed++
	}
	r.line += passed
	r.ends = append(r.ends[:0], r.ends[passed:]...)
	return r.line
}

// readError says where an array could not be read any further.
func (r *lineReader) readError(decoder *json.Decoder, err error) error {
	if !errors.As(err, new(*json.SyntaxError)) && err != io.EOF && err != io.ErrUnexpectedEOF && r.failed != nil {
		return r.failed
	}
	offset := decoder.InputOffset()
	rest, _ := io.ReadAll(decoder.Buffered())
	offset += int64(len(rest) - len(bytes.TrimLeft(rest, " \t\r\n,")))
	// In some encodings a letter has a byte that stands for a backslash in UTF-8.
	if at := invalidUTF8(rest); at >= 0 && utf8.FullRune(rest[at:]) {
		return fault.New(fault.BadFormat,
			"Line %d is not UTF-8, so nothing from there on was read. Save the file as UTF-8", r.lineAt(offset))
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fault.New(fault.BadFormat, "The file ends too early: nothing from line %d on was read", r.lineAt(offset))
	}
	return fault.New(fault.BadFormat, "Line %d is not JSON, so nothing from there on was read", r.lineAt(offset))
}
