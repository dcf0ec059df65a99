package twin

import "slices"

// Part is a part of a twin, as Describe makes it, by where it is stored.
type Part int

const (
	Nowhere    Part = iota // no twin has it
	Several                // of more than one place, or computed
	Stored                 // in the Document
	Identity               // in the identity of the device or module
	Device                 // in the identity of the device that a module is of
	Connection             // known of the connection: connectionState
	Activity               // lastActivityTime and cloudToDeviceMessageCount
	Key                    // the id
)

// Location is where the value at a path of a described twin is found without the rest.
type Location struct {
	Part    Part
	Path    []string // in the JSON of the part
	Default string   // the JSON of what is not stored, "" for nothing
	Empty   []string // the JSON that is stored and left out of the description
}

// identityMembers are those of a twin that its identity tells.
var identityMembers = map[string]Location{
	"status":             {Path: []string{"status"}},
	"statusReason":       {Path: []string{"statusReason"}, Empty: []string{"null"}},
	"statusUpdateTime":   {Path: []string{"statusUpdatedTime"}},
	"authenticationType": {Path: []string{"authentication", "type"}},
	"x509Thumbprint":     {Path: []string{"authentication", "x509Thumbprint"}},
	"capabilities":       {Path: []string{"capabilities"}},
	"deviceScope":        {Path: []string{"deviceScope"}},
	"parentScopes":       {Path: []string{"parentScopes"}, Empty: []string{"null", "[]"}},
}

// computed are the members of a twin that are stored neither in the Document nor in the
// identity.
var computed = map[string]Part{"connectionState": Connection, "lastActivityTime": Activity,
	"cloudToDeviceMessageCount": Activity, "deviceId": Key, "moduleId": Key}

// Locate returns where the value at a path of a described twin is found, that of a device.
func Locate(path []string) Location {
	if len(path) == 0 {
		return Location{Part: Several}
	}
	root, rest := path[0], path[1:]
	if member, ok := identityMembers[root]; ok {
		member.Part = Identity
		member.Path = slices.Concat(member.Path, rest)
		return member
	}
	switch root {
	case "tags", "version":
		return Location{Part: Stored, Path: path}
	case "modelId":
		if len(rest) > 0 {
			break // it is a text
		}
		return Location{Part: Stored, Path: path, Default: `""`}
	case "properties":
		return locateProperty(rest)
	case "etag", "deviceEtag", "configurations":
		return Location{Part: Several}
	case "connectionState", "lastActivityTime", "cloudToDeviceMessageCount", "deviceId", "moduleId":
		if len(rest) > 0 {
			break
		}
		return Location{Part: computed[root], Path: path}
	}
	return Location{Part: Nowhere}
}

// LocateModule is Locate for the twin of a module: its status is that of its device, and
// there is less of it.
func LocateModule(path []string) Location {
	if len(path) > 0 {
		switch path[0] {
		case "status", "statusReason", "statusUpdateTime":
			at := Locate(path)
			at.Part = Device
			return at
		case "capabilities", "deviceScope", "parentScopes":
			return Location{}
		}
	}
	return Locate(path)
}

// locateProperty is Locate below properties.
func locateProperty(path []string) Location {
	if len(path) < 2 {
		return Location{Part: Several}
	}
	section, name := path[0], path[1]
	if section != "desired" && section != "reported" {
		return Location{Part: Nowhere}
	}
	switch name {
	case versionName:
		return Location{Part: Stored, Path: slices.Concat([]string{section, "version"}, path[2:])}
	case metadataName:
		return Location{Part: Stored, Path: slices.Concat([]string{section, "metadata"}, path[2:])}
	}
	return Location{Part: Stored, Path: slices.Concat([]string{section, "properties"}, path[1:])}
}
