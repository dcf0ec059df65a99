package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/berth-iot/berth/store/mark"
)

// A segment file starts with its own header of 4 KiB: a magic word, the version
// of the format, partitions, number, the offset of the file in the log, and the
// tip of the log where the segment begins; zeros; in the last eight bytes, 1 when
// the segment before it has lost records at its end (4), and a checksum (4). So the
// sequences go on even when retention has dropped all records. Blocks follow; the
// reserved space after the last one is zero.
const (
	segmentMagic   = "BerthSeg"
	segmentHeader  = 4096
	segmentVersion = 1

	lostFlag = segmentHeader - 8

	// 32 bytes before the tip, 16 + 24 a partition in it, flag and checksum fit.
	maxPartitions = 128
)

// segment is one file of a log. Its bytes before end never change.
type segment struct {
	number uint64
	path   string
	file   file
	base   int64  // offset of the file's first byte in the log
	start  tip    // where the log was when the segment began
	lost   bool   // records are missing between the segment before it and this one
	stop   []edge // where the segment ends, when records are missing after it; else nil

	// What follows is guarded by Log.mu.
	end     int64 // of its durable blocks, a position in the file
	first   int64 // time of its oldest record; zero while it has none
	points  [][]point
	bytes   []int64 // of blocks, by partition
	newest  []int64 // the latest time of a block, by partition; zero while it has none
	indexed int64   // up to where the index file knows it; see index.go

	reported atomic.Bool // that records of it can't be read

	using  sync.RWMutex // held for reading by those who read file, for writing to close it
	closed bool
}

// point is a place at which a reader may begin.
type point struct {
	sequence int64 // of the first record of the block
	time     int64 // the latest of the partition's blocks in the segment up to this one
	position int64 // in the file
}

// pointSpacing is the distance between the points of a partition, in bytes of
// the file: a reader passes over no more block headers than lie within it.
const pointSpacing = 1 << 20

func segmentPath(folder string, number uint64) string {
	return filepath.Join(folder, fmt.Sprintf("%020d%s", number, segmentSuffix))
}

const segmentSuffix = ".segment"

func newSegment(folder string, number uint64, base int64, start tip) *segment {
	return &segment{
		number: number,
		path:   segmentPath(folder, number),
		base:   base,
		start:  start,
		end:    segmentHeader,
		points: make([][]point, len(start.edges)),
		bytes:  make([]int64, len(start.edges)),
		newest: make([]int64, len(start.edges)),
	}
}

// create makes the file of the segment with the given size reserved, durably.
// It gets its name last, so a file with a name always has a header.
func (s *segment) create(open opener, size int64, secret uint32) error {
	temporary := s.path + temporarySuffix
	f, err := open(temporary, true)
	if err != nil {
		return err
	}
	err = f.Reserve(size)
	if err == nil {
		_, err = f.WriteAt(s.encodeHeader(secret), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	// Not every system renames an open file.
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(temporary) // its room is needed
		return err
	}
	if err := os.Rename(temporary, s.path); err != nil {
		return err
	}
	if err := mark.SyncFolder(filepath.Dir(s.path)); err != nil {
		return err
	}
	s.file, err = open(s.path, false)
	return err
}

func (s *segment) encodeHeader(secret uint32) []byte {
	b := make([]byte, 0, segmentHeader)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, segmentVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.start.edges)))
	b = binary.LittleEndian.AppendUint64(b, s.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.base))
	b = s.start.append(b)[:segmentHeader]
	if s.lost {
		binary.LittleEndian.PutUint32(b[lostFlag:], 1)
	}
	binary.LittleEndian.PutUint32(b[segmentHeader-4:], crc32.Update(secret, castagnoli, b[:segmentHeader-4]))
	return b
}

// openSegment opens an existing file and reads its header.
func openSegment(open opener, folder string, number uint64, partitions int, secret uint32) (*segment, error) {
	path := segmentPath(folder, number)
	f, err := open(path, false)
	if err != nil {
		return nil, err
	}
	b := make([]byte, segmentHeader)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, errors.Join(damaged(path, 0, "it has no whole header: %w", err), f.Close())
	}
	base, start, err := decodeSegmentHeader(b, number, partitions, secret)
	if err != nil {
		return nil, errors.Join(damaged(path, 0, "%w", err), f.Close())
	}
	s := newSegment(folder, number, base, start)
	s.file = f
	s.lost = binary.LittleEndian.Uint32(b[lostFlag:]) == 1
	return s, nil
}

func decodeSegmentHeader(b []byte, number uint64, partitions int, secret uint32) (base int64, start tip, err error) {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic {
		return 0, tip{}, errors.New("it does not begin as a segment")
	}
	if version := binary.LittleEndian.Uint32(b[8:]); version != segmentVersion {
		return 0, tip{}, fmt.Errorf("its format is version %d, and this program knows version %d",
			version, segmentVersion)
	}
	if binary.LittleEndian.Uint32(b[segmentHeader-4:]) != crc32.Update(secret, castagnoli, b[:segmentHeader-4]) {
		return 0, tip{}, errors.New("the checksum of its header is wrong")
	}
	if n := binary.LittleEndian.Uint32(b[12:]); int(n) != partitions {
		return 0, tip{}, fmt.Errorf("it has %d partitions in a log of %d", n, partitions)
	}
	if n := binary.LittleEndian.Uint64(b[16:]); n != number {
		return 0, tip{}, fmt.Errorf("it is segment %d", n)
	}
	start, _, err = decodeTip(b[32:segmentHeader-4], partitions)
	return int64(binary.LittleEndian.Uint64(b[24:])), start, err
}

// add notes a block that lies at position in the file, which thereby grows. The
// caller holds Log.mu.
func (s *segment) add(h header, position int64) {
	points := s.points[h.partition]
	s.newest[h.partition] = max(s.newest[h.partition], h.time)
	if len(points) == 0 || position-points[len(points)-1].position >= pointSpacing {
		s.points[h.partition] = append(points, point{h.sequence, s.newest[h.partition], position})
	}
	s.bytes[h.partition] += h.size()
	s.end = position + h.size()
	if s.first == 0 {
		s.first = h.time
	}
}

// close closes the file once nobody reads it.
func (s *segment) close() error {
	s.using.Lock()
	defer s.using.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.file.Close()
}
