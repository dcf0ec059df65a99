package twin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// MaxIndexes is how many indexes a hub can have: each makes a change of a twin dearer.
const MaxIndexes = 10

// Index says that twins are found by the value at a path of their tags or properties.
type Index struct {
	Path    string        `json:"path"` // such as tags.site
	State   IndexState    `json:"state"`
	Created document.Time `json:"createdTimeUtc"`
	Twins   int           `json:"twins,omitempty"` // that were read so far, while it is built

	// Number tells its entries from those of any other, also of one of the same path that
	// was deleted.
	Number int `json:"-"`
}

// IndexState is how far an index is.
type IndexState string

// The states of an index. Changes of twins are in it from the beginning; it is used once
// the twins of before are in it too.
const (
	IndexBuilding IndexState = "building"
	IndexReady    IndexState = "ready"
)

// Indexes are those of the twins of a hub. An entry is written in the commit of the twin
// that it is of. One that is there and should not be does no harm: who finds a twin by it
// looks at the twin.
type Indexes struct {
	documents   store.Documents
	twins       string // the collection
	definitions store.Table[definitions]
	entries     store.Table[struct{}] // by number, hash of the value, and id
	progress    store.Table[progress]
	now         func() time.Time
	known       atomic.Pointer[knownDefinitions]
}

// definitions are what is kept of the indexes of a hub, in one document: each commit of a
// twin checks that it is as it was when the entries of the twin were made.
type definitions struct {
	Last    int          `json:"last"` // number that was given out
	Indexes []definition `json:"indexes"`
	Dropped []int        `json:"dropped"` // numbers of those whose entries are to be deleted
}

type definition struct {
	Number  int       `json:"number"`
	Path    []string  `json:"path"`
	Created time.Time `json:"created"`
	Ready   bool      `json:"ready"`
}

// progress is how far an index is that is built.
type progress struct {
	After string `json:"after"` // the id of the last twin
	Twins int    `json:"twins"`
}

// knownDefinitions are those of an ETag, with what finds the values of a twin.
type knownDefinitions struct {
	etag string
	definitions
	finder *document.Finder
}

const definitionsKey = "twins"

// OpenIndexes returns the indexes of the twins that are kept with this configuration.
func OpenIndexes(config Config) *Indexes {
	return &Indexes{
		documents:   config.Documents,
		twins:       config.Prefix + "twins",
		definitions: store.NewTable[definitions](config.Documents, config.Prefix+"twin-indexes"),
		entries:     store.NewTable[struct{}](config.Documents, config.Prefix+"twin-index"),
		progress:    store.NewTable[progress](config.Documents, config.Prefix+"twin-index-progress"),
		now:         config.Now,
	}
}

// load returns the present definitions, and the check that they are.
func (x *Indexes) load(ctx context.Context) (*knownDefinitions, store.Change, error) {
	check := store.Change{Collection: x.definitions.Collection, Key: definitionsKey, Match: store.Absent, Check: true}
	stored, err := x.documents.Get(ctx, x.definitions.Collection, definitionsKey)
	if errors.Is(err, store.ErrNotFound) {
		return &knownDefinitions{finder: document.NewFinder()}, check, nil
	}
	if err != nil {
		return nil, check, err
	}
	check.Match = store.IfMatch(stored.ETag)
	if known := x.known.Load(); known != nil && known.etag == stored.ETag {
		return known, check, nil
	}
	read, err := x.definitions.Decode(stored)
	if err != nil { // no index is used, nor kept up; it is listed by berth data unreadable
		return &knownDefinitions{etag: stored.ETag, finder: document.NewFinder()}, check, nil
	}
	known := &knownDefinitions{etag: stored.ETag, definitions: read}
	var paths [][]string
	for _, d := range read.Indexes {
		paths = append(paths, Locate(d.Path).Path)
	}
	known.finder = document.NewFinder(paths...)
	x.known.Store(known)
	return known, check, nil
}

// Derive returns the changes of entries that belong to those of twins, see store.Derive.
func (x *Indexes) Derive(ctx context.Context, changes []store.Change) (derived []store.Change, _ error) {
	var known *knownDefinitions
	for _, change := range changes {
		if change.Collection != x.twins || change.Check || change.Err != nil {
			continue
		}
		if known == nil {
			var check store.Change
			var err error
			if known, check, err = x.load(ctx); err != nil {
				return nil, err
			}
			derived = append(derived, check)
		}
		if len(known.Indexes) == 0 {
			continue
		}
		var before []string
		if change.Match != store.Absent {
			stored, err := x.documents.Get(ctx, x.twins, change.Key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			before = known.entriesOf(change.Key, stored.Value)
		}
		after := known.entriesOf(change.Key, change.Value)
		for _, key := range before {
			if !slices.Contains(after, key) {
				derived = append(derived, x.entries.Delete(key, store.Always))
			}
		}
		for _, key := range after {
			if !slices.Contains(before, key) {
				derived = append(derived, x.entries.Put(key, store.Always, struct{}{}))
			}
		}
	}
	return derived, nil
}

// entriesOf returns the keys of the entries of a twin as it is stored.
func (k *knownDefinitions) entriesOf(id string, stored []byte) (keys []string) {
	if len(stored) == 0 {
		return nil
	}
	values := make([][]byte, len(k.Indexes))
	k.finder.Find(stored, values)
	for i, value := range values {
		if prefix, ok := entryPrefix(k.Indexes[i].Number, value); ok {
			keys = append(keys, prefix+id)
		}
	}
	return keys
}

// entryPrefix begins the keys of the entries of an index for a value. Objects and arrays
// have none, as nothing is equal to them.
func entryPrefix(number int, value []byte) (prefix string, ok bool) {
	if len(value) == 0 || value[0] == '{' || value[0] == '[' {
		return "", false
	}
	same := string(value) // for all spellings of the value
	if value[0] == '"' {
		var text document.Value
		if o, err := document.Parse(slices.Concat([]byte(`{"v":`), value, []byte(`}`)), document.MaxDepth); err == nil {
			text = o.Get("v")
		}
		same = `"` + text.Text()
	} else if n, err := strconv.ParseFloat(same, 64); err == nil {
		same = strconv.FormatFloat(n+0, 'g', -1, 64) // + 0 makes 0 of -0
	}
	hash := sha256.Sum256([]byte(same))
	return strconv.Itoa(number) + "." + hex.EncodeToString(hash[:12]) + ".", true
}

// Find returns what lists the ids of the twins whose value at a path may be one of those
// given, as JSON: at most limit, in order after one id, and fewer at the end. It is nil when
// no index is ready for that.
func (x *Indexes) Find(ctx context.Context, path []string, values [][]byte) (
	list func(ctx context.Context, after string, limit int) ([]string, error), _ error,
) {
	known, _, err := x.load(ctx)
	if err != nil || len(values) > maxIndexValues {
		return nil, err
	}
	at := slices.IndexFunc(known.Indexes, func(d definition) bool { return d.Ready && slices.Equal(d.Path, path) })
	if at < 0 {
		return nil, nil
	}
	var prefixes []string
	for _, value := range values {
		if prefix, ok := entryPrefix(known.Indexes[at].Number, value); ok && !slices.Contains(prefixes, prefix) {
			prefixes = append(prefixes, prefix)
		}
	}
	return func(ctx context.Context, after string, limit int) (ids []string, _ error) {
		for _, prefix := range prefixes {
			documents, err := x.documents.List(ctx, x.entries.Collection, prefix, prefix+after, limit)
			if err != nil {
				return nil, err
			}
			for _, d := range documents {
				ids = append(ids, strings.TrimPrefix(d.Key, prefix))
			}
		}
		slices.Sort(ids)
		ids = slices.Compact(ids) // an entry that is of no use may be among them
		return ids[:min(limit, len(ids))], nil
	}, nil
}

// maxIndexValues is how many values an index is asked for at once. With more of them the
// twins are looked through.
const maxIndexValues = 50

// Watch calls changed when there may be other indexes than before, as Documents.Watch does.
func (x *Indexes) Watch(ctx context.Context, changed func()) {
	x.documents.Watch(ctx, changed, x.definitions.Collection)
}

// List returns the indexes in the order in which they were made.
func (x *Indexes) List(ctx context.Context) ([]Index, error) {
	known, _, err := x.load(ctx)
	if err != nil {
		return nil, err
	}
	indexes := []Index{}
	for _, d := range known.Indexes {
		index := d.index()
		if !d.Ready {
			built, _, err := x.progress.Get(ctx, strconv.Itoa(d.Number))
			if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
				return nil, err
			}
			index.Twins = built.Twins
		}
		indexes = append(indexes, index)
	}
	return indexes, nil
}

func (d definition) index() Index {
	index := Index{Path: strings.Join(d.Path, "."), State: IndexBuilding, Created: document.Time{Time: d.Created},
		Number: d.Number}
	if d.Ready {
		index.State = IndexReady
	}
	return index
}

// Create makes an index of a path below tags, properties.desired or properties.reported. It
// is built from then on. One that is there stays as it is. It returns fault 400004 for
// another path, and for one index too many.
func (x *Indexes) Create(ctx context.Context, path []string) (Index, error) {
	below := 1
	if len(path) > 0 && path[0] == "properties" {
		below = 2
	}
	if len(path) <= below || Locate(path).Part != Stored || path[0] != "tags" && path[0] != "properties" ||
		strings.HasPrefix(path[below], "$") {
		return Index{}, fault.New(fault.ArgumentInvalid,
			"An index is of a path below tags, properties.desired or properties.reported, such as tags.site, not %.128q",
			strings.Join(path, "."))
	}
	return store.RetryOnConflict(ctx, func() (Index, error) {
		present, match, err := x.present(ctx)
		if err != nil {
			return Index{}, err
		}
		if at := present.find(path); at >= 0 {
			return present.Indexes[at].index(), nil
		}
		if len(present.Indexes) == MaxIndexes {
			return Index{}, fault.New(fault.ArgumentInvalid,
				"There are %d indexes, which is the limit. Delete one first", MaxIndexes)
		}
		present.Last++
		added := definition{Number: present.Last, Path: path, Created: x.now().UTC()}
		present.Indexes = append(present.Indexes, added)
		_, err = x.documents.Commit(ctx, x.definitions.Put(definitionsKey, match, present))
		return added.index(), err
	})
}

// Delete removes an index; its entries are deleted from then on. It returns fault 404000
// when there is none of this path.
func (x *Indexes) Delete(ctx context.Context, path []string) error {
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		present, match, err := x.present(ctx)
		if err != nil {
			return nil, err
		}
		at := present.find(path)
		if at < 0 {
			return nil, fault.New(fault.NotFound, "There is no index of %.128q", strings.Join(path, "."))
		}
		present.Dropped = append(present.Dropped, present.Indexes[at].Number)
		present.Indexes = slices.Delete(present.Indexes, at, at+1)
		return x.documents.Commit(ctx, x.definitions.Put(definitionsKey, match, present))
	})
	return err
}

// present returns the definitions to be changed.
func (x *Indexes) present(ctx context.Context) (definitions, store.Match, error) {
	present, etag, err := x.definitions.Get(ctx, definitionsKey)
	if errors.Is(err, store.ErrNotFound) {
		return definitions{}, store.Absent, nil
	}
	return present, store.IfMatch(etag), err
}

func (d definitions) find(path []string) int {
	return slices.IndexFunc(d.Indexes, func(one definition) bool { return slices.Equal(one.Path, path) })
}
