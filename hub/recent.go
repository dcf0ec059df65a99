package hub

import (
	"context"
	"slices"
	"time"

	"github.com/berth-iot/berth/store"
)

// recentSearched bounds how far back RecentTelemetry looks in a partition, in
// records.
const recentSearched = 10_000

// RecentTelemetry returns the newest messages of a device, or of all with
// deviceID "", at most that many, oldest first. It looks through the newest 10,000
// records of each partition.
func (h *Hub) RecentTelemetry(ctx context.Context, deviceID string, most int) ([]TelemetryMessage, error) {
	var found []TelemetryMessage
	for partition := range h.config.Telemetry.Partitions() {
		if deviceID != "" && partition != partitionOf(deviceID, h.config.Telemetry.Partitions()) {
			continue
		}
		some, err := h.recentOf(ctx, partition, deviceID, most)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	slices.SortStableFunc(found, func(a, b TelemetryMessage) int { return a.EnqueuedTime.Compare(b.EnqueuedTime) })
	return found[max(0, len(found)-most):], nil
}

// recentOf is RecentTelemetry for one partition.
func (h *Hub) recentOf(ctx context.Context, partition int, deviceID string, most int) (found []TelemetryMessage, err error) {
	const stride = 250
	bounds := h.config.Telemetry.Bounds(partition)
	oldest := max(bounds.First, bounds.Next-recentSearched)
	for end := bounds.Next; end > oldest && len(found) < most; end -= stride {
		records, err := h.recordsBetween(ctx, partition, max(oldest, end-stride), end)
		if err != nil {
			return nil, err
		}
		for _, record := range slices.Backward(records) {
			message, err := describeRecord(partition, record)
			if err != nil {
				return nil, err
			}
			if deviceID != "" && message.DeviceID != deviceID {
				continue
			}
			if found = append(found, message); len(found) == most {
				break
			}
		}
	}
	slices.Reverse(found)
	return found, nil
}

// recordsBetween reads the records of a partition from a sequence up to another.
func (h *Hub) recordsBetween(ctx context.Context, partition int, from, to int64) (records []store.Record, err error) {
	for from < to {
		some, err := h.config.Telemetry.Read(ctx, partition, from, int(to-from), 4<<20)
		if err != nil {
			return nil, err
		}
		if len(some) == 0 || some[0].Sequence >= to {
			break
		}
		records = append(records, some...)
		from = some[len(some)-1].Sequence + 1
	}
	return records, nil
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
		before, err := h.config.Telemetry.SequenceAt(ctx, partition, since.UnixNano())
		if err != nil {
			return nil, err
		}
		for i := range counts {
			after, err := h.config.Telemetry.SequenceAt(ctx, partition, since.Add(time.Duration(i+1)*step).UnixNano())
			if err != nil {
				return nil, err
			}
			counts[i] += after - before
			before = after
		}
	}
	return counts, nil
}
