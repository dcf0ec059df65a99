package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// An UnreadableError says that a document is there and does not hold what its
// Table keeps: it was damaged, or an older version accepted what none can read.
type UnreadableError struct {
	Collection, Key string
	ETag            string // of the document, by which it can be deleted or replaced
	Reason          error
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("the record %s %q can't be read: %v", e.Collection, e.Key, e.Reason)
}

func (e *UnreadableError) Unwrap() error { return e.Reason }

// Advice is what those may be told who manage the records.
func (e *UnreadableError) Advice() string {
	return fmt.Sprintf("The record %s %q can't be read: %v. Delete or replace it, or restore a backup",
		e.Collection, e.Key, e.Reason)
}

// IsUnreadable reports whether err says that a document can't be read.
func IsUnreadable(err error) bool { return errors.As(err, new(*UnreadableError)) }

// Unreadable is a document that can't be read, as it is listed.
type Unreadable struct {
	Collection string `json:"collection"` // such as provisioning/enrollments
	Key        string `json:"key"`
	Reason     string `json:"reason"`
}

// Inspector is Documents that knows which of them the tables on it could not read.
// Each is logged once. Lists pass over what can't be read, so this is where it shows.
type Inspector struct {
	Documents
	logger *slog.Logger

	mutex  sync.Mutex
	tables map[string]func([]byte) error // how the documents of each collection are decoded
	known  map[documentName]string       // the reasons
	some   atomic.Bool                   // known is not empty
}

type documentName struct{ collection, key string }

// maxUnreadable bounds the records that an Inspector remembers. Those beyond it are
// found again when the others are gone.
const maxUnreadable = 10_000

// Inspect returns the documents with an eye on what can't be read of them.
func Inspect(documents Documents, logger *slog.Logger) *Inspector {
	return &Inspector{Documents: documents, logger: logger,
		tables: make(map[string]func([]byte) error), known: make(map[documentName]string)}
}

// inspector is what a Table tells of its documents.
type inspector interface {
	register(collection string, decode func([]byte) error)
	unreadable(problem *UnreadableError)
	readable(collection, key string)
}

var _ inspector = (*Inspector)(nil)

func (i *Inspector) register(collection string, decode func([]byte) error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.tables[collection] = decode
}

func (i *Inspector) unreadable(problem *UnreadableError) {
	name := documentName{problem.Collection, problem.Key}
	i.mutex.Lock()
	_, known := i.known[name]
	full := !known && len(i.known) >= maxUnreadable
	if !full {
		i.known[name] = problem.Reason.Error()
		i.some.Store(true)
	}
	i.mutex.Unlock()
	if !known && !full {
		i.logger.Error("a record can't be read. It is passed over: berth data unreadable lists it",
			"collection", problem.Collection, "key", problem.Key, "error", problem.Reason)
	}
}

func (i *Inspector) readable(collection, key string) {
	if !i.some.Load() {
		return
	}
	i.mutex.Lock()
	defer i.mutex.Unlock()
	delete(i.known, documentName{collection, key})
	i.some.Store(len(i.known) > 0)
}

// Commit implements Documents. What was written or deleted is unreadable no longer.
func (i *Inspector) Commit(ctx context.Context, changes ...Change) ([]string, error) {
	etags, err := i.Documents.Commit(ctx, changes...)
	if err == nil && i.some.Load() {
		for _, change := range changes {
			if !change.Check {
				i.readable(change.Collection, change.Key)
			}
		}
	}
	return etags, err
}

// Known returns the records that could not be read so far, of all collections whose
// names start with prefix, in order.
func (i *Inspector) Known(prefix string) []Unreadable {
	found := []Unreadable{}
	i.mutex.Lock()
	for name, reason := range i.known {
		if strings.HasPrefix(name.collection, prefix) {
			found = append(found, Unreadable{name.collection, name.key, reason})
		}
	}
	i.mutex.Unlock()
	slices.SortFunc(found, func(a, b Unreadable) int {
		return cmp.Or(cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.Key, b.Key))
	})
	return found
}

// Collections returns the names of those that tables were made of.
func (i *Inspector) Collections() []string {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return slices.Sorted(maps.Keys(i.tables))
}

// Scan reads every document of every table, and returns what can't be read, as Known
// does.
func (i *Inspector) Scan(ctx context.Context) ([]Unreadable, error) {
	i.mutex.Lock()
	tables := maps.Clone(i.tables)
	i.mutex.Unlock()
	for collection, decode := range tables {
		const stride = 500
		for after := ""; ; {
			documents, err := i.List(ctx, collection, "", after, stride)
			if err != nil {
				return nil, err
			}
			for _, document := range documents {
				if err := decode(document.Value); err != nil {
					i.unreadable(&UnreadableError{collection, document.Key, document.ETag, err})
				}
			}
			if len(documents) < stride {
				break
			}
			after = documents[stride-1].Key
		}
	}
	return i.Known(""), nil
}

// Check says why the document can't be read: an *UnreadableError, nil when it can be,
// or ErrNotFound.
func (i *Inspector) Check(ctx context.Context, collection, key string) error {
	i.mutex.Lock()
	decode := i.tables[collection]
	i.mutex.Unlock()
	if decode == nil {
		return ErrNotFound
	}
	document, err := i.Get(ctx, collection, key)
	if err != nil {
		return err
	}
	if err := decode(document.Value); err != nil {
		return &UnreadableError{collection, key, document.ETag, err}
	}
	return nil
}

// A value that is Checkable says itself what is missing in it: JSON alone would take
// any object for it.
type Checkable interface {
	// Intact returns what is wrong with a value that was stored.
	Intact() error
}

func decodeDocument[T any](encoded []byte) (value T, err error) {
	if err := json.Unmarshal(encoded, &value); err != nil {
		return value, err
	}
	if string(encoded) == "null" && reflect.TypeFor[T]().Kind() == reflect.Struct {
		return value, errors.New("it is null")
	}
	if checkable, ok := any(&value).(Checkable); ok {
		return value, checkable.Intact()
	}
	return value, nil
}
