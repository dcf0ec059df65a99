package twin

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
)

// TestPatch changes what it names, under the condition that the twin is as it was read,
// and tells the device's half of it.
func TestPatch(t *testing.T) {
	f := newFixture(t)
	owner := f.create("d")
	fresh := f.twin("d")
	const body = `{"tags":{"site":"A"},"properties":{"desired":{"a":1,"b":{"c":2}}}}`
	patch, err := ReadPatch(json.RawMessage(body), false)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := f.Patch(ctx, "d", patch, fresh.ETag, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(changed.DesiredNotice(patch, false)); got != `{"a":1,"b":{"c":2},"$version":2}` {
		t.Errorf("the device is told %s", got)
	}
	if _, err := f.Patch(ctx, "d", patch, fresh.ETag, false); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("a stale ETag is answered %v", err)
	}
	if _, err := f.patch("nobody", `{"tags":{}}`, "*"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("the twin of nobody is answered %v", err)
	}
	if _, err := f.patch("d", `{"properties":{"desired":{"b":{"c":null,"d":3}}}}`, "*"); err != nil {
		t.Fatal(err)
	}
	seen, err := f.ForDevice(ctx, owner)
	if want := `{"desired":{"a":1,"b":{"d":3},"$version":3},"reported":{"$version":1}}`; err != nil ||
		string(seen) != want {
		t.Errorf("the device sees %s, error %v, want %s", seen, err, want)
	}

	// In place of what was there, and all of it is told.
	replacement, err := ReadPatch(json.RawMessage(`{"properties":{"desired":{"e":4}}}`), true)
	if err != nil {
		t.Fatal(err)
	}
	changed, err = f.Patch(ctx, "d", replacement, "*", true)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(changed.DesiredNotice(replacement, true)); got != `{"e":4,"$version":4}` {
		t.Errorf("after a replacement the device is told %s", got)
	}
	if twin := f.twin("d"); twin.Tags.String() != `{}` {
		t.Errorf("tags that a replacement does not name are %s", twin.Tags)
	}
	tags, err := ReadPatch(json.RawMessage(`{"tags":{"site":"B"}}`), false)
	if err != nil {
		t.Fatal(err)
	}
	if notice := changed.DesiredNotice(tags, false); notice != nil {
		t.Errorf("of tags the device is told %s", notice)
	}
	if n := f.Updates(); n != 3 {
		t.Errorf("%d updates are counted, want 3", n)
	}
}

// TestReadPatch takes what SDKs send, and refuses what looks like a part of a twin and
// would change something else, or nothing.
func TestReadPatch(t *testing.T) {
	for _, c := range []struct {
		name, body    string
		replace       bool
		tags, desired string // "" for as it is
		says          string // in the refusal, when it is one
	}{
		{"a whole twin", `{"deviceId":"d","etag":"x","tags":{"a":1},"properties":{"desired":{"b":2,"$version":7,` +
			`"$metadata":{}},"reported":{"c":3}}}`, false, `{"a":1}`, `{"b":2}`, ""},
		{"nothing of it", `{}`, false, "", "", ""},
		{"a replacement by nothing", `{}`, true, "{}", "{}", ""},
		{"a replacement by null", `{"tags":null,"properties":null}`, true, "{}", "{}", ""},
		{"no object", `[]`, false, "", "", "JSON object"},
		{"nothing at all", ` `, false, "", "", "JSON object"},
		{"cut short", `{"tags":`, false, "", "", "not JSON"},
		{"deep", `{"tags":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, false, "", "",
			"can't be taken"},
		{"desired at the wrong place", `{"desired":{"a":1}}`, false, "", "", "belong into properties"},
		{"properties that are none", `{"properties":[1]}`, false, "", "", "properties must be a JSON object"},
		{"tags that are none", `{"tags":"a"}`, false, "", "", "tags must be a JSON object"},
		{"null for a part", `{"tags":null}`, false, "", "", "one by one"},
		{"null for desired", `{"properties":{"desired":null}}`, false, "", "", "one by one"},
		{"too much", `{"tags":{"a":"` + strings.Repeat("x", maxSection) + `"}}`, false, "", "", "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			patch, err := ReadPatch(json.RawMessage(c.body), c.replace)
			if c.says != "" {
				if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("answered %v, want 400004 that says %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tags, desired := "", ""
			if patch.Tags != nil {
				tags = patch.Tags.String()
			}
			if patch.Desired != nil {
				desired = patch.Desired.String()
			}
			if tags != c.tags || desired != c.desired {
				t.Errorf("read are the tags %q and the desired properties %q, want %q and %q", tags, desired, c.tags,
					c.desired)
			}
		})
	}
}

// TestReport keeps what a device reports, if it may still do so and if the version is the
// one that it asks for.
func TestReport(t *testing.T) {
	f := newFixture(t)
	owner := f.create("d")
	version := func(n int64) *int64 { return &n }
	may := func() error { return nil }
	for _, c := range []struct {
		name      string
		owner     Owner
		patch     string
		ifVersion *int64
		check     func() error
		want      int64
		refused   error
	}{
		{"a first report", owner, `{"a":1}`, nil, may, 2, nil},
		{"one of a known version", owner, `{"a":null,"b":2}`, version(2), may, 3, nil},
		{"one of an earlier version", owner, `{"c":3}`, version(2), may, 0, fault.PreconditionFailed},
		{"no object", owner, `3`, nil, may, 0, fault.ArgumentInvalid},
		{"a name with a space", owner, `{"a b":1}`, nil, may, 0, fault.ArgumentInvalid},
		{"a session that is over", owner, `{"c":3}`, nil,
			func() error { return fault.New(fault.UnauthorizedAccess, "It is over") }, 0, fault.UnauthorizedAccess},
		{"an earlier device of this id", Owner{"d", "99"}, `{"c":3}`, nil, may, 0, fault.DeviceNotFound},
		{"nobody", Owner{"nobody", generation}, `{"c":3}`, nil, may, 0, fault.DeviceNotFound},
	} {
		got, err := f.Report(ctx, c.owner, []byte(c.patch), c.ifVersion, c.check)
		if got != c.want || !errors.Is(err, c.refused) {
			t.Errorf("%s: answered %d, %v, want %d, %v", c.name, got, err, c.want, c.refused)
		}
	}
	twin := f.twin("d")
	if twin.Properties.Reported.Delete("$metadata"); twin.Properties.Reported.String() != `{"b":2,"$version":3}` {
		t.Errorf("reported is %s", twin.Properties.Reported)
	}
	for _, stranger := range []Owner{{"d", "99"}, {"nobody", generation}} {
		if seen, err := f.ForDevice(ctx, stranger); !errors.Is(err, fault.DeviceNotFound) {
			t.Errorf("%+v sees %s, error %v", stranger, seen, err)
		}
	}
}

// TestSetModel keeps the model that a device announces, which is no change of the twin for
// back ends, and takes it away again.
func TestSetModel(t *testing.T) {
	f := newFixture(t)
	owner := f.create("d")
	before := f.twin("d")
	for _, model := range []string{"dtmi:example:Pump;1", "dtmi:example:Pump;1", "dtmi:example:Pump;2", ""} {
		if err := f.SetModel(ctx, owner, model); err != nil {
			t.Fatal(err)
		}
		if twin := f.twin("d"); twin.ModelID != model || twin.ETag != before.ETag {
			t.Errorf("the twin has the model %q and the ETag %s, want %q and %s", twin.ModelID, twin.ETag, model,
				before.ETag)
		}
	}
	if twin := f.twin("d"); twin.Version != before.Version+3 {
		t.Errorf("the version was %d, and is %d after three changes of the model", before.Version, twin.Version)
	}
	if err := f.SetModel(ctx, Owner{"d", "99"}, "dtmi:x;1"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("the model of an earlier device is answered %v", err)
	}
	f.damage("d")
	if err := f.SetModel(ctx, owner, "dtmi:x;1"); err != nil {
		t.Errorf("a twin that can't be read keeps its device away: %v", err)
	}
	for id, good := range map[string]bool{"": true, "dtmi:com:example:Thermostat;1": true, "dtmi:é;1": true,
		"a\tb": false, "a\xff": false, strings.Repeat("x", maxModelID+1): false} {
		if err := CheckModelID(id); (err == nil) != good || err != nil && !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("the model id %.20q is answered %v", id, err)
		}
	}
}

// damage leaves a record in place of a twin that is none.
func (f *fixture) damage(id string) {
	f.t.Helper()
	f.commit(store.Change{Collection: f.Collection(), Key: id, Value: []byte(`{"version":1}`)})
	if _, err := f.Get(ctx, id); !store.IsUnreadable(err) {
		f.t.Fatalf("the twin is read with the error %v", err)
	}
}

// TestTwinThatCannotBeRead is put right by whoever says what it is to be, and by nobody
// else.
func TestTwinThatCannotBeRead(t *testing.T) {
	f := newFixture(t)
	owner := f.create("d")
	f.damage("d")
	if _, err := f.patch("d", `{"tags":{"a":1}}`, ""); !store.IsUnreadable(err) {
		t.Errorf("a patch of it is answered %v", err)
	}
	if _, err := f.report(owner, `{"a":1}`); !store.IsUnreadable(err) {
		t.Errorf("a report is answered %v", err)
	}
	if twin, err := f.replace("d", `{"tags":{"a":1}}`, ""); err != nil || twin.Tags.String() != `{"a":1}` {
		t.Errorf("after a replacement the tags are %s, error %v", twin.Tags, err)
	}
	f.damage("d")
	f.commit(f.PrepareEmpty("d"))
	if twin := f.twin("d"); twin.Tags.String() != `{}` || twin.Version != 1 {
		t.Errorf("the empty twin is %+v", twin)
	}
	f.commit(f.PrepareDelete("d"))
	if _, err := f.Get(ctx, "d"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("a twin that was deleted is answered %v", err)
	}
}

// TestPrepareReplace: a new identity takes over the twin that is there, if it is to stay
// and can be read, and gets the one that comes with it otherwise.
func TestPrepareReplace(t *testing.T) {
	f := newFixture(t)
	initial, err := New(json.RawMessage(`{"new":true}`), nil, f.clock)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		keep, damaged bool
		want          string
	}{
		{"kept", true, false, `{"old":true}`},
		{"not kept", false, false, `{"new":true}`},
		{"not to be read", true, true, `{"new":true}`},
	} {
		id := strings.ReplaceAll(c.name, " ", "-")
		f.create(id)
		if _, err := f.patch(id, `{"tags":{"old":true}}`, ""); err != nil {
			t.Fatal(err)
		}
		if c.damaged {
			f.damage(id)
		}
		f.commit(f.PrepareReplace(ctx, id, "101", initial, c.keep))
		if twin := f.twin(id); twin.Tags.String() != c.want {
			t.Errorf("%s: the tags are %s, want %s", c.name, twin.Tags, c.want)
		}
		if _, err := f.ForDevice(ctx, Owner{id, "101"}); err != nil {
			t.Errorf("%s: the new device has no twin: %v", c.name, err)
		}
	}
}

// TestDescribe tells of a device's identity what its twin tells of it.
func TestDescribe(t *testing.T) {
	f := newFixture(t)
	f.create("d")
	stored, err := f.Get(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	reason, device := "inspected", identity.Device{DeviceID: "d", Status: identity.Disabled}
	if err := device.Complete(nil); err != nil {
		t.Fatal(err)
	}
	device.StatusReason, device.ETag, device.ConnectionState = &reason, "AAAA", identity.Connected
	device.LastActivityTime.Time = noon.Add(time.Minute)
	told := stored.Describe(device)
	if told.DeviceID != "d" || told.Status != identity.Disabled || told.StatusReason != &reason ||
		told.DeviceETag != "AAAA" || told.ConnectionState != identity.Connected ||
		told.AuthenticationType != identity.SAS || !told.LastActivityTime.Equal(device.LastActivityTime.Time) {
		t.Errorf("the twin tells %+v", told)
	}
	text, err := json.Marshal(told)
	if err != nil || strings.Contains(string(text), *device.Authentication.SymmetricKey.PrimaryKey) {
		t.Errorf("the twin has a key: %s, error %v", text, err)
	}
}
