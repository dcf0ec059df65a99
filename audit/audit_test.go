package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *Log {
	t.Helper()
	documents, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { documents.Close() })
	return Open(documents, func() time.Time { return noon })
}

// thing is what an update is told of.
func thing(webhook, key, code string, more map[string]any) map[string]any {
	fields := map[string]any{
		"customAllocationDefinition": map[string]any{"webhookUrl": webhook},
		"policies":                   []any{map[string]any{"keyName": "owner", "primaryKey": key}},
		"initialTwin":                map[string]any{"properties": map[string]any{"desired": map[string]any{"wifi.Password": map[string]any{"value": code}, "secrets": []any{code}}}},
		"etag":                       code,
	}
	for name, value := range more {
		fields[name] = value
	}
	return fields
}

// What differs is told by its path, and secrets only as different, wherever they are.
func TestChanges(t *testing.T) {
	long := strings.Repeat("é", 300)
	before := thing("https://x.example/api?code=one", "k-one", "c-one", map[string]any{"hubs": []string{"a", "b"}, "gone": true, "keyTypes": []string{"ec"}, "text": "short"})
	after := thing("https://x.example/api?code=two", "k-two", "c-two", map[string]any{"hubs": []string{"b"}, "new": 7, "keyTypes": []string{"rsa"}, "text": long})
	var told []string
	for _, field := range differences(flat(before), flat(after)) {
		told = append(told, fmt.Sprintf("%s: %s > %s", field.Path, field.Before, field.After))
	}
	want := []string{
		`customAllocationDefinition.webhookUrl: "https://x.example/api?(hidden)" > "https://x.example/api?(hidden)"`,
		`gone: true > `,
		`hubs: ["a","b"] > ["b"]`,
		`initialTwin.properties.desired.secrets: (hidden) > (hidden)`,
		`initialTwin.properties.desired.wifi.Password.value: (hidden) > (hidden)`,
		`keyTypes: ["ec"] > ["rsa"]`,
		`new:  > 7`,
		`policies[0].primaryKey: (hidden) > (hidden)`,
		`text: "short" > "` + strings.Repeat("é", 99) + `…`,
	}
	if got := strings.Join(told, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the changes are\n%s\nwant\n%s", got, strings.Join(want, "\n"))
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
			changes = append(changes, l.Change(WithActor(ctx, Actor{Name: actor}), Created, Enrollment, id, nil, nil)...)
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
	if entries, _, err := l.Entries(ctx, Filter{}); err != nil || len(entries) != 1 || entries[0].Actor != "server" || entries[0].Remote != "" || !entries[0].Time.Equal(noon) {
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
