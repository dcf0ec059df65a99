// Package store says what Berth asks of a storage engine: Documents, which
// change by compare-and-swap, several at once, all or nothing; and Logs, which
// only grow. Engines live in the folders below and prove themselves with
// store/storetest. Nothing here knows what the bytes mean.
package store

import (
	"context"
	"errors"
	"fmt"
)

// ErrNotFound is returned by Documents.Get for a key that holds nothing.
var ErrNotFound = errors.New("document not found")

// ErrClosed is returned by every call on an engine that has been closed, and
// by appends that the closing engine could not make durable.
var ErrClosed = errors.New("store is closed")

// ErrFull is returned by changes and appends that the disk has no room for, or
// keeps its last room from. Nothing of them happened; they are worth another try
// when there is room again. Reading goes on.
var ErrFull = errors.New("the disk is full")

// A LossError says that an engine no longer has what it once confirmed. What a
// crash leaves half written was never confirmed, and is no loss.
type LossError struct {
	Of  string // documents, or log and its name
	Err error  // what is missing or damaged, and where
}

func (e *LossError) Error() string { return fmt.Sprintf("%s: %v", e.Of, e.Err) }

// Unwrap returns what is missing or damaged.
func (e *LossError) Unwrap() error { return e.Err }

// A Document is one stored value with the ETag of its last change. How an engine makes an
// ETag is its own affair: store/pebble/layout.go has that of the documents on disk.
type Document struct {
	Key   string
	ETag  string // opaque, 1 to 32 characters of [0-9a-f]; never reused for the same key, not even after a delete
	Value []byte
}

// A Change is one step of a Commit: put Value, delete (Delete true), or only
// check (Check true), each under the condition Match.
type Change struct {
	Collection string // 1 to 64 bytes, no zero byte
	Key        string // 1 to 1,024 bytes, any bytes but zero
	Match      Match
	Value      []byte // at most 1 MiB
	Delete     bool
	Check      bool
	Err        error // why there is no Value: a Commit returns it, and does nothing
}

// Match is the condition under which a Change may happen. The zero Match
// always holds; else it is Absent, Present, or the ETag that the document must
// have.
type Match string

const (
	Always  Match = ""
	Absent  Match = "-" // the key holds nothing
	Present Match = "*" // the key holds something
)

// IfMatch is the Match that holds while the document still has this ETag.
func IfMatch(etag string) Match { return Match(etag) }

// A ConflictError says which change of a Commit did not find what its Match
// asked for. Nothing of the Commit happened.
type ConflictError struct {
	Index           int // into the changes of the Commit
	Collection, Key string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s %q is not in the state that the change asked for", e.Collection, e.Key)
}

// Documents holds small documents by collection and key. All methods may be
// called at once from many goroutines.
type Documents interface {
	// Get returns the document, or ErrNotFound. The caller owns the value.
	Get(ctx context.Context, collection, key string) (Document, error)

	// List returns at most limit documents (limit > 0) of the collection whose
	// keys start with prefix and are greater than after, in ascending byte
	// order of their keys. It sees one moment of the collection.
	List(ctx context.Context, collection, prefix, after string, limit int) ([]Document, error)

	// Commit makes all changes, or none and returns a *ConflictError. No two
	// changes may name the same document. When it returns nil the changes
	// survive the loss of power. It returns the new ETag of each change ("" for
	// deletes; the present one for checks), in order.
	Commit(ctx context.Context, changes ...Change) ([]string, error)

	// Count returns the number of documents in each of the collections, at one moment.
	// It may cost a read of all keys of a collection that was never counted before; from
	// then on commits keep its number, also past Close and crashes.
	Count(ctx context.Context, collections ...string) ([]int, error)

	// Watch calls changed when documents of the collections may have changed, until ctx
	// ends. It is called at least once after a change can be read, and before the Commit
	// that made it returns; for several changes, or for none, it may be called as well. An
	// engine that other processes write to calls it within a second of what they commit,
	// and when it may have missed something: after each interruption, and every 30 s. It
	// need not tell inside of the commits: one message for what a node has changed in a
	// tenth of a second is enough. changed may be called from several goroutines at once.
	// Commits wait for it, so it only sets a flag or wakes a goroutine.
	Watch(ctx context.Context, changed func(), collections ...string)

	Close() error
}

// Count returns the number of documents in one collection.
func Count(ctx context.Context, documents Documents, collection string) (int, error) {
	counts, err := documents.Count(ctx, collection)
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// Logs opens the logs of one engine by name. A log is made at its first Open.
type Logs interface {
	// Open returns the log with this name ([a-z0-9.-], at most 128 bytes). The
	// number of partitions is fixed when the log is made; a later Open may ask
	// for any and gets what there is. Opening an open log returns the same log.
	Open(name string, options LogOptions) (Log, error)

	// Close stops accepting appends, makes durable what was accepted, calls
	// what is still to be called, and closes every log.
	Close() error
}

// LogOptions are what a log is made with.
type LogOptions struct {
	Partitions int       // 1 to 128
	Retention  Retention // may differ at each Open
}

// Log is an append-only sequence of records in partitions. A record's place in
// its partition is its Sequence: 0, 1, 2, … without gaps, unless records were lost
// and an operator let the log go on without them. Its Offset grows too but may jump.
// Records disappear from the front only, by retention.
type Log interface {
	Partitions() int

	// Append adds a record to the partition (below Partitions) and returns once
	// it is queued, waiting only while too much is queued already. The log has
	// copied the record when Append returns. When the record is on disk, or
	// can't be put there, committed is called with token, from a goroutine of
	// the log that must not be held up; records of one partition are committed
	// in the order in which they were appended. A disk that fails is tried again
	// for a moment, then appends are refused until it works; what was refused may
	// still be there when the log is opened again, as after a crash.
	Append(partition int, record []byte, committed Committer, token uint64)

	// Read returns records of the partition from the given Sequence on, in
	// order: at least one if there is one, else none; at most maxRecords and,
	// after the first, at most maxBytes. Only durable records are returned. A
	// Sequence older than the oldest record kept starts there; records that are
	// damaged are passed over.
	Read(ctx context.Context, partition int, from int64, maxRecords, maxBytes int) ([]Record, error)

	// Bounds returns what the partition holds at present.
	Bounds(partition int) Bounds

	// SequenceAt returns the sequence of the first record of the partition whose
	// time is at or after the given one (nanoseconds since 1970, UTC), or
	// Bounds.Next if the newest record is older. Times are those that the clock
	// showed: after a clock that was ahead for a while, the first record of that
	// while may be the answer, so that none that is wanted is passed over.
	SequenceAt(ctx context.Context, partition int, unixNano int64) (int64, error)

	// Wait returns when the partition has a record of the sequence next or later,
	// or with the error of the context or ErrClosed.
	Wait(ctx context.Context, partition int, next int64) error
}

// Committer is told what became of an appended record. It is an interface and
// not a function so that an append allocates nothing.
type Committer interface {
	// Committed is called once for each append with the token given there. err
	// is nil when the record is durable and at is its place; it must return
	// quickly and may not call the log.
	Committed(token uint64, at Position, err error)
}

// Position is the place and time at which a record was committed.
type Position struct {
	Sequence int64
	Offset   int64
	Time     int64 // nanoseconds since 1970, UTC; orders nothing: it steps back when a clock is put right
}

// Record is a record as read back. The caller owns Value.
type Record struct {
	Position
	Value []byte
}

// Bounds are the limits of a partition. It is empty when First equals Next.
type Bounds struct {
	First int64    // sequence of the oldest record kept
	Next  int64    // sequence that the next record will get
	Last  Position // of the newest record; zero when nothing was ever committed
	Bytes int64    // on disk, about
}

// Retention says how long records are kept. A log drops whole pieces from its
// front, so it may keep more than this, never less. Zero values keep all.
type Retention struct {
	Age   int64 // nanoseconds
	Bytes int64 // of the whole log
}
