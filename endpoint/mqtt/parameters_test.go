package mqtt

import (
	"strings"
	"testing"
)

// $version in the topic of a patch is what the reported properties must have.
func TestReportIfVersion(t *testing.T) {
	f := newFixture(t)
	d := f.twinDevice("d1")
	for _, c := range []struct{ version, patch, want string }{
		{"1", `{"n":1}`, reportTaken + "2"},
		{"1", `{"n":2}`, "$iothub/twin/res/412/?$rid=1 "},
		{"3", `{"n":2}`, "$iothub/twin/res/412/?$rid=1 "},
		{"0", `{"n":2}`, "$iothub/twin/res/412/?$rid=1 "},
		{"2", `{"n":3}`, reportTaken + "3"},
		{"first", `{"n":4}`, "$iothub/twin/res/400/?$rid=1 "},
		{"", `{"n":4}`, "$iothub/twin/res/400/?$rid=1 "},
		{"99999999999999999999", `{"n":4}`, "$iothub/twin/res/400/?$rid=1 "},
	} {
		if got := d.ask(reportTwin+"&$version="+c.version, c.patch); !strings.HasPrefix(got, c.want) {
			t.Errorf("version %q is answered %s, want %s", c.version, got, c.want)
		}
	}
	if got := d.ask("$iothub/twin/PATCH/properties/reported/?$version=2&$rid=1", `{"n":5}`); !strings.Contains(got,
		`"errorCode":412001`) ||
		!strings.Contains(got, "the version 3") {
		t.Errorf("a stale version is answered %s", got)
	}
	if got := d.ask(getTwin, ""); got != twinAnswered+`{"desired":{"$version":1},"reported":{"n":3,"$version":3}}` {
		t.Errorf("the twin is %s", got)
	}
	if got := d.ask(reportTwin, `{"n":6}`); got != reportTaken+"4" {
		t.Errorf("without a version it is answered %s", got)
	}
}

// The model that a device announces is in its twin, until it announces another.
func TestModelsAreAnnounced(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ parameters, want string }{
		{"/?api-version=2020-09-30", ""},
		{"/?api-version=2020-09-30&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1", "dtmi:com:example:Thermostat;1"},
		{"/?api-version=2020-09-30&DeviceClientType=py%2F2.12", "dtmi:com:example:Thermostat;1"},
		{"/?api-version=2020-09-30&DeviceClientType=c%2F1.3.1&model-id=dtmi:com:example:Thermostat;2",
			"dtmi:com:example:Thermostat;2"},
		{"/?model-id=dtmi:com:example:Other;1&api-version=2020-09-30", "dtmi:com:example:Other;1"},
		{"/?api-version=2020-09-30&DeviceClientType=model-id=none", "dtmi:com:example:Other;1"},
		{"/?api-version=2020-05-31-preview&digital-twin-model-id=dtmi%3Acom%3Aexample%3AOld%3B1",
			"dtmi:com:example:Old;1"},
		{"/?digital-twin-model-id=dtmi:com:example:Old;2&api-version=2020-05-31-preview", "dtmi:com:example:Old;2"},
		{"/?api-version=2020-09-30&not-digital-twin-model-id=dtmi:none;1", "dtmi:com:example:Old;2"},
		{"/?api-version=2020-09-30&model-id=", ""},
	} {
		d, err := f.connectWith("d1", c.parameters, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.parameters, err)
		}
		twin, err := f.Twin(t.Context(), "d1")
		if err != nil || twin.ModelID != c.want {
			t.Errorf("with %s the model is %q, error %v; want %q", c.parameters, twin.ModelID, err, c.want)
		}
		d.Disconnect()
	}
	before, _ := f.Twin(t.Context(), "d1")
	for _, bad := range []string{strings.Repeat("x", 300), "%ff", "dtmi%3Aa%00"} {
		if _, err := f.connectWith("d1", "/?api-version=2020-09-30&model-id="+bad, nil); err == nil {
			t.Errorf("the model id %.20q is taken", bad)
		}
	}
	if after, err := f.Twin(t.Context(), "d1"); err != nil || after.ETag != before.ETag {
		t.Errorf("the twin is %+v, error %v", after, err)
	}
	// Announced again it changes nothing.
	for range 2 {
		d, err := f.connectWith("d2", "/?api-version=2020-09-30&model-id=dtmi:a;1", nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Disconnect()
	}
	if twin, err := f.Twin(t.Context(), "d2"); err != nil || twin.Version != 2 {
		t.Errorf("the twin has the version %d, error %v", twin.Version, err)
	}
}
