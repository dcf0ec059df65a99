package document

import (
	"encoding/json"
	"testing"
	"time"
)

type settings struct {
	Hubs    []string  `json:"iotHubs"`
	Created Time      `json:"createdDateTimeUtc"`
	Seen    time.Time `json:"seen"`
}

type reading struct {
	ID      string `json:"deviceId"`
	Version int64  `json:"version"`
	settings
	Settings *settings         `json:"settings"`
	On       *bool             `json:"on"`
	Factor   float64           `json:"factor"`
	Short    uint8             `json:"short"`
	Key      []byte            `json:"key"`
	Labels   map[string]string `json:"labels"`
	Twin     Object            `json:"twin"`
	Free     json.RawMessage   `json:"free"`
	Any      any               `json:"any"`
	hidden   int
	Left     int `json:"-"`
}

// self reads itself, as types do that look at their members twice.
type self struct{ reading }

func (s *self) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &s.reading) }

// TestFindMisfit names the path of what does not fit, what is wanted and what came, and
// finds something whenever package json does.
func TestFindMisfit(t *testing.T) {
	_ = reading{hidden: 0}.hidden
	for _, c := range []struct{ text, path, wanted, got string }{
		{`{"deviceId":"d","version":3,"iotHubs":["a",null],"createdDateTimeUtc":"2026-11-23T12:00:00Z","settings":null,` +
			`"on":true,"factor":1.5,"short":255,"key":"AA==","labels":{"a":"b"},"twin":{"x":[1]},"free":[1],"any":7,` +
			`"hidden":"x","Left":"x","-":1,"unknown":{"a":[]},"DEVICEID":"D"}`, "", "", ""},
		{`null`, "", "", ""},
		{`[]`, "", "an object", "an array"},
		{`"x"`, "", "an object", "a string"},
		{`{"deviceId":5}`, "deviceId", "a string", "a number"},
		{`{"DeviceId":[]}`, "deviceId", "a string", "an array"},
		{`{"version":3.0}`, "version", "a whole number", "3.0"},
		{`{"version":1e2}`, "version", "a whole number", "1e2"},
		{`{"version":99999999999999999999}`, "version", "a whole number", "99999999999999999999"},
		{`{"version":"3"}`, "version", "a whole number", "a string"},
		{`{"short":256}`, "short", "a whole number", "256"},
		{`{"factor":1e400}`, "factor", "a number", "1e400"},
		{`{"iotHubs":"x"}`, "iotHubs", "an array", "a string"},
		{`{"iotHubs":["a",{}]}`, "iotHubs[1]", "a string", "an object"},
		{`{"createdDateTimeUtc":5}`, "createdDateTimeUtc", "a time such as 2026-11-23T12:00:00Z", "a number"},
		{`{"createdDateTimeUtc":"now"}`, "createdDateTimeUtc", "a time such as 2026-11-23T12:00:00Z", `"now"`},
		{`{"createdDateTimeUtc":"0000-01-01T00:00:00Z"}`, "createdDateTimeUtc", "a time of the years 1 to 9999 in UTC",
			`"0000-01-01T00:00:00Z"`},
		{`{"seen":"100%"}`, "seen", "a time such as 2026-11-23T12:00:00Z", "a string"},
		{`{"seen":{}}`, "seen", "a time such as 2026-11-23T12:00:00Z", "an object"},
		{`{"settings":{"iotHubs":[true]}}`, "settings.iotHubs[0]", "a string", "true or false"},
		{`{"on":"true"}`, "on", "true or false", "a string"},
		{`{"key":"*"}`, "key", "a string in base64", "a string"},
		{`{"key":{}}`, "key", "a string in base64", "an object"},
		{`{"labels":{"a":1}}`, "labels.a", "a string", "a number"},
		{`{"labels":[]}`, "labels", "an object", "an array"},
		{`{"twin":[]}`, "twin", "an object", "an array"},
	} {
		for _, into := range []any{&reading{}, &self{}} {
			err := json.Unmarshal([]byte(c.text), into)
			found, ok := FindMisfit([]byte(c.text), into)
			if want := (Misfit{c.path, c.wanted, c.got}); ok != (err != nil) || found != want {
				t.Errorf("%T %s: found %+v, want %+v; package json says %v", into, c.text, found, want, err)
			}
		}
	}
	var many []reading
	if found, _ := FindMisfit([]byte(`[{},{"deviceId":true}]`), &many); found.Path != "[1].deviceId" {
		t.Errorf("of several: %+v", found)
	}
	for _, text := range []string{`{"deviceId":5`, ``} {
		if found, ok := FindMisfit([]byte(text), &many); ok {
			t.Errorf("%q is no JSON: %+v", text, found)
		}
	}
}
