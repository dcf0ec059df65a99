// Package storetest holds the suites that every storage engine must pass, with
// nothing left out. An engine's test calls RunDocuments or RunLogs; and what says that it
// keeps more than all do: CrashDocuments or CrashLogs, that what it confirmed outlives its
// process, and ShareDocuments, that several nodes may have the documents open at once.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-iot/berth/store"
)

// OpenDocuments opens the documents kept in the folder dir, which is empty at
// first. The suite closes them and opens the same folder again.
type OpenDocuments func(t testing.TB, dir string) store.Documents

// RunDocuments tests an implementation of store.Documents.
func RunDocuments(t *testing.T, open func(t testing.TB, dir string) store.Documents) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, OpenDocuments)
	}{
		{"PutGetDelete", putGetDelete},
		{"ValuesAreOwned", valuesAreOwned},
		{"ETagsChange", etagsChange},
		{"ETagsAreNeverReused", etagsAreNeverReused},
		{"Match", match},
		{"AllOrNothing", allOrNothing},
		{"SameDocumentTwice", sameDocumentTwice},
		{"Limits", documentLimits},
		{"ChangeWithError", changeWithError},
		{"List", list},
		{"ListSeesOneMoment", listSeesOneMoment},
		{"Count", count},
		{"CountTogether", countTogether},
		{"CountWhileChanging", countWhileChanging},
		{"NoUpdateIsLost", noUpdateIsLost},
		{"OppositeOrders", oppositeOrders},
		{"Watch", watch},
		{"WatchMany", watchMany},
		{"Lease", lease},
		{"Reopen", reopenDocuments},
		{"Closed", closedDocuments},
		{"Cancelled", cancelledDocuments},
		{"Model", documentsModel},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// documents opens an engine in a new folder until the test ends.
func documents(t *testing.T, open OpenDocuments) store.Documents {
	t.Helper()
	d := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

// eventually waits until condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not so after 10 s: %s", what)
		}
	}
}

func put(collection, key, value string) store.Change {
	return store.Change{Collection: collection, Key: key, Value: []byte(value)}
}

// commit commits and returns the ETag of the last change.
func commit(t testing.TB, d store.Documents, changes ...store.Change) string {
	t.Helper()
	etags, err := d.Commit(t.Context(), changes...)
	if err != nil {
		t.Fatalf("commit %v: %v", changes, err)
	}
	if len(etags) != len(changes) {
		t.Fatalf("commit of %d changes returned %d ETags", len(changes), len(etags))
	}
	return etags[len(etags)-1]
}

// wantValue fails unless the document holds value; "" is for none.
func wantValue(t testing.TB, d store.Documents, collection, key, value string) {
	t.Helper()
	document, err := d.Get(t.Context(), collection, key)
	switch {
	case value == "" && errors.Is(err, store.ErrNotFound):
	case err != nil:
		t.Fatalf("get %s %q: %v", collection, key, err)
	case string(document.Value) != value:
		t.Fatalf("%s %q holds %q, want %q", collection, key, document.Value, value)
	}
}

func putGetDelete(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	if _, err := d.Get(t.Context(), "devices", "a"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("get of nothing: %v, want ErrNotFound", err)
	}
	etag := commit(t, d, put("devices", "a", "one"))
	got, err := d.Get(t.Context(), "devices", "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(store.Document{Key: "a", ETag: etag, Value: []byte("one")}, got); diff != "" {
		t.Fatal(diff)
	}
	commit(t, d, put("devices", "a", "two"))
	wantValue(t, d, "devices", "a", "two")
	wantValue(t, d, "twins", "a", "") // another collection
	commit(t, d, store.Change{Collection: "devices", Key: "empty"})
	if got, err := d.Get(t.Context(), "devices", "empty"); err != nil || len(got.Value) != 0 {
		t.Fatalf("get of an empty document: %v, %v", got, err)
	}
	if etag := commit(t, d, store.Change{Collection: "devices", Key: "a", Delete: true}); etag != "" {
		t.Fatalf("a delete returned ETag %q", etag)
	}
	wantValue(t, d, "devices", "a", "")
	commit(t, d, store.Change{Collection: "devices", Key: "a", Delete: true}) // nothing to delete is no conflict
	if etags, err := d.Commit(t.Context()); err != nil || len(etags) != 0 {
		t.Fatalf("commit of nothing: %v, %v", etags, err)
	}
}

func valuesAreOwned(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	change := put("devices", "a", "one")
	commit(t, d, change)
	change.Value[0] = 'X'
	wantValue(t, d, "devices", "a", "one")
	got, err := d.Get(t.Context(), "devices", "a")
	if err != nil {
		t.Fatal(err)
	}
	got.Value[0] = 'X'
	listed, err := d.List(t.Context(), "devices", "", "", 1)
	if err != nil || len(listed) != 1 {
		t.Fatalf("list: %v, %v", listed, err)
	}
	listed[0].Value[0] = 'X'
	wantValue(t, d, "devices", "a", "one")
}

var etagForm = regexp.MustCompile(`^[0-9a-f]{1,32}$`)

func etagsChange(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	seen := map[string]bool{}
	for range 3 {
		etag := commit(t, d, put("devices", "a", "the same"))
		if !etagForm.MatchString(etag) {
			t.Fatalf("ETag %q is not 1 to 32 of [0-9a-f]", etag)
		}
		if seen[etag] {
			t.Fatalf("ETag %q was given twice", etag)
		}
		seen[etag] = true
		got, err := d.Get(t.Context(), "devices", "a")
		if err != nil || got.ETag != etag {
			t.Fatalf("get has ETag %q (%v), commit returned %q", got.ETag, err, etag)
		}
		listed, err := d.List(t.Context(), "devices", "", "", 1)
		if err != nil || len(listed) != 1 || listed[0].ETag != etag {
			t.Fatalf("list returned %v (%v), commit returned ETag %q", listed, err, etag)
		}
	}
}

func etagsAreNeverReused(t *testing.T, open OpenDocuments) {
	dir := t.TempDir()
	seen := map[string]bool{}
	for range 4 {
		d := open(t, dir)
		for range 3 {
			etag := commit(t, d, store.Change{Collection: "devices", Key: "a", Match: store.Absent, Value: []byte("v")})
			if seen[etag] {
				t.Fatalf("ETag %q came again after a delete", etag)
			}
			seen[etag] = true
			commit(t, d, store.Change{Collection: "devices", Key: "a", Match: store.IfMatch(etag), Delete: true})
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func match(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	for _, test := range []struct {
		name             string
		match            func(present, former string) store.Match
		onSome, onAbsent bool // whether the change happens
	}{
		{"always", func(_, _ string) store.Match { return store.Always }, true, true},
		{"absent", func(_, _ string) store.Match { return store.Absent }, false, true},
		{"present", func(_, _ string) store.Match { return store.Present }, true, false},
		{"its ETag", func(present, _ string) store.Match { return store.IfMatch(present) }, true, false},
		{"a former ETag", func(_, former string) store.Match { return store.IfMatch(former) }, false, false},
		{"no ETag at all", func(_, _ string) store.Match { return "anything" }, false, false},
	} {
		for _, present := range []bool{true, false} {
			for _, step := range []string{"put", "delete", "check"} {
				t.Run(fmt.Sprintf("%s/present=%t/%s", test.name, present, step), func(t *testing.T) {
					former := commit(t, d, put("devices", "a", "former"))
					etag := commit(t, d, put("devices", "a", "present"))
					before := "present"
					want := test.onSome
					if !present {
						commit(t, d, store.Change{Collection: "devices", Key: "a", Delete: true})
						before, want = "", test.onAbsent
					}
					change := store.Change{Collection: "devices", Key: "a", Match: test.match(etag, former)}
					after := before
					switch step {
					case "put":
						change.Value, after = []byte("new"), "new"
					case "delete":
						change.Delete, after = true, ""
					case "check":
						change.Check = true
					}
					etags, err := d.Commit(t.Context(), change)
					if !want {
						wantConflict(t, err, 0, "devices", "a")
						wantValue(t, d, "devices", "a", before)
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					wantValue(t, d, "devices", "a", after)
					if step == "check" && present && etags[0] != etag {
						t.Fatalf("a check returned ETag %q, want the present one, %q", etags[0], etag)
					}
					if (step == "delete" || step == "check" && !present) && etags[0] != "" {
						t.Fatalf("a %s returned ETag %q, want none", step, etags[0])
					}
				})
			}
		}
	}
}

func wantConflict(t testing.TB, err error, index int, collection, key string) {
	t.Helper()
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) {
		t.Fatalf("error %v, want a conflict", err)
	}
	if diff := cmp.Diff(&store.ConflictError{Index: index, Collection: collection, Key: key}, conflict); diff != "" {
		t.Fatal(diff)
	}
}

func allOrNothing(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	commit(t, d, put("devices", "a", "one"), put("twins", "a", "one"))
	_, err := d.Commit(t.Context(),
		put("devices", "a", "two"),
		store.Change{Collection: "twins", Key: "a", Delete: true},
		store.Change{Collection: "devices", Key: "b", Match: store.Present, Check: true},
		put("devices", "c", "one"),
	)
	wantConflict(t, err, 2, "devices", "b")
	wantValue(t, d, "devices", "a", "one")
	wantValue(t, d, "twins", "a", "one")
	wantValue(t, d, "devices", "c", "")

	commit(t, d,
		put("devices", "a", "two"),
		store.Change{Collection: "twins", Key: "a", Delete: true},
		store.Change{Collection: "devices", Key: "b", Match: store.Absent, Check: true},
		put("devices", "c", "one"),
	)
	wantValue(t, d, "devices", "a", "two")
	wantValue(t, d, "twins", "a", "")
	wantValue(t, d, "devices", "b", "")
	wantValue(t, d, "devices", "c", "one")
}

func sameDocumentTwice(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	_, err := d.Commit(t.Context(), put("devices", "a", "one"), put("devices", "b", "one"), put("devices", "a", "two"))
	if err == nil {
		t.Fatal("a commit with two changes of the same document succeeded")
	}
	wantValue(t, d, "devices", "a", "")
	wantValue(t, d, "devices", "b", "")
	commit(t, d, put("devices", "a", "one"), put("twins", "a", "one")) // same key, other collection
}

func changeWithError(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	failed := errors.New("there is no value")
	_, err := d.Commit(t.Context(), put("devices", "a", "one"),
		store.Change{Collection: "devices", Key: "b", Err: failed})
	if !errors.Is(err, failed) {
		t.Fatalf("a change with an error: %v, want that error", err)
	}
	wantValue(t, d, "devices", "a", "")
	wantValue(t, d, "devices", "b", "")
}

func documentLimits(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	for _, test := range []struct {
		name    string
		change  store.Change
		allowed bool
	}{
		{"longest names", put(strings.Repeat("c", 64), strings.Repeat("k", 1024), "v"), true},
		{"any bytes in a key", put("c", "\x01\xff/%\n", "v"), true},
		{"largest value", put("c", "large", strings.Repeat("v", 1<<20)), true},
		{"no collection", put("", "k", "v"), false},
		{"long collection", put(strings.Repeat("c", 65), "k", "v"), false},
		{"zero byte in a collection", put("c\x00d", "k", "v"), false},
		{"no key", put("c", "", "v"), false},
		{"long key", put("c", strings.Repeat("k", 1025), "v"), false},
		{"zero byte in a key", put("c", "k\x00l", "v"), false},
		{"value too large", put("c", "k", strings.Repeat("v", 1<<20+1)), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := test.change
			_, err := d.Commit(t.Context(), c, put("c", "with it", test.name))
			if !test.allowed {
				if err == nil {
					t.Fatal("the commit succeeded")
				}
				if _, err := d.Get(t.Context(), c.Collection, c.Key); !errors.Is(err, store.ErrNotFound) {
					t.Fatalf("get: %v, want ErrNotFound", err)
				}
				if got, err := d.Get(t.Context(), "c", "with it"); err == nil && string(got.Value) == test.name {
					t.Fatal("the other change of the commit happened")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantValue(t, d, c.Collection, c.Key, string(c.Value))
		})
	}
}

func list(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	keys := []string{"\x01", "a", "a/", "a/1", "a/10", "a/2", "a0", "b", "b\xff", "b\xff\xff", "c", "é", "\xff\xff"}
	for i := range keys {
		key := keys[(i*5)%len(keys)]
		commit(t, d, put("devices", key, key), put("devicesX", "x", "x"), put("device", "x", "x"))
	}
	for _, test := range []struct {
		prefix, after string
		limit         int
		want          []string
	}{
		{"", "", 100, keys},
		{"", "", 3, keys[:3]},
		{"", "a/", 2, []string{"a/1", "a/10"}},
		{"", "\xff\xff", 2, nil},
		{"", "aa", 1, []string{"b"}},
		{"a/", "", 100, []string{"a/", "a/1", "a/10", "a/2"}},
		{"a/", "a/1", 100, []string{"a/10", "a/2"}},
		{"a/", "a", 100, []string{"a/", "a/1", "a/10", "a/2"}},
		{"a/", "a/2", 100, nil},
		{"a/", "b", 100, nil},
		{"b", "", 100, []string{"b", "b\xff", "b\xff\xff"}},
		{"b\xff", "", 100, []string{"b\xff", "b\xff\xff"}},
		{"\xff", "", 100, []string{"\xff\xff"}},
		{"\xff\xff\xff", "", 100, nil},
		{"nothing", "", 100, nil},
	} {
		got, err := d.List(t.Context(), "devices", test.prefix, test.after, test.limit)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, document := range got {
			found = append(found, document.Key)
			if string(document.Value) != document.Key {
				t.Errorf("%q holds %q", document.Key, document.Value)
			}
		}
		if diff := cmp.Diff(test.want, found); diff != "" {
			t.Errorf("list with prefix %q after %q, at most %d:\n%s", test.prefix, test.after, test.limit, diff)
		}
	}
	if got, err := d.List(t.Context(), "nothing", "", "", 10); err != nil || len(got) != 0 {
		t.Errorf("list of an empty collection: %v, %v", got, err)
	}
}

func count(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	want := func(collection string, want int) {
		t.Helper()
		if n, err := store.Count(t.Context(), d, collection); err != nil || n != want {
			t.Fatalf("count of %s: %d (%v), want %d", collection, n, err, want)
		}
	}
	want("devices", 0)
	for i := range 25 {
		commit(t, d, put("devices", strconv.Itoa(i), "v"), put("devices2", "x", "v"))
	}
	want("devices", 25)
	want("devices2", 1)
	commit(t, d, store.Change{Collection: "devices", Key: "7", Delete: true})
	want("devices", 24)
}

func reopenDocuments(t *testing.T, open OpenDocuments) {
	dir := t.TempDir()
	d := open(t, dir)
	for i := range 20 {
		commit(t, d, put("devices", strconv.Itoa(i), "v"+strconv.Itoa(i)))
	}
	commit(t, d, store.Change{Collection: "devices", Key: "3", Delete: true})
	before, err := d.List(t.Context(), "devices", "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, dir)
	after, err := d.List(t.Context(), "devices", "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" || len(after) != 19 {
		t.Fatalf("%d documents after reopening: %s", len(after), diff)
	}
	commit(t, d,
		store.Change{Collection: "devices", Key: after[0].Key, Match: store.IfMatch(after[0].ETag),
			Value: []byte("changed")},
		store.Change{Collection: "devices", Key: after[1].Key, Match: store.IfMatch(after[1].ETag), Check: true})
	wantValue(t, d, "devices", after[0].Key, "changed")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func closedDocuments(t *testing.T, open OpenDocuments) {
	d := open(t, t.TempDir())
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, get := d.Get(t.Context(), "devices", "a")
	_, list := d.List(t.Context(), "devices", "", "", 1)
	_, counted := d.Count(t.Context(), "devices")
	_, committed := d.Commit(t.Context(), put("devices", "a", "v"))
	for call, err := range map[string]error{
		"get": get, "list": list, "count": counted, "commit": committed, "close": d.Close(),
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after close: %v, want ErrClosed", call, err)
		}
	}
}

func cancelledDocuments(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Commit(ctx, put("devices", "a", "v")); !errors.Is(err, context.Canceled) {
		t.Errorf("commit with an ended context: %v", err)
	}
	wantValue(t, d, "devices", "a", "")
	if _, err := d.Get(ctx, "devices", "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("get with an ended context: %v", err)
	}
}
