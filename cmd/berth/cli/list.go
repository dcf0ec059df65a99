package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
)

// Selection is the part of a list that a person wants.
type Selection struct {
	Prefix string // of the ids; "" is any
	Max    int    // how many; 0 is all
}

// Flags are those of a file that gets all there is.
func (s *Selection) Flags(command *cobra.Command) { s.flagsWith(command, 0) }

// ListFlags are those of a list that is looked at.
func (s *Selection) ListFlags(command *cobra.Command) { s.flagsWith(command, DefaultMax) }

func (s *Selection) flagsWith(command *cobra.Command, most int) {
	command.Flags().StringVar(&s.Prefix, "prefix", "", "only ids that start with this `text`")
	MaxFlag(command, &s.Max, most)
}

// MaxFlag is --max, which says how much of a list is shown: most unless it is given.
func MaxFlag(command *cobra.Command, max *int, most int) {
	command.Flags().IntVar(max, "max", most, "at most so many (0 is all)")
}

// How much of a list there is at once.
const (
	PageSize   = 1000 // items that are asked for at once
	DefaultMax = 1000 // items that a list shows unless it is asked for more
)

// Lister reads a page of at most top items with ids that start with prefix, and
// returns the after of the next one, "" at the end.
type Lister[T any] func(prefix, after string, top int) (items []T, next string, err error)

// EachPage calls each with a list page by page as it comes, and reports whether there is
// more than was asked for.
func EachPage[T any](s Selection, list Lister[T], each func(page []T) error) (more bool, err error) {
	for after, left := "", s.Max; ; {
		top := PageSize
		if s.Max > 0 {
			top = min(top, left)
		}
		page, next, err := list(s.Prefix, after, top)
		if err != nil {
			return false, err
		}
		if err := each(page); err != nil {
			return false, err
		}
		if after, left = next, left-len(page); after == "" {
			return false, nil
		}
		if s.Max > 0 && left <= 0 {
			// A page that is full may have been the last one.
			page, next, err := list(s.Prefix, after, 1)
			return len(page) > 0 || next != "", err
		}
	}
}

// ListCommand is the command that lists things of a service. none is said of an empty list.
func ListCommand[S, T any](c *Env, short string, client func() (S, error),
	list func(service S, ctx context.Context, prefix, after string, top int) ([]T, string, error),
	none string, header []string, row func(T) []string) *cobra.Command {
	var wanted Selection
	command := &cobra.Command{
		Use:   "list",
		Short: short,
		Args:  ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := client()
			if err != nil {
				return err
			}
			page := func(prefix, after string, top int) ([]T, string, error) {
				return list(service, command.Context(), prefix, after, top)
			}
			return PrintPages(c, wanted, page, Nothing(none), header, row)
		},
	}
	wanted.ListFlags(command)
	return command
}

// Nothing says always the same of an empty list.
func Nothing(text string) func() string { return func() string { return text } }

// PrintPages prints a list page by page as it comes, and says when there is more. What it
// says of an empty list is asked for only then.
func PrintPages[T any](c *Env, s Selection, list Lister[T], none func() string, header []string,
	row func(T) []string) error {
	if s.Prefix != "" {
		none = func() string { return fmt.Sprintf("There is none with an id that starts with %q.", s.Prefix) }
	}
	printed := newListPrinter(c, none, header, row)
	more, err := EachPage(s, list, printed.add)
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
		c.TellOfMore(s.Max, "--max N shows more of them, --max 0 all")
	}
	return nil
}

// TellOfMore says, beside a list of so many, that it is not all.
func (c *Env) TellOfMore(shown int, how string) {
	fmt.Fprintf(c.Stderr, "berth: there are more than these %d: %s\n", shown, how)
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

// ReaderGone reports whether an error of the output is that of a pipe whose reader is
// gone. Most systems end the process then, without a word either.
func ReaderGone(err error) bool {
	const brokenPipe, noData = syscall.Errno(109), syscall.Errno(232) // of Windows
	var number syscall.Errno
	return errors.Is(err, syscall.EPIPE) ||
		runtime.GOOS == "windows" && errors.As(err, &number) && (number == brokenPipe || number == noData)
}
