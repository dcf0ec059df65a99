package main

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/cmd/berth/hubcmd"
	"github.com/berth-iot/berth/hub/configuration"
	"github.com/berth-iot/berth/hub/twin"
)

// TestConfigurationCommands goes through what an operator does with configurations.
func TestConfigurationCommands(t *testing.T) {
	s := newShell(t)
	s.run(0, "device", "create", "pump")
	s.run(0, "device", "create", "gateway", "--edge")
	s.run(0, "device", "twin", "pump", "--tags", `{"site":"A"}`)
	const content = `{"content":{"deviceContent":{"properties.desired.fan":{"speed":3}}}}`
	tested := read[hubcmd.Tested](s, "configuration", "test", "--target-condition", "tags.site='A'")
	if tested.Matched != 1 || len(tested.IDs) != 1 || tested.IDs[0] != "pump" {
		t.Errorf("the condition would target %+v", tested)
	}
	if out, _ := s.run(1, "configuration", "test", "--target-condition", "tags.site=",
		"--metrics", `{"slow":"SELECT"}`); !strings.Contains(out, "column") || !strings.Contains(out, "slow") {
		t.Errorf("a condition that is none is answered %s", out)
	}
	s.run(0, "configuration", "create", "fan-1", "--target-condition", "tags.site='A'", "--priority", "10",
		"--labels", `{"stage":"test"}`, "--content", content,
		"--metrics", `{"slow":"SELECT deviceId FROM devices WHERE NOT IS_DEFINED(properties.reported.fan)"}`)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		shown := read[configuration.Configuration](s, "configuration", "show", "fan-1")
		if shown.Metrics.Results.Get("slow").String() != "" {
			if got := shown.SystemMetrics.Results.String(); got != `{"targetedCount":1,"appliedCount":1}` {
				t.Errorf("it counts %s", got)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("it was not evaluated within ten seconds")
		}
	}
	if got := read[twin.Twin](s, "device", "twin", "pump"); got.Properties.Desired.Get("fan", "speed").String() != "3" {
		t.Errorf("the device has %s", got.Properties.Desired)
	}
	s.run(0, "configuration", "update", "fan-1", "--priority", "20")
	if got := read[configuration.Configuration](s, "configuration", "show", "fan-1"); got.Priority != 20 ||
		got.TargetCondition != "tags.site='A'" || got.Labels.String() != `{"stage":"test"}` ||
		got.Metrics.Queries.Len() != 1 {
		t.Errorf("after an update of its priority it is %+v", got)
	}
	if out, _ := s.run(0, "configuration", "list"); !strings.Contains(out, "fan-1") {
		t.Errorf("the list is %s", out)
	}
	metrics := read[[]hubcmd.Metric](s, "configuration", "show-metric", "fan-1")
	if len(metrics) != 3 || metrics[2].Name != "slow" || metrics[2].Result == nil || *metrics[2].Result != 2 {
		t.Errorf("the metrics are %+v", metrics)
	}
	s.run(1, "configuration", "delete", "fan-1", "--etag", "another")
	s.run(0, "configuration", "delete", "fan-1")
	s.run(1, "configuration", "show", "fan-1")
	const modules = `{"modulesContent":{"$edgeAgent":{"properties.desired":{"modules":{}}}}}`
	s.run(0, "configuration", "apply", "gateway", "--content", modules)
	s.run(1, "configuration", "apply", "pump", "--content", modules)
}
