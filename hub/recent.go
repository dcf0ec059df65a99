package hub

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// recentSearched bounds how far back RecentTelemetry looks in a partition, in
// records.
const recentSearched = 10_000

// RecentTelemetry returns the newest messages of a device, or of all with
// deviceID "", at most that many, oldest first. It looks through the newest 10,000
// records of each partition.
func (h *Hub) RecentTelemetry(ctx context.Context, deviceID string, most int) ([]TelemetryMessage, error) {
	return h.SearchRecent(deviceID, most).Look(ctx)
}

// RecentSearch is RecentTelemetry repeated: it keeps what it has found and reads only
// what is new. It is for one goroutine at a time.
type RecentSearch struct {
	hub      *Hub
	deviceID string
	most     int
	found    []TelemetryMessage
	next     map[int]int64 // by partition: the sequence up to which it was searched
}

// SearchRecent returns a search that has not looked yet.
func (h *Hub) SearchRecent(deviceID string, most int) *RecentSearch {
	return &RecentSearch{hub: h, deviceID: deviceID, most: most, next: make(map[int]int64)}
}

// Of reports whether this is a search in a hub for a device; a nil search is for none.
func (s *RecentSearch) Of(h *Hub, deviceID string) bool {
	return s != nil && s.hub == h && s.deviceID == deviceID
}

// Look returns what there is now.
func (s *RecentSearch) Look(ctx context.Context) ([]TelemetryMessage, error) {
	found, next := s.found, maps.Clone(s.next)
	for partition := range s.hub.config.Telemetry.Partitions() {
		if s.deviceID != "" && partition != partitionOf(s.deviceID, s.hub.config.Telemetry.Partitions()) {
			continue
		}
		end := s.hub.config.Telemetry.Bounds(partition).Next
		some, err := s.recentOf(ctx, partition, end)
		if err != nil {
			return nil, err
		}
		found, next[partition] = append(found[:len(found):len(found)], some...), end
	}
	found = inOrder(found)
	s.found, s.next = found[max(0, len(found)-s.most):], next
	return slices.Clone(s.found), nil
}

// inOrder returns messages by their times, oldest first. Within a partition the order
// is that of the sequences: times of a clock that was ahead for a while are later than
// what came afterwards.
func inOrder(messages []TelemetryMessage) []TelemetryMessage {
	ordered := make([]recentMessage, len(messages))
	for i, message := range messages {
		ordered[i] = recentMessage{message, message.EnqueuedTime.Time}
	}
	slices.SortFunc(ordered, func(a, b recentMessage) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.SequenceNumber, b.SequenceNumber))
	})
	for i, message := range slices.Backward(ordered) {
		if i+1 < len(ordered) && message.Partition == ordered[i+1].Partition && message.order.After(ordered[i+1].order) {
			ordered[i].order = ordered[i+1].order
		}
	}
	slices.SortStableFunc(ordered, func(a, b recentMessage) int { return a.order.Compare(b.order) })
	messages = make([]TelemetryMessage, len(ordered))
	for i, message := range ordered {
		messages[i] = message.TelemetryMessage
	}
	return messages
}

// recentMessage is a message with the time that orders it among those of other
// partitions.
type recentMessage struct {
	TelemetryMessage
	order time.Time
}

// recentOf returns the newest messages of one partition up to a sequence, of those that
// were not searched yet.
func (s *RecentSearch) recentOf(
	ctx context.Context, partition int, newest int64,
) (found []TelemetryMessage, err error) {
	const stride = 250
	oldest := max(s.hub.config.Telemetry.Bounds(partition).First, newest-recentSearched, s.next[partition])
	for end := newest; end > oldest && len(found) < s.most; end -= stride {
		records, err := store.ReadBetween(ctx, s.hub.config.Telemetry, partition, max(oldest, end-stride), end)
		if err != nil {
			return nil, err
		}
		for _, record := range slices.Backward(records) {
			if s.deviceID != "" && !message.SentBy(record.Value, s.deviceID) {
				continue
			}
			message := describeRecord(partition, record)
			if found = append(found, message); len(found) == s.most {
				break
			}
		}
	}
	slices.Reverse(found)
	return found, nil
}

// Traffic returns how many messages were enqueued in each step of time since
// then, up to now.
func (h *Hub) Traffic(ctx context.Context, since time.Time, step time.Duration) ([]int64, error) {
	steps := int((h.config.Now().Sub(since) + step - 1) / step)
	if steps <= 0 {
		return nil, nil
	}
	counts := make([]int64, steps)
	for partition := range h.config.Telemetry.Partitions() {
		before, err := h.boundaries.at(ctx, h.config.Telemetry, partition, since)
		if err != nil {
			return nil, err
		}
		for i := range counts {
			after, err := h.boundaries.at(ctx, h.config.Telemetry, partition, since.Add(time.Duration(i+1)*step))
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

// at is SequenceAt.
func (b *boundaries) at(ctx context.Context, log store.Log, partition int, at time.Time) (int64, error) {
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
