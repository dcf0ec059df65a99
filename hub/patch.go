package hub

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"time"
	"unicode/utf8"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

const (
	lastUpdated = "$lastUpdated"
	lastVersion = "$lastUpdatedVersion"
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
	if len(body) > maxSection {
		return nil, fault.New(fault.ArgumentInvalid, "%s is too large: it has %d bytes of JSON, and %d are allowed",
			fault.Word(what), len(body), maxSection)
	}
	if !utf8.Valid(body) {
		return nil, fault.New(fault.ArgumentInvalid, "%s: JSON is UTF-8, and this is not", fault.Word(what))
	}
	if document.CheckDepth(body, maxNesting) != nil {
		return nil, fault.New(fault.ArgumentInvalid, "%s: nested deeper than %d levels", what, maxDepth)
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
// version grows by one. marked adds $lastUpdatedVersion, which desired properties
// have. replace drops what was there first.
func (s *section) merge(limits sectionLimits, patch object, replace bool, now time.Time, marked bool) error {
	if err := checkValues(limits.name, patch); err != nil {
		return err
	}
	before := sizeOf(s.Properties, s.Metadata)
	if replace {
		s.Properties, s.Metadata = object{}, object{}
	}
	s.Version++
	s.Properties.merge(patch)
	mark := object{lastUpdated: document.FormatTime(now)}
	if marked {
		mark[lastVersion] = s.Version
	}
	touch(s.Metadata, patch, mark)
	return limits.check(before, sizeOf(s.Properties, s.Metadata))
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
