package hub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// index makes an index and waits until it is built.
func (f *fixture) index(path string) {
	f.T.Helper()
	if _, err := f.TwinIndexes().Create(ctx, strings.Split(path, ".")); err != nil {
		f.T.Fatal(err)
	}
	if err := f.TwinIndexes().Build(ctx); err != nil {
		f.T.Fatal(err)
	}
}

// TestTwinIndexes asks by indexes what was asked without, before and after changes of
// twins, and after a restart.
func TestTwinIndexes(t *testing.T) {
	f := newFleet(t)
	queries := []string{
		"SELECT deviceId FROM devices WHERE tags.site = 's1'",
		"SELECT deviceId FROM devices WHERE tags.site IN ['s0', 's1', 's2', null]",
		"SELECT deviceId FROM devices WHERE tags.n = 7.5",
		"SELECT deviceId FROM devices WHERE tags.n IN [7.50, 75e-1, 8.5] AND status = 'enabled'",
		"SELECT deviceId FROM devices WHERE tags.site = 's1' OR tags.site = 'x'",
		"SELECT deviceId FROM devices WHERE properties.reported.a.b = 'pending'",
		"SELECT deviceId, moduleId FROM devices.modules WHERE tags.location = 'US'",
		"SELECT COUNT() FROM devices WHERE tags.site = 's0'",
		"SELECT deviceId FROM devices WHERE tags.site = true",
	}
	var without [][]string
	ask := func() (answers [][]string) {
		for _, text := range queries {
			_, rows := f.query(text, 4)
			answers = append(answers, rows)
		}
		return answers
	}
	without = ask()
	for _, path := range []string{"tags.site", "tags.n", "properties.reported.a.b", "tags.location"} {
		f.index(path)
	}
	for _, text := range queries {
		if looks, err := f.Looks(ctx, text); err != nil || looks {
			t.Errorf("%s looks through all twins, %v", text, err)
		}
	}
	if got := ask(); !slices.EqualFunc(got, without, slices.Equal) {
		t.Errorf("by indexes the answers are\n%v\nwithout\n%v", got, without)
	}
	change := func(id, tags string) {
		t.Helper()
		if _, err := f.PatchTwin(ctx, id, json.RawMessage(`{"tags":`+tags+`}`), ""); err != nil {
			t.Fatal(err)
		}
	}
	change("lamp-01", `{"site":"s9"}`)
	change("lamp-03", `{"site":null}`)
	change("lamp-04", `{"site":{"name":"s1"}}`)
	change("lamp-05", `{"site":"s\u0031"}`)
	if err := f.DeleteDevice(ctx, "lamp-07", ""); err != nil {
		t.Fatal(err)
	}
	_, err := f.CreateDeviceWithTwin(ctx, identity.Device{DeviceID: "new"}, json.RawMessage(`{"site":"s1"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.EnsureDevice(ctx, hub.Admission{DeviceID: "ensured", PrimaryKey: "AAAAAAAAAAAAAAAAAAAAAA==",
		SecondaryKey: "AAAAAAAAAAAAAAAAAAAAAA==", Tags: json.RawMessage(`{"site":"s1"}`)}); err != nil {
		t.Fatal(err)
	}
	prepared, err := f.PrepareDevice(ctx, hub.Admission{DeviceID: "prepared", PrimaryKey: "AAAAAAAAAAAAAAAAAAAAAA==",
		SecondaryKey: "AAAAAAAAAAAAAAAAAAAAAA==", Tags: json.RawMessage(`{"site":"s1"}`)})
	if err == nil {
		_, err = f.Documents.Commit(ctx, prepared.Changes...)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Reopen()
	byIndex := ask()
	for _, path := range []string{"tags.site", "tags.n", "properties.reported.a.b", "tags.location"} {
		if err := f.TwinIndexes().Delete(ctx, strings.Split(path, ".")); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask(); !slices.EqualFunc(got, byIndex, slices.Equal) ||
		!slices.Contains(byIndex[0], `{"deviceId":"prepared"}`) {
		t.Errorf("after changes by indexes the answers are\n%v\nwithout\n%v", byIndex, got)
	}
	if err := f.TwinIndexes().Build(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := store.Count(ctx, f.Documents, "hub/test/twin-index"); err != nil || n != 0 {
		t.Errorf("%d entries are left of indexes that were deleted, %v", n, err)
	}
}

// TestTwinIndexIsWhole makes indexes while twins change, and finds each twin by its value.
func TestTwinIndexIsWhole(t *testing.T) {
	f := newFleet(t)
	stop := make(chan struct{})
	var changing sync.WaitGroup
	for worker := range 4 {
		changing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("lamp-%02d", rand.IntN(30))
				patch := fmt.Sprintf(`{"tags":{"floor":%d,"x%d":%d}}`, rand.IntN(5), worker, i)
				if _, err := f.PatchTwin(ctx, id, json.RawMessage(patch), ""); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 5 {
		f.index("tags.floor")
		if err := f.TwinIndexes().Delete(ctx, []string{"tags", "floor"}); err != nil {
			t.Fatal(err)
		}
	}
	f.index("tags.floor")
	close(stop)
	changing.Wait()
	for floor := range 5 {
		_, byIndex := f.query(fmt.Sprintf("SELECT deviceId FROM devices WHERE tags.floor = %d", floor), 100)
		_, all := f.query(fmt.Sprintf("SELECT deviceId FROM devices WHERE tags.floor = %d + 0", floor), 100)
		if !slices.Equal(byIndex, all) {
			t.Errorf("on floor %d the index has %v, and there are %v", floor, byIndex, all)
		}
	}
}

// TestTwinIndexOfLateCommit commits a twin that was prepared before an index was made: it is
// prepared again, or it would be missing there.
func TestTwinIndexOfLateCommit(t *testing.T) {
	f := newFixture(t)
	prepare := func() []store.Change {
		prepared, err := f.PrepareDevice(ctx, hub.Admission{DeviceID: "late", PrimaryKey: "AAAAAAAAAAAAAAAAAAAAAA==",
			SecondaryKey: "AAAAAAAAAAAAAAAAAAAAAA==", Tags: json.RawMessage(`{"site":"s1"}`)})
		if err != nil {
			t.Fatal(err)
		}
		return prepared.Changes
	}
	late := prepare()
	f.index("tags.site")
	if _, err := f.Documents.Commit(ctx, late...); err == nil {
		t.Error("a twin is committed without its entry")
	}
	if _, err := f.Documents.Commit(ctx, prepare()...); err != nil {
		t.Error(err)
	}
	if _, rows := f.query("SELECT deviceId FROM devices WHERE tags.site = 's1'", 10); len(rows) != 1 {
		t.Errorf("the index has %v", rows)
	}
}

func TestTwinIndexRefusals(t *testing.T) {
	f := newFixture(t)
	indexes := f.TwinIndexes()
	for _, path := range []string{"", "deviceId", "status", "tags", "properties", "properties.desired", "version",
		"properties.desired.$version", "properties.other.x", "tags.$x"} {
		if _, err := indexes.Create(ctx, strings.Split(path, ".")); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("an index of %q is answered %v", path, err)
		}
	}
	if err := indexes.Delete(ctx, []string{"tags", "none"}); !errors.Is(err, fault.NotFound) {
		t.Errorf("the end of an index that is not there is answered %v", err)
	}
	for i := range twin.MaxIndexes {
		for range 2 { // the second time it is there
			if _, err := indexes.Create(ctx, []string{"tags", fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := indexes.Create(ctx, []string{"tags", "more"}); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("an index too many is answered %v", err)
	}
	if listed, err := indexes.List(ctx); err != nil || len(listed) != twin.MaxIndexes || listed[3].Path != "tags.3" {
		t.Errorf("the indexes are %+v, %v", listed, err)
	}
}
