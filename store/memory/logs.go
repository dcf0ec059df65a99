package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/berth-iot/berth/store"
)

// log is what is in one log of a Store, for all who have it open.
type log struct {
	mutex      sync.Mutex
	retention  store.Retention
	partitions []partition
	offset     int64 // of the next record
	size       int64 // bytes of all partitions
	order      []int // the partitions of the records that are kept, in the order of their offsets
}

// partition is one of a log.
type partition struct {
	first   int64 // sequence of the oldest record kept
	records []store.Record
	last    store.Position
	size    int64
	grown   chan struct{} // closed when there are more records; nil when nobody waits
}

// overhead is about what a record takes beside its value, in bytes.
const overhead = 64

// queueLimit is how many bytes may wait to be committed before appends wait too.
const queueLimit = 16 << 20

// Logs implements store.Logs on a Store.
type Logs struct {
	store *Store
	now   func() time.Time

	mutex  sync.Mutex
	open   map[string]*Log
	closed bool
}

// Log implements store.Log. What was appended through another Log of the same name is
// read as well.
type Log struct {
	shared *log
	now    func() time.Time

	mutex  sync.Mutex
	work   sync.Cond // there is something in the queue, or the log is closed
	room   sync.Cond // there is less in the queue
	queue  []pending
	queued int // bytes
	closed bool

	ended chan struct{} // closed with the log
	done  chan struct{} // closed when everybody was told
}

// pending is an append that is not committed yet.
type pending struct {
	partition int
	record    []byte
	committed store.Committer
	token     uint64
}

var (
	_ store.Logs = (*Logs)(nil)
	_ store.Log  = (*Log)(nil)
)

// OpenLogs returns the logs of the store, for its caller to close. now is the clock of
// what is appended through them; time.Now when nil.
func (s *Store) OpenLogs(now func() time.Time) *Logs {
	if now == nil {
		now = time.Now
	}
	return &Logs{store: s, now: now, open: make(map[string]*Log)}
}

// Open implements store.Logs.
func (l *Logs) Open(name string, options store.LogOptions) (store.Log, error) {
	if err := store.CheckLogName(name); err != nil {
		return nil, err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.closed {
		return nil, store.ErrClosed
	}
	shared, err := l.store.log(name, options)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", name, err)
	}
	opened, ok := l.open[name]
	if !ok {
		opened = &Log{shared: shared, now: l.now, ended: make(chan struct{}), done: make(chan struct{})}
		opened.work.L, opened.room.L = &opened.mutex, &opened.mutex
		l.open[name] = opened
		go opened.commit()
	}
	return opened, nil
}

// log returns a log of the store, which it makes if need be.
func (s *Store) log(name string, options store.LogOptions) (*log, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found, ok := s.logs[name]
	if !ok {
		if err := store.CheckPartitions(options.Partitions); err != nil {
			return nil, err
		}
		found = &log{partitions: make([]partition, options.Partitions)}
		s.logs[name] = found
	}
	found.mutex.Lock()
	defer found.mutex.Unlock()
	found.retention = options.Retention
	return found, nil
}

// Close implements store.Logs. What is in the store stays there.
func (l *Logs) Close() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.closed {
		return store.ErrClosed
	}
	l.closed = true
	for _, opened := range l.open {
		opened.close()
	}
	return nil
}

func (l *Log) close() {
	l.mutex.Lock()
	l.closed = true
	close(l.ended)
	l.work.Signal()
	l.room.Broadcast()
	l.mutex.Unlock()
	<-l.done
}

// Partitions implements store.Log.
func (l *Log) Partitions() int { return len(l.shared.partitions) }

// check returns why a call on the partition can't be made.
func (l *Log) check(ctx context.Context, partition int) error {
	if partition < 0 || partition >= l.Partitions() {
		return fmt.Errorf("partition %d of a log with %d", partition, l.Partitions())
	}
	select {
	case <-l.ended:
		return store.ErrClosed
	default:
		return ctx.Err()
	}
}

// Append implements store.Log.
func (l *Log) Append(partition int, record []byte, committed store.Committer, token uint64) {
	if err := l.enqueue(pending{partition, bytes.Clone(record), committed, token}); err != nil {
		committed.Committed(token, store.Position{}, err)
	}
}

func (l *Log) enqueue(one pending) error {
	if err := l.check(context.Background(), one.partition); err != nil {
		return err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for l.queued >= queueLimit && !l.closed {
		l.room.Wait()
	}
	if l.closed {
		return store.ErrClosed
	}
	l.queue = append(l.queue, one)
	l.queued += len(one.record) + overhead
	l.work.Signal()
	return nil
}

// commit commits what is queued, and tells of it, until the log is closed and all is told.
func (l *Log) commit() {
	defer close(l.done)
	for {
		l.mutex.Lock()
		for len(l.queue) == 0 && !l.closed {
			l.work.Wait()
		}
		batch := l.queue
		l.queue, l.queued = nil, 0
		l.room.Broadcast()
		l.mutex.Unlock()
		if len(batch) == 0 {
			return
		}
		positions := l.shared.append(batch, l.now())
		for i, one := range batch {
			one.committed.Committed(one.token, positions[i], nil)
		}
	}
}

// append adds records, drops what need not be kept, and wakes those who wait.
func (l *log) append(batch []pending, now time.Time) []store.Position {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	positions := make([]store.Position, len(batch))
	for i, one := range batch {
		p := &l.partitions[one.partition]
		p.last = store.Position{Sequence: p.next(), Offset: l.offset, Time: now.UnixNano()}
		p.records = append(p.records, store.Record{Position: p.last, Value: one.record})
		size := int64(len(one.record) + overhead)
		p.size, l.size, l.offset = p.size+size, l.size+size, l.offset+size
		l.order = append(l.order, one.partition)
		positions[i] = p.last
		if p.grown != nil {
			close(p.grown)
			p.grown = nil
		}
	}
	for len(l.order) > 0 && l.over(now) {
		l.dropOldest()
	}
	return positions
}

// over reports whether the oldest record need not be kept.
func (l *log) over(now time.Time) bool {
	oldest := l.partitions[l.order[0]].records[0]
	size := int64(len(oldest.Value) + overhead)
	return l.retention.Bytes > 0 && l.size-size >= l.retention.Bytes ||
		l.retention.Age > 0 && now.UnixNano()-oldest.Time > l.retention.Age
}

func (l *log) dropOldest() {
	p := &l.partitions[l.order[0]]
	size := int64(len(p.records[0].Value) + overhead)
	p.records[0] = store.Record{} // its memory is given back before that of the slice
	p.records, l.order = p.records[1:], l.order[1:]
	p.first++
	p.size, l.size = p.size-size, l.size-size
}

// next is the sequence that the next record will get.
func (p *partition) next() int64 { return p.first + int64(len(p.records)) }

// Read implements store.Log.
func (l *Log) Read(ctx context.Context, partition int, from int64, maxRecords, maxBytes int) ([]store.Record, error) {
	if err := l.check(ctx, partition); err != nil {
		return nil, err
	}
	l.shared.mutex.Lock()
	defer l.shared.mutex.Unlock()
	p := &l.shared.partitions[partition]
	if from >= p.next() {
		return nil, nil
	}
	var found []store.Record
	size := 0
	for _, record := range p.records[max(0, from-p.first):] {
		size += len(record.Value)
		if len(found) > 0 && (len(found) >= maxRecords || size > maxBytes) {
			break
		}
		record.Value = bytes.Clone(record.Value)
		found = append(found, record)
	}
	return found, nil
}

// Bounds implements store.Log.
func (l *Log) Bounds(partition int) store.Bounds {
	l.shared.mutex.Lock()
	defer l.shared.mutex.Unlock()
	p := &l.shared.partitions[partition]
	return store.Bounds{First: p.first, Next: p.next(), Last: p.last, Bytes: p.size}
}

// SequenceAt implements store.Log.
func (l *Log) SequenceAt(ctx context.Context, partition int, unixNano int64) (int64, error) {
	if err := l.check(ctx, partition); err != nil {
		return 0, err
	}
	l.shared.mutex.Lock()
	defer l.shared.mutex.Unlock()
	p := &l.shared.partitions[partition]
	i := slices.IndexFunc(p.records, func(record store.Record) bool { return record.Time >= unixNano })
	if i < 0 {
		return p.next(), nil
	}
	return p.first + int64(i), nil
}

// Wait implements store.Log.
func (l *Log) Wait(ctx context.Context, partition int, next int64) error {
	for {
		if err := l.check(ctx, partition); err != nil {
			return err
		}
		grown := l.shared.growth(partition, next)
		if grown == nil {
			return nil
		}
		select {
		case <-grown:
		case <-l.ended:
		case <-ctx.Done():
		}
	}
}

// growth returns what is closed when the partition has more records, nil when it has the
// record already.
func (l *log) growth(partition int, next int64) <-chan struct{} {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	p := &l.partitions[partition]
	if p.next() > next {
		return nil
	}
	if p.grown == nil {
		p.grown = make(chan struct{})
	}
	return p.grown
}
