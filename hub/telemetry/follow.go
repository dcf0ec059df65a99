package telemetry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Position is where reading begins.
type Position struct {
	Earliest bool
	Time     time.Time // messages enqueued at or after; with neither, those that are still to come
}

// At is the position of the messages enqueued at a time or after; ok is false for a time
// that no message can have. The zero time, with which clients begin to count, is the
// earliest.
func At(t time.Time) (from Position, ok bool) {
	if t.IsZero() {
		return Position{Earliest: true}, true
	}
	return Position{Time: t}, document.InLogs(t)
}

// ErrStop is what a reader's each returns to end the reading without an error.
var ErrStop = errors.New("stop reading")

// Follow calls each with the messages of a device, or of all with deviceID
// "", oldest first, and then with those that come, until ctx ends or each
// returns an error. What is there already comes in the order of its time; within
// one device the order is that of sending, always.
func (l *Log) Follow(ctx context.Context, from Position, deviceID string, each func(Message) error) error {
	log := l.config.Log
	var cursors []*cursor
	for partition := range log.Partitions() {
		if deviceID != "" && partition != partitionOf(deviceID, log.Partitions()) {
			continue
		}
		next, err := l.startOf(ctx, partition, from)
		if err != nil {
			return err
		}
		cursors = append(cursors, &cursor{log: log, partition: partition, next: next})
	}
	for {
		oldest, err := oldestOf(ctx, cursors)
		if err != nil {
			return err
		}
		if oldest == nil {
			if err := l.waitForAny(ctx, cursors); err != nil {
				return err
			}
			continue
		}
		record := oldest.pop()
		if deviceID != "" && !message.SentBy(record.Value, deviceID) {
			continue
		}
		if err := each(Describe(oldest.partition, record)); err != nil {
			if errors.Is(err, ErrStop) {
				return nil
			}
			return err
		}
	}
}

func (l *Log) startOf(ctx context.Context, partition int, from Position) (int64, error) {
	bounds := l.config.Log.Bounds(partition)
	switch {
	case from.Earliest:
		return bounds.First, nil
	case from.Time.IsZero():
		return bounds.Next, nil
	}
	return l.config.Log.SequenceAt(ctx, partition, store.UnixNano(from.Time))
}

// cursor reads a partition, some records at a time.
type cursor struct {
	log       store.Log
	partition int
	next      int64
	ahead     []store.Record
}

// fill reads on when nothing is left; afterwards ahead is empty only at the end. What
// can't be read is passed over, also when nothing that can be comes after it.
func (c *cursor) fill(ctx context.Context) (err error) {
	end := c.log.Bounds(c.partition).Next
	if len(c.ahead) > 0 || end <= c.next {
		return nil
	}
	if c.ahead, err = c.log.Read(ctx, c.partition, c.next, 256, 1<<20); err == nil && len(c.ahead) == 0 {
		c.next = end
	}
	return err
}

func (c *cursor) pop() store.Record {
	record := c.ahead[0]
	c.ahead, c.next = c.ahead[1:], record.Sequence+1
	return record
}

func oldestOf(ctx context.Context, cursors []*cursor) (oldest *cursor, err error) {
	for _, c := range cursors {
		if err := c.fill(ctx); err != nil {
			return nil, err
		}
		if len(c.ahead) > 0 && (oldest == nil || c.ahead[0].Time < oldest.ahead[0].Time) {
			oldest = c
		}
	}
	return oldest, nil
}

// waitForAny waits until one of the partitions grows.
func (l *Log) waitForAny(ctx context.Context, cursors []*cursor) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	var mutex sync.Mutex
	var failed error
	for _, c := range cursors {
		group.Go(func() {
			err := l.config.Panics.Do(panics.Background, func() error {
				return c.log.Wait(waiting, c.partition, c.next)
			})
			if err != nil && waiting.Err() == nil {
				mutex.Lock()
				failed = err
				mutex.Unlock()
			}
			cancel()
		})
	}
	group.Wait()
	if failed != nil {
		return failed
	}
	return ctx.Err()
}
