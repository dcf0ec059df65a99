package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
)

// commit makes a change of something in the context, with its entry if it has one.
func commit(t *testing.T, l *Log, ctx context.Context, kind Kind, id string, before, after any) {
	t.Helper()
	changes := append(l.Change(ctx, Updated, kind, id, before, after),
		store.Change{Collection: "things", Key: id, Value: []byte("v")})
	if _, err := l.documents.Commit(ctx, changes...); err != nil {
		t.Fatal(err)
	}
}

// itemsOf are all things of a bulk operation in one line each.
func itemsOf(t *testing.T, l *Log, name string) (all []string) {
	t.Helper()
	for after := ""; ; {
		items, next, err := l.Items(t.Context(), name, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			text := item.ID
			for _, field := range item.Changes {
				text += fmt.Sprintf(" %s %s>%s", field.Path, field.Before, field.After)
			}
			if item.Failed != "" {
				text += " failed: " + item.Failed
			}
			all = append(all, text)
		}
		if next == "" {
			return all
		}
		after = next
	}
}

// TestBulk makes one entry for many changes. What is to be changed is known before it is,
// and what came of it afterwards; what is not a part of it has an entry of its own.
func TestBulk(t *testing.T) {
	l, ctx := open(t), WithActor(t.Context(), Actor{Name: "policy p", Remote: "192.0.2.1:4"})
	bulk := l.Begin(ctx, Updated, Enrollment)
	inside, part, err := bulk.Part(ctx, []string{"A", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := l.Entries(ctx, Filter{})
	if err != nil || len(entries) != 1 || entries[0].Bulk == nil || entries[0].Bulk.Ended ||
		entries[0].Actor != "policy p" {
		t.Fatalf("before anything is changed there are %+v, error %v", entries, err)
	}
	name := entries[0].Bulk.Name
	if got := itemsOf(t, l, name); fmt.Sprint(got) != "[A b c]" {
		t.Errorf("to be changed are %q", got)
	}

	commit(t, l, inside, Enrollment, "a", map[string]any{"iotHubs": "x", "pin": 1},
		map[string]any{"iotHubs": "y", "pin": 2})
	commit(t, l, inside, Enrollment, "b", nil, nil)
	commit(t, l, inside, Group, "a", nil, nil)
	commit(t, l, inside, Enrollment, "d", nil, nil)
	refusals := map[int]string{2: "It is in use"}
	part.End(func(i int) string { return refusals[i] })
	_, second, err := bulk.Part(ctx, []string{"e"})
	if err != nil {
		t.Fatal(err)
	}
	second.End(func(int) string { return "" })
	ended, cancel := context.WithCancel(ctx)
	cancel() // the client has gone
	if err := bulk.End(ended); err != nil {
		t.Fatal(err)
	}

	entries, _, err = l.Entries(ctx, Filter{})
	if err != nil || len(entries) != 3 {
		t.Fatalf("there are %+v, error %v", entries, err)
	}
	if entries[0].ID != "d" || entries[1].ID != "a" || entries[1].Kind != Group {
		t.Errorf("what was no part of it has the entries %+v", entries[:2])
	}
	if got := *entries[2].Bulk; got != (BulkSummary{name, 3, 1, true}) || entries[2].Action != Updated ||
		entries[2].Kind != Enrollment {
		t.Errorf("in the end it says %+v", got)
	}
	want := `A iotHubs "x">"y" pin (hidden)>(hidden)|b|c failed: It is in use|e`
	if got := strings.Join(itemsOf(t, l, name), "|"); got != want {
		t.Errorf("of it there are %q, want %q", got, want)
	}
	for id, want := range map[string]int{"A": 2, "E": 1, "c": 1, "f": 0} {
		if found, _, err := l.Entries(ctx, Filter{ID: id}); err != nil || len(found) != want {
			t.Errorf("about %s there are %+v, error %v", id, found, err)
		}
	}
	if found, _, err := l.Entries(ctx, Filter{ID: "e", Kind: Group}); err != nil || len(found) != 0 {
		t.Errorf("about groups like e there are %+v, error %v", found, err)
	}
	if got := itemsOf(t, l, "none"); len(got) != 0 {
		t.Errorf("of an operation that there is not there are %q", got)
	}
}

// TestNoBulk has no log, as tests and tools do without.
func TestNoBulk(t *testing.T) {
	var l *Log
	bulk := l.Begin(t.Context(), Deleted, Enrollment)
	ctx, part, err := bulk.Part(t.Context(), []string{"a"})
	if err != nil || len(l.Change(ctx, Deleted, Enrollment, "a", nil, nil)) != 0 {
		t.Fatal("without a log there is an entry", err)
	}
	part.End(func(int) string { return "" })
	if err := bulk.End(ctx); err != nil {
		t.Error(err)
	}
}

// TestBound forgets the oldest entries, and things of operations, when there is too much
// of them, and no more than that; also what was there before a restart.
func TestBound(t *testing.T) {
	l, ctx := open(t), t.Context()
	for i := range 300 {
		commit(t, l, ctx, Group, fmt.Sprintf("%03d", i), nil, nil)
	}
	bulk := l.Begin(ctx, Deleted, Enrollment)
	for i := range 20 {
		if _, _, err := bulk.Part(ctx, []string{fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	size := func(collection string) (bytes int64, documents int) {
		found, err := l.documents.List(ctx, collection, "", "", 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range found {
			bytes += int64(len(document.Key) + len(document.Value))
		}
		return bytes, len(found)
	}
	prune := func() {
		t.Helper()
		if err := l.Prune(ctx); err != nil {
			t.Fatal(err)
		}
	}
	prune()
	all, n := size("audit/entries")
	if n != 301 {
		t.Fatalf("%d entries are left though there is room", n)
	}
	l = Open(l.documents, l.now) // which does not know how much there is
	l.bounds["audit/entries"].most = all / 2
	l.bounds["audit/items"].most = 1
	prune()
	bytes, n := size("audit/entries")
	if bytes > all/2 || bytes < all/3 {
		t.Errorf("%d bytes are left of %d, in %d entries", bytes, all, n)
	}
	if _, items := size("audit/items"); items != 0 {
		t.Errorf("%d parts of operations are left", items)
	}
	entries, _, err := l.Entries(ctx, Filter{Max: 1000})
	if err != nil || len(entries) != n || entries[0].Bulk == nil || entries[1].ID != "299" {
		t.Errorf("left are %d entries, the latest %+v, error %v", len(entries), entries[0], err)
	}
	if err := bulk.End(ctx); err != nil { // its items are gone, it is not
		t.Error(err)
	}
	for i := 300; i < 600; i++ {
		commit(t, l, ctx, Group, fmt.Sprintf("%03d", i), nil, nil)
	}
	prune()
	if bytes, _ := size("audit/entries"); bytes > all/2 {
		t.Errorf("%d bytes are there after more came", bytes)
	}
}

// TestPruneLeavesOthers forgets entries that are old, and no record that is not one.
func TestPruneLeavesOthers(t *testing.T) {
	l, ctx := open(t), t.Context()
	commit(t, l, ctx, Group, "old", nil, nil)
	stray := store.Change{Collection: "audit/entries", Key: "stray", Value: []byte("{")}
	if _, err := l.documents.Commit(ctx, stray); err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return noon.Add(keep + time.Hour) }
	if err := l.Prune(ctx); err != nil {
		t.Fatal(err)
	}
	left, err := l.documents.List(ctx, "audit/entries", "", "", 10)
	if err != nil || len(left) != 1 || left[0].Key != "stray" {
		t.Errorf("left are %v, error %v", left, err)
	}
}
