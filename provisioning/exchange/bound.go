package exchange

import (
	"io"

	"github.com/berth-iot/berth/fault"
)

// boundedReader ends a file in which one row goes on and on: whoever reads it holds
// the row in memory.
type boundedReader struct {
	io.Reader
	since int // bytes since a row was handed over
}

// maxAhead is how far may be read for one row. Decoders read ahead, so that it is more
// than a row may have.
const maxAhead = 4 * maxObject

var errRowTooLong = fault.New(fault.BadFormat,
	"A row is longer than %d bytes, so nothing from there on was read", maxAhead)

func (r *boundedReader) Read(p []byte) (int, error) {
	if r.since > maxAhead {
		return 0, errRowTooLong
	}
	n, err := r.Reader.Read(p)
	r.since += n
	return n, err
}

// next says that a row was handed over.
func (r *boundedReader) next() { r.since = 0 }
