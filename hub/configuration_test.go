package hub_test

import (
	"testing"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/configuration"
	"github.com/berth-iot/berth/hub/identity"
)

func parsed(t testing.TB, text string) document.Object {
	t.Helper()
	o, err := document.Parse([]byte(text), 32)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestConfiguration: what a configuration says becomes part of the desired properties of the
// devices that it targets, which are told of it as of any other change.
func TestConfiguration(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	h.Create(identity.Device{DeviceID: "other"})
	_, line := h.Connect(device, false)
	created, err := h.Configurations().Create(ctx, configuration.Configuration{ID: "fan",
		TargetCondition: "tags.site = 'A'",
		Content:         configuration.Content{DeviceContent: parsed(t, `{"properties.desired.fan":{"speed":3}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.PatchTwin(ctx, "d", []byte(`{"tags":{"site":"A"}}`), ""); err != nil {
		t.Fatal(err)
	}
	h.waitFor(t, func() bool { return len(line.Notices()) == 1 })
	if got := line.Notices()[0]; got != `{"fan":{"speed":3},"$version":2}` {
		t.Errorf("the device is told %s", got)
	}
	twin, err := h.Twin(ctx, "d")
	if got := twin.Configurations.String(); err != nil || got != `{"fan":{"status":"Applied"}}` {
		t.Errorf("the twin has the configurations %s, error %v", got, err)
	}
	found, err := h.Configurations().Get(ctx, "fan")
	if got := found.SystemMetrics.Results.String(); err != nil || got != `{"targetedCount":1,"appliedCount":1}` ||
		found.ETag != created.ETag {
		t.Errorf("the configuration counts %s, error %v", got, err)
	}
}
