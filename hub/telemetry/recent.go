package telemetry

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// recentSearched bounds how far back Recent looks in a partition, in records.
const recentSearched = 10_000

// Recent returns the newest messages of a device, or of all with deviceID "", at most
// that many, oldest first. It looks through the newest 10,000 records of each partition.
func (l *Log) Recent(ctx context.Context, deviceID string, most int) ([]Message, error) {
	return l.Search(deviceID, most).Look(ctx)
}

// Search is Recent repeated: it keeps what it has found and reads only what is new. It
// is for one goroutine at a time.
type Search struct {
	log      *Log
	deviceID string
	most     int
	found    []Message
	next     map[int]int64 // by partition: the sequence up to which it was searched
}

// Search returns a search that has not looked yet.
func (l *Log) Search(deviceID string, most int) *Search {
	return &Search{log: l, deviceID: deviceID, most: most, next: make(map[int]int64)}
}

// Of reports whether this is a search in a log for a device; a nil search is for none.
func (s *Search) Of(l *Log, deviceID string) bool {
	return s != nil && s.log == l && s.deviceID == deviceID
}

// Look returns what there is now.
func (s *Search) Look(ctx context.Context) ([]Message, error) {
	found, next := s.found, maps.Clone(s.next)
	for partition := range s.log.config.Log.Partitions() {
		if s.deviceID != "" && partition != partitionOf(s.deviceID, s.log.config.Log.Partitions()) {
			continue
		}
		end := s.log.config.Log.Bounds(partition).Next
		some, err := s.recentOf(ctx, partition, end)
		if err != nil {
			return nil, err
		}
		found, next[partition] = append(found[:len(found):len(found)], some...), end
	}
	found = sortByTime(found)
	s.found, s.next = found[max(0, len(found)-s.most):], next
	return slices.Clone(s.found), nil
}

// sortByTime returns messages by their times, oldest first. Within a partition the order
// is that of the sequences: times of a clock that was ahead for a while are later than
// what came afterwards.
func sortByTime(messages []Message) []Message {
	ordered := make([]recentMessage, len(messages))
	for i, m := range messages {
		ordered[i] = recentMessage{m, m.EnqueuedTime.Time}
	}
	slices.SortFunc(ordered, func(a, b recentMessage) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.SequenceNumber, b.SequenceNumber))
	})
	for i, earlier := range slices.Backward(ordered) {
		if i+1 == len(ordered) || earlier.Partition != ordered[i+1].Partition {
			continue
		}
		if later := ordered[i+1]; earlier.order.After(later.order) {
			ordered[i].order = later.order
		}
	}
	slices.SortStableFunc(ordered, func(a, b recentMessage) int { return a.order.Compare(b.order) })
	messages = make([]Message, len(ordered))
	for i, m := range ordered {
		messages[i] = m.Message
	}
	return messages
}

// recentMessage is a message with the time that orders it among those of other
// partitions.
type recentMessage struct {
	Message
	order time.Time
}

// recentOf returns the newest messages of one partition up to a sequence, of those that
// were not searched yet.
func (s *Search) recentOf(ctx context.Context, partition int, newest int64) (found []Message, err error) {
	const stride = 250
	oldest := max(s.log.config.Log.Bounds(partition).First, newest-recentSearched, s.next[partition])
	for end := newest; end > oldest && len(found) < s.most; end -= stride {
		records, err := store.ReadBetween(ctx, s.log.config.Log, partition, max(oldest, end-stride), end)
		if err != nil {
			return nil, err
		}
		for _, record := range slices.Backward(records) {
			if s.deviceID != "" && !message.SentBy(record.Value, s.deviceID) {
				continue
			}
			if found = append(found, Describe(partition, record)); len(found) == s.most {
				break
			}
		}
	}
	slices.Reverse(found)
	return found, nil
}
