package segment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/mark"
)

// Log implements store.Log.
type Log struct {
	folder  string
	options Options
	meta
	queue *queue

	committing    chan struct{} // closed when the committer has ended
	retentionDone chan struct{} // closed when runRetention has ended
	closing       chan struct{} // closed to end runRetention
	retentionWake chan struct{} // tells runRetention that there is something to do

	// Only the committer uses these.
	writing   *segment // the last one
	abandoned bool     // nothing may be written to it any more
	trouble   trouble
	mark      *mark.File // nil without
	marked    []byte     // memory for what is put there

	mu        sync.RWMutex // guards what follows, and what segment says
	segments  []*segment   // in order; the last is being written
	tip       tip
	changed   []chan struct{} // by partition, closed when it grows; nil while nobody waits
	retention store.Retention
	closed    bool

	hints hints
}

var _ store.Log = (*Log)(nil)

func openLog(folder string, options store.LogOptions, engine Options) (*Log, error) {
	marked, err := engine.readMark(folder)
	if err != nil {
		return nil, err
	}
	if err := marked.missingMeta(folder); err != nil {
		return nil, err
	}
	if err := makeFolder(folder); err != nil {
		return nil, err
	}
	m, err := loadMeta(folder, options.Partitions)
	if err != nil {
		return nil, err
	}
	l := &Log{
		folder:        folder,
		options:       engine,
		meta:          m,
		queue:         newQueue(m.partitions, engine.Queue),
		committing:    make(chan struct{}),
		retentionDone: make(chan struct{}),
		closing:       make(chan struct{}),
		retentionWake: make(chan struct{}, 1),
		changed:       make([]chan struct{}, m.partitions),
		retention:     options.Retention,
		hints:         newHints(m.partitions),
	}
	err = l.recover(marked)
	if err == nil {
		err = l.openMark()
	}
	if err != nil {
		for _, s := range l.segments {
			err = errors.Join(err, s.close())
		}
		return nil, err
	}
	l.writing = l.active()
	go l.commitAll()
	go l.runRetention()
	l.wakeRetention()
	return l, nil
}

// recover opens the segments and finds out what they hold. Until it knows that nothing is
// missing of what the mark tells of, it changes no file: who looks for the damage afterwards
// finds it as it was.
func (l *Log) recover(marked tip) error {
	numbers, err := l.files()
	if err != nil {
		return err
	}
	if len(numbers) == 0 && marked.confirmed() {
		return lost("the segments in %s are missing, and %d confirmed records with them",
			l.folder, marked.records(tip{}))
	}
	for _, number := range numbers {
		s, err := openSegment(l.options.open, l.folder, number, l.partitions, l.secret)
		if err != nil {
			return err
		}
		l.segments = append(l.segments, s)
	}
	if len(l.segments) == 0 {
		if err := l.clear(numbers); err != nil {
			return err
		}
		l.tip = newTip(l.partitions)
		s := newSegment(l.folder, 1, 0, l.tip.clone())
		if err := s.create(l.options.open, l.options.SegmentSize, l.secret); err != nil {
			return fmt.Errorf("begin a segment: %w", err)
		}
		l.segments = append(l.segments, s)
		return nil
	}
	for i, s := range l.segments[:len(l.segments)-1] {
		next := l.segments[i+1]
		if next.number != s.number+1 && !next.lost {
			return lost("segment %d is missing in %s", s.number+1, l.folder)
		}
		if _, err := s.recoverSealed(next, false, l.secret); err != nil {
			return err
		}
	}
	last := l.active()
	t, torn, err := last.inspectLast(l.secret)
	if err != nil {
		return err
	}
	if err := t.behind(marked, last); err != nil {
		return err
	}
	if err := l.clear(numbers); err != nil {
		return err
	}
	l.tip = t
	return last.prepare(torn, l.options)
}

// files returns the numbers of the segments in ascending order.
func (l *Log) files() ([]uint64, error) {
	entries, err := os.ReadDir(l.folder)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, entry := range entries {
		stem, ok := strings.CutSuffix(entry.Name(), segmentSuffix)
		if !ok {
			continue
		}
		number, err := strconv.ParseUint(stem, 10, 64)
		if err != nil || segmentPath("", number) != entry.Name() {
			return nil, fmt.Errorf("%s is not named as a segment", filepath.Join(l.folder, entry.Name()))
		}
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// clear removes what an interrupted change left beside the segments with these
// numbers.
func (l *Log) clear(numbers []uint64) error {
	entries, err := os.ReadDir(l.folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		left := strings.HasSuffix(entry.Name(), temporarySuffix)
		if stem, ok := strings.CutSuffix(entry.Name(), indexSuffix); ok {
			number, err := strconv.ParseUint(stem, 10, 64)
			_, found := slices.BinarySearch(numbers, number)
			left = err != nil || !found
		}
		if left {
			if err := os.Remove(filepath.Join(l.folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// active is the segment that is being written. The caller holds mu or is alone.
func (l *Log) active() *segment { return l.segments[len(l.segments)-1] }

// Partitions implements store.Log.
func (l *Log) Partitions() int { return l.partitions }

// check returns what is wrong with the number of a partition.
func (l *Log) check(partition int) error {
	if partition < 0 || partition >= l.partitions {
		return fmt.Errorf("partition %d of a log that has 0 to %d", partition, l.partitions-1)
	}
	return nil
}

// Bounds implements store.Log.
func (l *Log) Bounds(partition int) store.Bounds {
	if l.check(partition) != nil {
		return store.Bounds{}
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	bounds := store.Bounds{
		First: l.segments[0].start.edges[partition].next,
		Next:  l.tip.edges[partition].next,
		Last:  l.tip.edges[partition].last(),
	}
	for _, s := range l.segments {
		bounds.Bytes += s.bytes[partition]
	}
	return bounds
}

// Wait implements store.Log.
func (l *Log) Wait(ctx context.Context, partition int, next int64) error {
	if err := l.check(partition); err != nil {
		return err
	}
	for {
		changed, err := l.growth(partition, next)
		if changed == nil || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// growth returns nil when the partition has grown past next, else a channel
// that is closed when it grows or the log ends.
func (l *Log) growth(partition int, next int64) (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, store.ErrClosed
	case l.tip.edges[partition].next > l.skipMissing(partition, next):
		return nil, nil
	}
	if l.changed[partition] == nil {
		l.changed[partition] = make(chan struct{})
	}
	return l.changed[partition], nil
}

// skipMissing returns the sequence after the records that have left the log or are missing
// in it, for one that is among them, and any other as it is. The caller holds mu.
func (l *Log) skipMissing(partition int, sequence int64) int64 {
	sequence = max(sequence, l.segments[0].start.edges[partition].next)
	for i, s := range l.segments[:len(l.segments)-1] {
		next := l.segments[i+1].start.edges[partition].next
		if s.stop != nil && sequence >= s.stop[partition].next && sequence < next {
			sequence = next
		}
	}
	return sequence
}

// wake ends the waiting for a partition to change. The caller holds mu.
func (l *Log) wake(partition int) {
	if l.changed[partition] != nil {
		close(l.changed[partition])
		l.changed[partition] = nil
	}
}

// close commits what is queued and ends the log.
func (l *Log) close() error {
	l.queue.close()
	<-l.committing
	close(l.closing)
	<-l.retentionDone

	l.mu.Lock()
	l.closed = true
	for i := range l.changed {
		l.wake(i)
	}
	l.mu.Unlock()

	var errs []error
	if !l.abandoned {
		// What was reserved is not needed while nobody writes.
		s := l.active()
		errs = append(errs, s.finish(l.tip, l.secret))
	}
	if l.mark != nil {
		errs = append(errs, l.mark.Close())
	}
	for _, s := range l.segments {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
