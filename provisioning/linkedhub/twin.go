package linkedhub

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// InitialTwin is what the device's twin holds when the hub first makes it.
type InitialTwin struct {
	Tags       json.RawMessage       `json:"tags,omitempty"` // a JSON object
	Properties InitialTwinProperties `json:"properties,omitzero"`
}

// InitialTwinProperties holds the desired properties, a JSON object.
type InitialTwinProperties struct {
	Desired json.RawMessage `json:"desired,omitempty"`
}

// Complete drops the parts that are null. The others must be objects that can be put
// into other JSON: else it returns fault 400004, with the place in Info, see AboutTwin.
func (t *InitialTwin) Complete() error {
	for _, part := range []struct {
		path string
		json *json.RawMessage
	}{{"tags", &t.Tags}, {"properties.desired", &t.Properties.Desired}} {
		switch trimmed := bytes.TrimSpace(*part.json); {
		case len(trimmed) == 0 || string(trimmed) == "null":
			*part.json = nil
		case trimmed[0] != '{':
			return AboutTwin(part.path, fault.New(fault.ArgumentInvalid, "%s must be a JSON object",
				"initialTwin."+part.path))
		}
		if err := CheckFree("initialTwin."+part.path, *part.json); err != nil {
			return AboutTwin(part.path, err)
		}
	}
	return nil
}

// CheckPlaces refuses an initial twin, as somebody wrote it, with properties where none of
// it are looked for: they would be lost. It returns fault 400004. What else is not known is
// left aside, as clients may send more in later versions.
func CheckPlaces(text json.RawMessage) error { return checkMembers(text, false) }

// CheckMembers is CheckPlaces where nobody but an operator writes the twin, and what is not
// known is a mistake.
func CheckMembers(text json.RawMessage) error { return checkMembers(text, true) }

func checkMembers(text json.RawMessage, unknown bool) error {
	var twin, properties map[string]json.RawMessage
	if json.Unmarshal(text, &twin) != nil {
		return nil // who reads it says what it is
	}
	for _, name := range slices.Sorted(maps.Keys(twin)) {
		part := twin[name]
		switch lower := strings.ToLower(name); {
		case lower == "properties":
			_ = json.Unmarshal(part, &properties) // as above
		case lower == "tags" || !document.HasMembers(part, "$metadata", "$version"):
		case lower == "desired" || lower == "reported":
			return fault.New(fault.ArgumentInvalid,
				"initialTwin has %s beside tags, and must be {\"tags\":{…},\"properties\":{\"desired\":{…}}}", lower)
		case unknown:
			return fault.New(fault.ArgumentInvalid,
				"initialTwin has %.64q, which is unknown, and must be {\"tags\":{…},\"properties\":{\"desired\":{…}}}",
				name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		switch {
		case strings.EqualFold(name, "desired") || !document.HasMembers(properties[name], "$metadata", "$version"):
		case strings.EqualFold(name, "reported"):
			return fault.New(fault.ArgumentInvalid,
				"initialTwin.properties.reported is for the device to write. Leave it out")
		case unknown:
			return fault.New(fault.ArgumentInvalid,
				"initialTwin.properties has %.64q, which is unknown, and must be {\"desired\":{…}}", name)
		}
	}
	return nil
}

// Intact says what of a stored twin can be put into no other JSON, which earlier
// versions took. nil is intact.
func (t *InitialTwin) Intact() error {
	if t == nil {
		return nil
	}
	return errors.Join(document.CheckFreeDepth("initialTwin.tags", t.Tags),
		document.CheckFreeDepth("initialTwin.properties.desired", t.Properties.Desired))
}

// AboutTwin notes in the fault of an error that it is about a part of the initial twin,
// for forms: Info["field"] is initialTwin, and Info["path"] is tags or
// properties.desired.
func AboutTwin(path string, err error) error {
	return fault.Note(fault.About("initialTwin", err), "path", path)
}

// CheckFree bounds JSON that is taken as it comes, before it is put into anything. It
// returns fault 400004, in which the JSON is called what.
func CheckFree(what string, text json.RawMessage) error {
	if len(text) == 0 || document.Embeddable(text) {
		return nil
	}
	if document.CheckDepth(text, document.MaxFreeDepth) != nil {
		return fault.New(fault.ArgumentInvalid, "%s is nested deeper than %d levels", what, document.MaxFreeDepth)
	}
	if !json.Valid(text) {
		return fault.New(fault.ArgumentInvalid, "%s is not JSON", what)
	}
	problem := cmp.Or(document.CheckText(text), document.CheckNumbers(text))
	return fault.New(fault.ArgumentInvalid, "%s: %v", what, problem).Because(problem)
}
