package hub

import (
	"bytes"
	"cmp"
	"context"
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

// Twin is a device twin as back ends see it, in the JSON of the IoT Hub service
// REST API (PyPI azure-iot-hub, model Twin).
type Twin struct {
	DeviceID                  string                      `json:"deviceId"`
	ETag                      string                      `json:"etag"`
	DeviceETag                string                      `json:"deviceEtag"`
	Status                    string                      `json:"status"`
	StatusReason              *string                     `json:"statusReason,omitempty"`
	StatusUpdateTime          document.Time               `json:"statusUpdateTime"`
	ConnectionState           string                      `json:"connectionState"`
	LastActivityTime          document.Time               `json:"lastActivityTime"`
	CloudToDeviceMessageCount int                         `json:"cloudToDeviceMessageCount"`
	AuthenticationType        identity.AuthenticationType `json:"authenticationType"`
	X509Thumbprint            identity.ThumbprintPair     `json:"x509Thumbprint"`
	ModelID                   string                      `json:"modelId"`
	Version                   int64                       `json:"version"`
	Tags                      document.Object             `json:"tags"`
	Properties                TwinProperties              `json:"properties"`
	Capabilities              identity.Capabilities       `json:"capabilities"`
	DeviceScope               string                      `json:"deviceScope,omitempty"` // as of the device
	ParentScopes              []string                    `json:"parentScopes,omitempty"`
}

// TwinProperties are the two halves of a twin: the properties in the order in which
// they came, then $metadata and $version.
type TwinProperties struct {
	Desired  document.Object `json:"desired"`
	Reported document.Object `json:"reported"`
}

// twin is a twin as it is stored.
type twin struct {
	Generation string          `json:"generation"` // of its device; "" in what versions before this field wrote
	Version    int64           `json:"version"`    // of the whole
	Revision   int64           `json:"revision"`   // of what back ends write; 0 in what versions before this field wrote
	ModelID    string          `json:"modelId,omitempty"`
	Tags       document.Object `json:"tags"`
	Desired    section         `json:"desired"`
	Reported   section         `json:"reported"`

	etag string // of the store
}

// section is one half of a twin's properties.
type section struct {
	Version    int64           `json:"version"`
	Properties document.Object `json:"properties"`
	Metadata   document.Object `json:"metadata"` // as $metadata, of the same shape as the properties
}

func newTwin(now time.Time) twin {
	empty := func() section {
		s := section{Version: 1}
		s.Metadata.Set(lastUpdated, document.TextOf(document.FormatTime(now)))
		return s
	}
	return twin{Version: 1, Revision: 1, Desired: empty(), Reported: empty()}
}

// revision counts what back ends have written. What versions before the field wrote has
// begun to count with its version.
func (t twin) revision() int64 { return cmp.Or(t.Revision, t.Version) }

// tag is the twin's ETag. As in Azure it changes with what back ends write and with
// nothing else: who changes a twin under the condition that it is as it was read is not
// held up by what the device reports. A device that takes the place of another with the
// same id begins with a tag of its own.
func (t twin) tag() string {
	generation, _ := strconv.ParseUint(t.Generation, 10, 64) // a number, "" in what early versions wrote
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, generation+uint64(t.revision())))
}

// begin gives a new twin its first tags and desired properties.
func (t *twin) begin(tags, desired json.RawMessage, now time.Time) error {
	if err := checkBeginning(limitsOfTags.name, tags); err != nil {
		return err
	}
	if err := checkBeginning(limitsOfDesired.name, desired); err != nil {
		return err
	}
	patch, err := readParts(tags, desired)
	if err != nil {
		return err
	}
	t.Version, t.Revision = 0, 0 // this is the first version, not a change of it
	if patch.Desired != nil {
		t.Desired.Version = 0
	}
	return t.apply(patch, false, now)
}

// checkBeginning bounds a part of an initial twin as it is kept with an enrollment.
func checkBeginning(name string, part json.RawMessage) error {
	if !present(part) {
		return nil
	}
	kept, err := document.Marshal(part)
	if err != nil {
		return fault.New(fault.ArgumentInvalid, "%s: not a JSON object: %v", fault.Word(name), err)
	}
	if len(kept) > maxBeginning {
		return fault.New(fault.ArgumentInvalid, "%s is too large: it has %d bytes of JSON, and %d are allowed",
			fault.Word(name), len(kept), maxBeginning)
	}
	return nil
}

// Twin returns the twin of a device. It returns fault 404001 when there is none.
func (h *Hub) Twin(ctx context.Context, id string) (Twin, error) {
	device, err := h.Device(ctx, id)
	if err != nil {
		return Twin{}, err
	}
	stored, err := h.twin(ctx, id)
	return stored.describe(device), err
}

// PatchTwin merges a patch ({"tags":…,"properties":{"desired":…}}, null deletes)
// into a twin, under the condition ifMatch: "", "*" or the twin's ETag. A
// connected device is told of its new desired properties. It returns the faults
// 404001, 412001, and 400004 for what breaks a limit.
func (h *Hub) PatchTwin(ctx context.Context, id string, patch json.RawMessage, ifMatch string) (Twin, error) {
	return h.changeTwin(ctx, id, patch, ifMatch, false)
}

// ReplaceTwin puts other tags and desired properties in the place of a twin's.
// Conditions and faults are those of PatchTwin.
func (h *Hub) ReplaceTwin(ctx context.Context, id string, twin json.RawMessage, ifMatch string) (Twin, error) {
	return h.changeTwin(ctx, id, twin, ifMatch, true)
}

func (h *Hub) changeTwin(ctx context.Context, id string, body json.RawMessage, ifMatch string, replace bool) (Twin, error) {
	patch, err := readTwinPatch(body, replace)
	if err != nil {
		return Twin{}, err
	}
	device, err := h.Device(ctx, id)
	if err != nil {
		return Twin{}, err
	}
	changed, err := h.changeAndTell(ctx, id, patch, ifMatch, replace)
	if err != nil {
		return Twin{}, err
	}
	h.stats.twinUpdates.Add(1)
	return changed.describe(device), nil
}

// changeAndTell changes a twin and tells the device, one change after the other.
func (h *Hub) changeAndTell(ctx context.Context, id string, patch twinPatch, ifMatch string, replace bool) (twin,
	error) {
	defer h.order.lock(id)()
	changed, err := h.updateTwin(ctx, id, replace, func(t *twin) error {
		if err := fault.Precondition("twin", ifMatch, t.tag()); err != nil {
			return err
		}
		return t.apply(patch, replace, h.config.Now())
	})
	if err != nil || patch.Desired == nil {
		return changed, err
	}
	told := *patch.Desired
	if replace {
		told = changed.Desired.Properties
	}
	h.tellDesired(ctx, id, changed, told)
	return changed, nil
}

// report merges a device's patch into its reported properties, if they have the
// version that is asked for, and returns their new version.
func (h *Hub) report(ctx context.Context, session *Session, patch []byte, ifVersion *int64) (int64, error) {
	parsed, err := readObject(limitsOfReported.name, patch)
	if err != nil {
		return 0, err
	}
	changed, err := h.updateTwin(ctx, session.deviceID, false, func(t *twin) error {
		if err := session.check(); err != nil {
			return err
		}
		if err := session.owns(*t); err != nil {
			return err
		}
		if ifVersion != nil && *ifVersion != t.Reported.Version {
			return fault.New(fault.PreconditionFailed,
				"The reported properties have the version %d, and $version asks for %d. Get the twin and report again",
				t.Reported.Version, *ifVersion)
		}
		t.Generation, t.Revision = session.generation, t.revision()
		t.Version++
		return t.Reported.merge(limitsOfReported, parsed, false, h.config.Now(), false)
	})
	if err == nil {
		h.stats.twinUpdates.Add(1)
	}
	return changed.Reported.Version, err
}

// updateTwin changes a twin by compare-and-swap. With replace, one that can't be read
// is taken for an empty one.
func (h *Hub) updateTwin(ctx context.Context, id string, replace bool, change func(*twin) error) (twin, error) {
	return store.RetryOnConflict(ctx, func() (twin, error) {
		stored, err := h.twin(ctx, id)
		if replace && store.IsUnreadable(err) {
			etag := stored.etag
			stored, err = newTwin(h.config.Now()), nil
			stored.etag = etag
		}
		if err != nil {
			return twin{}, err
		}
		if err := change(&stored); err != nil {
			return twin{}, err
		}
		put := h.twins.Put(id, store.ETag(stored.etag), stored)
		if len(put.Value) > maxDocument { // only if a section was too large already, by the rules of an earlier version
			return twin{}, fault.New(fault.ArgumentInvalid,
				"The twin is too large: it takes %d bytes of JSON to store, and %d are allowed. Delete properties of the section that is over its limit first",
				len(put.Value), maxDocument)
		}
		etags, err := h.config.Documents.Commit(ctx, put)
		if err != nil {
			return twin{}, err
		}
		stored.etag = etags[0]
		return stored, nil
	})
}

func (h *Hub) twin(ctx context.Context, id string) (twin, error) {
	stored, etag, err := h.twins.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return twin{}, identity.NotFound(id)
	}
	stored.etag = etag
	return stored, err
}

// apply merges a patch of tags and desired properties, or puts it in their
// place.
func (t *twin) apply(patch twinPatch, replace bool, now time.Time) error {
	t.Revision = t.revision() + 1
	t.Version++
	if patch.Tags != nil {
		if err := t.applyTags(*patch.Tags, replace); err != nil {
			return err
		}
	}
	if patch.Desired == nil {
		return nil
	}
	return t.Desired.merge(limitsOfDesired, *patch.Desired, replace, now, true)
}

func (t *twin) applyTags(patch document.Object, replace bool) error {
	if err := checkValues(limitsOfTags.name, patch); err != nil {
		return err
	}
	before := sizeOf(t.Tags, document.Object{})
	if replace {
		t.Tags = document.Object{}
	}
	t.Tags.Merge(patch)
	return limitsOfTags.fit(&t.Tags, document.Object{}, before)
}

func (t twin) describe(d identity.Device) Twin {
	described := Twin{
		DeviceID: d.DeviceID, ETag: t.tag(), DeviceETag: d.ETag,
		Status: d.Status, StatusReason: d.StatusReason, StatusUpdateTime: d.StatusUpdatedTime,
		ConnectionState: d.ConnectionState, LastActivityTime: d.LastActivityTime,
		ModelID: t.ModelID, Version: t.Version, Tags: t.Tags, Capabilities: d.Capabilities,
		DeviceScope: d.DeviceScope, ParentScopes: d.ParentScopes,
		Properties: TwinProperties{Desired: t.Desired.describe(true), Reported: t.Reported.describe(true)},
	}
	if d.Authentication != nil {
		described.AuthenticationType, described.X509Thumbprint = d.Authentication.Type, d.Authentication.X509Thumbprint
	}
	return described
}

// describe returns the properties, for back ends with $metadata, and $version at the
// very end.
func (s section) describe(metadata bool) document.Object {
	described := s.Properties.Clone()
	if metadata {
		described.Set(metadataName, document.ValueOf(s.Metadata))
	}
	described.Set(versionName, document.IntegerOf(s.Version))
	return described
}

// twinPatch is what a back end wants changed; nil is to stay as it is.
type twinPatch struct{ Tags, Desired *document.Object }

// readTwinPatch takes the parts of a twin that back ends may change and leaves
// the rest aside: SDKs send back whole twins. A replacement names both parts: what is
// left out, or null, will be empty. In a patch null would delete a whole part; that is
// refused, as is what looks like a part and stands where none is.
func readTwinPatch(body json.RawMessage, replace bool) (twinPatch, error) {
	var sent struct {
		Tags       json.RawMessage `json:"tags"`
		Properties json.RawMessage `json:"properties"`
		Desired    json.RawMessage `json:"desired"`
		Reported   json.RawMessage `json:"reported"`
	}
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != '{' {
		return twinPatch{}, fault.New(fault.ArgumentInvalid, "A twin is a JSON object: {\"tags\":{…},\"properties\":{\"desired\":{…}}}")
	}
	if err := document.CheckDepth(body, document.MaxDepth); err != nil {
		return twinPatch{}, fault.New(fault.ArgumentInvalid, "The twin can't be taken: %v", err)
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		return twinPatch{}, fault.New(fault.ArgumentInvalid, "The twin is not JSON: %v", cmp.Or(document.Syntax(body), err))
	}
	if sent.Desired != nil || sent.Reported != nil {
		return twinPatch{}, fault.New(fault.ArgumentInvalid,
			"The twin has desired or reported beside tags. They belong into properties: {\"properties\":{\"desired\":{…}}}")
	}
	var properties struct {
		Desired json.RawMessage `json:"desired"`
	}
	if sent.Properties != nil {
		if err := json.Unmarshal(sent.Properties, &properties); err != nil {
			return twinPatch{}, fault.New(fault.ArgumentInvalid, "%s must be a JSON object", "properties")
		}
	}
	for _, part := range []struct {
		name string
		json *json.RawMessage
	}{{"tags", &sent.Tags}, {"properties", &sent.Properties}, {"properties.desired", &properties.Desired}} {
		switch {
		case replace && !present(*part.json):
			*part.json = json.RawMessage("{}")
		case *part.json != nil && !present(*part.json):
			return twinPatch{}, fault.New(fault.ArgumentInvalid,
				"%s is null, and a patch deletes properties one by one: {\"name\":null}. To empty a whole section, PUT the twin without it",
				fault.Word(part.name))
		}
	}
	return readParts(sent.Tags, properties.Desired)
}

// readParts reads tags and desired properties; what is absent or null is nil.
func readParts(tags, desired json.RawMessage) (patch twinPatch, _ error) {
	for _, part := range []struct {
		name string
		json json.RawMessage
		into **document.Object
	}{{limitsOfTags.name, tags, &patch.Tags}, {limitsOfDesired.name, desired, &patch.Desired}} {
		if !present(part.json) {
			continue
		}
		read, err := readObject(part.name, part.json)
		if err != nil {
			return twinPatch{}, err
		}
		*part.into = &read
	}
	return patch, nil
}

func present(part json.RawMessage) bool {
	trimmed := bytes.TrimSpace(part)
	return len(trimmed) > 0 && string(trimmed) != "null"
}
