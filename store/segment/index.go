package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"
)

// Beside a segment may lie an index file that says what an Open would find out
// by reading the segment's block headers: up to where it goes, the tip there,
// and for each partition its bytes, its latest time and its points. It is only a shortcut: it isn't
// synced, and one that is missing, torn or short of the end costs time only.
const (
	indexMagic   = "BerthIdx"
	indexVersion = 2
	indexSuffix  = ".index"
)

func (s *segment) indexPath() string {
	return strings.TrimSuffix(s.path, segmentSuffix) + indexSuffix
}

// encodeIndex describes the segment up to its end, where the log is at t. The
// caller holds Log.mu or is alone.
func (s *segment) encodeIndex(t tip, secret uint32) []byte {
	b := append([]byte(nil), indexMagic...)
	b = binary.LittleEndian.AppendUint32(b, indexVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.points)))
	b = binary.LittleEndian.AppendUint64(b, s.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.end))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.first))
	b = t.append(b)
	for i, points := range s.points {
		b = binary.LittleEndian.AppendUint64(b, uint64(s.bytes[i]))
		b = binary.LittleEndian.AppendUint64(b, uint64(s.newest[i]))
		b = binary.LittleEndian.AppendUint64(b, uint64(len(points)))
		for _, p := range points {
			b = binary.LittleEndian.AppendUint64(b, uint64(p.sequence))
			b = binary.LittleEndian.AppendUint64(b, uint64(p.time))
			b = binary.LittleEndian.AppendUint64(b, uint64(p.position))
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Update(secret, castagnoli, b))
}

var errIndex = errors.New("the index can't be used")

// decodeIndex fills in the segment from its index and returns the tip of the
// log at its end.
func (s *segment) decodeIndex(b []byte, secret uint32) (tip, error) {
	const before = 8 + 4 + 4 + 8 + 8 + 8
	if len(b) < before+4 || string(b[:8]) != indexMagic {
		return tip{}, errIndex
	}
	sum := binary.LittleEndian.Uint32(b[len(b)-4:])
	b = b[:len(b)-4]
	if sum != crc32.Update(secret, castagnoli, b) ||
		binary.LittleEndian.Uint32(b[8:]) != indexVersion ||
		binary.LittleEndian.Uint32(b[12:]) != uint32(len(s.points)) ||
		binary.LittleEndian.Uint64(b[16:]) != s.number {
		return tip{}, errIndex
	}
	end := int64(binary.LittleEndian.Uint64(b[24:]))
	first := int64(binary.LittleEndian.Uint64(b[32:]))
	t, rest, err := decodeTip(b[before:], len(s.points))
	if err != nil {
		return tip{}, errIndex
	}
	points := make([][]point, len(s.points))
	bytes, newest := make([]int64, len(s.points)), make([]int64, len(s.points))
	for i := range points {
		if len(rest) < 24 {
			return tip{}, errIndex
		}
		bytes[i] = int64(binary.LittleEndian.Uint64(rest))
		newest[i] = int64(binary.LittleEndian.Uint64(rest[8:]))
		n := binary.LittleEndian.Uint64(rest[16:])
		rest = rest[24:]
		if n > uint64(len(rest)/24) {
			return tip{}, errIndex
		}
		points[i] = make([]point, n)
		for j := range points[i] {
			points[i][j] = point{
				sequence: int64(binary.LittleEndian.Uint64(rest)),
				time:     int64(binary.LittleEndian.Uint64(rest[8:])),
				position: int64(binary.LittleEndian.Uint64(rest[16:])),
			}
			rest = rest[24:]
		}
	}
	if len(rest) != 0 {
		return tip{}, errIndex
	}
	s.end, s.indexed, s.first, s.points, s.bytes, s.newest = end, end, first, points, bytes, newest
	return t, nil
}

// loadIndex reads the index of the segment if there is one that can be used,
// and returns the tip of the log up to where it goes.
func (s *segment) loadIndex(secret uint32) (tip, error) {
	b, err := os.ReadFile(s.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return s.start.clone(), nil
	}
	if err != nil {
		return tip{}, err
	}
	size, err := s.file.Size()
	if err != nil {
		return tip{}, fmt.Errorf("size of %s: %w", s.path, err)
	}
	t, err := s.decodeIndex(b, secret)
	if err != nil {
		return s.start.clone(), nil
	}
	if s.end > size {
		return tip{}, damaged(s.path, size, "its index knows %d bytes, and only %d are there", s.end, size)
	}
	return t, nil
}

// finish gives back the space that a segment did not need, and writes its index.
// Nobody may be writing the segment, and t is the tip of the log at its end.
func (s *segment) finish(t tip, secret uint32) error {
	if s.indexed < s.end {
		if err := replaceFile(s.indexPath(), s.encodeIndex(t, secret), false); err != nil {
			return err
		}
		s.indexed = s.end
	}
	return s.file.Cut(s.end)
}
