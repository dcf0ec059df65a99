package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
)

// Limits of a twin (Azure, iot-hub-devguide-device-twins). Sizes count names
// and values as Azure does: the bytes of every name and string, eight for a
// number, four for a boolean; structure costs nothing.
const (
	tagsLimit     = 8 << 10
	desiredLimit  = 32 << 10
	reportedLimit = 32 << 10

	maxDepth       = 10
	maxName        = 1 << 10 // bytes
	maxString      = 4 << 10 // bytes
	maxInteger     = 4503599627370495
	minInteger     = -4503599627370496
	maxPatch       = 256 << 10 // bytes of JSON, names like $metadata included
	lastUpdated    = "$lastUpdated"
	lastVersion    = "$lastUpdatedVersion"
	metaTimeLayout = "2006-01-02T15:04:05.0000000Z"
)

// object is a JSON object. Numbers in it are json.Number: they come out as they
// went in.
type object map[string]any

// UnmarshalJSON keeps numbers as they are written.
func (o *object) UnmarshalJSON(b []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	var plain map[string]any
	if err := decoder.Decode(&plain); err != nil {
		return err
	}
	*o = plain
	return nil
}

func (o object) encode() json.RawMessage {
	encoded, err := json.Marshal(o)
	if err != nil {
		panic("hub: " + err.Error()) // it was JSON when it came in
	}
	return encoded
}

// readObject reads a part of a twin. $version and $metadata, which SDKs send
// back, are left aside.
func readObject(what string, body json.RawMessage) (object, error) {
	if len(body) > maxPatch {
		return nil, fault.New(fault.ArgumentInvalid, "%s: %d bytes of JSON are too much, the limit is %d", what, len(body), maxPatch)
	}
	if err := checkNesting(what, body); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var read map[string]any
	if err := decoder.Decode(&read); err != nil {
		return nil, fault.New(fault.ArgumentInvalid, "%s: not a JSON object: %v", what, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fault.New(fault.ArgumentInvalid, "%s: something follows the JSON object", what)
	}
	if read == nil {
		return nil, fault.New(fault.ArgumentInvalid, "%s: null is no JSON object", what)
	}
	delete(read, "$version")
	delete(read, "$metadata")
	return read, nil
}

// checkNesting bounds the depth before anything is built in memory.
func checkNesting(what string, body json.RawMessage) error {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth+1 {
				return fault.New(fault.ArgumentInvalid, "%s: nested deeper than %d levels", what, maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// merge is a JSON merge patch (RFC 7396): null deletes, objects merge, all else
// takes the place of what was there.
func (o object) merge(patch map[string]any) {
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(o, name)
		case map[string]any:
			inner, ok := o[name].(map[string]any)
			if !ok {
				inner = make(map[string]any)
			}
			object(inner).merge(value)
			o[name] = inner
		default:
			o[name] = value
		}
	}
}

// merge merges a patch into the properties and notes when each was touched. The
// version grows by one. marked adds $lastUpdatedVersion, which desired
// properties have.
func (s *section) merge(what string, patch object, limit int, now time.Time, marked bool) error {
	s.Version++
	s.Properties.merge(patch)
	if err := checkLimits(what, s.Properties, limit); err != nil {
		return err
	}
	mark := object{lastUpdated: metaTime(now)}
	if marked {
		mark[lastVersion] = s.Version
	}
	touch(s.Metadata, patch, mark)
	return nil
}

// touch marks metadata for all that a patch names.
func touch(metadata map[string]any, patch map[string]any, mark object) {
	maps.Copy(metadata, mark)
	for name, value := range patch {
		if value == nil {
			delete(metadata, name)
			continue
		}
		inner, ok := metadata[name].(map[string]any)
		child, isObject := value.(map[string]any)
		if !ok || !isObject {
			inner = make(map[string]any)
			metadata[name] = inner
		}
		touch(inner, child, mark)
	}
}

func metaTime(t time.Time) string { return t.UTC().Format(metaTimeLayout) }

// checkLimits holds a whole part of a twin against the limits and names the
// place that breaks one.
func checkLimits(what string, o map[string]any, limit int) error {
	size, err := measure(what, o, 1)
	if err != nil {
		return err
	}
	if size > limit {
		return fault.New(fault.ArgumentInvalid, "%s: %d bytes of names and values are too much, the limit is %d", what, size, limit)
	}
	return nil
}

func measure(path string, value any, depth int) (size int, err error) {
	switch value := value.(type) {
	case map[string]any:
		if depth > maxDepth {
			return 0, fault.New(fault.ArgumentInvalid, "%.256s: nested deeper than %d levels", path, maxDepth)
		}
		for name, child := range value {
			if err := checkName(path, name); err != nil {
				return 0, err
			}
			n, err := measure(path+"."+name, child, depth+1)
			if err != nil {
				return 0, err
			}
			size += len(name) + n
		}
	case []any:
		if depth > maxDepth {
			return 0, fault.New(fault.ArgumentInvalid, "%.256s: nested deeper than %d levels", path, maxDepth)
		}
		for i, child := range value {
			n, err := measure(fmt.Sprintf("%s[%d]", path, i), child, depth+1)
			if err != nil {
				return 0, err
			}
			size += n
		}
	case string:
		if len(value) > maxString {
			return 0, fault.New(fault.ArgumentInvalid, "%.256s: a string of %d bytes is too long, the limit is %d", path, len(value), maxString)
		}
		return len(value), nil
	case json.Number:
		if n, err := value.Int64(); err == nil && (n > maxInteger || n < minInteger) || err != nil && !strings.ContainsAny(value.String(), ".eE") {
			return 0, fault.New(fault.ArgumentInvalid, "%.256s: the integer %.40s is out of range, %d to %d", path, value, minInteger, maxInteger)
		}
		return 8, nil
	case bool:
		return 4, nil
	}
	return size, nil
}

func checkName(path, name string) error {
	switch {
	case name == "":
		return fault.New(fault.ArgumentInvalid, "%.256s: a name is empty", path)
	case len(name) > maxName:
		return fault.New(fault.ArgumentInvalid, "%.256s: a name of %d bytes is too long, the limit is %d", path, len(name), maxName)
	case !utf8.ValidString(name) || strings.ContainsAny(name, ".$ ") || strings.ContainsFunc(name, unicode.IsControl):
		return fault.New(fault.ArgumentInvalid, "%.256s: the name %.64q has a control character, full stop, dollar sign or space", path, name)
	}
	return nil
}
