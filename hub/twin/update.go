package twin

import (
	"strings"

	"github.com/berth-iot/berth/document"
)

// Update is a change of a twin, as those are told who follow it and those who look at twins.
type Update struct {
	ID         string // of the device; of a module, deviceId/moduleId
	Generation string
	Version    int64 // that it has made
	Replaced   bool  // else it was updated

	// Written and Reported say who has changed it, a back end or its device. Neither is set of
	// a change that is of no concern to those who look at twins: theirs, or of the model id.
	Written, Reported bool

	// Body is nil of what nobody is told of. It is JSON: the whole twin when it was replaced, else
	// {"version":…,"tags":{…},"properties":{"desired":{…},"reported":{…}}} with the parts and
	// members that have changed (Microsoft Learn, iot-hub-non-telemetry-event-schema).
	Body []byte
}

// Whole is the twin as it is told of at its beginning, its end and its replacement.
func (d Document) Whole(id string) []byte {
	deviceID, moduleID, isModule := strings.Cut(id, "/")
	var whole document.Object
	whole.Set("deviceId", document.TextOf(deviceID))
	if isModule {
		whole.Set("moduleId", document.TextOf(moduleID))
	}
	whole.Set("etag", document.TextOf(d.publicETag()))
	whole.Set("version", document.IntegerOf(d.Version))
	if d.Tags.Len() > 0 {
		whole.Set("tags", document.ValueOf(d.Tags))
	}
	var properties document.Object
	properties.Set("desired", document.ValueOf(d.Desired.describe(true)))
	properties.Set("reported", document.ValueOf(d.Reported.describe(true)))
	whole.Set("properties", document.ValueOf(properties))
	return whole.AppendJSON(nil)
}

// update is what a patch, which is nil of reported properties that were not reported, has
// changed of this twin.
func (d Document) update(patch Patch, reported *document.Object) []byte {
	b := document.IntegerOf(d.Version).AppendJSON([]byte(`{"version":`))
	if patch.Tags != nil {
		b = patch.Tags.AppendJSON(append(b, `,"tags":`...))
	}
	separator := `,"properties":{`
	for _, part := range [...]struct {
		name    string
		patch   *document.Object
		section *Section
	}{{"desired", patch.Desired, &d.Desired}, {"reported", reported, &d.Reported}} {
		if part.patch == nil {
			continue
		}
		b = append(append(append(append(b, separator...), '"'), part.name...), `":`...)
		b = part.section.changed(*part.patch).AppendJSON(b)
		separator = ","
	}
	if separator == "," {
		b = append(b, '}')
	}
	return append(b, '}')
}

// changed are the members of a patch with what this section, into which it was merged, says
// of them.
func (s Section) changed(patch document.Object) document.Object {
	var mark, metadata document.Object
	for _, name := range [...]string{lastUpdated, lastVersion} {
		if value := s.Metadata.Get(name); value.Kind() != document.KindAbsent {
			mark.Set(name, value)
		}
	}
	markUpdated(&metadata, patch, mark)
	return Section{Version: s.Version, Properties: patch, Metadata: metadata}.describe(true)
}
