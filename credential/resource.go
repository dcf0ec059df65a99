package credential

import (
	"net/url"
	"strings"
)

// Resource is what somebody with a token asks for: a host, or the ID scope of
// devices that register, and the path below it.
type Resource struct {
	Host string
	Path []Segment
}

// Segment is one step of a resource's path: a word of the contract, which has no
// case, or an id.
type Segment struct {
	Text  string
	Exact bool // ids of the hub have case; registration ids have none
}

// ResourceOf is the resource of a host and words below it.
func ResourceOf(host string, words ...string) Resource {
	r := Resource{Host: host}
	for _, word := range words {
		r.Path = append(r.Path, Segment{Text: word})
	}
	return r
}

// DeviceResource is a device of a hub.
func DeviceResource(host, deviceID string) Resource {
	return Resource{host, []Segment{{Text: "devices"}, {deviceID, true}}}
}

// ModuleResource is a module of a device of a hub.
func ModuleResource(host, deviceID, moduleID string) Resource {
	device := DeviceResource(host, deviceID)
	return Resource{host, append(device.Path, Segment{Text: "modules"}, Segment{moduleID, true})}
}

// RegistrationResource is the registration of a device.
func RegistrationResource(idScope, registrationID string) Resource {
	return ResourceOf(idScope, "registrations", registrationID)
}

// String is the resource as a token names it, before encoding.
func (r Resource) String() string {
	text := r.Host
	for _, segment := range r.Path {
		text += "/" + segment.Text
	}
	return text
}

// Covers reports whether the token is good for what is asked: its resource is
// that, or the beginning of it by whole segments, such as hub.example.com/devices
// for a device there (Azure, iot-hub-dev-guide-sas). It says nothing of key,
// signature or time. A scheme, a port, a slash at the end and a full stop at the end of
// the host do not count; the host has no case.
func (t *Token) Covers(asked Resource) bool {
	resource := t.Resource
	if scheme, rest, ok := strings.Cut(resource, "://"); ok && !strings.Contains(scheme, "/") {
		resource = rest
	}
	host, path, below := strings.Cut(strings.TrimSuffix(resource, "/"), "/")
	if name, _, ok := strings.Cut(host, ":"); ok {
		host = name
	}
	host = strings.TrimSuffix(host, ".")
	if asked.Host == "" || !strings.EqualFold(host, asked.Host) {
		return false
	}
	if !below {
		return true
	}
	wanted := asked.flat()
	named := strings.Split(path, "/")
	if len(named) > len(wanted) {
		return false
	}
	for i, name := range named {
		if !t.names(name, wanted[i]) {
			return false
		}
	}
	return true
}

// flat is the path with a segment for each slash: an id that has some, such as a
// network, looks the same in a token as a longer path.
func (r Resource) flat() (path []Segment) {
	for _, segment := range r.Path {
		for text := range strings.SplitSeq(segment.Text, "/") {
			path = append(path, Segment{text, segment.Exact})
		}
	}
	return path
}

// names compares a segment of the token with one that is asked for.
func (t *Token) names(name string, asked Segment) bool {
	if !asked.Exact {
		return strings.EqualFold(name, asked.Text)
	}
	if name == asked.Text {
		return true
	}
	// The C# device SDK encodes the id, and then the whole with it. Only a device's
	// own key may: no other id can be meant by it.
	decoded, err := url.PathUnescape(name)
	return err == nil && t.KeyName == "" && decoded == asked.Text
}
