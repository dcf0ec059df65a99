package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *Log {
	t.Helper()
	documents := memory.New().Open()
	t.Cleanup(func() { documents.Close() })
	return Open(documents, func() time.Time { return noon })
}

// thing is what an update is told of. Whatever is not known to be harmless holds the
// text.
func thing(text, webhook string, more map[string]any) map[string]any {
	fields := map[string]any{
		"etag": text,
		"attestation": map[string]any{
			"type":         "symmetricKey",
			"symmetricKey": map[string]any{"primaryKey": text},
			"x509":         map[string]any{"signingCertificates": map[string]any{"primary": map[string]any{"certificate": text, "info": map[string]any{"version": len(text)}}}},
		},
		"customAllocationDefinition": map[string]any{"webhookUrl": webhook},
		"initialTwin": map[string]any{
			"tags":       map[string]any{"pin": text, "etag": text, "name": map[string]any{"location": text}},
			"properties": map[string]any{"desired": map[string]any{"psk": []any{text, map[string]any{"rights": text}}}},
		},
		"optionalDeviceInformation": text,
		"connectionString":          text,
		"somethingNew":              text,
		"policies":                  []any{map[string]any{"keyName": "owner", "primaryKey": text}},
	}
	maps.Copy(fields, more)
	return fields
}

// What differs is told by its path. Values are told of the fields that are known to
// hold no secret, and of no others.
func TestChanges(t *testing.T) {
	long := strings.Repeat("é", 300)
	before := thing("hunter2", "https://user:hunter2@x.example/hunter2?code=hunter2",
		map[string]any{"iotHubs": []string{"a", "b"}, "location": "short"})
	after := thing("hunter23", "https://x.example/",
		map[string]any{"iotHubs": []string{"b"}, "location": long, "rights": []string{"ServiceConfig"}})
	fields := differences(flat(before), flat(after))
	var told []string
	for _, field := range fields {
		told = append(told, fmt.Sprintf("%s: %s > %s", field.Path, field.Before, field.After))
	}
	want := []string{
		`attestation.symmetricKey.primaryKey: (hidden) > (hidden)`,
		`attestation.x509.signingCertificates.primary.certificate: (hidden) > (hidden)`,
		`attestation.x509.signingCertificates.primary.info.version: 7 > 8`,
		`connectionString: (hidden) > (hidden)`,
		`customAllocationDefinition.webhookUrl: "https://x.example/(hidden)" > "https://x.example"`,
		`initialTwin.properties.desired.psk[0]: (hidden) > (hidden)`,
		`initialTwin.properties.desired.psk[1].rights: (hidden) > (hidden)`,
		`initialTwin.tags.etag: (hidden) > (hidden)`,
		`initialTwin.tags.name.location: (hidden) > (hidden)`,
		`initialTwin.tags.pin: (hidden) > (hidden)`,
		`iotHubs: ["a","b"] > ["b"]`,
		`location: "short" > "` + strings.Repeat("é", 99) + `…`,
		`optionalDeviceInformation: (hidden) > (hidden)`,
		`policies[0].primaryKey: (hidden) > (hidden)`,
		`rights:  > ["ServiceConfig"]`,
		`somethingNew: (hidden) > (hidden)`,
	}
	if got := strings.Join(told, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the changes are\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if again := reshown(slices.Clone(fields)); !slices.Equal(again, fields) {
		t.Errorf("shown once more the changes are\n%v\nwant\n%v", again, fields)
	}
	for before, after := range map[string]string{`{"n":9007199254740993}`: `{"n":9007199254740992}`,
		`{"n":1.0}`: `{"n":1}`} {
		if fields := differences(flat(json.RawMessage(before)), flat(json.RawMessage(after))); len(fields) != 1 {
			t.Errorf("from %s to %s there is %v", before, after, fields)
		}
	}
	many := make(map[string]any)
	for i := range 2 * maxFields {
		many[fmt.Sprint(i)] = i
	}
	if fields := differences(flat(map[string]any{}), flat(many)); len(fields) != maxFields {
		t.Errorf("of many changes %d are told, want %d", len(fields), maxFields)
	}
}

// A thing that was changed before many others is found, a part of the log at a time.
func TestSearchOfLongAudit(t *testing.T) {
	l, ctx := open(t), context.Background()
	record := func(actor string, ids ...string) {
		t.Helper()
		var changes []store.Change
		for _, id := range ids {
			changes = append(changes,
				l.Change(WithActor(ctx, Actor{Name: actor}), Created, Enrollment, id, nil, nil)...)
		}
		if _, err := l.documents.Commit(ctx, changes...); err != nil {
			t.Fatal(err)
		}
	}
	record("policy first", "d1", "d2", "d3")
	const batch = 500
	for done := 0; done < mostSearched+batch; done += batch {
		ids := make([]string, batch)
		for i := range ids {
			ids[i] = fmt.Sprintf("row-%d", done+i)
		}
		record("policy second", ids...)
	}
	calls := 0
	for filter := (Filter{Actor: "FIRST", Max: 2}); ; calls++ {
		found, next, err := l.Entries(ctx, filter)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case calls == 0 && (len(found) != 0 || next == ""):
			t.Fatalf("the first call finds %v, next %q", found, next)
		case calls == 1 && (len(found) != 2 || found[0].ID != "d3" || found[1].ID != "d2" || next == ""):
			t.Fatalf("the second call finds %v, next %q", found, next)
		case calls == 2 && (len(found) != 1 || found[0].ID != "d1" || next != ""):
			t.Fatalf("the third call finds %v, next %q", found, next)
		}
		if filter.After = next; next == "" {
			break
		}
	}
	if calls != 2 {
		t.Errorf("it took %d calls", calls+1)
	}
}

// A change that does not happen leaves no entry, and one that happens leaves one.
func TestEntryGoesWithItsChange(t *testing.T) {
	l, ctx := open(t), context.Background()
	put := func(match store.Match) error {
		change := store.Change{Collection: "things", Key: "one", Match: match, Value: []byte("1")}
		_, err := l.documents.Commit(ctx, append(l.Change(ctx, Created, Group, "one", nil, nil), change)...)
		return err
	}
	if err := put(store.Present); err == nil {
		t.Fatal("a change whose condition does not hold is made")
	}
	if err := put(store.Absent); err != nil {
		t.Fatal(err)
	}
	if entries, _, err := l.Entries(ctx, Filter{}); err != nil || len(entries) != 1 || entries[0].Actor != "server" ||
		entries[0].Remote != "" || !entries[0].Time.Equal(noon) {
		t.Errorf("the entries are %+v, error %v", entries, err)
	}
}

// Since and Until are both included.
func TestTimes(t *testing.T) {
	l, ctx := open(t), context.Background()
	now := noon
	l.now = func() time.Time { return now }
	for hour := range 5 {
		now = noon.Add(time.Duration(hour) * time.Hour)
		if _, err := l.documents.Commit(ctx, l.Change(ctx, Updated, Group, fmt.Sprint(hour), nil, nil)...); err != nil {
			t.Fatal(err)
		}
	}
	entries, next, err := l.Entries(ctx, Filter{Since: noon.Add(time.Hour), Until: noon.Add(3 * time.Hour)})
	var ids []string
	for _, entry := range entries {
		ids = append(ids, entry.ID)
	}
	if err != nil || next != "" || fmt.Sprint(ids) != "[3 2 1]" {
		t.Errorf("between are %v, next %q, error %v", ids, next, err)
	}
}

// An entry that was written when less was known of secrets shows none today.
func TestEarlierEntries(t *testing.T) {
	l, ctx := open(t), context.Background()
	entry := Entry{Time: noon, Action: Updated, Kind: Group, ID: "meters", Changes: []Field{
		{webhookPath, `"https://user:hunter2@x.example/api?(hidden)"`, ""}, {"initialTwin.tags.pin", `"hunter2"`, `7`},
		{"iotHubs", `["a"]`, `["b"]`}}}
	if _, err := l.documents.Commit(ctx, l.entries.Put(l.key(t.Context(), noon), store.Absent, entry)); err != nil {
		t.Fatal(err)
	}
	entries, _, err := l.Entries(ctx, Filter{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{customAllocationDefinition.webhookUrl "https://x.example/(hidden)" } {initialTwin.tags.pin (hidden) (hidden)} {iotHubs ["a"] ["b"]}]`
	if got := fmt.Sprint(entries[0].Changes); got != want {
		t.Errorf("it shows %s, want %s", got, want)
	}
}

// Of what is refused to one actor an hour only so much is kept, and of another as much.
func TestRefusals(t *testing.T) {
	l, ctx := open(t), context.Background()
	now := noon
	l.now = func() time.Time { return now }
	refuse := func(actor string, times int) {
		t.Helper()
		for range times {
			err := l.Refuse(WithActor(ctx, Actor{Name: actor}), Group, strings.Repeat("x", 1<<16),
				strings.Repeat("y", 1<<16), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	refuse("policy one", 10*refusalsAnHour)
	refuse("policy two", 1)
	now = now.Add(time.Hour)
	refuse("policy one", 1)
	entries, _, err := l.Entries(ctx, Filter{Max: 1000})
	if err != nil || len(entries) != refusalsAnHour+2 || entries[0].Action != Refused ||
		len(entries[0].ID)+len(entries[0].Reason) > 3*maxValue {
		t.Errorf("there are %d entries, the latest %.500v, error %v", len(entries), entries[0], err)
	}
	if err := (*Log)(nil).Refuse(ctx, Group, "x", "y", nil, nil); err != nil {
		t.Errorf("without a log: %v", err)
	}
}

// Times that can't be told in nanoseconds are later, or earlier, than all entries.
func TestTimesBeyondNanoseconds(t *testing.T) {
	l, ctx := open(t), t.Context()
	if _, err := l.documents.Commit(ctx, l.Change(ctx, Created, Enrollment, "d", nil, nil)...); err != nil {
		t.Fatal(err)
	}
	for _, year := range []int{1, 1000, 1500, 1676, 2263, 2500, 5000, 9999} {
		at := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		for name, c := range map[string]struct {
			filter Filter
			found  bool
		}{"since": {Filter{Since: at}, year < 2026}, "until": {Filter{Until: at}, year > 2026}} {
			entries, _, err := l.Entries(ctx, c.filter)
			if err != nil || len(entries) > 0 != c.found {
				t.Errorf("%s the year %d there are %d entries, error %v", name, year, len(entries), err)
			}
		}
	}
}
