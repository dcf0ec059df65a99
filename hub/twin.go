package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Twin is a device twin as back ends see it, in the JSON of the IoT Hub service
// REST API (PyPI azure-iot-hub, model Twin).
type Twin struct {
	DeviceID                  string             `json:"deviceId"`
	ETag                      string             `json:"etag"`
	DeviceETag                string             `json:"deviceEtag"`
	Status                    string             `json:"status"`
	StatusReason              *string            `json:"statusReason,omitempty"`
	StatusUpdateTime          document.Time      `json:"statusUpdateTime"`
	ConnectionState           string             `json:"connectionState"`
	LastActivityTime          document.Time      `json:"lastActivityTime"`
	CloudToDeviceMessageCount int                `json:"cloudToDeviceMessageCount"`
	AuthenticationType        AuthenticationType `json:"authenticationType"`
	X509Thumbprint            ThumbprintPair     `json:"x509Thumbprint"`
	ModelID                   string             `json:"modelId"`
	Version                   int64              `json:"version"`
	Tags                      map[string]any     `json:"tags"`
	Properties                TwinProperties     `json:"properties"`
	Capabilities              Capabilities       `json:"capabilities"`
}

// UnmarshalJSON keeps numbers as they are written: they are json.Number, also those
// that a float64 can't hold without a loss.
func (t *Twin) UnmarshalJSON(b []byte) error {
	type plain Twin
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	return decoder.Decode((*plain)(t))
}

// TwinProperties are the two halves of a twin, each with $metadata and
// $version.
type TwinProperties struct {
	Desired  map[string]any `json:"desired"`
	Reported map[string]any `json:"reported"`
}

// twin is a twin as it is stored.
type twin struct {
	Generation string  `json:"generation"` // of its device; "" in what versions before this field wrote
	Version    int64   `json:"version"`    // of the whole
	Tags       object  `json:"tags"`
	Desired    section `json:"desired"`
	Reported   section `json:"reported"`

	etag string
}

// section is one half of a twin's properties.
type section struct {
	Version    int64  `json:"version"`
	Properties object `json:"properties"`
	Metadata   object `json:"metadata"` // as $metadata, of the same shape as the properties
}

func newTwin(now time.Time) twin {
	empty := func() section {
		return section{Version: 1, Properties: object{}, Metadata: object{lastUpdated: document.FormatTime(now)}}
	}
	return twin{Version: 1, Tags: object{}, Desired: empty(), Reported: empty()}
}

// begin gives a new twin its first tags and desired properties.
func (t *twin) begin(tags, desired json.RawMessage, now time.Time) error {
	if err := checkBeginning(limitsOfTags.name, tags); err != nil {
		return err
	}
	if err := checkBeginning(limitsOfDesired.name, desired); err != nil {
		return err
	}
	t.Version = 0 // this is the first version, not a change of it
	if present(desired) {
		t.Desired.Version = 0
	}
	return t.apply(twinPatch{Tags: tags, Desired: desired}, false, now)
}

// checkBeginning bounds a part of an initial twin as it is kept with an enrollment.
func checkBeginning(name string, part json.RawMessage) error {
	if !present(part) {
		return nil
	}
	kept, err := json.Marshal(part)
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
	patch, err := readTwinPatch(body)
	if err != nil {
		return Twin{}, err
	}
	if replace {
		patch.complete()
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
		if err := precondition("twin", ifMatch, t.etag); err != nil {
			return err
		}
		return t.apply(patch, replace, h.config.Now())
	})
	if err != nil || !present(patch.Desired) {
		return changed, err
	}
	told := patch.Desired
	if replace {
		told = changed.Desired.Properties.encode()
	}
	h.tellDesired(ctx, id, changed, told)
	return changed, nil
}

// report merges a device's patch into its reported properties and returns their
// new version.
func (h *Hub) report(ctx context.Context, session *Session, patch json.RawMessage) (int64, error) {
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
		t.Generation = session.generation
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
	for {
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
		put := h.twins.Put(id, storeMatch(stored.etag), stored)
		if len(put.Value) > maxDocument { // only if a section was too large already, by the rules of an earlier version
			return twin{}, fault.New(fault.ArgumentInvalid,
				"The twin is too large: it takes %d bytes of JSON to store, and %d are allowed. Delete properties of the section that is over its limit first",
				len(put.Value), maxDocument)
		}
		etags, err := h.config.Documents.Commit(ctx, put)
		if _, conflict := store.IsConflict(err); conflict {
			continue
		}
		if err != nil {
			return twin{}, err
		}
		stored.etag = etagOf(etags[0])
		return stored, nil
	}
}

func (h *Hub) twin(ctx context.Context, id string) (twin, error) {
	stored, etag, err := h.twins.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return twin{}, deviceNotFound(id)
	}
	stored.etag = etagOf(etag)
	return stored, err
}

// apply merges a patch of tags and desired properties, or puts it in their
// place.
func (t *twin) apply(patch twinPatch, replace bool, now time.Time) error {
	t.Version++
	if present(patch.Tags) {
		if err := t.applyTags(patch.Tags, replace); err != nil {
			return err
		}
	}
	if !present(patch.Desired) {
		return nil
	}
	desired, err := readObject(limitsOfDesired.name, patch.Desired)
	if err != nil {
		return err
	}
	return t.Desired.merge(limitsOfDesired, desired, replace, now, true)
}

func (t *twin) applyTags(patch json.RawMessage, replace bool) error {
	tags, err := readObject(limitsOfTags.name, patch)
	if err != nil {
		return err
	}
	if err := checkValues(limitsOfTags.name, tags); err != nil {
		return err
	}
	before := sizeOf(t.Tags, nil)
	if replace {
		t.Tags = object{}
	}
	t.Tags.merge(tags)
	return limitsOfTags.check(before, sizeOf(t.Tags, nil))
}

func (t twin) describe(d Device) Twin {
	described := Twin{
		DeviceID: d.DeviceID, ETag: t.etag, DeviceETag: d.ETag,
		Status: d.Status, StatusReason: d.StatusReason, StatusUpdateTime: d.StatusUpdatedTime,
		ConnectionState: d.ConnectionState, LastActivityTime: d.LastActivityTime,
		Version: t.Version, Tags: t.Tags, Capabilities: d.Capabilities,
		Properties: TwinProperties{Desired: t.Desired.describe(true), Reported: t.Reported.describe(true)},
	}
	if d.Authentication != nil {
		described.AuthenticationType, described.X509Thumbprint = d.Authentication.Type, d.Authentication.X509Thumbprint
	}
	return described
}

// describe returns the properties with $version, and with $metadata for back
// ends.
func (s section) describe(metadata bool) map[string]any {
	described := make(map[string]any, len(s.Properties)+2)
	for name, value := range s.Properties {
		described[name] = value
	}
	if metadata {
		described["$metadata"] = s.Metadata
	}
	described["$version"] = s.Version
	return described
}

// twinPatch is what a back end wants changed.
type twinPatch struct {
	Tags    json.RawMessage
	Desired json.RawMessage
}

// readTwinPatch takes the parts of a twin that back ends may change and leaves
// the rest aside: SDKs send back whole twins.
func readTwinPatch(body json.RawMessage) (twinPatch, error) {
	var patch struct {
		Tags       json.RawMessage `json:"tags"`
		Properties *struct {
			Desired json.RawMessage `json:"desired"`
		} `json:"properties"`
	}
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != '{' {
		return twinPatch{}, fault.New(fault.ArgumentInvalid, "A twin is a JSON object: {\"tags\":{…},\"properties\":{\"desired\":{…}}}")
	}
	if err := document.CheckDepth(body, document.MaxDepth); err != nil {
		return twinPatch{}, fault.New(fault.ArgumentInvalid, "The twin can't be taken: %v", err)
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		return twinPatch{}, fault.New(fault.ArgumentInvalid, "The twin is not the JSON of one: %v", err)
	}
	read := twinPatch{Tags: patch.Tags}
	if patch.Properties != nil {
		read.Desired = patch.Properties.Desired
	}
	return read, nil
}

// complete makes the patch name both parts, as a replacement does.
func (p *twinPatch) complete() {
	for _, part := range []*json.RawMessage{&p.Tags, &p.Desired} {
		if !present(*part) {
			*part = json.RawMessage("{}")
		}
	}
}

func present(part json.RawMessage) bool {
	trimmed := bytes.TrimSpace(part)
	return len(trimmed) > 0 && string(trimmed) != "null"
}
