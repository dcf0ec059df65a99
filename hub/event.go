package hub

import (
	"context"
	"errors"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/event"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// Events returns what has happened to devices.
func (h *Hub) Events() *event.Events { return h.events }

// twinChanged is what is to be committed with a change of a twin: that configurations look
// at it again, and the event.
func (h *Hub) twinChanged(update twin.Update) (changes []store.Change) {
	if update.Written || update.Reported {
		changes = h.configurations.PrepareTwinDue(update.ID, update.Written, update.Reported)
	}
	if update.Body == nil {
		return changes
	}
	operation := event.TwinUpdated
	if update.Replaced {
		operation = event.TwinReplaced
	}
	return append(changes, h.events.Prepare(event.Event{Operation: operation, ID: update.ID, Time: h.config.Now(),
		Body: update.Body, Place: event.AtVersion(update.Generation, update.Version)})...)
}

// creationEvent is what is to be committed with a new identity of this generation.
func (h *Hub) creationEvent(id, generation string, initial twin.Document) []store.Change {
	initial.Generation = generation
	return h.events.Prepare(event.Event{Operation: event.Created, ID: id, Time: h.config.Now(), Body: initial.Whole(id),
		Place: event.AtVersion(generation, initial.Version)})
}

// deletionEvent is what is to be committed with the end of an identity. A twin that can't be
// read is told as an empty one.
func (h *Hub) deletionEvent(ctx context.Context, id string) ([]store.Change, error) {
	last, err := h.twins.Get(ctx, id)
	gone := errors.Is(err, fault.DeviceNotFound) || errors.Is(err, fault.ModuleNotFound)
	if err != nil && !gone && !store.IsUnreadable(err) {
		return nil, err
	}
	return h.events.Prepare(event.Event{Operation: event.Deleted, ID: id, Time: h.config.Now(), Body: last.Whole(id),
		Place: event.AtEnd(last.Generation)}), nil
}
