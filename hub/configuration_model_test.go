package hub_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/hub/configuration"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
)

// modelConfiguration is a configuration as the model knows it.
type modelConfiguration struct {
	id        string
	priority  int
	made      int
	condition string
	settings  map[string]any // by path
}

// modelDevice is a device as the model knows it: its properties by path.
type modelDevice struct {
	site    string
	level   int
	desired map[string]any
	applied *modelConfiguration
}

// conditions are those of the model's configurations.
var conditions = map[string]func(id string, d *modelDevice) bool{
	"":                               func(string, *modelDevice) bool { return false },
	"*":                              func(string, *modelDevice) bool { return true },
	"tags.site = 'A'":                func(_ string, d *modelDevice) bool { return d.site == "A" },
	"tags.site IN ['A', 'B']":        func(_ string, d *modelDevice) bool { return d.site == "A" || d.site == "B" },
	"deviceId = 'd1'":                func(id string, _ *modelDevice) bool { return id == "d1" },
	"properties.reported.level >= 2": func(_ string, d *modelDevice) bool { return d.level >= 2 },
	"NOT deviceId = 'd0' AND (tags.site='B')": func(id string, d *modelDevice) bool {
		return id != "d0" && d.site == "B"
	},
}

// settle has a device be what the configurations want of it.
func (d *modelDevice) settle(id string, all map[string]*modelConfiguration) (targeting []string) {
	var winner *modelConfiguration
	for _, one := range all {
		if !conditions[one.condition](id, d) {
			continue
		}
		targeting = append(targeting, one.id)
		if winner == nil || cmp.Or(cmp.Compare(one.priority, winner.priority), cmp.Compare(one.made, winner.made)) > 0 {
			winner = one
		}
	}
	if former := d.applied; former != nil && all[former.id] == former {
		for path, value := range former.settings {
			if d.desired[path] == value {
				delete(d.desired, path)
			}
		}
	}
	if d.applied = winner; winner != nil {
		for path, value := range winner.settings {
			if value == nil {
				delete(d.desired, path)
			} else {
				d.desired[path] = value
			}
		}
	}
	slices.Sort(targeting)
	return targeting
}

// byPath is an object by the paths of what is in it.
func byPath(into map[string]any, prefix string, value any) map[string]any {
	inner, ok := value.(map[string]any)
	if !ok {
		into[prefix] = value
		return into
	}
	for name, value := range inner {
		if !strings.HasPrefix(name, "$") {
			byPath(into, strings.TrimPrefix(prefix+"."+name, "."), value)
		}
	}
	return into
}

// Whatever happens to configurations and twins, each device has what the one that wins says,
// and the configurations count what they target and are applied to. Nothing is left of them.
func TestConfigurationsSettle(t *testing.T) {
	h := newFixture(t)
	made := 0
	rapid.Check(t, func(t *rapid.T) {
		all, devices := map[string]*modelConfiguration{}, map[string]*modelDevice{}
		ids := rapid.SampledFrom([]string{"d0", "d1", "d2", "d3"})
		some := func(t *rapid.T) (string, *modelDevice) {
			if len(devices) == 0 {
				t.Skip()
			}
			id := rapid.SampledFrom(slices.Sorted(maps.Keys(devices))).Draw(t, "device")
			return id, devices[id]
		}
		must := func(err error) {
			if err != nil {
				t.Helper()
				t.Fatal(err)
			}
		}
		patch := func(id, format string, values ...any) {
			_, err := h.PatchTwin(ctx, id, fmt.Appendf(nil, format, values...), "")
			must(err)
		}
		text := rapid.SampledFrom(slices.Sorted(maps.Keys(conditions)))
		check := func() {
			must(h.Configurations().Evaluate(ctx))
			must(h.Configurations().EvaluateAll(ctx))
			targeted, applied := map[string]int{}, map[string]int{}
			for id, d := range devices {
				want := map[string]any{}
				for _, configuration := range d.settle(id, all) {
					targeted[configuration]++
					want[configuration] = map[string]any{"status": "Targeted"}
				}
				if d.applied != nil {
					applied[d.applied.id]++
					want[d.applied.id] = map[string]any{"status": "Applied"}
				}
				twin, err := h.Twin(ctx, id)
				must(err)
				var desired, statuses map[string]any
				must(json.Unmarshal([]byte(twin.Properties.Desired.String()), &desired))
				must(json.Unmarshal([]byte(twin.Configurations.String()), &statuses))
				if got := byPath(map[string]any{}, "", desired); !reflect.DeepEqual(got, d.desired) {
					t.Fatalf("%s has %v, want %v", id, got, d.desired)
				}
				if !reflect.DeepEqual(statuses, want) {
					t.Fatalf("%s has the configurations %v, want %v", id, statuses, want)
				}
			}
			list, err := h.Configurations().List(ctx)
			must(err)
			if len(list) != len(all) {
				t.Fatalf("there are %d configurations, want %d", len(list), len(all))
			}
			for _, one := range list {
				want := fmt.Sprintf(`{"targetedCount":%d,"appliedCount":%d}`, targeted[one.ID], applied[one.ID])
				if got := one.SystemMetrics.Results.String(); got != want {
					t.Fatalf("%s counts %s, want %s", one.ID, got, want)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"createDevice": func(t *rapid.T) {
				id := ids.Draw(t, "id")
				if devices[id] != nil {
					t.Skip()
				}
				h.Create(identity.Device{DeviceID: id})
				devices[id] = &modelDevice{desired: map[string]any{}}
			},
			"deleteDevice": func(t *rapid.T) {
				id, _ := some(t)
				must(h.DeleteDevice(ctx, id, ""))
				delete(devices, id)
			},
			"tag": func(t *rapid.T) {
				id, d := some(t)
				d.site = rapid.SampledFrom([]string{"A", "B", "C"}).Draw(t, "site")
				patch(id, `{"tags":{"site":%q}}`, d.site)
			},
			"report": func(t *rapid.T) {
				id, d := some(t)
				device, err := h.Device(ctx, id)
				must(err)
				session, _ := h.Connect(device, false)
				d.level = rapid.IntRange(1, 3).Draw(t, "level")
				_, err = session.Report(ctx, fmt.Appendf(nil, `{"level":%d}`, d.level))
				must(err)
				session.Close(nil)
			},
			"desire": func(t *rapid.T) {
				id, d := some(t)
				if d.desired["b.c"] = "operator"; rapid.Bool().Draw(t, "other") {
					d.desired["f"] = true
					patch(id, `{"properties":{"desired":{"b":{"c":"operator"},"f":true}}}`)
				} else {
					patch(id, `{"properties":{"desired":{"b":{"c":"operator"}}}}`)
				}
			},
			"create": func(t *rapid.T) {
				one := &modelConfiguration{id: fmt.Sprint("c", rapid.IntRange(0, 3).Draw(t, "id")),
					priority: rapid.IntRange(0, 2).Draw(t, "priority"), condition: text.Draw(t, "condition"),
					settings: map[string]any{}}
				if all[one.id] != nil {
					t.Skip()
				}
				content := map[string]any{}
				for _, path := range []string{"a", "b.c", "b.d", "e"} {
					switch n := rapid.IntRange(0, 4).Draw(t, path); n {
					case 0, 1, 2:
						one.settings[path], content["properties.desired."+path] = float64(n), n
					case 3:
						one.settings[path], content["properties.desired."+path] = nil, nil
					}
				}
				if len(content) == 0 {
					t.Skip()
				}
				encoded, err := json.Marshal(map[string]any{"deviceContent": content})
				must(err)
				read, err := configuration.ReadContent(encoded)
				must(err)
				h.Advance(time.Second)
				made++
				one.made = made
				_, err = h.Configurations().Create(ctx, configuration.Configuration{ID: one.id,
					TargetCondition: one.condition, Priority: one.priority, Content: read})
				must(err)
				all[one.id] = one
			},
			"update": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				one := all[rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(t, "configuration")]
				present, err := h.Configurations().Get(ctx, one.id)
				must(err)
				one.priority, one.condition = rapid.IntRange(0, 2).Draw(t, "priority"), text.Draw(t, "condition")
				present.Priority, present.TargetCondition = one.priority, one.condition
				_, err = h.Configurations().Update(ctx, present, present.ETag)
				must(err)
			},
			"delete": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				id := rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(t, "configuration")
				must(h.Configurations().Delete(ctx, id, ""))
				delete(all, id)
			},
			"reopen": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "seldom") == 0 {
					h.Reopen()
				}
			},
			"": func(*rapid.T) { check() },
		})
		for id := range all {
			must(h.Configurations().Delete(ctx, id, ""))
		}
		clear(all)
		check()
		for id := range devices {
			must(h.DeleteDevice(ctx, id, ""))
		}
		must(h.Configurations().Evaluate(ctx))
		for _, collection := range []string{"configurations", "config-slots", "config-states", "config-due",
			"config-results", "targeted-000", "applied-000", "targeted-001", "applied-001", "targeted-002"} {
			if n, err := store.Count(ctx, h.Documents, "hub/test/"+collection); n != 0 || err != nil {
				t.Fatalf("%d documents are left of %s: %v", n, collection, err)
			}
		}
	})
}
