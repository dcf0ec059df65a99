package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// scanner reads blocks from a segment file, a window of it at a time.
type scanner struct {
	file   io.ReaderAt
	secret uint32
	end    int64  // reads nothing from here on
	window []byte // bytes of the file from at on
	at     int64
}

// windowSize holds many small blocks; large ones of other partitions are passed
// over without being read whole.
const windowSize = 32 << 10

// begin lets the scanner read another file, with the memory it has.
func (s *scanner) begin(f io.ReaderAt, secret uint32, end int64) {
	s.file, s.secret, s.end, s.window, s.at = f, secret, end, s.window[:0], 0
}

// bytes returns n bytes of the file, or fewer at its end. They are good until
// the next call.
func (s *scanner) bytes(position int64, n int) ([]byte, error) {
	n = int(min(int64(n), s.end-position))
	if n <= 0 {
		return nil, nil
	}
	if position < s.at || position+int64(n) > s.at+int64(len(s.window)) {
		size := int(min(int64(max(n, windowSize)), s.end-position))
		if cap(s.window) < size {
			s.window = make([]byte, size)
		}
		s.window, s.at = s.window[:size], position
		read, err := s.file.ReadAt(s.window, position)
		s.window = s.window[:read]
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		n = min(n, read)
	}
	from := position - s.at
	return s.window[from : from+int64(n)], nil
}

// header returns the header of the block at position, and whether there is one
// with a whole body before the end.
func (s *scanner) header(position int64) (h header, ok bool, err error) {
	b, err := s.bytes(position, blockHeader)
	if err != nil {
		return header{}, false, err
	}
	h, ok = parseHeader(b, s.secret)
	return h, ok && h.size() <= s.end-position, nil
}

// search returns the position of the first wanted header at or after position, wherever
// it lies, or -1, and whether there is nothing but zeros up to the end.
func (s *scanner) search(position int64, wanted func(header) bool) (at int64, empty bool, err error) {
	magic := binary.LittleEndian.AppendUint32(nil, blockMagic)
	const stride = 1 << 20
	empty = true
	for ; position < s.end; position += stride {
		// A header may begin at the end of a stride and lie beyond it.
		window, err := s.bytes(position, stride+blockHeader)
		if err != nil {
			return -1, false, err
		}
		if allZero(window) {
			continue
		}
		empty = false
		for at := 0; ; at++ {
			next := bytes.Index(window[at:], magic)
			if next < 0 {
				break
			}
			at += next
			if h, ok := parseHeader(window[at:], s.secret); ok && wanted(h) {
				return position + int64(at), false, nil
			}
		}
	}
	return -1, empty, nil
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// body returns the body of the block at position, good until the next call, and
// whether it is what was written.
func (s *scanner) body(position int64, h header) (body []byte, ok bool, err error) {
	body, err = s.bytes(position+blockHeader, h.length)
	if err != nil {
		return nil, false, err
	}
	return body, len(body) == h.length && h.intact(body, s.secret), nil
}
