package exchange

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"

	"github.com/berth-iot/berth/provisioning/enroll"
)

// Writer writes a file. Nothing of it is sure to be there before Close, which does
// not close what it writes to.
type Writer[T any] struct {
	Write func(T) error
	Close func() error
}

// NewWriter writes individual enrollments.
func NewWriter(output io.Writer, format Format) Writer[enroll.Enrollment] {
	if format == CSV {
		return newCSV(output)
	}
	return newJSON(output, portable)
}

// NewGroupWriter writes enrollment groups as JSON.
func NewGroupWriter(output io.Writer) Writer[enroll.Group] {
	return newJSON(output, portableGroup)
}

// portable leaves out what is a server's own and means nothing elsewhere.
func portable(e enroll.Enrollment) enroll.Enrollment {
	e.RegistrationState, e.ETag = nil, ""
	return e
}

func portableGroup(g enroll.Group) enroll.Group {
	g.ETag = ""
	return g
}

// newJSON writes an array with an element a line.
func newJSON[T any](output io.Writer, portable func(T) T) Writer[T] {
	buffered := bufio.NewWriterSize(output, 64<<10)
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	before := "[\n"
	return Writer[T]{
		Write: func(item T) error {
			text.Reset()
			if err := encoder.Encode(portable(item)); err != nil {
				return err
			}
			buffered.WriteString(before)
			before = ",\n"
			_, err := buffered.Write(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
			return err
		},
		Close: func() error {
			end := "\n]\n"
			if before == "[\n" {
				end = "[]\n"
			}
			buffered.WriteString(end) // its error stays until Flush
			return buffered.Flush()
		},
	}
}

func newCSV(output io.Writer) Writer[enroll.Enrollment] {
	lines := csv.NewWriter(bufio.NewWriterSize(output, 64<<10))
	lines.Write(Columns) // its error stays until Flush
	return Writer[enroll.Enrollment]{
		Write: func(e enroll.Enrollment) error {
			cells, err := toCSV(e)
			if err != nil {
				return err
			}
			return lines.Write(cells)
		},
		Close: func() error {
			lines.Flush()
			return lines.Error()
		},
	}
}
