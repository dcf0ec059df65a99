package store_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

type thing struct {
	Name string  `json:"name"`
	Size float64 `json:"size"`
}

// Intact implements store.Checkable.
func (t *thing) Intact() error {
	if t.Name == "" {
		return errors.New("it has no name")
	}
	return nil
}

func open(t *testing.T, log *strings.Builder) *store.Inspector {
	t.Helper()
	documents := memory.New().Open()
	t.Cleanup(func() { documents.Close() })
	return store.Inspect(documents, slog.New(slog.NewTextHandler(log, nil)))
}

// TestListSkipsUnreadable lists a collection in which every other document can't be read: each
// page is full all the same, and the log has one line of each.
func TestListSkipsUnreadable(t *testing.T) {
	var log strings.Builder
	documents := open(t, &log)
	things := store.NewTable[thing](documents, "things")
	const pairs = 25
	for i := range pairs {
		key := fmt.Sprintf("%03d", i)
		change := store.Change{Collection: "things", Key: key + "-damaged",
			Value: []byte([]string{"{", "null", "{}", "", "[]"}[i%5])}
		if _, err := documents.Commit(t.Context(), things.Put(key, store.Absent, thing{Name: key}),
			change); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		read, after := 0, ""
		for {
			const limit = 7
			entries, err := things.List(t.Context(), "", after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				if entry.Value.Name != fmt.Sprintf("%03d", read) {
					t.Fatalf("%d comes %+v", read, entry)
				}
				read++
			}
			if len(entries) < limit {
				break
			}
			after = entries[limit-1].Key
		}
		if read != pairs {
			t.Errorf("%d of %d are listed", read, pairs)
		}
	}
	if lines := strings.Count(log.String(), "level=ERROR"); lines != pairs {
		t.Errorf("%d lines for %d records that can't be read:\n%s", lines, pairs, log.String())
	}
	if known := documents.Known("thin"); len(known) != pairs || known[0].Key != "000-damaged" || known[0].Reason == "" {
		t.Errorf("known are %v", known)
	}
	if known := documents.Known("other"); len(known) > 0 {
		t.Errorf("of another collection are known %v", known)
	}

	_, etag, err := things.Get(t.Context(), "000-damaged")
	if !store.IsUnreadable(err) || etag == "" || !strings.Contains(err.Error(), "000-damaged") {
		t.Errorf("reading one is %q, %v", etag, err)
	}
	if _, err := documents.Commit(t.Context(), things.Delete("000-damaged", store.IfMatch(etag)),
		things.Put("001-damaged", store.Present, thing{Name: "new"})); err != nil {
		t.Fatal(err)
	}
	if found, err := documents.Scan(t.Context()); err != nil || len(found) != pairs-2 {
		t.Errorf("%d are left, %v", len(found), err)
	}
	for key, want := range map[string]bool{"002-damaged": true, "001-damaged": false, "001": false, "nothing": false} {
		if err := documents.Check(t.Context(), "things", key); store.IsUnreadable(err) != want {
			t.Errorf("%s is checked as %v", key, err)
		}
	}
}

// TestScanFindsUnreadable finds a damaged document of every table without their help.
func TestScanFindsUnreadable(t *testing.T) {
	documents := open(t, new(strings.Builder))
	store.NewTable[thing](documents, "things")
	store.NewTable[[]string](documents, "names")
	var changes []store.Change
	for _, collection := range documents.Collections() {
		changes = append(changes, store.Change{Collection: collection, Key: "k", Value: []byte("?")})
	}
	if _, err := documents.Commit(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
	if found, err := documents.Scan(t.Context()); err != nil || len(found) != 2 || found[0].Collection != "names" ||
		found[1].Collection != "things" {
		t.Errorf("found are %v, %v", found, err)
	}
}

// TestPutInvalidJSON fails at the commit, of which nothing happens.
func TestPutInvalidJSON(t *testing.T) {
	documents := open(t, new(strings.Builder))
	things := store.NewTable[thing](documents, "things")
	_, err := documents.Commit(t.Context(), things.Put("good", store.Always, thing{Name: "good"}),
		things.Put("bad", store.Always, thing{Name: "bad", Size: math.Inf(1)}))
	if err == nil || !strings.Contains(err.Error(), `things "bad"`) {
		t.Errorf("the commit is %v", err)
	}
	if _, _, err := things.Get(t.Context(), "good"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("half of the commit happened: %v", err)
	}
}
