package hub_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/configuration"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
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
	h.settle(t) // until all were evaluated once nothing is counted
	found, err := h.Configurations().Get(ctx, "fan")
	if got := found.SystemMetrics.Results.String(); err != nil || got != `{"targetedCount":1,"appliedCount":1}` ||
		found.ETag != created.ETag {
		t.Errorf("the configuration counts %s, error %v", got, err)
	}
}

// settle has everything evaluated.
func (f *fixture) settle(t testing.TB) {
	t.Helper()
	if err := f.Configurations().Evaluate(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Configurations().EvaluateAll(ctx); err != nil {
		t.Fatal(err)
	}
}

// configure creates a configuration of the JSON of its content.
func (f *fixture) configure(t testing.TB, id, condition string, priority int, content string) {
	t.Helper()
	read, err := configuration.ReadContent([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Configurations().Create(ctx, configuration.Configuration{ID: id, TargetCondition: condition,
		Priority: priority, Content: read})
	if err != nil {
		t.Fatal(err)
	}
}

// desired is what a twin has, without metadata and version.
func (f *fixture) desired(t testing.TB, id string) string {
	t.Helper()
	twin, err := f.Twin(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	twin.Properties.Desired.Delete("$metadata", "$version")
	return twin.Properties.Desired.String()
}

// TestDeployments: a deployment is for the modules of IoT Edge devices, which are made where
// they are missing; layers lie on the base that they have a higher priority than.
func TestDeployments(t *testing.T) {
	h := newFixture(t)
	h.Create(identity.Device{DeviceID: "edge", Capabilities: identity.Capabilities{IoTEdge: true}})
	h.Create(identity.Device{DeviceID: "leaf"})
	const base = `{"modulesContent":{"$edgeAgent":{"properties.desired":{"modules":{"sensor":{}}}},"$edgeHub":` +
		`{"properties.desired":{"routes":{"a":"x"}}},"sensor":{"properties.desired.interval":10}}}`
	const layer = `{"modulesContent":{"$edgeAgent":{"properties.desired.modules.filter":{"v":1}},` +
		`"sensor":{"properties.desired.interval":5}}}`
	h.configure(t, "base", "*", 1, base)
	h.configure(t, "layer", "*", 2, layer)
	h.configure(t, "below", "*", 0, `{"modulesContent":{"$edgeAgent":{"properties.desired.modules.none":{}}}}`)
	h.settle(t)
	for id, want := range map[string]string{"edge/$edgeAgent": `{"modules":{"sensor":{},"filter":{"v":1}}}`,
		"edge/$edgeHub": `{"routes":{"a":"x"}}`, "edge/sensor": `{"interval":5}`, "edge": "{}", "leaf": "{}"} {
		if got := h.desired(t, id); got != want {
			t.Errorf("%s has %s, want %s", id, got, want)
		}
	}
	twin, err := h.Twin(ctx, "edge")
	if want := `{"layer":{"status":"Applied"},"base":{"status":"Applied"},"below":{"status":"Targeted"}}`; err != nil ||
		twin.Configurations.String() != want {
		t.Errorf("the device has the configurations %s, want %s, error %v", twin.Configurations, want, err)
	}
	if twin, err := h.Twin(ctx, "edge/$edgeAgent"); err != nil || twin.Configurations.Len() != 3 {
		t.Errorf("the agent has the configurations %s, error %v", twin.Configurations, err)
	}
	if twin, err := h.Twin(ctx, "leaf"); err != nil || twin.Configurations.Len() > 0 {
		t.Errorf("a device that is no edge device has %s, error %v", twin.Configurations, err)
	}

	// What is applied to one device stays until the deployment is evaluated.
	content, err := configuration.ReadContent([]byte(
		`{"modulesContent":{"$edgeAgent":{"properties.desired":{"modules":{}}},"other":{"properties.desired.a":1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Configurations().Apply(ctx, "edge", content); err != nil {
		t.Fatal(err)
	}
	if got := h.desired(t, "edge/$edgeAgent") + h.desired(t, "edge/other"); got != `{"modules":{}}{"a":1}` {
		t.Errorf("after content for one device its modules have %s", got)
	}
	if err := h.Configurations().Apply(ctx, "leaf", content); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("content for a device that is no edge device is answered %v", err)
	}
	h.settle(t)
	if got := h.desired(t, "edge/$edgeAgent"); got != `{"modules":{"sensor":{},"filter":{"v":1}}}` {
		t.Errorf("evaluated again it has %s", got)
	}
}

// TestModuleConfigurations targets modules by their own twins.
func TestModuleConfigurations(t *testing.T) {
	h := newFixture(t)
	h.Create(identity.Device{DeviceID: "d"})
	for _, id := range []string{"telemetry", "other"} {
		if _, err := h.CreateModule(ctx, identity.Module{DeviceID: "d", ModuleID: id}); err != nil {
			t.Fatal(err)
		}
	}
	h.configure(t, "fast", "FROM devices.modules WHERE moduleId = 'telemetry'", 0,
		`{"moduleContent":{"properties.desired.interval":1}}`)
	h.settle(t)
	if got := h.desired(t, "d/telemetry") + h.desired(t, "d/other") + h.desired(t, "d"); got != `{"interval":1}{}{}` {
		t.Errorf("the modules and their device have %s", got)
	}
	if err := h.DeleteDevice(ctx, "d", ""); err != nil {
		t.Fatal(err)
	}
	found, err := h.Configurations().Get(ctx, "fast")
	if got := found.SystemMetrics.Results.String(); err != nil || got != `{"targetedCount":0,"appliedCount":0}` {
		t.Errorf("after the end of the device it counts %s, error %v", got, err)
	}
}

// TestContentThatDoesNotFit is not applied, and keeps nobody else from theirs.
func TestContentThatDoesNotFit(t *testing.T) {
	h := newFixture(t)
	h.Create(identity.Device{DeviceID: "full"})
	h.Create(identity.Device{DeviceID: "other"})
	var members []string
	for i := range 8 {
		members = append(members, fmt.Sprintf(`"p%d":%q`, i, strings.Repeat("x", 4000)))
	}
	patch := `{"properties":{"desired":{` + strings.Join(members, ",") + `}}}`
	if _, err := h.PatchTwin(ctx, "full", []byte(patch), ""); err != nil {
		t.Fatal(err)
	}
	h.configure(t, "big", "*", 0, `{"deviceContent":{"properties.desired.big":"`+strings.Repeat("y", 3000)+`"}}`)
	h.settle(t)
	for id, want := range map[string]string{"full": "Targeted", "other": "Applied"} {
		twin, err := h.Twin(ctx, id)
		if got := twin.Configurations.Get("big", "status").Text(); err != nil || got != want {
			t.Errorf("it is %s for %s, want %s, error %v", got, id, want, err)
		}
	}
	problem, err := h.Configurations().Problem(ctx, "full")
	if err != nil || !strings.Contains(problem, "properties.desired is too large") {
		t.Errorf("the problem is %q, error %v", problem, err)
	}
	if _, err := h.PatchTwin(ctx, "full", []byte(`{"properties":{"desired":{"p0":null}}}`), ""); err != nil {
		t.Fatal(err)
	}
	h.settle(t)
	if twin, err := h.Twin(ctx, "full"); err != nil || twin.Configurations.Get("big", "status").Text() != "Applied" {
		t.Errorf("once there is room it is %s, error %v", twin.Configurations, err)
	}
}

// The queries of the system's metrics have the rows that these count, and so have metrics of
// the operator's own.
func TestMetricsOfConfigurations(t *testing.T) {
	h := newFixture(t)
	for i := range 3 {
		h.Create(identity.Device{DeviceID: fmt.Sprint("d", i)})
		h.Create(identity.Device{DeviceID: fmt.Sprint("e", i), Capabilities: identity.Capabilities{IoTEdge: true}})
		if _, err := h.CreateModule(ctx, identity.Module{DeviceID: fmt.Sprint("d", i), ModuleID: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	const edge = `{"modulesContent":{"$edgeAgent":{"properties.desired":{"modules":{}}}}}`
	h.configure(t, "devices", "deviceId IN ['d0', 'd1', 'e0']", 1, `{"deviceContent":{"properties.desired.a":1}}`)
	h.configure(t, "all", "*", 0, `{"deviceContent":{"properties.desired.a":2}}`)
	h.configure(t, "modules", "FROM devices.modules WHERE moduleId = 'm' AND NOT deviceId = 'd2'", 0,
		`{"moduleContent":{"properties.desired.a":1}}`)
	h.configure(t, "edge", "deviceId != 'e2'", 0, edge)
	h.settle(t)
	all, err := h.Configurations().List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"devices": `{"targetedCount":3,"appliedCount":3}`,
		"all": `{"targetedCount":6,"appliedCount":3}`, "modules": `{"targetedCount":2,"appliedCount":2}`,
		"edge": `{"targetedCount":2,"appliedCount":2,"reportedSuccessfulCount":0,"reportedFailedCount":0}`}
	for _, one := range all {
		if got := one.SystemMetrics.Results.String(); got != want[one.ID] {
			t.Errorf("%s counts %s, want %s", one.ID, got, want[one.ID])
		}
		for name, text := range one.SystemMetrics.Queries.All() {
			answer, err := h.Query(ctx, text.Text(), hub.QueryPage{Limit: 100})
			if got := one.SystemMetrics.Results.Get(name).String(); err != nil || got != fmt.Sprint(len(answer.Rows)) {
				t.Errorf("%s of %s is %s, and %q has %d rows, error %v", name, one.ID, got, text.Text(),
					len(answer.Rows), err)
			}
		}
	}
}

// A state that can't be read is made anew, whoever meets it, and the counts with it.
func TestStateThatCannotBeRead(t *testing.T) {
	h := newFixture(t)
	h.Create(identity.Device{DeviceID: "d"})
	h.configure(t, "one", "tags.site = 'A'", 0, `{"deviceContent":{"properties.desired.a":1}}`)
	h.configure(t, "two", "*", 0, `{"deviceContent":{"properties.desired.b":1}}`)
	if _, err := h.PatchTwin(ctx, "d", []byte(`{"tags":{"site":"A"}}`), ""); err != nil {
		t.Fatal(err)
	}
	h.settle(t)
	for name, repair := range map[string]func() error{
		"an evaluation": func() error { h.settle(t); return nil },
		"an operator": func() error {
			_, err := h.DeleteUnreadable(ctx, "hub/test/config-states", "d")
			return err
		},
		"the end of the device": func() error { return h.DeleteDevice(ctx, "d", "") },
	} {
		if _, err := h.Device(ctx, "d"); err != nil {
			h.Create(identity.Device{DeviceID: "d"})
			h.settle(t)
		}
		if _, err := h.Documents.Commit(ctx, store.Change{Collection: "hub/test/config-states", Key: "d",
			Value: []byte("{")}); err != nil {
			t.Fatal(err)
		}
		if err := repair(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		h.settle(t)
		all, err := h.Configurations().List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		twin, err := h.Twin(ctx, "d")
		for _, one := range all {
			targeted, applied := 0, 0
			if status := twin.Configurations.Get(one.ID, "status").Text(); err == nil && status != "" {
				targeted = 1
				if status == "Applied" {
					applied = 1
				}
			}
			want := fmt.Sprintf(`{"targetedCount":%d,"appliedCount":%d}`, targeted, applied)
			if got := one.SystemMetrics.Results.String(); got != want {
				t.Errorf("after %s, %s counts %s, want %s", name, one.ID, got, want)
			}
		}
	}
}
