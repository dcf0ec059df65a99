package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/berth-iot/berth/store"
)

// tip is how far a log has come at some place in it.
type tip struct {
	batch uint64 // the last one
	time  int64  // of the last commit, nanoseconds since 1970, UTC
	edges []edge // by partition
}

// edge is how far a partition has come.
type edge struct {
	next   int64 // sequence of the next record
	offset int64 // of the record before it, if there is one
	time   int64 // likewise
}

// The bytes of a tip: those of its own and those of each partition.
const (
	tipHeader = 16
	tipEdge   = 24
)

func newTip(partitions int) tip { return tip{edges: make([]edge, partitions)} }

func (t tip) clone() tip {
	t.edges = append([]edge(nil), t.edges...)
	return t
}

// advance moves the tip past a block that lies at offset in the log.
func (t *tip) advance(h header, offset int64) {
	t.batch, t.time = h.batch, h.time
	t.edges[h.partition] = edge{
		next:   h.sequence + int64(h.records),
		offset: offset + int64(h.records) - 1,
		time:   h.time,
	}
}

// last is the place of the newest record of a partition.
func (e edge) last() store.Position {
	if e.next == 0 {
		return store.Position{}
	}
	return store.Position{Sequence: e.next - 1, Offset: e.offset, Time: e.time}
}

// append writes the tip to dst: batch, time, and for each partition its next
// sequence, offset and time, eight bytes each.
func (t tip) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, t.batch)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.time))
	for _, e := range t.edges {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.next))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.offset))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.time))
	}
	return dst
}

// decodeTip reads what append wrote and returns what follows it.
func decodeTip(src []byte, partitions int) (tip, []byte, error) {
	if len(src) < tipHeader+tipEdge*partitions {
		return tip{}, nil, fmt.Errorf("%d bytes are too few for %d partitions", len(src), partitions)
	}
	number := func() uint64 {
		n := binary.LittleEndian.Uint64(src)
		src = src[8:]
		return n
	}
	t := newTip(partitions)
	t.batch, t.time = number(), int64(number())
	for i := range t.edges {
		t.edges[i] = edge{next: int64(number()), offset: int64(number()), time: int64(number())}
	}
	return t, src, nil
}

// equal reports whether two tips are the same place.
func (t tip) equal(other tip) bool {
	if t.batch != other.batch || t.time != other.time || len(t.edges) != len(other.edges) {
		return false
	}
	for i := range t.edges {
		if t.edges[i] != other.edges[i] {
			return false
		}
	}
	return true
}
