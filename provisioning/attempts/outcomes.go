package attempts

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/store"
)

// Count says how the attempts to register of five minutes ended.
type Count struct {
	Time     time.Time `json:"time,omitzero"` // the beginning of the five minutes, UTC
	Assigned int       `json:"assigned,omitempty"`
	Refused  int       `json:"refused,omitempty"`
	Failed   int       `json:"failed,omitempty"`
}

const (
	outcomeStep  = 5 * time.Minute
	outcomesKept = 8 * 24 * time.Hour
	hourLayout   = "2006-01-02T15" // key of a document: it sorts by time
)

// Outcomes returns how attempts ended since a time, at most eight days ago: one
// count for every five minutes that had any, oldest first.
func (a *Attempts) Outcomes(ctx context.Context, since time.Time) ([]Count, error) {
	a.awaitAppends()
	return a.outcomesSince(ctx, since.UTC().Truncate(outcomeStep))
}

// outcomes are counts on their way into the store, by the beginning of their
// five minutes.
type outcomes map[time.Time]Count

func (o outcomes) add(at time.Time, outcome attest.Outcome) {
	step := at.UTC().Truncate(outcomeStep)
	count := o[step]
	switch outcome {
	case attest.Assigned:
		count.Assigned++
	case attest.Refused:
		count.Refused++
	case attest.Failed:
		count.Failed++
	}
	o[step] = count
}

// hour is an hour's counts as they are stored, without their times.
type hour struct {
	Steps [time.Hour / outcomeStep]Count `json:"steps"`
}

func (h *hour) add(step time.Time, more Count) {
	count := &h.Steps[step.Minute()/int(outcomeStep/time.Minute)]
	*count = count.plus(more)
}

func (c Count) plus(more Count) Count {
	c.Assigned += more.Assigned
	c.Refused += more.Refused
	c.Failed += more.Failed
	return c
}

// count returns the changes that add counts to what is stored. They belong into
// the commit that moves the checkpoint, so that each attempt counts once. Only
// one caller at a time may do this.
func (a *Attempts) count(ctx context.Context, more outcomes) (changes []store.Change, err error) {
	hours := make(map[string]*hour)
	var begun time.Time // in the newest hour that is not stored yet
	for step, count := range more {
		key := step.Format(hourLayout)
		if hours[key] == nil {
			stored, _, err := a.hours.Get(ctx, key)
			if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
				return nil, err
			}
			if errors.Is(err, store.ErrNotFound) && step.After(begun) {
				begun = step
			}
			hours[key] = &stored
		}
		hours[key].add(step, count)
	}
	for key, counted := range hours {
		changes = append(changes, a.hours.Put(key, store.Always, *counted))
	}
	if begun.IsZero() || a.config.Trusted != nil && !a.config.Trusted() {
		return changes, nil
	}
	// With a new hour goes what is too old by then, unless it is being written.
	const some = 48 // more than come in a day
	entries, err := a.hours.List(ctx, "", "", some)
	for _, entry := range entries {
		if entry.Key < begun.Add(-outcomesKept).Format(hourLayout) && hours[entry.Key] == nil {
			changes = append(changes, a.hours.Delete(entry.Key, store.Always))
		}
	}
	return changes, err
}

func (a *Attempts) outcomesSince(ctx context.Context, since time.Time) ([]Count, error) {
	a.indexing.RLock()
	defer a.indexing.RUnlock()
	a.mutex.Lock()
	all := make(outcomes, len(a.pending.outcomes))
	for step, count := range a.pending.outcomes {
		all[step] = count
	}
	a.mutex.Unlock()
	entries, err := a.hours.List(ctx, "", since.Add(-time.Hour).Format(hourLayout), int(outcomesKept/time.Hour)+2)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		begin, err := time.Parse(hourLayout, entry.Key)
		if err != nil {
			continue // not written by count
		}
		for i, stored := range entry.Value.Steps {
			step := begin.Add(time.Duration(i) * outcomeStep)
			all[step] = all[step].plus(stored)
		}
	}
	var counts []Count
	for step, count := range all {
		if count.Time = step; !step.Before(since) && count.Assigned+count.Refused+count.Failed > 0 {
			counts = append(counts, count)
		}
	}
	slices.SortFunc(counts, func(a, b Count) int { return a.Time.Compare(b.Time) })
	return counts, nil
}
