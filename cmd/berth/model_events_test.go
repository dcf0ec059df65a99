package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/telemetry"
)

// eventsModel is a twin that a back end changes again and again, and what is told of it: each
// version once, in order, whether or not the change was answered.
type eventsModel struct {
	id           string
	process      *process
	acknowledged int64 // the last version that was answered
	asked        int
}

func newEventsModel(ctx context.Context, p *process, id string) (*eventsModel, error) {
	_, err := p.hub.CreateDevice(ctx, identity.Device{DeviceID: id})
	return &eventsModel{id: id, acknowledged: 1}, err
}

func (m *eventsModel) connect(_ context.Context, p *process) error {
	m.process = p
	return nil
}

func (m *eventsModel) tally() string {
	return fmt.Sprintf("%s: %d changes asked for, version %d", m.id, m.asked, m.acknowledged)
}

func (m *eventsModel) step(ctx context.Context, _ *rand.Rand) error {
	m.asked++
	changed, err := m.process.hub.PatchTwin(ctx, m.id, fmt.Appendf(nil, `{"tags":{"n":%d}}`, m.asked), "")
	if err != nil {
		return err
	}
	if changed.Version <= m.acknowledged || changed.Version > int64(m.asked)+1 {
		return contradicts("the twin of %s has version %d, which was %d before", m.id, changed.Version, m.acknowledged)
	}
	m.acknowledged = changed.Version
	return nil
}

// verify reads all that was told, up to a last change.
func (m *eventsModel) verify(ctx context.Context) error {
	if err := m.step(ctx, nil); err != nil {
		return err
	}
	told := int64(0)
	return m.process.hub.Events(ctx, telemetry.Position{Earliest: true}, m.id, 0, func(e telemetry.Message) error {
		want := "updateTwin"
		if told == 0 {
			want = "createDeviceIdentity"
		}
		var body struct{ Version int64 }
		text, _ := e.Body.(json.RawMessage)
		if err := json.Unmarshal(text, &body); err != nil || e.Properties["opType"] != want || body.Version != told+1 {
			return contradicts("after version %d of %s is told %s %s", told, m.id, e.Properties["opType"], text)
		}
		if told = body.Version; told == m.acknowledged {
			return telemetry.ErrStop
		}
		return nil
	})
}
