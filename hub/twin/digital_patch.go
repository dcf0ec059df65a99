package twin

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// DigitalPatch is a JSON Patch (RFC 6902) of a digital twin, which sets what is desired
// (Microsoft Learn, howto-manage-digital-twin).
type DigitalPatch []operation

// operation adds or replaces a component or a property, or removes one. To add and to
// replace is the same here: what is there is taken the place of.
type operation struct {
	component string // "" for a property of the root, and for a component itself
	name      string
	value     document.Value // absent to remove it
}

// maxOperations bounds a patch.
const maxOperations = 256

// maxDigitalDepth is how deep the value of a property may be nested.
const maxDigitalDepth = 5

// digitalName is what a component, a property or a field may be called (DTDL).
var digitalName = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_]{0,62}[A-Za-z0-9])?$`)

// ReadDigitalPatch reads a JSON Patch. It returns the faults 400505 for what is none, 400507
// for an operation that digital twins do not have, 400508 for a path that can't be, and
// 400506 for a value that can't be.
func ReadDigitalPatch(body []byte) (DigitalPatch, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, fault.New(fault.DigitalTwinJSONPatchInvalid,
			`The body must be a JSON Patch: [{"op":"add","path":"/component/property","value":1}]`)
	}
	if n := len(items); n == 0 || n > maxOperations {
		return nil, fault.New(fault.DigitalTwinJSONPatchInvalid, "The patch has %d operations, it must have 1 to %d", n,
			maxOperations)
	}
	patch := make(DigitalPatch, len(items))
	for i, item := range items {
		var err error
		if patch[i], err = readOperation(item); err != nil {
			return nil, err
		}
	}
	return patch, nil
}

func readOperation(item json.RawMessage) (read operation, _ error) {
	object, err := document.Parse(item, maxNesting)
	if err != nil {
		return read, fault.New(fault.DigitalTwinJSONPatchInvalid, "An operation of the patch can't be read: %v", err)
	}
	path := object.Get("path").Text()
	if read.component, read.name, err = splitDigitalPath(path); err != nil {
		return read, err
	}
	switch op := object.Get("op").Text(); op {
	case "remove":
		return read, nil
	case "add", "replace":
	default:
		return read, fault.New(fault.DigitalTwinPatchInvalid, "op must be add, replace or remove, not %.32q", op)
	}
	read.value = object.Get("value")
	if read.value.Kind() == document.KindAbsent || read.value.Kind() == document.KindNull {
		return read, fault.New(fault.DigitalTwinPayloadInvalid, "%.128s needs a value. To remove it, op is remove", path)
	}
	if marked := read.value.Object().Get(metadataName); read.component == "" && marked.Kind() != document.KindAbsent {
		if marked.Kind() != document.KindObject || marked.Object().Len() > 0 {
			return read, fault.New(fault.DigitalTwinPayloadInvalid,
				"$metadata of %.128s must be an empty object, which marks a component", path)
		}
		for name, value := range read.value.Object().All() {
			if name == metadataName {
				continue
			}
			if err := checkDigitalValue(path+"/"+name, name, value); err != nil {
				return read, err
			}
		}
		return read, nil
	}
	return read, checkDigitalValue(path, read.name, read.value)
}

// splitDigitalPath takes a path apart: /property, /component or /component/property.
func splitDigitalPath(path string) (component, name string, _ error) {
	rest, ok := strings.CutPrefix(path, "/")
	component, name, nested := strings.Cut(rest, "/")
	if !nested {
		component, name = "", component
	}
	if !ok || !digitalName.MatchString(name) || nested && !digitalName.MatchString(component) {
		return "", "", fault.New(fault.DigitalTwinPatchPathInvalid, "The path must be /property, /component or "+
			"/component/property, each of letters, digits and _, not %.128q", path)
	}
	return component, name, nil
}

// checkDigitalValue returns fault 400506 for a value that no property of a model can have.
func checkDigitalValue(path, name string, value document.Value) error {
	return checkDigitalValueIn(path, name, value, 1)
}

func checkDigitalValueIn(path, name string, value document.Value, depth int) error {
	switch {
	case !digitalName.MatchString(name):
		return fault.New(fault.DigitalTwinPayloadInvalid, "%.128q in %.128s is no name: it has 1 to 64 letters, digits "+
			"and _, begins with a letter and does not end with _", name, path)
	case depth > maxDigitalDepth:
		return fault.New(fault.DigitalTwinPayloadInvalid, "%.128s is nested deeper than %d levels", path, maxDigitalDepth)
	case value.Kind() == document.KindArray:
		return fault.New(fault.DigitalTwinPayloadInvalid, "%.128s has an array, which no property can have", path)
	case value.Kind() == document.KindNull:
		return fault.New(fault.DigitalTwinPayloadInvalid, "%.128s has null, which no property can be", path)
	}
	for field, inner := range value.Object().All() {
		if err := checkDigitalValueIn(path, field, inner, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// desired returns the patch as a merge patch of desired properties. What an operation
// names is in it also when it is so already: it was asked for again.
func (p DigitalPatch) desired(before document.Object) (patch document.Object, _ error) {
	after := before.Clone()
	var changed [][2]string // component and name, in their order
	for _, o := range p {
		if err := o.apply(&after); err != nil {
			return patch, err
		}
		changed = append(changed, [2]string{o.component, o.name})
	}
	for _, at := range changed {
		component, name := at[0], at[1]
		if component == "" || after.Get(component).Kind() == document.KindAbsent {
			if component != "" { // its last property is gone
				name = component
			}
			if change := transition(before.Get(name), after.Get(name)); change.Kind() != document.KindAbsent {
				patch.Set(name, change)
			}
			continue
		}
		change := transition(before.Get(component, name), after.Get(component, name))
		if patched := patch.Get(component); change.Kind() != document.KindAbsent && patched.Kind() != document.KindNull {
			inner := patched.Object().Clone()
			inner.Set(componentMark, document.TextOf(componentKind))
			inner.Set(name, change)
			patch.Set(component, document.ValueOf(inner))
		}
	}
	return patch, nil
}

// apply does the operation to desired properties.
func (o operation) apply(desired *document.Object) error {
	if o.component == "" {
		return o.applyToRoot(desired)
	}
	present := desired.Get(o.component)
	if present.Kind() != document.KindAbsent && !isComponent(present) {
		return fault.New(fault.DigitalTwinPatchInvalid, "%q is in the desired properties of the twin and is no component "+
			"there. Remove it, or change it by the twin", o.component)
	}
	component := present.Object().Clone()
	if o.value.Kind() != document.KindAbsent {
		component.Set(componentMark, document.TextOf(componentKind))
		component.Set(o.name, o.value)
	} else if component.Delete(o.name); component.Len() <= 1 { // the mark is left, or nothing was there
		desired.Delete(o.component)
		return nil
	}
	desired.Set(o.component, document.ValueOf(component))
	return nil
}

func (o operation) applyToRoot(desired *document.Object) error {
	if o.value.Kind() == document.KindAbsent {
		desired.Delete(o.name)
		return nil
	}
	marked := o.value.Object().Get(metadataName).Kind() != document.KindAbsent
	if !marked {
		if isComponent(desired.Get(o.name)) {
			return fault.New(fault.DigitalTwinPayloadInvalid,
				`%q is a component: its value must have "$metadata":{}, or the path name a property of it`, o.name)
		}
		desired.Set(o.name, o.value)
		return nil
	}
	var component document.Object
	component.Set(componentMark, document.TextOf(componentKind))
	for name, value := range o.value.Object().All() {
		if name != metadataName {
			component.Set(name, value)
		}
	}
	desired.Set(o.name, document.ValueOf(component))
	return nil
}

// transition is the merge patch that makes one value of another, absent when there is none
// before nor after.
func transition(before, after document.Value) document.Value {
	switch {
	case after.Kind() == document.KindAbsent && before.Kind() == document.KindAbsent:
		return document.Value{}
	case after.Kind() == document.KindAbsent:
		return document.Null
	case after.Kind() != document.KindObject || before.Kind() != document.KindObject:
		return after
	}
	patch := after.Object().Clone()
	for name, value := range after.Object().All() {
		patch.Set(name, transition(before.Object().Get(name), value))
	}
	for name := range before.Object().All() {
		if after.Object().Get(name).Kind() == document.KindAbsent {
			patch.Set(name, document.Null)
		}
	}
	return document.ValueOf(patch)
}
