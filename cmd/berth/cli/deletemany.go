package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/fault"
)

// DeleteMany is the part of a delete command that is about more than one thing.
type DeleteMany struct {
	Things string // in the plural
	Effect string // what becomes of the devices: a sentence

	prefix, file string
	yes          bool
}

// Flags adds the flags that say which, and lets the arguments of the command be left out with them.
func (d *DeleteMany) Flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&d.prefix, "prefix", "", "delete all "+d.Things+
		" with ids that start with this `text`; '' is all there are")
	flags.StringVar(&d.file, "file", "", "delete the "+d.Things+
		" with the ids in this `file`, one in a line; - is the standard input")
	flags.BoolVarP(&d.yes, "yes", "y", false, "do not ask")
	single := command.Args
	command.Args = func(command *cobra.Command, args []string) error {
		if command.Flags().Changed("prefix") && command.Flags().Changed("file") {
			return UsageError(errors.New("--prefix and --file are two ways to say what to delete: give one"))
		}
		if !d.Wanted(command) {
			if len(args) == 0 {
				return UsageError(fmt.Errorf("%s needs ID, --prefix TEXT or --file FILE", command.CommandPath()))
			}
			return single(command, args)
		}
		if len(args) > 0 {
			return UsageError(fmt.Errorf("%s takes %q, or --prefix, or --file", command.CommandPath(), args[0]))
		}
		return nil
	}
}

// Wanted reports whether the command is about more than one thing.
func (d *DeleteMany) Wanted(command *cobra.Command) bool {
	return command.Flags().Changed("prefix") || command.Flags().Changed("file")
}

// Deletion is how things of one kind are deleted.
type Deletion struct {
	List Lister[string] // of ids

	// Remove deletes the things with these ids, at most backend.MaxBulk, and returns why
	// some are still there by their index.
	Remove func(ctx context.Context, ids []string) (failed map[int]error, err error)
}

// Run asks, deletes, and says what came of it.
func (d *DeleteMany) Run(command *cobra.Command, c *Env, deletion Deletion) error {
	ctx := command.Context()
	input := os.Stdin
	if !d.yes && (!IsTerminal(input) || d.file == "-") {
		return UsageError(fmt.Errorf("to delete more than one of the %s without being asked, add --yes", d.Things))
	}
	ids, which, err := d.chosen(ctx, command, deletion.List)
	if err != nil {
		return err
	}
	if which == "" {
		return c.Print(deleted{}, func(w io.Writer) { fmt.Fprintf(w, "There are no such %s.\n", d.Things) })
	}
	if !d.yes && !c.confirm(input, fmt.Sprintf("Delete %s? %s", which, d.Effect)) {
		return errors.New("nothing was deleted")
	}
	total := int64(0)
	if ids.all != nil {
		total = int64(len(ids.all))
	}
	shown := c.NewProgress(d.Things+" deleted", total)
	result, err := removeChosen(ctx, ids, deletion.Remove, shown)
	shown.End()
	printed := c.Print(result, func(w io.Writer) {
		fmt.Fprintf(w, "%d %s deleted, %d failed\n", result.Deleted, d.Things, result.Failed)
	})
	if err == nil && result.Failed > 0 {
		err = fmt.Errorf("%d of %d were not deleted", result.Failed, result.Failed+result.Deleted)
	}
	return errors.Join(err, printed)
}

// deleted is what came of a deletion.
type deleted struct {
	Deleted int `json:"deleted"`
	Failed  int `json:"failed"`
}

// chosenIDs are those of a file, or of a list that is read while they are deleted.
type chosenIDs struct {
	all    []string
	list   Lister[string]
	prefix string
}

// chosen returns the ids to be deleted, and which they are in words, "" for none.
func (d *DeleteMany) chosen(
	ctx context.Context, command *cobra.Command, list Lister[string],
) (ids chosenIDs, which string, err error) {
	if command.Flags().Changed("file") {
		if ids.all, err = idsIn(d.file); err != nil || len(ids.all) == 0 {
			return ids, "", err
		}
		return ids, fmt.Sprintf("the %d %s of %s", len(ids.all), d.Things, d.file), nil
	}
	ids = chosenIDs{list: list, prefix: d.prefix}
	first, next, err := list(d.prefix, "", PageSize)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil || len(first) == 0 && next == "" {
		return ids, "", err
	}
	number := fmt.Sprint(len(first))
	if next != "" {
		number += " or more"
	}
	if d.prefix == "" {
		return ids, fmt.Sprintf("all %s %s", number, d.Things), nil
	}
	return ids, fmt.Sprintf("%s %s with ids that start with %q", number, d.Things, d.prefix), nil
}

// idsIn reads the ids of a file, one in a line, each once.
func idsIn(file string) (ids []string, err error) {
	input := io.Reader(os.Stdin)
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the file: %w", err)
		}
		defer opened.Close()
		input = opened
	}
	seen := make(map[string]bool)
	lines := bufio.NewScanner(input)
	for number := 1; lines.Scan(); number++ {
		text := lines.Text()
		if number == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		id := strings.TrimSpace(text)
		if id != Printable(id) || len(id) > maxID {
			return nil, fmt.Errorf("line %d of %s is no id: %.100q", number, file, id)
		}
		if id != "" && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return ids, nil
}

// maxID is more bytes than any id has.
const maxID = 512

// confirm asks a person.
func (c *Env) confirm(input io.Reader, question string) bool {
	fmt.Fprintf(c.Stderr, "%s [y/N] ", Printable(question))
	answer, _ := bufio.NewReader(input).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// BulksAtOnce is how many bulk operations are under way.
const BulksAtOnce = 4

// removeChosen deletes what was chosen, several bulks at once.
func removeChosen(ctx context.Context, ids chosenIDs, bulk func(context.Context, []string) (map[int]error, error),
	shown *Progress) (deleted, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done, failed atomic.Int64
	work := make(chan []string)
	var working sync.WaitGroup
	for range BulksAtOnce {
		working.Go(func() {
			for some := range work {
				left, err := bulk(ctx, some)
				if err != nil {
					cancel(err)
					return
				}
				gone := len(some)
				for n, id := range some {
					why := left[n]
					switch {
					case why == nil:
					case ids.all == nil && fault.From(why).Code.Status() == 404:
						gone-- // somebody else was faster
					default:
						gone--
						failed.Add(1)
						shown.Line(fmt.Sprintf("%s: %s", Printable(id), Printable(fault.From(why).Message)))
					}
				}
				done.Add(int64(gone))
				shown.Add(int64(gone))
			}
		})
	}
	err := ids.each(func(some []string) error {
		select {
		case work <- some:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(work)
	working.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	return deleted{int(done.Load()), int(failed.Load())}, err
}

// each calls take with all ids, in bulks.
func (ids chosenIDs) each(take func([]string) error) error {
	bulks := func(page []string) error {
		for some := range slices.Chunk(page, backend.MaxBulk) {
			if err := take(some); err != nil {
				return err
			}
		}
		return nil
	}
	if ids.all != nil {
		return bulks(ids.all)
	}
	_, err := EachPage(Selection{Prefix: ids.prefix}, ids.list, bulks)
	return err
}

// IDsOf is a list of which only the ids are wanted.
func IDsOf[T any](list Lister[T], id func(T) string) Lister[string] {
	return func(prefix, after string, top int) ([]string, string, error) {
		items, next, err := list(prefix, after, top)
		ids := make([]string, len(items))
		for i, item := range items {
			ids[i] = id(item)
		}
		return ids, next, err
	}
}

// RemoveEach deletes things for which the service has no bulk operation.
func RemoveEach(
	remove func(ctx context.Context, id string) error,
) func(context.Context, []string) (map[int]error, error) {
	return func(ctx context.Context, ids []string) (map[int]error, error) {
		outcomes := make([]error, len(ids))
		var next atomic.Int64
		var working sync.WaitGroup
		for range eachAtOnce {
			working.Go(func() {
				for n := next.Add(1) - 1; n < int64(len(ids)); n = next.Add(1) - 1 {
					outcomes[n] = RetryThrottled(ctx, func() error { return remove(ctx, ids[n]) })
				}
			})
		}
		working.Wait()
		failed := make(map[int]error)
		for n, err := range outcomes {
			var problem *fault.Error
			switch {
			case err == nil:
			case errors.As(err, &problem) && problem.Code.Status() < 429:
				failed[n] = err
			default:
				return nil, err
			}
		}
		return failed, nil
	}
}

// eachAtOnce is how many requests are under way for each of BulksAtOnce.
const eachAtOnce = 4

// RetryThrottled does again what came too fast for the service.
func RetryThrottled(ctx context.Context, do func() error) error {
	for {
		err := do()
		var problem *fault.Error
		if !errors.As(err, &problem) || problem.Code.Status() != 429 {
			return err
		}
		select {
		case <-time.After(max(problem.RetryAfter, time.Second)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
