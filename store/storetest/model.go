package storetest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/store"
)

// documentID names a document in the model.
type documentID struct{ collection, key string }

// documentsModel does what rapid thinks of to the engine and to a map, and
// compares. It also closes and reopens the engine between the steps.
func documentsModel(t *testing.T, open OpenDocuments) {
	rapid.Check(t, func(r *rapid.T) {
		dir := t.TempDir()
		d := open(t, dir)
		defer func() {
			if err := d.Close(); err != nil {
				r.Fatal(err)
			}
		}()
		model := map[documentID]store.Document{}
		given := map[documentID]map[string]bool{} // all ETags there ever were
		ids := rapid.Custom(func(r *rapid.T) documentID {
			return documentID{
				collection: rapid.SampledFrom([]string{"a", "ab"}).Draw(r, "collection"),
				key:        rapid.StringMatching(`[bc]{1,2}`).Draw(r, "key"),
			}
		})
		r.Repeat(map[string]func(*rapid.T){
			"commit": func(r *rapid.T) {
				targets := rapid.SliceOfNDistinct(ids, 1, 3, rapid.ID[documentID]).Draw(r, "ids")
				var changes []store.Change
				conflict := -1
				for i, p := range targets {
					c := store.Change{Collection: p.collection, Key: p.key}
					present, some := model[p]
					var holds bool
					switch rapid.IntRange(0, 4).Draw(r, "match") {
					case 0:
						c.Match, holds = store.Always, true
					case 1:
						c.Match, holds = store.Absent, !some
					case 2:
						c.Match, holds = store.Present, some
					default:
						etags := append(slices.Sorted(maps.Keys(given[p])), present.ETag, "0")
						etag := rapid.SampledFrom(etags).Draw(r, "etag")
						c.Match, holds = store.IfMatch(etag), etag == "" || some && etag == present.ETag
					}
					switch rapid.IntRange(0, 3).Draw(r, "step") {
					case 0:
						c.Delete = true
					case 1:
						c.Check = true
					default:
						c.Value = rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(r, "value")
					}
					if !holds && conflict < 0 {
						conflict = i
					}
					changes = append(changes, c)
				}
				etags, err := d.Commit(t.Context(), changes...)
				if conflict >= 0 {
					var got *store.ConflictError
					if !errors.As(err, &got) || got.Index != conflict {
						r.Fatalf("commit %v: %v, want a conflict at change %d", changes, err, conflict)
					}
					return
				}
				if err != nil {
					r.Fatalf("commit %v: %v", changes, err)
				}
				for i, c := range changes {
					p := targets[i]
					switch {
					case c.Check:
						if etags[i] != model[p].ETag {
							r.Fatalf("check of %v returned ETag %q, want %q", p, etags[i], model[p].ETag)
						}
					case c.Delete:
						delete(model, p)
					default:
						if given[p][etags[i]] {
							r.Fatalf("ETag %q of %v came twice", etags[i], p)
						}
						if given[p] == nil {
							given[p] = map[string]bool{}
						}
						given[p][etags[i]] = true
						model[p] = store.Document{Key: p.key, ETag: etags[i], Value: c.Value}
					}
				}
			},
			"list": func(r *rapid.T) {
				collection := rapid.SampledFrom([]string{"a", "ab"}).Draw(r, "collection")
				prefix := rapid.StringMatching(`[bc]{0,2}`).Draw(r, "prefix")
				after := rapid.StringMatching(`[abcd]{0,2}`).Draw(r, "after")
				limit := rapid.IntRange(1, 4).Draw(r, "limit")
				var want []store.Document
				for p, document := range model {
					if p.collection == collection && strings.HasPrefix(p.key, prefix) && p.key > after {
						want = append(want, document)
					}
				}
				slices.SortFunc(want, func(a, b store.Document) int { return strings.Compare(a.Key, b.Key) })
				want = want[:min(limit, len(want))]
				got, err := d.List(t.Context(), collection, prefix, after, limit)
				if err != nil || !slices.EqualFunc(got, want, equal) {
					r.Fatalf("list %q %q %q %d: %v (%v), want %v", collection, prefix, after, limit, got, err, want)
				}
			},
			"get": func(r *rapid.T) {
				p := ids.Draw(r, "id")
				got, err := d.Get(t.Context(), p.collection, p.key)
				want, some := model[p]
				if some && (err != nil || !equal(got, want)) || !some && !errors.Is(err, store.ErrNotFound) {
					r.Fatalf("get %v: %v (%v), want %v", p, got, err, want)
				}
			},
			"reopen": func(r *rapid.T) {
				if rapid.IntRange(0, 3).Draw(r, "seldom") > 0 {
					return
				}
				if err := d.Close(); err != nil {
					r.Fatal(err)
				}
				d = open(t, dir)
			},
		})
	})
}

func equal(a, b store.Document) bool {
	return a.Key == b.Key && a.ETag == b.ETag && string(a.Value) == string(b.Value)
}
