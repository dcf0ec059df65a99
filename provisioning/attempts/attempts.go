// Package attempts keeps how devices tried to register: each attempt with its trace in a
// log, the last ones of each enrolled device by an index, and counts over time.
package attempts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

const (
	attemptsKept     = 10     // listed for each enrolled registration id
	attemptsSearched = 10_000 // newest attempts looked through by a filter
	indexDelay       = 200 * time.Millisecond
	indexBatch       = 500 // registration ids in one commit
)

// Filter chooses attempts.
type Filter struct {
	RegistrationID string         // all when empty; or the tracking id of a refusal, see Find
	Refused        bool           // only those that did not end assigned
	Outcome        attest.Outcome // only those that ended so; all when empty
	Before         int64          // only those with a smaller sequence, for the next page; all when 0
	Max            int            // at most this many; 0 is 100
}

// Find returns attempts to register, newest first. For one registration id
// that is or was enrolled these are its last ten, however long ago; else the
// newest ten thousand attempts are looked through, and a GUID also finds the one that
// has it as its tracking id, which is all that a device was told of its refusal.
func (a *Attempts) Find(ctx context.Context, filter Filter) ([]attest.Attempt, error) {
	return a.Search(filter).Look(ctx)
}

// Get returns one attempt by its sequence, with its case. It returns fault 404000 when it
// is not in the log, or no longer.
func (a *Attempts) Get(ctx context.Context, sequence int64) (attest.Attempt, error) {
	a.awaitAppends()
	if records, err := a.config.Log.Read(ctx, 0, max(sequence, 0), 1, 0); err != nil {
		return attest.Attempt{}, err
	} else if len(records) > 0 && records[0].Sequence == sequence {
		return a.shown(ctx, decodeAttempt(records[0])), nil
	}
	return attest.Attempt{}, fault.New(fault.NotFound, "There is no attempt %d, or it is no longer kept", sequence)
}

// Config says where attempts are kept, and who sees what of them.
type Config struct {
	Log       store.Log // of one partition
	Documents store.Documents

	Shown   func(context.Context, attest.Attempt) attest.Attempt // as the one who asks may see it; all when nil
	Trusted func() bool                                          // whether old ones may be deleted; always when nil

	Panics *panics.Recorder
	Logger *slog.Logger
}

func (a *Attempts) shown(ctx context.Context, attempt attest.Attempt) attest.Attempt {
	if a.config.Shown == nil {
		return attempt
	}
	return a.config.Shown(ctx, attempt)
}

// Attempts keeps every attempt in a log, and for each enrolled id the sequences of
// its last ones there. Ids without an enrollment or a registration are not indexed:
// strangers could fill the store with them. The index follows the log by a moment and is
// brought up to date from it after a crash.
type Attempts struct {
	config     Config
	index      store.Table[indexEntry]
	hours      store.Table[hour]  // how attempts ended
	checkpoint store.Table[int64] // how much of the log is indexed

	indexing sync.RWMutex // held while pending moves into the index

	mutex    sync.Mutex
	appended uint64                    // tokens given out
	settled  uint64                    // tokens that came back
	waiting  map[uint64]attest.Attempt // token -> what is on its way into the log
	pending  batch                     // committed, not yet in the index
	next     int64                     // the sequence after the last one committed
	changed  *sync.Cond                // settled grew
	dirty    chan struct{}             // pending is not empty
	stop     chan struct{}             // closed by close
	stopped  chan error                // the indexer's last word
}

// batch is what is to be indexed of some attempts.
type batch struct {
	sequences map[string][]int64 // by registration key
	outcomes  outcomes
}

func newBatch() batch { return batch{make(map[string][]int64), make(outcomes)} }

func (b batch) add(attempt attest.Attempt, sequence int64) {
	b.outcomes.add(attempt.Time, attempt.Outcome)
	if id := indexKey(attempt); id != "" {
		b.sequences[id] = append(b.sequences[id], sequence)
	}
}

// merge adds another batch. Of an id's sequences it keeps those that the index would.
func (b batch) merge(other batch) {
	for id, sequences := range other.sequences {
		sequences = append(sequences, b.sequences[id]...)
		slices.Sort(sequences)
		b.sequences[id] = sequences[max(0, len(sequences)-attemptsKept):]
	}
	for step, count := range other.outcomes {
		b.outcomes[step] = b.outcomes[step].plus(count)
	}
}

// indexEntry is the sequences of an id's last attempts in the log, oldest first.
type indexEntry struct {
	Sequences []int64 `json:"sequences"`
}

const checkpointKey = "next"

// Open returns the attempts that the log holds, with an index that is up to date.
func Open(ctx context.Context, config Config) (*Attempts, error) {
	documents := config.Documents
	a := &Attempts{
		config:     config,
		index:      store.NewTable[indexEntry](documents, "provisioning/attempts"),
		hours:      store.NewTable[hour](documents, "provisioning/outcomes"),
		checkpoint: store.NewTable[int64](documents, "provisioning/attempts-indexed"),
		waiting:    make(map[uint64]attest.Attempt),
		pending:    newBatch(),
		dirty:      make(chan struct{}, 1),
		stop:       make(chan struct{}),
		stopped:    make(chan error, 1),
	}
	a.changed = sync.NewCond(&a.mutex)
	if err := a.catchUp(ctx); err != nil {
		return nil, err
	}
	go func() { a.stopped <- a.follow() }()
	return a, nil
}

// Record appends an attempt. It does not wait for the disk.
func (a *Attempts) Record(attempt attest.Attempt) {
	encoded := encodeAttempt(attempt)
	a.mutex.Lock()
	token := a.appended
	a.appended++
	attempt.Checks, attempt.Snapshot = nil, nil // they are in the log
	a.waiting[token] = attempt
	a.mutex.Unlock()
	a.config.Log.Append(0, encoded, a, token)
}

// maxAttempt bounds an attempt in the log, in bytes.
const maxAttempt = 1 << 20

// encodeAttempt is the attempt as the log keeps it. What can't be kept of it is left
// out, and the last check says so: an attempt on record is worth more than its
// details.
func encodeAttempt(attempt attest.Attempt) []byte {
	encoded, err := json.Marshal(attempt)
	for _, reduce := range []func(){
		func() { attempt.Snapshot = nil },
		func() { attempt.Checks = nil },
		func() { attempt.Message, attempt.Time = Printable(attempt.Message), document.Bounded(attempt.Time) },
	} {
		if err == nil && len(encoded) > maxAttempt {
			err = fault.NewReason("%d bytes are too much, the limit is %d", len(encoded), maxAttempt)
		}
		if err == nil {
			err = document.CheckDepth(encoded, document.MaxDepth)
		}
		if err == nil {
			return encoded
		}
		reduce()
		kept := attempt
		kept.Checks = slices.Clone(attempt.Checks)
		kept.Checks.Fail("attempt", fault.Say("%.200v", err), fault.Say("an attempt that can be kept whole"),
			fault.Say("Its details are not on record: this attempt was reduced to what could be kept"))
		encoded, err = json.Marshal(kept)
	}
	return encoded
}

// Committed implements store.Committer.
func (a *Attempts) Committed(token uint64, at store.Position, err error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	attempt := a.waiting[token]
	delete(a.waiting, token)
	a.settled++
	a.changed.Broadcast()
	if err != nil {
		return // the log takes nothing at present, and says so
	}
	a.next = at.Sequence + 1
	a.pending.add(attempt, at.Sequence)
	a.wake()
}

// indexKey is what an attempt is indexed under: "" for ids without enrollment.
func indexKey(attempt attest.Attempt) string {
	if !attempt.Enrolled {
		return ""
	}
	return strings.ToLower(attempt.RegistrationID)
}

// follow writes the index, a batch at a time, until the attempts are closed. What
// can't be written is tried again, after pauses that grow.
func (a *Attempts) follow() error {
	const lastPause = 10 * time.Second
	for pause := indexDelay; ; {
		select {
		case <-a.stop:
			return a.flush(context.Background())
		case <-a.dirty:
		}
		select {
		case <-a.stop:
		case <-time.After(pause): // gathers what comes in a burst
		}
		if err := a.flush(context.Background()); err != nil {
			a.config.Logger.Error("the registration attempts can't be indexed now", "error", err)
			pause = min(2*pause, lastPause)
			a.wake()
			continue
		}
		pause = indexDelay
	}
}

// wake lets the indexer look at what is pending.
func (a *Attempts) wake() {
	select {
	case a.dirty <- struct{}{}:
	default: // it will look anyway
	}
}

// flush writes what is pending into the index; what it can't write stays pending.
func (a *Attempts) flush(ctx context.Context) error {
	a.indexing.Lock()
	defer a.indexing.Unlock()
	a.mutex.Lock()
	pending, next := a.pending, a.next
	a.pending = newBatch()
	a.mutex.Unlock()
	err := a.config.Panics.Do(panics.Background, func() error { return a.write(ctx, pending, next) })
	if err != nil {
		a.mutex.Lock()
		defer a.mutex.Unlock()
		a.pending.merge(pending)
	}
	return err
}

// write indexes a batch. What it writes of sequences may be written twice; the
// outcomes go with the checkpoint.
func (a *Attempts) write(ctx context.Context, indexed batch, next int64) error {
	var changes []store.Change
	for id, sequences := range indexed.sequences {
		known, _, err := a.index.Get(ctx, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
			return err
		}
		known.Sequences = append(known.Sequences, sequences...)
		slices.Sort(known.Sequences)
		known.Sequences = slices.Compact(known.Sequences)
		if extra := len(known.Sequences) - attemptsKept; extra > 0 {
			known.Sequences = known.Sequences[extra:]
		}
		changes = append(changes, a.index.Put(id, store.Always, known))
		if len(changes) == indexBatch {
			if _, err := a.index.Documents.Commit(ctx, changes...); err != nil {
				return err
			}
			changes = changes[:0]
		}
	}
	counted, err := a.count(ctx, indexed.outcomes)
	if err != nil {
		return err
	}
	changes = append(changes, counted...)
	changes = append(changes, a.checkpoint.Put(checkpointKey, store.Always, next))
	_, err = a.index.Documents.Commit(ctx, changes...)
	return err
}

// catchUp indexes what the log holds beyond the checkpoint.
func (a *Attempts) catchUp(ctx context.Context) error {
	next, _, err := a.checkpoint.Get(ctx, checkpointKey)
	a.next = a.config.Log.Bounds(0).Next
	if store.IsUnreadable(err) {
		next, err = a.next, nil // rather than count anything twice
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for next < a.next {
		records, err := a.config.Log.Read(ctx, 0, next, 1000, 4<<20)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return nil
		}
		missed := newBatch()
		for _, record := range records {
			if attempt := decodeAttempt(record); attempt.Outcome != attest.Unreadable {
				missed.add(attempt, record.Sequence)
			}
			next = record.Sequence + 1
		}
		if err := a.write(ctx, missed, next); err != nil {
			return err
		}
	}
	return nil
}

// Close writes what is left of the index.
func (a *Attempts) Close() error {
	a.awaitAppends()
	close(a.stop)
	return <-a.stopped
}

// awaitAppends waits until everything appended so far is in the log, so that who just
// registered finds the attempt.
func (a *Attempts) awaitAppends() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for target := a.appended; a.settled < target; {
		a.changed.Wait()
	}
}

// sequencesOf returns the sequences of an id's attempts, indexed or on the way there.
func (a *Attempts) sequencesOf(ctx context.Context, id string) ([]int64, error) {
	a.indexing.RLock()
	defer a.indexing.RUnlock()
	a.mutex.Lock()
	sequences := slices.Clone(a.pending.sequences[id])
	a.mutex.Unlock()
	known, _, err := a.index.Get(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
		return nil, err
	}
	sequences = append(sequences, known.Sequences...)
	slices.Sort(sequences)
	sequences = slices.Compact(sequences)
	return sequences[max(0, len(sequences)-attemptsKept):], nil
}

// decodeAttempt reads an attempt. One that can't be read is shown as such: with its
// place in the log, its time, and the reason.
func decodeAttempt(record store.Record) (attempt attest.Attempt) {
	err := document.CheckDepth(record.Value, document.MaxDepth) // earlier versions took more
	if err == nil {
		err = json.Unmarshal(record.Value, &attempt)
	}
	if err == nil && attempt.Outcome == "" {
		err = errors.New("it has no outcome")
	}
	if err != nil {
		attempt = attest.Attempt{Time: time.Unix(0, record.Time).UTC(), Outcome: attest.Unreadable,
			Message: fmt.Sprintf("The attempt %d can't be read: %.200v", record.Sequence, err)}
	}
	attempt.Sequence = record.Sequence
	return attempt
}

// Printable bounds what a stranger makes the service keep: at most 128 bytes,
// and nothing that would do more than show on whatever it is shown.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text[:min(len(text), 128)])
}
