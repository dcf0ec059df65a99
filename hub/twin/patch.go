package twin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// Patch is what a back end wants changed; nil is to stay as it is.
type Patch struct{ Tags, Desired *document.Object }

// ReadPatch takes the parts of a twin that back ends may change and leaves
// the rest aside: SDKs send back whole twins. A replacement names both parts: what is
// left out, or null, will be empty. In a patch null would delete a whole part; that is
// refused, as is what looks like a part and stands where none is.
func ReadPatch(body json.RawMessage, replace bool) (Patch, error) {
	var sent struct {
		Tags       json.RawMessage `json:"tags"`
		Properties json.RawMessage `json:"properties"`
		Desired    json.RawMessage `json:"desired"`
		Reported   json.RawMessage `json:"reported"`
	}
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != '{' {
		return Patch{}, fault.New(fault.ArgumentInvalid,
			"A twin is a JSON object: {\"tags\":{…},\"properties\":{\"desired\":{…}}}")
	}
	if err := document.CheckDepth(body, document.MaxDepth); err != nil {
		return Patch{}, fault.New(fault.ArgumentInvalid, "The twin can't be taken: %v", err)
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		return Patch{}, fault.New(fault.ArgumentInvalid, "The twin is not JSON: %v", cmp.Or(document.Syntax(body), err))
	}
	if sent.Desired != nil || sent.Reported != nil {
		return Patch{}, fault.New(fault.ArgumentInvalid,
			"The twin has desired or reported beside tags. They belong into properties: "+
				"{\"properties\":{\"desired\":{…}}}")
	}
	var properties struct {
		Desired json.RawMessage `json:"desired"`
	}
	if sent.Properties != nil {
		if err := json.Unmarshal(sent.Properties, &properties); err != nil {
			return Patch{}, fault.New(fault.ArgumentInvalid, "%s must be a JSON object", "properties")
		}
	}
	for _, part := range []struct {
		name string
		json *json.RawMessage
	}{{"tags", &sent.Tags}, {"properties", &sent.Properties}, {"properties.desired", &properties.Desired}} {
		switch {
		case replace && !isPresent(*part.json):
			*part.json = json.RawMessage("{}")
		case *part.json != nil && !isPresent(*part.json):
			return Patch{}, fault.New(fault.ArgumentInvalid,
				"%s is null, and a patch deletes properties one by one: {\"name\":null}. "+
					"To empty a whole section, PUT the twin without it",
				fault.Word(part.name))
		}
	}
	return readParts(sent.Tags, properties.Desired)
}

// readParts reads tags and desired properties; what is absent or null is nil.
func readParts(tags, desired json.RawMessage) (patch Patch, _ error) {
	for _, part := range []struct {
		name string
		json json.RawMessage
		into **document.Object
	}{{limitsOfTags.name, tags, &patch.Tags}, {limitsOfDesired.name, desired, &patch.Desired}} {
		if !isPresent(part.json) {
			continue
		}
		read, err := readObject(part.name, part.json)
		if err != nil {
			return Patch{}, err
		}
		*part.into = &read
	}
	return patch, nil
}

// AnyPresent reports whether any of these parts of a twin is there and not null.
func AnyPresent(parts ...json.RawMessage) bool { return slices.ContainsFunc(parts, isPresent) }

func isPresent(part json.RawMessage) bool {
	trimmed := bytes.TrimSpace(part)
	return len(trimmed) > 0 && string(trimmed) != "null"
}

// readObject reads a part of a twin. $version and $metadata, which SDKs send
// back, are left aside.
func readObject(what string, body []byte) (document.Object, error) {
	if len(body) > maxSection {
		return document.Object{}, fault.New(fault.ArgumentInvalid,
			"%s is too large: it has %d bytes of JSON, and %d are allowed", fault.Word(what), len(body), maxSection)
	}
	read, err := document.Parse(body, maxNesting)
	if errors.As(err, new(*document.DepthError)) {
		return read, fault.New(fault.ArgumentInvalid, "%s: nested deeper than %d levels", what, maxDepth)
	}
	if errors.Is(err, document.ErrNotObject) {
		return read, fault.New(fault.ArgumentInvalid, "%s must be a JSON object", what)
	}
	if err != nil {
		return read, fault.New(fault.ArgumentInvalid, "%s: %v", what, err)
	}
	read.Delete(versionName, metadataName)
	return read, nil
}
