package hub

import (
	"context"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/twin"
)

// DigitalTwin returns the twin of a device by the conventions of IoT Plug and Play, and its
// ETag, which is the twin's. It returns fault 404001.
func (h *Hub) DigitalTwin(ctx context.Context, id string) (view document.Object, etag string, err error) {
	if _, err := h.registry.Get(ctx, id); err != nil {
		return view, "", err
	}
	stored, err := h.twins.Get(ctx, id)
	if err != nil {
		return view, "", err
	}
	view, etag = stored.Digital(id)
	return view, etag, nil
}

// PatchDigitalTwin sets what is desired by a JSON Patch of the digital twin, under the
// condition ifMatch: "", "*" or its ETag, and returns its new ETag. A connected device is
// told. It returns the faults 404001, 412001, those of twin.ReadDigitalPatch, and 400004
// for what breaks a limit of twins.
func (h *Hub) PatchDigitalTwin(ctx context.Context, id string, body []byte, ifMatch string) (etag string, err error) {
	patch, err := twin.ReadDigitalPatch(body)
	if err != nil {
		return "", err
	}
	if _, err := h.registry.Get(ctx, id); err != nil {
		return "", err
	}
	defer h.connections.LockDesired(id)()
	changed, made, err := h.twins.PatchDigital(ctx, id, patch, ifMatch)
	if err != nil {
		return "", err
	}
	if notice := changed.DesiredNotice(made, false); notice != nil {
		h.connections.NotifyDesired(ctx, id, changed.Generation, changed.Desired.Version, notice)
	}
	_, etag = changed.Digital(id)
	return etag, nil
}
