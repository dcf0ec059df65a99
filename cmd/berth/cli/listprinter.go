package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// listPrinter prints a list in parts: as a JSON array, or as a table whose columns are
// as wide as the widest of the first part, and wider once that is not enough. Records
// that could not be read have rows at the end; with JSON they are told of beside it. An
// array that breaks off, for an error, is left open: nobody takes it for the whole.
type listPrinter[T any] struct {
	c      *Env
	none   func() string // printed in place of an empty table
	header []string
	row    func(T) []string

	out    *bufio.Writer
	items  int
	widths []int // of all columns but the last
}

func newListPrinter[T any](c *Env, none func() string, header []string, row func(T) []string) *listPrinter[T] {
	return &listPrinter[T]{c: c, none: none, header: header, row: row, out: bufio.NewWriter(c.Stdout)}
}

// PrintList prints a list that is all there.
func PrintList[T any](c *Env, items []T, none string, header []string, row func(T) []string) error {
	printed := newListPrinter(c, func() string { return none }, header, row)
	err := printed.add(items)
	if err == nil {
		err = printed.end()
	}
	return quietEnd(err)
}

// add prints the next part. It returns errNoReader when nobody reads it.
func (p *listPrinter[T]) add(items []T) error {
	if p.c.Output == JSON {
		for _, item := range items {
			if err := p.element(item); err != nil {
				return err
			}
		}
		return p.flush()
	}
	if len(items) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(items)+1)
	if p.items == 0 {
		rows = append(rows, p.header)
	}
	for _, item := range items {
		cells := p.row(item)
		for i, cell := range cells {
			cells[i] = Printable(cell)
		}
		rows = append(rows, cells)
	}
	p.items += len(items)
	p.rows(rows)
	return p.flush()
}

// element writes an element of the array.
func (p *listPrinter[T]) element(item T) error {
	before := ",\n  "
	if p.items == 0 {
		before = "[\n  "
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("  ", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(item); err != nil {
		return err
	}
	p.items++
	p.out.WriteString(before)
	p.out.Write(bytes.TrimRight(text.Bytes(), "\n"))
	return nil
}

const columnGap = 3

// rows writes lines of cells below each other. A cell after which there is none is as
// wide as it likes.
func (p *listPrinter[T]) rows(rows [][]string) {
	if p.widths == nil {
		p.widths = make([]int, len(p.header))
	}
	for _, cells := range rows {
		for i, cell := range cells[:len(cells)-1] {
			p.widths[i] = max(p.widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, cells := range rows {
		for i, cell := range cells {
			p.out.WriteString(cell)
			if i < len(cells)-1 {
				p.out.WriteString(strings.Repeat(" ", p.widths[i]-utf8.RuneCountInString(cell)+columnGap))
			}
		}
		p.out.WriteByte('\n')
	}
}

// end prints what comes after the last part.
func (p *listPrinter[T]) end() error {
	unreadable := p.c.Target.unreadable
	switch {
	case p.c.Output == JSON:
		p.c.TellOfUnreadable()
		text := "\n]\n"
		if p.items == 0 {
			text = "[]\n"
		}
		p.out.WriteString(text)
	case p.items+len(unreadable) == 0:
		fmt.Fprintln(p.out, p.none())
	default:
		var rows [][]string
		if p.items == 0 {
			rows = append(rows, p.header)
		}
		for _, record := range unreadable {
			rows = append(rows, []string{Printable(record.Key), "cannot be read: " + Printable(record.Reason)})
		}
		p.rows(rows)
	}
	return p.flush()
}

// flush writes out what was printed so far.
func (p *listPrinter[T]) flush() error {
	if err := p.out.Flush(); err != nil {
		if ReaderGone(err) {
			return errNoReader
		}
		return printError{fmt.Errorf("print the list: %w", err)}
	}
	return nil
}
