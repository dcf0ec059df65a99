package twin

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// Limits of a twin (Azure, iot-hub-devguide-device-twins). The size of a section is
// that of its names and values as Azure counts them: the bytes of every name and
// every string without control characters, eight for a number, four for a Boolean;
// objects and arrays count what is in them.
const (
	tagsLimit     = 8 << 10
	desiredLimit  = 32 << 10
	reportedLimit = 32 << 10

	maxDepth   = 10      // of objects and arrays below a section
	maxName    = 1 << 10 // bytes
	maxString  = 4 << 10 // bytes
	maxInteger = 4503599627370495
	minInteger = -4503599627370496
)

// What Azure counts says little of what is stored: [] counts nothing, and each
// property has metadata. So the stored form of each section has a limit of its own,
// in bytes of JSON. Together they stay below what a document can hold, and what
// Azure's limits allow stays below them, but for sections of thousands of empty
// values.
const (
	storedTagsLimit       = 48 << 10
	storedPropertiesLimit = 480 << 10 // of desired or reported, with its metadata
	maxDocument           = 1 << 20   // see store.Change

	maxNumber  = 64        // characters of a number as it is written
	maxSection = 1 << 20   // bytes of JSON to read: a section that comes with its metadata
	maxNesting = 16        // levels of JSON to read: a section, its metadata and what is below
	maxInitial = 256 << 10 // bytes of JSON of a part of an initial twin, which is kept as it is written
)

// sectionLimits are those of one section.
type sectionLimits struct {
	name            string
	counted, stored int
}

var (
	limitsOfTags     = sectionLimits{"tags", tagsLimit, storedTagsLimit}
	limitsOfDesired  = sectionLimits{"properties.desired", desiredLimit, storedPropertiesLimit}
	limitsOfReported = sectionLimits{"properties.reported", reportedLimit, storedPropertiesLimit}
)

// sectionSize is what a section counts by Azure's rule, and what it takes to store.
type sectionSize struct{ counted, stored int }

func sizeOf(properties, metadata document.Object) sectionSize {
	return sectionSize{countedSize(document.ValueOf(properties)), properties.Size() + metadata.Size()}
}

// fit has a section within its limits. What is too large only because characters are
// escaped that need not be is written without: nobody is refused for a spelling.
func (l sectionLimits) fit(properties *document.Object, metadata document.Object, before sectionSize) error {
	after := sizeOf(*properties, metadata)
	if after.stored > l.stored {
		*properties = properties.Plain()
		after = sizeOf(*properties, metadata)
	}
	return l.check(before, after)
}

// check refuses a section that a change has made too large. One that was too large
// before, by the rules of an earlier version, may become smaller step by step.
func (l sectionLimits) check(before, after sectionSize) error {
	if after.counted > l.counted && after.counted >= before.counted {
		return fault.New(fault.ArgumentInvalid,
			"%s is too large: its names and values have %d bytes, and %d are allowed",
			fault.Word(l.name), after.counted, l.counted)
	}
	if after.stored > l.stored && after.stored >= before.stored {
		return fault.New(fault.ArgumentInvalid,
			"%s is too large: it takes %d bytes of JSON to store with its metadata, and %d are allowed. Use fewer "+
				"properties, or arrays in their place",
			fault.Word(l.name), after.stored, l.stored)
	}
	return nil
}

// countedSize is the size of a value as Azure counts it.
func countedSize(value document.Value) (size int) {
	switch value.Kind() {
	case document.KindObject:
		for name, child := range value.Object().All() {
			size += len(name) + countedSize(child)
		}
	case document.KindArray:
		for _, child := range value.Elements() {
			size += countedSize(child)
		}
	case document.KindString:
		text := value.Text()
		size = len(text)
		for _, r := range text {
			if r < ' ' || r >= 0x80 && r < 0xa0 {
				size -= utf8.RuneLen(r)
			}
		}
	case document.KindNumber:
		size = 8
	case document.KindBoolean:
		size = 4
	}
	return size
}

// checkValues holds what a patch writes against the limits of single values, and
// names the place that breaks one. It looks at the patch alone: what is there already
// may be older than a limit, and must not keep anybody from making it smaller.
func checkValues(section string, patch document.Object) error {
	return checkValue([]byte(section), document.ValueOf(patch), 0, false)
}

func checkValue(path []byte, value document.Value, depth int, inArray bool) error {
	kind := value.Kind()
	if depth > maxDepth && (kind == document.KindObject || kind == document.KindArray) {
		return fault.New(fault.ArgumentInvalid, "%.256s: nested deeper than %d levels", path, maxDepth)
	}
	switch kind {
	case document.KindObject:
		for name, child := range value.Object().All() {
			if child.Kind() == document.KindNull && !inArray {
				continue // deletes what is there, whatever it is called
			}
			if err := checkName(path, name); err != nil {
				return err
			}
			if err := checkValue(append(append(path, '.'), name...), child, depth+1, inArray); err != nil {
				return err
			}
		}
	case document.KindArray:
		for i, child := range value.Elements() {
			if err := checkValue(append(strconv.AppendInt(append(path, '['), int64(i), 10), ']'), child, depth+1,
				true); err != nil {
				return err
			}
		}
	case document.KindNull:
		return fault.New(fault.ArgumentInvalid, "%.256s: null deletes a property, and can't be in an array", path)
	case document.KindString:
		if text := value.Text(); len(text) > maxString {
			return fault.New(fault.ArgumentInvalid, "%.256s: a string of %d bytes is too long, the limit is %d", path,
				len(text), maxString)
		}
	case document.KindNumber:
		return checkNumber(path, value.String())
	}
	return nil
}

// checkNumber lets numbers pass that every reader can read: integers in Azure's
// range, and others that a double can hold.
func checkNumber(path []byte, text string) error {
	if len(text) > maxNumber {
		return fault.New(fault.ArgumentInvalid, "%.256s: a number of %d characters is too long, the limit is %d", path,
			len(text), maxNumber)
	}
	if strings.ContainsAny(text, ".eE") {
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return fault.New(fault.ArgumentInvalid,
				"%.256s: the number %.40s is out of range, a double can't hold it", path, text)
		}
		return nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err != nil || n > maxInteger || n < minInteger {
		return fault.New(fault.ArgumentInvalid, "%.256s: the integer %.40s is out of range, %d to %d", path, text,
			minInteger, maxInteger)
	}
	return nil
}

func checkName(path []byte, name string) error {
	switch {
	case len(name) > maxName:
		return fault.New(fault.ArgumentInvalid, "%.256s: a name of %d bytes is too long, the limit is %d",
			path, len(name), maxName)
	case strings.ContainsAny(name, ".$ ") || strings.ContainsFunc(name, unicode.IsControl):
		return fault.New(fault.ArgumentInvalid,
			"%.256s: the name %.64q has a control character, full stop, dollar sign or space", path, name)
	}
	return nil
}
