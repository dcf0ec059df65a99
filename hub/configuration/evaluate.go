package configuration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

const (
	// evaluateEvery is how often all identities are evaluated, besides when a configuration
	// changes (Azure: every five minutes).
	evaluateEvery = 5 * time.Minute

	lookEvery    = 5 * time.Second        // for whether it is time to
	coalesceTime = 100 * time.Millisecond // between two looks at what is due

	page   = 200 // identities that are read at once
	atOnce = 16  // identities that are written at once: their commits share a sync
)

// pass is an evaluation of all identities that was completed.
type pass struct {
	Pass string    `json:"pass"` // of the revision
	Time time.Time `json:"time"`
}

// evaluation is what a completed evaluation has counted for one configuration.
type evaluation struct {
	Slot   int             `json:"slot"` // of the configuration
	System document.Object `json:"system"`
	Custom document.Object `json:"custom"`
}

// Start has the configurations evaluated until Close, by one node of those that share the
// documents: when one changes, when something changes of an identity that they may look at, and
// every five minutes.
func (c *Configurations) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	c.stop = func() {
		cancel()
		<-ended
	}
	lease := store.NewLease(c.config.Documents, "hub/"+c.config.Hub+"/configurations", c.config.Node, c.config.Logger)
	go func() {
		defer close(ended)
		lease.Hold(ctx, func(ctx context.Context, _ store.Term) error { return c.run(ctx) })
	}()
}

func (c *Configurations) run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	c.config.Documents.Watch(ctx, func() {
		c.wake.Store(true)
		select {
		case changed <- struct{}{}:
		default:
		}
	}, c.revision.Collection, c.due.Collection)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	coalesce := time.NewTimer(0)
	defer coalesce.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-coalesce.C:
		}
		err := c.config.Panics.Do(panics.Background, func() error { return c.Evaluate(ctx) })
		if err != nil && ctx.Err() == nil {
			c.config.Logger.Error("configurations can't be evaluated", "hub", c.config.Hub, "error", err)
			changed = drained(changed) // not at once again
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-ticker.C:
		}
		coalesce.Reset(coalesceTime)
	}
}

func drained(changed chan struct{}) chan struct{} {
	select {
	case <-changed:
	default:
	}
	return changed
}

// Evaluate evaluates what is due: identities of which something has changed, the targets of
// configurations that were deleted, and all when it is time to, or a configuration was changed.
func (c *Configurations) Evaluate(ctx context.Context) error {
	if err := c.evaluateDue(ctx); err != nil {
		return err
	}
	all, err := c.set.Get(ctx)
	if err != nil {
		return err
	}
	for _, number := range all.leaving {
		err := c.clear(ctx, all, number)
		if _, conflict := store.IsConflict(err); conflict {
			break // a configuration was changed meanwhile, which wakes who evaluates
		}
		if err != nil {
			return err
		}
	}
	last, _, err := c.passes.Get(ctx, onlyKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
		return err
	}
	since := c.config.Now().Sub(last.Time)
	if last.Pass == all.pass && since >= 0 && since < evaluateEvery || len(all.ordered) == 0 {
		return nil
	}
	return c.EvaluateAll(ctx)
}

// EvaluateAll evaluates all identities, also those of which nothing is known to have changed,
// and counts the metrics.
func (c *Configurations) EvaluateAll(ctx context.Context) error {
	for {
		all, err := c.set.Get(ctx)
		if err != nil {
			return err
		}
		if err := c.evaluatePages(ctx); err != nil {
			return err
		}
		if after, err := c.set.Get(ctx); err != nil || after.pass != all.pass {
			if err != nil {
				return err
			}
			continue // those at the beginning were evaluated by what was so then
		}
		if err := c.count(ctx, all); err != nil {
			return err
		}
		_, err = c.config.Documents.Commit(ctx,
			c.passes.Put(onlyKey, store.Always, pass{Pass: all.pass, Time: c.config.Now().UTC()}))
		return err
	}
}

// evaluatePages goes through all twins, a page at a time, and evaluates those for which
// something is to be done. What changes meanwhile is evaluated between the pages.
func (c *Configurations) evaluatePages(ctx context.Context) error {
	for after := ""; ; {
		twins, err := c.config.Twins.List(ctx, after, page)
		if err != nil {
			return err
		}
		all, err := c.set.Get(ctx)
		if err != nil {
			return err
		}
		states, err := c.statesBetween(ctx, after, len(twins))
		if err != nil {
			return err
		}
		var wanted []string
		for _, t := range twins {
			p, err := c.plan(ctx, all, subjectOf(t.ID, t.Document), states[t.ID], true, "")
			if err != nil {
				return err
			}
			if p.any() {
				wanted = append(wanted, t.ID)
			}
			after = t.ID
		}
		if err := c.evaluateEach(ctx, wanted, true, nil); err != nil {
			if stops(ctx, err) {
				return err
			}
			c.config.Logger.Error("an identity can't be evaluated, and is passed over", "hub", c.config.Hub, "error", err)
		}
		if c.wake.Load() {
			if err := c.evaluateDue(ctx); stops(ctx, err) {
				return err
			}
		}
		if len(twins) < page {
			return nil
		}
	}
}

// statesBetween returns the states of the identities after one, at least those of so many
// twins.
func (c *Configurations) statesBetween(ctx context.Context, after string, limit int) (map[string]state, error) {
	states := make(map[string]state)
	if limit == 0 {
		return states, nil
	}
	documents, err := c.config.Documents.List(ctx, c.states.Collection, "", after, limit)
	for _, document := range documents {
		if states[document.Key], err = c.readState(ctx, document.Key); err != nil {
			return nil, err
		}
	}
	return states, err
}

// evaluateEach evaluates several identities, some at once. marks are what is to be committed
// with each, by id.
func (c *Configurations) evaluateEach(
	ctx context.Context, ids []string, assert bool, marks map[string]store.Change,
) error {
	work := make(chan string)
	var failed error
	var once sync.Once
	var workers sync.WaitGroup
	for range min(atOnce, len(ids)) {
		workers.Go(func() {
			for id := range work {
				err := c.config.Panics.Do(panics.Background, func() error {
					var marked []store.Change
					if mark, ok := marks[id]; ok {
						marked = append(marked, mark)
					}
					return c.evaluate(ctx, id, assert, marked...)
				})
				if err != nil {
					once.Do(func() { failed = fmt.Errorf("evaluate the configurations for %q: %w", id, err) })
				}
			}
		})
	}
	for _, id := range ids {
		work <- id
	}
	close(work)
	workers.Wait()
	return failed
}

// evaluateDue evaluates the identities of which something has changed.
func (c *Configurations) evaluateDue(ctx context.Context) (failed error) {
	c.wake.Store(false)
	for after := ""; ; {
		marks, err := c.config.Documents.List(ctx, c.due.Collection, "", after, page)
		if err != nil || len(marks) == 0 {
			return errors.Join(failed, err)
		}
		all, err := c.set.Get(ctx)
		if err != nil {
			return err
		}
		var wanted []string
		var settled []store.Change
		unmark := make(map[string]store.Change, len(marks))
		for _, mark := range marks {
			unmark[mark.Key] = c.due.Delete(mark.Key, store.IfMatch(mark.ETag))
			if c.isSettled(ctx, all, mark.Key) {
				settled = append(settled, unmark[mark.Key])
			} else {
				wanted = append(wanted, mark.Key)
			}
			after = mark.Key
		}
		if err := c.commitEach(ctx, settled); err != nil {
			return err
		}
		if err := c.evaluateEach(ctx, wanted, false, unmark); err != nil {
			if stops(ctx, err) {
				return err
			}
			failed = err // it stays marked, and keeps nobody from those after it
		}
	}
}

// stops reports whether an error is one that all other identities would have as well.
func stops(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrClosed)
}

// isSettled reports whether nothing is to be done for an identity of which something has
// changed. One for which that can't be said is not.
func (c *Configurations) isSettled(ctx context.Context, all *set, id string) bool {
	present, err := c.config.Twins.Get(ctx, id)
	if err != nil {
		return false
	}
	before, err := c.readState(ctx, id)
	if err != nil {
		return false
	}
	p, err := c.plan(ctx, all, subjectOf(id, present), before, false, "")
	return err == nil && !p.any()
}

// commitEach commits changes that do not belong together: at once if it can be, and else those
// that find what they ask for.
func (c *Configurations) commitEach(ctx context.Context, changes []store.Change) error {
	if len(changes) == 0 {
		return nil
	}
	_, err := c.config.Documents.Commit(ctx, changes...)
	if _, conflict := store.IsConflict(err); !conflict {
		return err
	}
	for _, change := range changes {
		_, err := c.config.Documents.Commit(ctx, change)
		if _, conflict := store.IsConflict(err); err != nil && !conflict {
			return err
		}
	}
	return nil
}

// clear evaluates what a configuration has targeted that is no more, so that the next one is
// applied there, and gives its number back. When a configuration was changed since all were
// read, one may have the number again: that is a conflict.
func (c *Configurations) clear(ctx context.Context, all *set, number int) error {
	for _, collection := range []string{c.targeted(number), c.applied(number)} {
		for {
			left, err := c.config.Documents.List(ctx, collection, "", "", page)
			if err != nil {
				return err
			}
			if len(left) == 0 {
				break
			}
			ids := make([]string, len(left))
			drop := []store.Change{all.revision}
			for i, document := range left {
				ids[i] = document.Key
				drop = append(drop, store.Change{Collection: collection, Key: document.Key, Delete: true})
			}
			if err := c.evaluateEach(ctx, ids, false, nil); err != nil {
				return err
			}
			if _, err := c.config.Documents.Commit(ctx, drop...); err != nil { // what no state tells of
				return err
			}
		}
	}
	_, err := c.config.Documents.Commit(ctx, all.revision, c.slots.Delete(slotKey(number), store.Always))
	if err == nil {
		c.set.Invalidate()
	}
	return err
}

// count counts the metrics of all configurations.
func (c *Configurations) count(ctx context.Context, all *set) error {
	for _, one := range all.ordered {
		counted := evaluation{Slot: one.Slot, System: document.Object{}.Clone(), Custom: document.Object{}.Clone()}
		if one.kind == ofEdge {
			queries := one.systemQueries()
			for _, name := range []string{successCount, failureCount} {
				c.countRows(ctx, one.ID, name, queries.Get(name), &counted.System)
			}
		}
		for name, text := range one.Metrics.Queries.All() {
			c.countRows(ctx, one.ID, name, text, &counted.Custom)
		}
		_, err := c.config.Documents.Commit(ctx, c.results.Put(one.ID, store.Always, counted),
			store.Change{Collection: c.stored.Collection, Key: one.ID, Match: store.Present, Check: true})
		if _, conflict := store.IsConflict(err); err != nil && !conflict {
			return err
		}
	}
	return ctx.Err()
}

// countRows counts the rows of one query. One that fails has no result until the next time.
func (c *Configurations) countRows(
	ctx context.Context, id, name string, text document.Value, into *document.Object,
) {
	rows, err := c.config.CountRows(ctx, text.Text())
	if err != nil {
		c.config.Logger.Warn("the metric of a configuration can't be counted", "hub", c.config.Hub, "configuration",
			id, "metric", name, "error", err)
		return
	}
	into.Set(name, document.IntegerOf(rows))
}
