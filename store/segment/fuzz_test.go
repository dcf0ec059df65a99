package segment

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// memory is a segment file in memory, for reading.
type memory struct{ *bytes.Reader }

func (memory) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (memory) Close() error                       { return nil }
func (memory) Reserve(int64) error                { return nil }
func (memory) Cut(int64) error                    { return nil }
func (memory) Sync() error                        { return nil }
func (m memory) Size() (int64, error)             { return m.Reader.Size(), nil }

var _ io.ReaderAt = memory{}

// fuzzSecret is zero so that the fuzzer, too, can make blocks.
const fuzzSecret = 0

// FuzzRecover reads any bytes as the blocks of a segment: what is recovered can
// be read, and lies within the file.
func FuzzRecover(f *testing.F) {
	const partitions = 4
	l := &Log{meta: meta{partitions: partitions, secret: fuzzSecret}, options: Options{Now: new(clock).Now},
		tip: newTip(partitions), changed: make([]chan struct{}, partitions)}
	var blocks []byte
	for i := range 3 {
		b := newBatch(partitions)
		for p := range partitions - i {
			b.add(p, bytes.Repeat([]byte{'x'}, 10*p), waiter{})
			b.add(p, nil, waiter{})
		}
		blocks = append(blocks, l.encodeBatch(nil, b, 0)...)
		s := newSegment("", 1, 0, l.tip.clone())
		l.publish(s, b)
		f.Add(blocks)
		f.Add(blocks[:len(blocks)-5])
		f.Add(append(bytes.Clone(blocks), make([]byte, 100)...))
	}
	f.Add(append(bytes.Repeat([]byte{0}, 60), blocks...))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newSegment("", 1, 0, newTip(partitions))
		s.file = memory{bytes.NewReader(append(make([]byte, segmentHeader), data...))}
		limit := segmentHeader + int64(len(data))
		end := newTip(partitions)
		stopped, err := s.recoverBlocks(&end, limit, true, fuzzSecret)
		if err != nil {
			t.Fatal(err)
		}
		if s.end > limit || stopped == "" && s.end != limit {
			t.Fatalf("stopped at %d of %d: %q", s.end, limit, stopped)
		}
		if _, _, err := s.tail(end, limit, fuzzSecret); err != nil {
			t.Fatal(err)
		}
		for p := range partitions {
			at := cursor{segment: s, position: segmentHeader, end: s.end, next: end.edges[p].next}
			state := readState{records: 1 << 30, bytes: 1 << 30}
			if err := at.read(t.Context(), new(scanner), &Log{meta: meta{secret: fuzzSecret}}, p, &state); err != nil {
				t.Fatal(err)
			}
			if int64(len(state.taken)) != end.edges[p].next {
				t.Fatalf("partition %d: %d records, want %d", p, len(state.taken), end.edges[p].next)
			}
		}
		decoded := newSegment("", 1, 0, newTip(partitions))
		if again, err := decoded.decodeIndex(s.encodeIndex(end, fuzzSecret), fuzzSecret); err != nil ||
			!again.equal(end) {
			t.Fatalf("the index says %+v (%v), want %+v", again, err, end)
		}
		_, _ = decoded.decodeIndex(data, fuzzSecret)
		_, _, _ = decodeSegmentHeader(data, 1, partitions, fuzzSecret)
		_, _ = decodeMeta(data)
	})
}
