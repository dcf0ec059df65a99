package store

import "context"

// betweenBytes is how much ReadBetween asks a log for at once.
const betweenBytes = 4 << 20

// ReadBetween returns the records of a partition from the sequence from on that come
// before the sequence to, all of them. What can't be read is passed over, so that a Read
// for as many records as there should be goes beyond.
func ReadBetween(ctx context.Context, log Log, partition int, from, to int64) (records []Record, err error) {
	for from < to {
		some, err := log.Read(ctx, partition, from, int(to-from), betweenBytes)
		if err != nil {
			return nil, err
		}
		for _, record := range some {
			if record.Sequence >= to {
				return records, nil
			}
			records = append(records, record)
			from = record.Sequence + 1
		}
		if len(some) == 0 {
			break
		}
	}
	return records, nil
}
