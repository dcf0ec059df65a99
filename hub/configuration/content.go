package configuration

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
)

// kind is whose desired properties content is for.
type kind int

const (
	ofDevices kind = iota
	ofModules
	ofEdge // the modules of IoT Edge devices
)

// content is what a configuration writes, as it is applied.
type content struct {
	kind kind
	// base is a deployment that says all of the runtime's modules: layered deployments of a
	// higher priority add to it, and one below it counts for nothing. Content of devices and
	// modules is always whole.
	base  bool
	parts []part
}

// part is what content writes to one twin.
type part struct {
	module   string // of the device that is targeted; "" for the target itself
	replace  bool   // in the place of all desired properties
	settings document.Object
}

const (
	desiredPath = "properties.desired"

	maxModules = 50 + 2 // of a deployment, with the system modules
)

func (c Content) isEmpty() bool {
	return c.DeviceContent.IsZero() && c.ModuleContent.IsZero() && c.ModulesContent.IsZero()
}

// ReadContent reads content as a back end sends it. It returns fault 400402 for what is none;
// that it can be applied is checked when it is written.
func ReadContent(text json.RawMessage) (content Content, _ error) {
	if trimmed := bytes.TrimSpace(text); len(trimmed) == 0 || string(trimmed) == "null" {
		return content, fault.New(fault.InvalidContent, "The configuration has no content. Send it with every update: %s",
			`"content":{"deviceContent":{"properties.desired.interval":10}}`)
	}
	object, err := document.Parse(text, document.MaxFreeDepth)
	if err != nil {
		return content, fault.New(fault.InvalidContent, "content: %v", err)
	}
	for _, member := range []struct {
		name string
		into *document.Object
	}{{"deviceContent", &content.DeviceContent}, {"moduleContent", &content.ModuleContent},
		{"modulesContent", &content.ModulesContent}} {
		switch value := object.Get(member.name); value.Kind() {
		case document.KindObject:
			*member.into = value.Object()
		case document.KindAbsent, document.KindNull:
		default:
			return content, fault.New(fault.InvalidContent, "content: %s must be a JSON object",
				fault.Word(member.name))
		}
	}
	return content, nil
}

// parse checks content. It returns fault 400402.
func (c Content) parse() (content, error) {
	given := 0
	for _, object := range []document.Object{c.DeviceContent, c.ModuleContent, c.ModulesContent} {
		if !object.IsZero() {
			given++
		}
	}
	if given != 1 {
		return content{}, fault.New(fault.InvalidContent,
			"content must have exactly one of deviceContent, moduleContent and modulesContent, and it has %d", given)
	}
	if !c.ModulesContent.IsZero() {
		return parseModules(c.ModulesContent)
	}
	parsed, name, object := content{kind: ofDevices, base: true}, "deviceContent", c.DeviceContent
	if !c.ModuleContent.IsZero() {
		parsed.kind, name, object = ofModules, "moduleContent", c.ModuleContent
	}
	settings, _, err := parseSettings(name, object)
	parsed.parts = []part{{settings: settings}}
	if err == nil && object.Len() == 0 {
		err = fault.New(fault.InvalidContent, "%s is empty. Name what is to be set, as %s", fault.Word(name),
			`{"properties.desired.interval":10}`)
	}
	return parsed, err
}

// parseModules reads the content of a deployment to IoT Edge devices.
func parseModules(modules document.Object) (content, error) {
	parsed := content{kind: ofEdge}
	if modules.Get(identity.EdgeAgent).Kind() != document.KindObject {
		return parsed, fault.New(fault.InvalidContent, "modulesContent must have the module %s", identity.EdgeAgent)
	}
	if modules.Len() > maxModules {
		return parsed, fault.New(fault.InvalidContent, "modulesContent has %d modules, and %d are allowed",
			modules.Len(), maxModules)
	}
	for id, value := range modules.All() {
		name := "modulesContent." + id
		if err := identity.CheckModuleID(id); err != nil {
			return parsed, fault.New(fault.InvalidContent, "modulesContent: %v", fault.ReasonOf(err))
		}
		if strings.HasPrefix(id, "$") && id != identity.EdgeAgent && id != identity.EdgeHub {
			return parsed, fault.New(fault.InvalidContent, "modulesContent: there is no system module %.128q", id)
		}
		if value.Kind() != document.KindObject {
			return parsed, fault.New(fault.InvalidContent, "%.256s must be a JSON object", name)
		}
		settings, whole, err := parseSettings(name, value.Object())
		if err != nil {
			return parsed, err
		}
		if id == identity.EdgeAgent {
			parsed.base = whole
		}
		if value.Object().Len() > 0 {
			parsed.parts = append(parsed.parts, part{module: id, replace: whole, settings: settings})
		}
	}
	return parsed, nil
}

// parseSettings reads an object whose names are paths into a patch of desired properties.
// Those that are shorter come first, so that a path goes into what another one sets. whole
// is whether one of them is all of the desired properties.
func parseSettings(where string, object document.Object) (settings document.Object, whole bool, _ error) {
	type setting struct {
		path  []string
		value document.Value
	}
	var given []setting
	for name, value := range object.All() {
		path, ok := strings.CutPrefix(name, desiredPath)
		if path == "" && ok {
			if value.Kind() != document.KindObject {
				return settings, false, fault.New(fault.InvalidContent, "%.160s: %s must be a JSON object", where,
					fault.Word(desiredPath))
			}
			whole = true
			given = append(given, setting{nil, value})
			continue
		}
		segments := strings.Split(strings.TrimPrefix(path, "."), ".")
		if !ok || path[0] != '.' || slices.Contains(segments, "") {
			return settings, false, fault.New(fault.InvalidContent,
				"%.160s: %.128q must be %s, or a path below it such as %s", where, name, desiredPath,
				desiredPath+".interval")
		}
		given = append(given, setting{segments, value})
	}
	slices.SortStableFunc(given, func(a, b setting) int { return len(a.path) - len(b.path) })
	root := document.ValueOf(document.Object{}.Clone())
	for _, s := range given {
		if len(s.path) > maxDepth {
			return settings, false, fault.New(fault.InvalidContent, "%.160s: a path has more than %d names", where,
				maxDepth)
		}
		root = setAt(root, s.path, s.value)
	}
	settings = root.Object()
	if err := twin.CheckDesired(settings); err != nil {
		return settings, false, fault.New(fault.InvalidContent, "%.160s: %v", where, fault.ReasonOf(err))
	}
	return settings, whole, nil
}

// maxDepth is how deep a property of a twin can lie.
const maxDepth = 10
