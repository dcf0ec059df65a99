package query

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

const twin = `{"deviceId":"lamp-1","etag":"AAAAAAAAAAE=","status":"enabled","connectionState":"Connected",
	"lastActivityTime":"2026-11-27T10:00:00Z","cloudToDeviceMessageCount":0,"version":3,
	"capabilities":{"iotEdge":false},"parentScopes":["ms-azure-iot-edge://gate-1","ms-azure-iot-edge://gate-2"],
	"tags":{"floor":3,"rate":2.50,"site":"Paris","owner":{"name":"Ann"},"on":true,"off":false,"list":[1,"two",[3]],
		"group":"a","quote":"it's","wide":"\u00e9\ud83d\ude00","two words":1,"1st":1,"none":null},
	"properties":{"desired":{"interval":60,"$version":4},"reported":{"interval":30,"a":{"b":"pending"},"$metadata":
		{"$lastUpdated":"2026-11-27T09:00:00Z","interval":{"$lastUpdated":"2026-11-27T08:00:00Z"}},"$version":2}},
	"configurations":{"conf.1":{"status":"Applied"}}}`

// TestConditions has what each condition says of the twin above.
func TestConditions(t *testing.T) {
	d, err := document.Parse([]byte(twin), document.MaxDepth)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		condition string
		holds     bool
	}{
		{"", true}, {" ", true}, {"*", true}, {" * ; ", true}, {"true", true}, {"TRUE", true}, {"false", false},
		{"null", false}, {"undefined", false}, {"1", false}, {"'true'", false}, {"[true]", false}, {"tags", false},
		{"tags.on", true}, {"tags.off", false}, {"tags.list", false}, {"tags.nothing", false},
		{"from devices", true}, {"FROM devices WHERE tags.floor = 3", true}, {"WHERE tags.floor=4", false},
		{"FROM devices.modules", true}, {"from Devices.Modules where devices.deviceId = 'lamp-1'", true},
		{"from devices.modules where devices.modules.deviceId = 'lamp-1'", true},

		{"deviceId = 'lamp-1'", true}, {`DEVICEID = "lamp-1"`, true}, {"devices.deviceId='lamp-1'", true},
		{"Devices.Status = 'enabled'", true}, {"deviceId in ['a', 'lamp-1']", true}, {"deviceId IN ('a','b')", false},
		{"deviceId NIN ['a']", true}, {"deviceId nin ['lamp-1']", false}, {"deviceId NOT IN ['a']", true},
		{"deviceId in []", false}, {"tags.nothing in ['a']", false}, {"tags.nothing NIN ['a']", false},
		{"tags.floor in [1, 2, 3.0]", true}, {"tags.owner in ['a']", false}, {"tags.floor IN [-3, 0x3]", true},
		{"capabilities.iotEdge = false", true}, {"Capabilities.IotEdge = true", false},
		{"properties.reported.a.b = 'pending'", true}, {"Properties.Reported.a.b='pending'", true},
		{"properties.reported.A.b = 'pending'", false}, {"properties . reported . a . b = 'pending'", true},
		{"configurations.[[conf.1]].status = 'Applied'", true}, {"configurations[[conf.1]].status = 'Applied'", true},
		{"[[tags]].[[group]] = 'a'", true}, {"tags.group = 'a'", true}, {"tags.[[two words]] = 1", true},
		{"tags.1st = 1", true}, {"properties.desired.$version = 4", true},
		{"properties.reported.$metadata.interval.$lastUpdated < '2026-11-27T08:30:00Z'", true},
		{"lastActivityTime > '2026-11-27T09'", true}, {"lastActivityTime > '2026-11-28'", false},

		{`tags.quote = 'it\'s'`, true}, {`tags.quote = "it's"`, true}, {`tags.wide = '\u00e9\ud83d\ude00'`, true},
		{"tags.wide = 'é😀'", true}, {"tags.site != 'Lyon'", true}, {"tags.site <> 'Paris'", false},
		{"tags.site > 'Lyon' and tags.site < 'Q'", true}, {"tags.site >= 'Paris' AND tags.site <= 'Paris'", true},
		{"tags.rate = 2.5", true}, {"tags.rate = 25e-1", true}, {"tags.floor = '3'", false}, {"tags.floor != '3'", true},
		{"tags.floor < '3'", false}, {"NOT tags.floor < '3'", false}, {"tags.nothing != 'a'", false},
		{"NOT tags.nothing = 'a'", false}, {"tags.owner = tags.owner", false}, {"tags.none = null", true},
		{"tags.none != 1", true}, {"tags.on = true", true}, {"tags.on > tags.off", false},

		{"not tags.floor = 4", true}, {"NOT tags.site IN ['Lyon']", true}, {"NOT NOT tags.on", true},
		{"tags.on or tags.off and tags.off", true}, {"(tags.on or tags.off) and tags.off", false},
		{"tags.nothing or tags.on", true}, {"tags.nothing and tags.on", false}, {"not (tags.nothing and tags.off)", true},
		{"not (tags.nothing or tags.off)", false}, {"tags.site or tags.on", true}, {"tags.on = not tags.off", true},
		{"tags.floor = 3 and (tags.site = 'Lyon' or tags.site = 'Paris')", true},

		{"tags.floor + 1 * 2 = 5", true}, {"(tags.floor + 1) * 2 = 8", true}, {"tags.floor - 1 - 1 = 1", true},
		{"-tags.floor = -3", true}, {"- -tags.floor = 3", true}, {"tags.floor % 2 = 1", true}, {"tags.floor / 2 = 1.5", true},
		{"tags.floor / 0 = 0", false}, {"NOT tags.floor / 0 = 0", false}, {"tags.site + 1 = 1", false},
		{"properties.desired.interval <> properties.reported.interval", true}, {"0x0A = 10", true},
		{"properties.desired.interval > properties.reported.interval * 1.5", true}, {"1 < 2 = true", true},

		{"IS_DEFINED(tags.floor)", true}, {"is_defined(tags.nothing)", false}, {"IS_DEFINED(tags.none)", true},
		{"NOT IS_DEFINED(tags.nothing)", true}, {"is_defined(properties.reported.a)", true}, {"IS_NULL(tags.none)", true},
		{"IS_NUMBER(tags.rate)", true}, {"IS_STRING(tags.rate)", false}, {"IS_BOOL(tags.off)", true},
		{"IS_ARRAY(tags.list)", true}, {"IS_OBJECT(tags.owner)", true}, {"IS_PRIMITIVE(tags.owner)", false},
		{"STARTSWITH(devices.deviceId, 'lamp')", true}, {"startswith(deviceId, 'Lamp')", false},
		{"ENDSWITH(deviceId, '-1')", true}, {"CONTAINS(tags.site, 'ari')", true}, {"STARTSWITH(tags.floor, '3')", false},
		{"NOT STARTSWITH(tags.floor, '3')", false}, {"STARTSWITH('lamp-1', deviceId)", true},
		{"array_contains(parentScopes, 'ms-azure-iot-edge://gate-2')", true}, {"ARRAY_CONTAINS(tags.list, 'two')", true},
		{"ARRAY_CONTAINS(tags.list, 1.0)", true}, {"ARRAY_CONTAINS(tags.list, 3)", false},
		{"ARRAY_CONTAINS(tags.site, 'Paris')", false}, {"ARRAY_CONTAINS(['lamp-1', 'b'], deviceId)", true},
		{"ARRAY_LENGTH(tags.list) = 3", true}, {"ARRAY_LENGTH([]) = 0", true},
	} {
		condition, err := ParseCondition(c.condition)
		if err != nil {
			t.Errorf("%q: %v", c.condition, err)
			continue
		}
		if got := condition.Matches(d); got != c.holds {
			t.Errorf("%q holds: %v, want %v", c.condition, got, c.holds)
		}
		if got := condition.MatchesJSON([]byte(twin)); got != c.holds {
			t.Errorf("%q holds of the JSON: %v, want %v", c.condition, got, c.holds)
		}
	}
}

// TestErrors has where each query is wrong, and a part of what is said of it.
func TestErrors(t *testing.T) {
	deep := strings.Repeat("(", 100) + "1" + strings.Repeat(")", 100)
	for _, c := range []struct{ query, says string }{
		{"", "line 1, column 1: it ends where there must be SELECT"},
		{"SELECT", "column 7: it ends where there must be a name"},
		{"SELECT * devices", `column 10: there must be FROM, not "devices"`},
		{"SELECT *", "column 9: it ends where there must be FROM"},
		{"SELECT * FROM devicez", `column 15: there are devices, devices.modules and devices.jobs, not "devicez"`},
		{"SELECT *\nFROM devices\nWHERE tags.é = ", "line 3, column 16: it ends where there must be a name or a value"},
		{"SELECT * FROM devices WHERE é = 'é' extra", "line 1, column 37"},
		{"SELECT * FROM devices WHERE tags.group = group", `column 42: there must be a name or a value, not "group"`},
		{"SELECT * FROM devices WHERE tags.a LIKE 'x'", "column 36: the query language of IoT Hub has no LIKE"},
		{"SELECT * FROM devices ORDER BY deviceId", "column 23: the query language of IoT Hub has no ORDER"},
		{"SELECT DISTINCT tags.a FROM devices", `column 17: there must be FROM, not "tags"`},
		{"SELECT * FROM devices WHERE STARTS_WITH(deviceId, 'x')", "column 29: there is no function STARTS_WITH"},
		{"SELECT * FROM devices WHERE STARTSWITH(deviceId)", "column 29: STARTSWITH takes 2 arguments, and has 1 here"},
		{"SELECT * FROM devices WHERE COUNT() > 1", "column 29: COUNT can stand behind SELECT alone"},
		{"SELECT * FROM devices WHERE a = 'x", "column 33: the string has no end"},
		{`SELECT * FROM devices WHERE a = 'x\y'`, "column 35"},
		{`SELECT * FROM devices WHERE a = '\ud800'`, "column 34"},
		{`SELECT * FROM devices WHERE a = '\u12`, "column 34"},
		{"SELECT * FROM devices WHERE a = 12ab", `column 33: "12ab" is no number`},
		{"SELECT * FROM devices WHERE a = 1e999", `column 33: "1e999" is no number`},
		{"SELECT * FROM devices WHERE a = 0x", "column 33"},
		{"SELECT * FROM devices WHERE a ? b", `column 31: "?" can't stand here`},
		{"SELECT * FROM devices WHERE [[a = 1", "column 29: [[ has no ]]"},
		{"SELECT * FROM devices WHERE tags. = 1", "column 35: a name must follow the full stop"},
		{"SELECT * FROM devices WHERE a IN 'x'", "column 34: there must be [, not"},
		{"SELECT * FROM devices WHERE a IN [b]", `column 35: there must be a name or a value, not "b"`},
		{"SELECT * FROM devices WHERE a = (1", "column 35: it ends where there must be )"},
		{"SELECT * FROM devices WHERE a = " + deep, "nested deeper than 64 levels"},
		{"SELECT * FROM devices WHERE a = " + strings.Repeat("-", 100) + "1", "nested deeper than 64 levels"},
		{"SELECT * FROM devices WHERE " + strings.Repeat("NOT ", 100) + "a", "nested deeper than 64 levels"},
		{"SELECT * FROM devices WHERE ARRAY_CONTAINS(" + strings.Repeat("[ ", 100), "nested deeper than 64 levels"},
		{"SELECT TOP 0 * FROM devices", "column 12: there must be a whole number of rows"},
		{"SELECT TOP x * FROM devices", "column 12"},
		{"SELECT TOP 1.5 * FROM devices", "column 12"},
		{"SELECT *, deviceId FROM devices", `column 9: there must be FROM, not ","`},
		{"SELECT deviceId, COUNT() FROM devices", `column 8: "deviceId" stands beside aggregates, and not in GROUP BY`},
		{"SELECT status, tags.a FROM devices GROUP BY status", `column 16: "a" stands beside aggregates`},
		{"SELECT tags.a, tags.b.a FROM devices", `column 16: two members of the rows would be called "a"`},
		{"SELECT MEDIAN(tags.a) FROM devices", "column 8: the aggregates are COUNT, AVG, SUM, MIN and MAX, not MEDIAN"},
		{"SELECT SUM() FROM devices", "column 12"},
		{"SELECT * FROM devices GROUP BY status", "column 29: GROUP BY needs a list"},
		{"SELECT * FROM devices; SELECT * FROM devices", "column 24: there must be an operator or the end"},
		{strings.Repeat("x", MaxLength+1), "The query has 8193 characters, and 8192 are allowed"},
	} {
		_, err := Parse(c.query)
		if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.80q is answered %v, want %q", c.query, err, c.says)
		}
	}
	for _, c := range []struct{ condition, says string }{
		{"deviceId =", "The condition can't be read at line 1, column 11: it ends where there must be a name or a value"},
		{"SELECT * FROM devices", "column 1: there must be a name or a value, not"},
		{"deviceId = 'a' GROUP BY status", `column 16: there must be an operator or the end, not "GROUP"`},
		{"FROM devices deviceId = 'a'", "column 14"},
	} {
		_, err := ParseCondition(c.condition)
		if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.80q is answered %v, want %q", c.condition, err, c.says)
		}
	}
}

// TestTooManyPaths holds the number of different paths against the bound by which the cost
// of a document is one.
func TestTooManyPaths(t *testing.T) {
	condition := "true"
	for i := range maxPaths {
		condition += " OR a" + strings.Repeat("b", i)
	}
	if _, err := ParseCondition(condition + " OR a OR ab"); err != nil {
		t.Error(err)
	}
	if _, err := ParseCondition(condition + " OR c"); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("one path too many is answered %v", err)
	}
}
