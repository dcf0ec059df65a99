package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/berth-iot/berth/store"
)

// Traffic returns how many messages were enqueued in each step of time since
// then, up to now.
func (l *Log) Traffic(ctx context.Context, since time.Time, step time.Duration) ([]int64, error) {
	steps := int((l.config.Now().Sub(since) + step - 1) / step)
	if steps <= 0 {
		return nil, nil
	}
	counts := make([]int64, steps)
	for partition := range l.config.Log.Partitions() {
		before, err := l.boundaries.sequenceAt(ctx, l.config.Log, partition, since)
		if err != nil {
			return nil, err
		}
		for i := range counts {
			after, err := l.boundaries.sequenceAt(ctx, l.config.Log, partition, since.Add(time.Duration(i+1)*step))
			if err != nil {
				return nil, err
			}
			counts[i] += after - before
			before = after
		}
	}
	return counts, nil
}

// boundaries remembers where in the log a time begins, once it does not change any
// more: charts ask for the same times again and again.
type boundaries struct {
	mutex sync.Mutex
	known map[boundary]int64
}

type boundary struct {
	partition int
	time      int64
}

// maxBoundaries bounds what is remembered; then it begins from nothing.
const maxBoundaries = 2000

// sequenceAt is SequenceAt of the log.
func (b *boundaries) sequenceAt(ctx context.Context, log store.Log, partition int, at time.Time) (int64, error) {
	wanted := boundary{partition, at.UnixNano()}
	b.mutex.Lock()
	sequence, ok := b.known[wanted]
	b.mutex.Unlock()
	if ok {
		return sequence, nil
	}
	if bounds := log.Bounds(partition); bounds.Last.Time < wanted.time {
		return bounds.Next, nil // a record of this time may still come
	}
	sequence, err := log.SequenceAt(ctx, partition, wanted.time)
	if err != nil {
		return sequence, err
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.known == nil || len(b.known) >= maxBoundaries {
		b.known = make(map[boundary]int64)
	}
	b.known[wanted] = sequence
	return sequence, nil
}
