package linkedhub

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"

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
	return fault.New(fault.ArgumentInvalid, "%s: %v",
		what, cmp.Or(document.CheckText(text), document.CheckNumbers(text)))
}
