package query

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// fleet are documents that TestRows asks for.
var fleet = []string{
	`{"deviceId":"a","status":"enabled","tags":{"site":"Paris","rate":1.50,"n":1},
		"properties":{"reported":{"x":{"y":1}}}}`,
	`{"deviceId":"b","status":"enabled","tags":{"site":"Lyon","rate":2,"n":1.0},"capabilities":{"iotEdge":true}}`,
	`{"deviceId":"c","status":"disabled","tags":{"site":"Pari\u0073","rate":"none","n":"1"}}`,
	`{"deviceId":"d","status":"enabled","tags":{"rate":-1e2}}`,
}

func TestRows(t *testing.T) {
	for _, c := range []struct {
		query string
		rows  []string
	}{
		{"SELECT DeviceId, Tags.rate FROM devices WHERE status='enabled'",
			[]string{`{"deviceId":"a","rate":1.50}`, `{"deviceId":"b","rate":2}`, `{"deviceId":"d","rate":-1e2}`}},
		{"SELECT devices.deviceId AS DeviceId, statusUpdatedTime as StatusUpdatedTime, capabilities.iotEdge as IotEdge\n" +
			"FROM devices WHERE STARTSWITH(devices.deviceId, 'b')", []string{`{"DeviceId":"b","IotEdge":true}`}},
		{"SELECT properties.reported.x FROM devices WHERE deviceId IN ['a','d']", []string{`{"x":{"y":1}}`, `{}`}},
		{"SELECT deviceId, deviceId FROM devices WHERE deviceId='a'", []string{`{"deviceId":"a"}`}},
		{"SELECT deviceId AS [[the \"id\"]] FROM devices WHERE deviceId='a'", []string{`{"the \"id\"":"a"}`}},
		{"SELECT COUNT() AS numberOfDevices FROM devices", []string{`{"numberOfDevices":4}`}},
		{"select count() from devices where deviceId='z'", []string{`{"$1":0}`}},
		{"SELECT COUNT(tags.site), COUNT(*), AVG(tags.rate), SUM(tags.rate) AS s, MIN(tags.rate), MAX(tags.rate) " +
			"FROM devices",
			[]string{`{"$1":3,"$2":4,"$3":-32.166666666666664,"s":-96.5,"$4":-1e2,"$5":"none"}`}},
		{"SELECT MIN(tags.n) AS low, AVG(tags.site) AS none FROM devices", []string{`{"low":1}`}},
		{"SELECT tags.site AS site, COUNT() AS n FROM devices GROUP BY tags.site",
			[]string{`{"site":"Paris","n":2}`, `{"site":"Lyon","n":1}`, `{"n":1}`}},
		{"SELECT status FROM devices GROUP BY status", []string{`{"status":"enabled"}`, `{"status":"disabled"}`}},
		{"SELECT tags.n, COUNT() AS c FROM devices WHERE IS_DEFINED(tags.n) GROUP BY tags.n, status",
			[]string{`{"n":1,"c":2}`, `{"n":"1","c":1}`}},
		{"SELECT COUNT() AS n FROM devices WHERE deviceId='z' GROUP BY status", nil},
	} {
		q, err := Parse(c.query)
		if err != nil {
			t.Errorf("%q: %v", c.query, err)
			continue
		}
		var rows []string
		var groups *Groups
		if q.Aggregates() {
			groups = q.NewGroups()
		}
		for _, text := range fleet {
			d, err := document.Parse([]byte(text), document.MaxDepth)
			if err != nil {
				t.Fatal(err)
			}
			values := q.valuesOf(d)
			switch {
			case !q.Holds(values):
			case !q.Aggregates():
				rows = append(rows, string(q.AppendRow(nil, values)))
			default:
				if err := groups.Add(values); err != nil {
					t.Fatal(err)
				}
			}
		}
		if q.Aggregates() {
			for _, row := range groups.Rows() {
				rows = append(rows, string(row))
			}
		}
		if strings.Join(rows, "\n") != strings.Join(c.rows, "\n") {
			t.Errorf("%q is answered\n%s\nwant\n%s", c.query, strings.Join(rows, "\n"), strings.Join(c.rows, "\n"))
		}
	}
}

func TestTop(t *testing.T) {
	for query, top := range map[string]int{"SELECT TOP 5 * FROM devices": 5, "select top (10) deviceId from devices": 10,
		"SELECT * FROM devices": 0} {
		if q, err := Parse(query); err != nil || q.Top != top {
			t.Errorf("%q: TOP %d, %v, want %d", query, q.Top, err, top)
		}
	}
}

// TestTooManyGroups fills the two bounds of what is kept.
func TestTooManyGroups(t *testing.T) {
	q, err := Parse("SELECT tags.a, MAX(tags.b) FROM devices GROUP BY tags.a")
	if err != nil {
		t.Fatal(err)
	}
	fill := func(value func(i int) string) (added int, err error) {
		groups := q.NewGroups()
		for ; added < 2*MaxGroups && err == nil; added++ {
			err = groups.Add([][]byte{[]byte(value(added)), []byte(`"` + strings.Repeat("x", added%100) + `"`)})
		}
		return added, err
	}
	n, err := fill(func(i int) string { return fmt.Sprint(i) })
	if n != MaxGroups+1 || !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("after %d groups the answer is %v", n, err)
	}
	long := strings.Repeat("x", 4096)
	if n, err := fill(func(i int) string { return fmt.Sprintf(`"%s%d"`, long, i) }); n > maxGroupBytes/(2*4096) ||
		!errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("after %d large groups the answer is %v", n, err)
	}
	if _, err := fill(func(i int) string { return fmt.Sprint(i % 100) }); err != nil {
		t.Errorf("few groups of many documents: %v", err)
	}
}

func TestBounds(t *testing.T) {
	for condition, want := range map[string]string{
		"":                                   "",
		"deviceId = 'a'":                     "deviceId=\"a\"",
		"'a' = deviceId AND tags.x.y = 2.50": "deviceId=\"a\" tags.x.y=2.5",
		"tags.on = true OR tags.off = false": "",
		"deviceId = 'a' OR deviceId IN ['b', 'c']":     "deviceId=\"a\"|\"b\"|\"c\"",
		"deviceId = 'a' OR deviceId > 'b'":             "",
		"(status='x' AND deviceId='a') OR status='y'":  "status=\"x\"|\"y\"",
		"STARTSWITH(devices.deviceId, 'lamp') AND 1=1": "deviceId^lamp",
		"NOT deviceId = 'a'":                           "",
		"deviceId NIN ['a']":                           "",
		"deviceId IN []":                               "deviceId=",
		"deviceId != 'a'":                              "",
		"tags.a = undefined":                           "",
		"tags.a = tags.b":                              "",
	} {
		c, err := ParseCondition(condition)
		if err != nil {
			t.Errorf("%q: %v", condition, err)
			continue
		}
		var got []string
		for _, b := range c.Bounds() {
			var equal []string
			for _, value := range b.Equal {
				equal = append(equal, string(value))
			}
			said := strings.Join(b.Path, ".") + "=" + strings.Join(equal, "|")
			if b.Equal == nil {
				said = strings.Join(b.Path, ".") + "^" + b.Prefix
			}
			got = append(got, said)
		}
		if said := strings.Join(got, " "); said != want {
			t.Errorf("%q is bound by %s, want %s", condition, said, want)
		}
	}
}
