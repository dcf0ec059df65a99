// Package twin keeps device twins: tags, desired and reported properties, their versions,
// metadata and limits. Of identities it knows what a twin tells of them.
package twin

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
)

// Document is a twin as it is stored.
type Document struct {
	Generation string          `json:"generation"` // of its device; "" in what versions before this field wrote
	Version    int64           `json:"version"`    // of the whole
	Revision   int64           `json:"revision"`   // of what back ends write; 0 before this field was there
	ModelID    string          `json:"modelId,omitempty"`
	Tags       document.Object `json:"tags"`
	Desired    Section         `json:"desired"`
	Reported   Section         `json:"reported"`

	etag string // of the store
}

// Section is one half of a twin's properties.
type Section struct {
	Version    int64           `json:"version"`
	Properties document.Object `json:"properties"`
	Metadata   document.Object `json:"metadata"` // as $metadata, of the same shape as the properties
}

// New returns the twin of a new device with its first tags and desired properties: JSON
// objects, or nothing. It returns fault 400004 for what breaks a limit.
func New(tags, desired json.RawMessage, now time.Time) (Document, error) {
	d := newDocument(now)
	return d, d.initialize(tags, desired, now)
}

func newDocument(now time.Time) Document {
	empty := func() Section {
		s := Section{Version: 1}
		s.Metadata.Set(lastUpdated, document.TextOf(document.FormatTime(now)))
		return s
	}
	return Document{Version: 1, Revision: 1, Desired: empty(), Reported: empty()}
}

// checkOwner returns fault 404001 for the twin of another device of the same id, which
// was made after this one was deleted.
func (d Document) checkOwner(owner Owner) error {
	if d.Generation == "" || d.Generation == owner.Generation { // "" is older than this field
		return nil
	}
	return identity.NotFound(owner.DeviceID)
}

// revision counts what back ends have written. What versions before the field wrote has
// begun to count with its version.
func (d Document) revision() int64 { return cmp.Or(d.Revision, d.Version) }

// publicETag is the twin's ETag. As in Azure it changes with what back ends write and with
// nothing else: who changes a twin under the condition that it is as it was read is not
// held up by what the device reports. A device that takes the place of another with the
// same id begins with a tag of its own.
func (d Document) publicETag() string {
	generation, _ := strconv.ParseUint(d.Generation, 10, 64) // a number, "" in what early versions wrote
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, generation+uint64(d.revision())))
}

// initialize gives a new twin its first tags and desired properties.
func (d *Document) initialize(tags, desired json.RawMessage, now time.Time) error {
	if err := checkInitial(limitsOfTags.name, tags); err != nil {
		return err
	}
	if err := checkInitial(limitsOfDesired.name, desired); err != nil {
		return err
	}
	patch, err := readParts(tags, desired)
	if err != nil {
		return err
	}
	d.Version, d.Revision = 0, 0 // this is the first version, not a change of it
	if patch.Desired != nil {
		d.Desired.Version = 0
	}
	return d.apply(patch, false, now)
}

// checkInitial bounds a part of an initial twin as it is kept with an enrollment.
func checkInitial(name string, part json.RawMessage) error {
	if !isPresent(part) {
		return nil
	}
	kept, err := document.Marshal(part)
	if err != nil {
		return fault.New(fault.ArgumentInvalid, "%s: not a JSON object: %v", fault.Word(name), err)
	}
	if len(kept) > maxInitial {
		return fault.New(fault.ArgumentInvalid, "%s is too large: it has %d bytes of JSON, and %d are allowed",
			fault.Word(name), len(kept), maxInitial)
	}
	return nil
}

// apply merges a patch of tags and desired properties, or puts it in their place.
func (d *Document) apply(patch Patch, replace bool, now time.Time) error {
	d.Revision = d.revision() + 1
	d.Version++
	if patch.Tags != nil {
		if err := d.applyTags(*patch.Tags, replace); err != nil {
			return err
		}
	}
	if patch.Desired == nil {
		return nil
	}
	return d.Desired.merge(limitsOfDesired, *patch.Desired, replace, now, true)
}

func (d *Document) applyTags(patch document.Object, replace bool) error {
	if err := checkValues(limitsOfTags.name, patch); err != nil {
		return err
	}
	before := sizeOf(d.Tags, document.Object{})
	if replace {
		d.Tags = document.Object{}
	}
	d.Tags.Merge(patch)
	return limitsOfTags.fit(&d.Tags, document.Object{}, before)
}

// DesiredNotice returns what a device is told when a patch has made this twin of its: a
// patch of the desired properties, or all of them when they were replaced, with $version.
// It is nil when there is nothing to tell.
func (d Document) DesiredNotice(patch Patch, replaced bool) json.RawMessage {
	if patch.Desired == nil {
		return nil
	}
	told := Section{Version: d.Desired.Version, Properties: *patch.Desired}
	if replaced {
		told = d.Desired
	}
	return told.describe(false).AppendJSON(nil)
}

// forDevice returns what a device sees of its twin:
// {"desired":{…,"$version":n},"reported":{…,"$version":n}}.
func (d Document) forDevice() json.RawMessage {
	seen := d.Desired.describe(false).AppendJSON([]byte(`{"desired":`))
	seen = d.Reported.describe(false).AppendJSON(append(seen, `,"reported":`...))
	return append(seen, '}')
}

// describe returns the properties, for back ends with $metadata, and $version at the
// very end.
func (s Section) describe(metadata bool) document.Object {
	described := s.Properties.Clone()
	if metadata {
		described.Set(metadataName, document.ValueOf(s.Metadata))
	}
	described.Set(versionName, document.IntegerOf(s.Version))
	return described
}

// What is read from the store is held against what the code relies on, so that a
// damaged record is one that can't be read, and nothing worse.
var _ store.Checkable = (*Document)(nil)

// Intact implements store.Checkable.
func (d *Document) Intact() error {
	for _, part := range []document.Object{d.Tags, d.Desired.Properties, d.Desired.Metadata, d.Reported.Properties,
		d.Reported.Metadata} {
		if part.IsZero() {
			return errors.New("a part of the twin is missing")
		}
	}
	return nil
}
