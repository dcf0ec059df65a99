package event

import (
	"context"
	"errors"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

const (
	drainAtOnce = 256                    // events
	drainDelay  = 100 * time.Millisecond // after the first, so that many are taken at once
	drainEvery  = 5 * time.Second        // at the latest, and after what failed
)

// position is how far the log had come when events were last taken out of the outbox. Those
// after it may be in both: the node died in between.
type position struct {
	Next []int64 `json:"next"` // by partition
}

// backlog says whether the outbox is full.
type backlog struct {
	Full bool `json:"full"`
}

// start begins to take events to the log, at the node that has the lease.
func (e *Events) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	e.stop = sync.OnceFunc(func() {
		cancel()
		working.Wait()
	})
	woken := make(chan struct{}, 1)
	e.config.Documents.Watch(ctx, func() {
		select {
		case woken <- struct{}{}:
		default: // it is awake
		}
	}, e.outbox.Collection)
	lease := store.NewLease(e.config.Documents, e.config.Prefix+"outbox", e.config.Node, e.config.Logger)
	working.Go(func() {
		lease.Hold(ctx, func(ctx context.Context, term store.Term) error {
			for ctx.Err() == nil {
				err := e.config.Panics.Do(panics.Background, func() error { return e.drain(ctx, term, woken) })
				if err != nil && ctx.Err() == nil {
					e.config.Logger.Error("events wait, as they can't be written to their log", "hub", e.config.Hub,
						"error", err, "count", e.measure(ctx))
				}
				wait(ctx, drainEvery)
			}
			return nil
		})
	})
}

// measure counts the outbox, as far as it may grow, while nothing can be taken out of it. That
// the store counts it would cost each change more.
func (e *Events) measure(ctx context.Context) (n int) {
	for after := ""; n < e.config.Limit; {
		some, err := e.config.Documents.List(ctx, e.outbox.Collection, "", after, drainAtOnce)
		if err != nil || len(some) == 0 {
			break
		}
		n, after = n+len(some), some[len(some)-1].Key
	}
	e.setFull(ctx, n >= e.config.Limit)
	return n
}

// setFull has all nodes know whether the outbox is full.
func (e *Events) setFull(ctx context.Context, full bool) {
	known, err := e.backlog.GetOrFormer()
	if err == nil && known.Full == full {
		return
	}
	if _, err := e.config.Documents.Commit(ctx, e.backlogs.Put("outbox", store.Always, backlog{full})); err != nil {
		e.config.Logger.Error("that the outbox of events is full, or not, can't be noted", "hub", e.config.Hub, "full",
			full, "error", err)
	}
}

// readBacklog is what was noted last.
func (e *Events) readBacklog(ctx context.Context) (backlog, error) {
	known, _, err := e.backlogs.Get(ctx, "outbox")
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
		return backlog{}, nil
	}
	return known, err
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drain takes events to the log until ctx ends or something fails.
func (e *Events) drain(ctx context.Context, term store.Term, woken <-chan struct{}) error {
	written, err := e.recover(ctx)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(drainEvery)
	defer ticker.Stop()
	for {
		n, err := e.pass(ctx, term, written)
		if err != nil {
			return err
		}
		e.setFull(ctx, n >= e.config.Limit) // changes come faster than they are taken
		written = nil                       // what was in both is out of the outbox
		select {
		case <-ctx.Done():
			return nil
		case <-woken:
			wait(ctx, drainDelay)
		case <-ticker.C:
		}
	}
}

// recover returns the correlation ids of the events that are in the log already, and may be in
// the outbox: those that were written after the last were taken out of it.
func (e *Events) recover(ctx context.Context) (written map[string]bool, _ error) {
	known, _, err := e.positions.Get(ctx, "log")
	if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
		return nil, err
	}
	written = make(map[string]bool)
	for partition := range e.config.Log.Partitions() {
		bounds := e.config.Log.Bounds(partition)
		// There are no more than were written at once, several times if it failed.
		from := max(bounds.First, bounds.Next-16*drainAtOnce)
		if partition < len(known.Next) {
			from = max(from, min(known.Next[partition], bounds.Next))
		}
		for from < bounds.Next {
			records, err := e.config.Log.Read(ctx, partition, from, drainAtOnce, 1<<20)
			if err != nil {
				return nil, err
			}
			if len(records) == 0 {
				break // what is left can't be read
			}
			for _, record := range records {
				if id := correlationOf(record.Value); id != "" {
					written[id] = true
				}
				from = record.Sequence + 1
			}
		}
	}
	return written, nil
}

func correlationOf(record []byte) string {
	r, err := message.Decode(record)
	if err != nil {
		return ""
	}
	for _, p := range r.System {
		if string(p.Name) == contract.CorrelationID.String() {
			return string(p.Value)
		}
	}
	return ""
}

// pass takes what is in the outbox to the log, once through all identities, and returns how
// many events that were.
func (e *Events) pass(ctx context.Context, term store.Term, written map[string]bool) (n int, _ error) {
	for after := ""; ; {
		entries, err := e.outbox.List(ctx, "", after, drainAtOnce)
		if err != nil || len(entries) == 0 {
			return n, err
		}
		if err := e.take(ctx, term, entries, written); err != nil {
			return n, err
		}
		if n += len(entries); len(entries) < drainAtOnce {
			return n, nil
		}
		after = entries[len(entries)-1].Key
	}
}

// take writes events to the log, but for those that are there, and takes them out of the
// outbox.
func (e *Events) take(
	ctx context.Context, term store.Term, entries []store.Entry[pending], written map[string]bool,
) error {
	batch := &batch{done: make(chan struct{}), left: len(entries)}
	changes := []store.Change{term.Check()}
	for _, entry := range entries {
		changes = append(changes, e.outbox.Delete(entry.Key, store.IfMatch(entry.ETag)))
		if written[entry.Value.Correlation] {
			batch.Committed(0, store.Position{}, nil)
			continue
		}
		deviceID, _, _ := strings.Cut(entry.Value.ID, "/")
		hash := fnv.New32a()
		hash.Write([]byte(deviceID))
		partition := int(hash.Sum32() % uint32(e.config.Log.Partitions()))
		e.config.Log.Append(partition, e.appendRecord(nil, entry.Value), batch, 0)
	}
	<-batch.done // a log always answers
	if batch.err != nil {
		return batch.err
	}
	next := make([]int64, e.config.Log.Partitions())
	for partition := range next {
		next[partition] = e.config.Log.Bounds(partition).Next
	}
	_, err := e.config.Documents.Commit(ctx, append(changes, e.positions.Put("log", store.Always, position{next}))...)
	return err
}

// batch waits for what becomes of records.
type batch struct {
	mutex sync.Mutex
	left  int
	err   error
	done  chan struct{}
}

// Committed implements store.Committer.
func (b *batch) Committed(_ uint64, _ store.Position, err error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if err != nil {
		b.err = err
	}
	if b.left--; b.left == 0 {
		close(b.done)
	}
}
