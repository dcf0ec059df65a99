// Package exchange is enrollments as files: JSON in the form of the service API, or
// CSV with a header. Files are read and written an enrollment at a time, so that
// their size does not matter.
package exchange

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/berth-iot/berth/fault"
)

// Format is how a file is written.
type Format string

// The formats. Groups are written as JSON only.
const (
	JSON Format = "json"
	CSV  Format = "csv"
)

// FormatOf is the format that was asked for, else the one that the name of the file
// says, else JSON. It returns fault 400004 for one that is none.
func FormatOf(asked, file string) (Format, error) {
	switch format := Format(strings.ToLower(asked)); {
	case format == JSON, format == CSV:
		return format, nil
	case asked != "":
		return "", fault.New(fault.ArgumentInvalid, "The format must be json or csv, not %.32q", asked)
	case strings.EqualFold(filepath.Ext(file), ".csv"):
		return CSV, nil
	}
	return JSON, nil
}

// Mode says what is done with an item of a file.
type Mode string

const (
	Create Mode = "create" // those that are there fail
	Update Mode = "update" // those that are not there fail
	Upsert Mode = "upsert" // one or the other
)

// Modes are all of them.
var Modes = []Mode{Create, Update, Upsert}

// ParseMode returns the mode of this name. It returns fault 400004 when there is
// none.
func ParseMode(name string) (Mode, error) {
	if mode := Mode(name); slices.Contains(Modes, mode) {
		return mode, nil
	}
	return "", fault.New(fault.ArgumentInvalid, "The mode must be create, update or upsert, not %.32q", name)
}

// Row is one item of a file, or what is wrong with it.
type Row[T any] struct {
	Line    int // that it begins in, from 1
	Item    T
	Unknown []string // members that the item does not have, and that are left out, such as "x.y"
	Err     error    // a fault 400004 or 400006, when the item could not be read
}

// Import does something with every row of a file, several at once.
type Import[T any] struct {
	Size   int // rows that are handed to Send together
	AtOnce int // Sends under way

	// Send does it, and returns what failed by the index in rows. An error ends the
	// import.
	Send func(ctx context.Context, rows []Row[T]) (failed map[int]error, err error)

	// Failed is told of each row that failed, one at a time.
	Failed func(row Row[T], why error)

	// Done is told how many more rows are done, one at a time. It may be nil.
	Done func(rows int)

	// ID is set for a dry run that creates, and returns the id of an item: one that an
	// earlier row had fails, as it would if that row had been written.
	ID func(T) string

	mutex sync.Mutex
	cause error              // what ended it
	taken map[[16]byte]int64 // lines by the ids that are done
}

// Run imports the rows that read hands over. It returns an error when the rest of
// the file could not be read or a Send failed; what was done by then stays done.
func (i *Import[T]) Run(ctx context.Context, read func(each func(Row[T]) error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan []Row[T])
	end := sync.OnceFunc(func() { close(batches) })
	defer end() // the senders go also when read panics
	var senders sync.WaitGroup
	for range i.AtOnce {
		senders.Go(func() {
			for rows := range batches {
				if err := i.send(ctx, rows); err != nil {
					i.mutex.Lock()
					if i.cause == nil {
						i.cause = err
					}
					i.mutex.Unlock()
					cancel()
				}
			}
		})
	}
	var rows []Row[T]
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		select {
		case batches <- rows:
			rows = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := read(func(row Row[T]) error {
		if row.Err != nil {
			i.mutex.Lock()
			defer i.mutex.Unlock()
			i.Failed(row, row.Err)
			return ctx.Err()
		}
		if rows = append(rows, row); len(rows) >= i.Size {
			return flush()
		}
		return nil
	})
	// What was read before the file became unreadable is imported too.
	err = errors.Join(err, flush())
	end()
	senders.Wait()
	if i.cause != nil {
		return i.cause
	}
	return err
}

func (i *Import[T]) send(ctx context.Context, rows []Row[T]) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed, err := i.Send(ctx, rows)
	if err != nil {
		return err
	}
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if i.ID != nil {
		failed = i.addDuplicates(rows, failed)
	}
	for index, row := range rows {
		if why, ok := failed[index]; ok {
			i.Failed(row, why)
		}
	}
	if i.Done != nil {
		i.Done(len(rows) - len(failed))
	}
	return nil
}

// addDuplicates adds the rows whose ids earlier ones had.
func (i *Import[T]) addDuplicates(rows []Row[T], failed map[int]error) map[int]error {
	if i.taken == nil {
		i.taken = make(map[[16]byte]int64)
	}
	if failed == nil {
		failed = make(map[int]error)
	}
	for index, row := range rows {
		if _, bad := failed[index]; bad {
			continue
		}
		// A part of the hash, so that a million ids of any length take little.
		sum := sha256.Sum256([]byte(strings.ToLower(i.ID(row.Item))))
		name := [16]byte(sum[:])
		if line, taken := i.taken[name]; taken {
			failed[index] = fault.New(fault.EnrollmentConflict, "The id %q is in line %d already", i.ID(row.Item), line)
			continue
		}
		i.taken[name] = int64(row.Line)
	}
	return failed
}

// open looks at the beginning of a file for the marks that editors leave there.
func open(reader io.Reader, format Format) (*bufio.Reader, error) {
	buffered := bufio.NewReaderSize(reader, 64<<10)
	begin, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if isUTF16(begin) {
		return nil, errUTF16(format)
	}
	if strings.HasPrefix(string(begin), mark) {
		buffered.Discard(len(mark))
	}
	return buffered, nil
}
