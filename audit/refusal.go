package audit

import (
	"context"
	"sync"
	"time"

	"github.com/berth-iot/berth/store"
)

// Who may do little must not fill the audit with what he may not: of one actor it
// takes so many refusals an hour. The log of the server has all of them.
const refusalsAnHour = 20

// refusals counts those of the present hour by their actors.
type refusals struct {
	mutex sync.Mutex
	hour  time.Time
	of    map[string]int
}

func (r *refusals) take(actor string, now time.Time) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if hour := now.Truncate(time.Hour); !hour.Equal(r.hour) {
		r.hour, r.of = hour, make(map[string]int)
	}
	r.of[actor]++
	return r.of[actor] <= refusalsAnHour
}

// Refuse records a change that was refused to somebody who is known, for want of a
// right or a secret: those who prove nothing are in the server's log only. before
// and after are as in Change, nil where they are not known; reason is a sentence
// without secrets.
func (l *Log) Refuse(ctx context.Context, kind Kind, id, reason string, before, after any) error {
	if l == nil {
		return nil
	}
	actor, now := actorOf(ctx), l.now().UTC()
	if !l.refusals.take(actor.Name, now) {
		return nil
	}
	entry := Entry{
		Time:   now,
		Actor:  actor.Name,
		Remote: actor.Remote,
		Action: Refused,
		Kind:   kind,
		ID:     shorten(id),
		Reason: shorten(reason),
	}
	if before != nil && after != nil {
		entry.Changes = differences(flat(before), flat(after))
	}
	return l.put(ctx, l.entries.Put(l.key(ctx, now), store.Absent, entry))
}
