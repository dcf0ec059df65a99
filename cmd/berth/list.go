package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
)

// selection is the part of a list that a person wants.
type selection struct {
	prefix string
	max    int
}

// flags are those of a file that gets all there is.
func (s *selection) flags(command *cobra.Command) { s.flagsWith(command, 0) }

// listFlags are those of a list that is looked at.
func (s *selection) listFlags(command *cobra.Command) { s.flagsWith(command, defaultMax) }

func (s *selection) flagsWith(command *cobra.Command, most int) {
	command.Flags().StringVar(&s.prefix, "prefix", "", "only ids that start with this `text`")
	maxFlag(command, &s.max, most)
}

func maxFlag(command *cobra.Command, max *int, most int) {
	command.Flags().IntVar(max, "max", most, "at most so many (0 is all)")
}

const (
	pageSize   = 1000 // items that are asked for at once
	defaultMax = 1000 // items that a list shows unless it is asked for more
)

// lister reads a page of at most top items with ids that start with prefix, and
// returns the after of the next one, "" at the end.
type lister[T any] func(prefix, after string, top int) (items []T, next string, err error)

// pages calls each with a list page by page as it comes, and reports whether there is
// more than was asked for.
func pages[T any](s selection, list lister[T], each func(page []T) error) (more bool, err error) {
	for after, left := "", s.max; ; {
		top := pageSize
		if s.max > 0 {
			top = min(top, left)
		}
		page, next, err := list(s.prefix, after, top)
		if err != nil {
			return false, err
		}
		if err := each(page); err != nil {
			return false, err
		}
		if after, left = next, left-len(page); after == "" {
			return false, nil
		}
		if s.max > 0 && left <= 0 {
			// A page that is full may have been the last one.
			page, next, err := list(s.prefix, after, 1)
			return len(page) > 0 || next != "", err
		}
	}
}

// listCommand is the command that lists things of the provisioning service. none is said of an
// empty list.
func listCommand[T any](c *cli, short string,
	list func(service *backend.Provisioning, ctx context.Context, prefix, after string, top int) ([]T, string, error),
	none string, header []string, row func(T) []string) *cobra.Command {
	var wanted selection
	command := &cobra.Command{
		Use:   "list",
		Short: short,
		Args:  exactly(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			page := func(prefix, after string, top int) ([]T, string, error) {
				return list(service, command.Context(), prefix, after, top)
			}
			return printPages(c, wanted, page, nothing(none), header, row)
		},
	}
	wanted.listFlags(command)
	return command
}

// nothing says always the same of an empty list.
func nothing(text string) func() string { return func() string { return text } }

// printPages prints a list page by page as it comes, and says when there is more. What it
// says of an empty list is asked for only then.
func printPages[T any](c *cli, s selection, list lister[T], none func() string, header []string,
	row func(T) []string) error {
	if s.prefix != "" {
		none = func() string { return fmt.Sprintf("There is none with an id that starts with %q.", s.prefix) }
	}
	printed := newListPrinter(c, none, header, row)
	more, err := pages(s, list, printed.add)
	switch {
	case errors.Is(err, errNoReader):
		return nil
	case errors.As(err, new(printError)):
		return err
	case err != nil:
		return errors.Join(err, printed.flush())
	}
	if err := printed.end(); err != nil {
		return quietEnd(err)
	}
	if more {
		c.tellOfMore(s.max, "--max N shows more of them, --max 0 all")
	}
	return nil
}

// tellOfMore says, beside a list of so many, that it is not all.
func (c *cli) tellOfMore(shown int, how string) {
	fmt.Fprintf(c.stderr, "berth: there are more than these %d: %s\n", shown, how)
}

// errNoReader says that nobody reads any more what is printed: head has seen enough, or
// less was left.
var errNoReader = errors.New("nobody reads the output")

// printError says that a list could not be printed.
type printError struct{ error }

func (e printError) Unwrap() error { return e.error }

// quietEnd takes it for the end that nobody reads any more.
func quietEnd(err error) error {
	if errors.Is(err, errNoReader) {
		return nil
	}
	return err
}

// readerGone reports whether an error of the output is that of a pipe whose reader is
// gone. Most systems end the process then, without a word either.
func readerGone(err error) bool {
	const brokenPipe, noData = syscall.Errno(109), syscall.Errno(232) // of Windows
	var number syscall.Errno
	return errors.Is(err, syscall.EPIPE) ||
		runtime.GOOS == "windows" && errors.As(err, &number) && (number == brokenPipe || number == noData)
}
