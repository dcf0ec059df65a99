package hub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// query returns all rows of a query, in pages of this many, and what they are.
func (f *fixture) query(text string, limit int) (itemType string, rows []string) {
	f.T.Helper()
	for page := (hub.QueryPage{Limit: limit}); ; {
		answer, err := f.Query(ctx, text, page)
		if err != nil {
			f.T.Fatalf("%q: %v", text, err)
		}
		if len(answer.Rows) > limit {
			f.T.Fatalf("%q is answered a page of %d rows, %d were asked for", text, len(answer.Rows), limit)
		}
		for _, row := range answer.Rows {
			rows = append(rows, string(row))
		}
		if page.Continuation = answer.Continuation; page.Continuation == "" {
			return answer.ItemType, rows
		}
		if len(answer.Rows) == 0 {
			f.T.Fatalf("%q is answered an empty page that is not the last", text)
		}
	}
}

// newFleet returns a hub with lamps: lamp-00 to lamp-29, each third disabled, on five
// floors; lamp-01 is connected, and one message waits for lamp-02. Two have modules.
func newFleet(t testing.TB) *fixture {
	f := newFixture(t)
	for i := range 30 {
		d := identity.Device{DeviceID: fmt.Sprintf("lamp-%02d", i)}
		if i%3 == 0 {
			d.Status = identity.Disabled
		}
		if i == 1 {
			d.Capabilities.IoTEdge = true
		}
		tags := fmt.Sprintf(`{"floor":%d,"n":%d.50,"site":"s%d"}`, i%5, i, i%2)
		created, err := f.CreateDeviceWithTwin(ctx, d, json.RawMessage(tags), json.RawMessage(`{"interval":60}`))
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			session, _ := f.Connect(created, false)
			if _, err := session.Report(ctx, []byte(`{"a":{"b":"pending"},"list":[1,2]}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range []string{"lamp-01", "lamp-03"} { // lamp-01 is an edge device, lamp-03 is disabled
		for _, module := range []string{"camera", "lidar"} {
			addModule(f.Hub, id, module)
		}
	}
	if _, err := f.PatchTwin(ctx, "lamp-01/camera", json.RawMessage(`{"tags":{"location":"US"}}`), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.SendMessage(ctx, "lamp-02", c2d.Outgoing{Message: message.Message{Payload: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestQuery(t *testing.T) {
	f := newFleet(t)
	all := make([]string, 30)
	for i := range all {
		all[i] = fmt.Sprintf("lamp-%02d", i)
	}
	those := func(wanted func(i int) bool) (ids []string) {
		for i, id := range all {
			if wanted(i) {
				ids = append(ids, id)
			}
		}
		return ids
	}
	for _, c := range []struct {
		where string
		ids   []string
	}{
		{"", all},
		{"WHERE tags.floor = 3", those(func(i int) bool { return i%5 == 3 })},
		{"WHERE tags.floor IN [1, 2] AND tags.n > 20", those(func(i int) bool { return (i%5 == 1 || i%5 == 2) && i >= 20 })},
		{"WHERE status = 'disabled'", those(func(i int) bool { return i%3 == 0 })},
		{"WHERE status = 'disabled' AND tags.floor = 0", those(func(i int) bool { return i%15 == 0 })},
		{"WHERE status = 'enabled' AND tags.site = 's1'", those(func(i int) bool { return i%3 != 0 && i%2 == 1 })},
		{"WHERE deviceId IN ['lamp-29', 'lamp-03', 'lamp-03', 'none', 7]", []string{"lamp-03", "lamp-29"}},
		{"WHERE deviceId = 'lamp-03' AND status = 'enabled'", nil},
		{"WHERE STARTSWITH(devices.deviceId, 'lamp-1')", all[10:20]},
		{"WHERE deviceId > 'lamp-27'", all[28:]},
		{"WHERE connectionState = 'Connected'", []string{"lamp-01"}},
		{"WHERE connectionState = 'Disconnected' AND STARTSWITH(deviceId, 'lamp-0')",
			those(func(i int) bool { return i < 10 && i != 1 })},
		{"WHERE cloudToDeviceMessageCount > 0", []string{"lamp-02"}},
		{"WHERE lastActivityTime > '2020'", []string{"lamp-01"}},
		{"WHERE capabilities.iotEdge = true", []string{"lamp-01"}},
		{"WHERE properties.reported.a.b = 'pending'", []string{"lamp-01"}},
		{"WHERE IS_DEFINED(properties.reported) AND ARRAY_CONTAINS(properties.reported.list, 2)", []string{"lamp-01"}},
		{"WHERE etag = 'x'", nil},
		{"WHERE IS_DEFINED(etag) and properties.desired.interval = 60", all},
		{"WHERE modelId = '' AND version >= 1", all},
		{"WHERE statusReason = null", nil},
		{"WHERE tags.floor = 9", nil},
	} {
		for _, limit := range []int{1, 7, 1000} {
			f.SetQueryBudget(hub.QueryBudget{Bytes: 1 << 20, Time: time.Hour, EmptyTime: time.Hour, Total: time.Hour,
				Few: limit}) // documents that are looked at together, at first
			itemType, rows := f.query("SELECT * FROM devices "+c.where, limit)
			var ids []string
			for _, row := range rows {
				ids = append(ids, member(t, row, "deviceId"))
			}
			if itemType != hub.TwinRows || !slices.Equal(ids, c.ids) {
				t.Errorf("%s in pages of %d is answered %s of %v, want %v", c.where, limit, itemType, ids, c.ids)
			}
			itemType, rows = f.query("SELECT deviceId FROM devices "+c.where, limit)
			for i, row := range rows {
				rows[i] = member(t, row, "deviceId")
			}
			if itemType != hub.RawRows || !slices.Equal(rows, c.ids) {
				t.Errorf("the ids %s in pages of %d are %s of %v, want %v", c.where, limit, itemType, rows, c.ids)
			}
		}
		if _, counted := f.query("SELECT COUNT() AS n FROM devices "+c.where, 10); len(counted) != 1 ||
			counted[0] != fmt.Sprintf(`{"n":%d}`, len(c.ids)) {
			t.Errorf("the number %s is %v, want %d", c.where, counted, len(c.ids))
		}
	}
	if _, rows := f.query("SELECT TOP 3 deviceId FROM devices WHERE tags.floor=1", 2); len(rows) != 3 {
		t.Errorf("TOP 3 is answered %v", rows)
	}
	_, rows := f.query("SELECT tags.floor AS floor, COUNT() AS n, MAX(tags.n) AS last FROM devices GROUP BY tags.floor", 2)
	if want := `{"floor":0,"n":6,"last":25.50}`; len(rows) != 5 || rows[0] != want {
		t.Errorf("the floors are %v", rows)
	}
}

func member(t testing.TB, row string, path ...string) string {
	t.Helper()
	o, err := document.Parse([]byte(row), document.MaxDepth)
	if err != nil {
		t.Fatalf("%s: %v", row, err)
	}
	return o.Get(path...).Text()
}

func TestQueryOfModules(t *testing.T) {
	f := newFleet(t)
	for _, c := range []struct {
		where string
		ids   []string
	}{
		{"", []string{"lamp-01/$edgeAgent", "lamp-01/$edgeHub", "lamp-01/camera", "lamp-01/lidar", "lamp-03/camera",
			"lamp-03/lidar"}},
		{"WHERE devices.deviceId = 'lamp-03'", []string{"lamp-03/camera", "lamp-03/lidar"}},
		{"WHERE devices.deviceId IN ['lamp-03', 'none']", []string{"lamp-03/camera", "lamp-03/lidar"}},
		{"WHERE STARTSWITH(deviceId, 'lamp-03') AND moduleId = 'lidar'", []string{"lamp-03/lidar"}},
		{"WHERE moduleId = 'camera'", []string{"lamp-01/camera", "lamp-03/camera"}},
		{"WHERE tags.location = 'US'", []string{"lamp-01/camera"}},
		{"WHERE status = 'disabled'", []string{"lamp-03/camera", "lamp-03/lidar"}},
		{"WHERE authenticationType = 'none'", []string{"lamp-01/$edgeAgent", "lamp-01/$edgeHub"}},
		{"WHERE connectionState = 'Connected'", nil},
		{"WHERE IS_DEFINED(capabilities) OR tags.floor = 1", nil},
		{"WHERE lastActivityTime < '2020' AND status = 'enabled' AND IS_DEFINED(deviceEtag) AND STARTSWITH(moduleId, 'l')",
			[]string{"lamp-01/lidar"}},
	} {
		for _, limit := range []int{1, 100} {
			itemType, rows := f.query("SELECT * FROM devices.modules "+c.where, limit)
			for i, row := range rows {
				rows[i] = member(t, row, "deviceId") + "/" + member(t, row, "moduleId")
			}
			if itemType != hub.TwinRows || !slices.Equal(rows, c.ids) {
				t.Errorf("%s in pages of %d is answered %s of %v, want %v", c.where, limit, itemType, rows, c.ids)
			}
		}
		_, counted := f.query("SELECT COUNT() AS n FROM devices.modules "+c.where, 10)
		if len(counted) != 1 || counted[0] != fmt.Sprintf(`{"n":%d}`, len(c.ids)) {
			t.Errorf("the number %s is %v, want %d", c.where, counted, len(c.ids))
		}
	}
}

// TestQueryOfEveryMember asks for each value of a twin by its path, and holds what is
// answered against the twin as it is described.
func TestQueryOfEveryMember(t *testing.T) {
	f := newFleet(t)
	for _, id := range []string{"lamp-00", "lamp-01", "lamp-02", "lamp-01/camera", "lamp-03/lidar"} {
		from := "devices WHERE deviceId = '" + id + "'"
		if deviceID, moduleID := identity.SplitKey(id); moduleID != "" {
			from = "devices.modules WHERE deviceId = '" + deviceID + "' AND moduleId = '" + moduleID + "'"
		}
		twin, err := f.Twin(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		text, err := document.Marshal(twin)
		if err != nil {
			t.Fatal(err)
		}
		described, err := document.Parse(text, document.MaxDepth)
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		var ask func(o document.Object, above []string)
		ask = func(o document.Object, above []string) {
			for name, value := range o.All() {
				path := append(slices.Clone(above), name)
				_, rows := f.query("SELECT [["+strings.Join(path, "]].[[")+"]] AS v FROM "+from, 10)
				if want := `{"v":` + value.String() + `}`; len(rows) != 1 || rows[0] != want {
					t.Errorf("%v is answered %v, want %s", path, rows, want)
				}
				asked++
				if value.Kind() == document.KindObject {
					ask(value.Object(), path)
				}
			}
		}
		ask(described, nil)
		if asked < 25 {
			t.Errorf("a twin has %d members", asked)
		}
		if _, rows := f.query("SELECT * FROM "+from, 10); len(rows) != 1 ||
			rows[0] != string(text) {
			t.Errorf("%s is answered %v, want %s", id, rows, text)
		}
	}
	for _, path := range []string{"none", "deviceId.x", "modelId.x", "tags.none", "properties.x", "properties.x.y",
		"connectionState.x", "moduleId", "statusUpdatedTime", "properties.desired.$version.x"} {
		if _, rows := f.query("SELECT "+path+" AS v FROM devices WHERE deviceId = 'lamp-01'", 10); len(rows) != 1 ||
			rows[0] != `{}` {
			t.Errorf("%s is answered %v", path, rows)
		}
	}
}

// TestQueryContinuations asks with continuations that were forged, changed, or given for
// another query, and with good ones after a restart.
func TestQueryContinuations(t *testing.T) {
	f := newFleet(t)
	const text = "SELECT deviceId FROM devices WHERE tags.floor = 1"
	first, err := f.Query(ctx, text, hub.QueryPage{Limit: 2})
	if err != nil || len(first.Rows) != 2 || first.Continuation == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	f.Reopen()
	second, err := f.Query(ctx, text, hub.QueryPage{Limit: 100, Continuation: first.Continuation})
	if err != nil || len(second.Rows) != 4 || second.Continuation != "" ||
		string(second.Rows[0]) != `{"deviceId":"lamp-11"}` {
		t.Errorf("after a restart %+v, %v", second, err)
	}
	other := newFleet(t)
	changed := []byte(first.Continuation)
	changed[len(changed)-1] ^= 1
	for name, ask := range map[string]func() (hub.QueryAnswer, error){
		"another query": func() (hub.QueryAnswer, error) {
			return f.Query(ctx, text+" ", hub.QueryPage{Limit: 2, Continuation: first.Continuation})
		},
		"another hub": func() (hub.QueryAnswer, error) {
			return other.Query(ctx, text, hub.QueryPage{Limit: 2, Continuation: first.Continuation})
		},
		"a changed one": func() (hub.QueryAnswer, error) {
			return f.Query(ctx, text, hub.QueryPage{Limit: 2, Continuation: string(changed)})
		},
		"a forged one": func() (hub.QueryAnswer, error) {
			return f.Query(ctx, text, hub.QueryPage{Limit: 2, Continuation: "bGFtcC0wNg"})
		},
		"no base64": func() (hub.QueryAnswer, error) {
			return f.Query(ctx, text, hub.QueryPage{Limit: 2, Continuation: "lamp 06"})
		},
		"a long one": func() (hub.QueryAnswer, error) {
			return f.Query(ctx, text, hub.QueryPage{Limit: 2, Continuation: strings.Repeat("A", 5000)})
		},
	} {
		if answer, err := ask(); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%s is answered %+v, %v", name, answer, err)
		}
	}
}

// TestQueryBudget holds pages against the bounds of what one costs.
func TestQueryBudget(t *testing.T) {
	f := newFleet(t)
	// A row is larger than a page may be.
	f.SetQueryBudget(hub.QueryBudget{Bytes: 1, Time: time.Hour, EmptyTime: time.Hour, Total: time.Hour, Few: 4})
	if answer, err := f.Query(ctx, "SELECT * FROM devices", hub.QueryPage{Limit: 100}); err != nil ||
		len(answer.Rows) != 1 || answer.Continuation == "" {
		t.Errorf("of rows that are too large %d come, %v", len(answer.Rows), err)
	}
	if _, rows := f.query("SELECT * FROM devices", 100); len(rows) != 30 {
		t.Errorf("of rows that are too large %d come in all", len(rows))
	}
	// There is no time for a page without rows, nor for aggregates.
	f.SetQueryBudget(hub.QueryBudget{Bytes: 1 << 20, Time: time.Hour, Few: 4})
	asked, page := 0, hub.QueryPage{Limit: 10}
	for {
		answer, err := f.Query(ctx, "SELECT * FROM devices WHERE tags.floor = 9", page)
		if err != nil || len(answer.Rows) > 0 {
			t.Fatalf("%+v, %v", answer, err)
		}
		if page.Continuation = answer.Continuation; page.Continuation == "" {
			break
		}
		asked++
	}
	if asked == 0 {
		t.Error("a page without rows is the only one")
	}
	_, err := f.Query(ctx, "SELECT COUNT() FROM devices WHERE tags.floor = 9", page)
	if !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("an aggregate of too much is answered %v", err)
	}
	f.SetQueryBudget(hub.QueryBudget{Bytes: 1 << 20, EmptyTime: time.Hour, Total: time.Hour, Few: 4}) // time for one look
	if answer, err := f.Query(ctx, "SELECT * FROM devices WHERE tags.floor = 1", hub.QueryPage{Limit: 100}); err != nil ||
		len(answer.Rows) == 0 || len(answer.Rows) == 6 || answer.Continuation == "" {
		t.Errorf("%+v, %v", answer, err)
	}
}

// TestQueryPassesOverDamage has records that can't be read among those of a query.
func TestQueryPassesOverDamage(t *testing.T) {
	f := newFleet(t)
	for key, collection := range map[string]string{"lamp-05": "hub/test/twins", "lamp-06": "hub/test/devices"} {
		if _, err := f.Documents.Commit(ctx, damage(collection, key)); err != nil {
			t.Fatal(err)
		}
	}
	if _, rows := f.query("SELECT * FROM devices", 4); len(rows) != 28 {
		t.Errorf("%d of 30 twins come, 2 can't be read", len(rows))
	}
	for _, query := range []string{"SELECT tags FROM devices",
		"SELECT status, tags.floor FROM devices WHERE tags.floor >= 0",
		"SELECT tags.floor, COUNT() FROM devices GROUP BY tags.floor", "SELECT etag FROM devices",
		"SELECT connectionState, lastActivityTime FROM devices"} {
		if _, rows := f.query(query, 4); len(rows) == 0 {
			t.Errorf("%s is answered nothing", query)
		}
	}
}

// damage is a change that leaves half of a record.
func damage(collection, key string) store.Change {
	return store.Change{Collection: collection, Key: key, Match: store.Present, Value: []byte(`{"tags":{"floor":1,"x":[`)}
}

func TestQueryRefusals(t *testing.T) {
	f := newFleet(t)
	for _, text := range []string{"", "SELECT * FROM devices WHERE", "SELECT * FROM devices WHERE tags.a LIKE 'x'"} {
		if _, err := f.Query(ctx, text, hub.QueryPage{Limit: 10}); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%q is answered %v", text, err)
		}
	}
}
