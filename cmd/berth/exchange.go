package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/exchange"
)

func (c *cli) enrollmentExport() *cobra.Command {
	var asked string
	var keys bool
	var wanted selection
	command := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write enrollments to a file, as JSON or CSV",
		Long: `Writes individual enrollments to a file, or to the standard output, as a JSON array
in the form of the service API, or as CSV. Of certificates it writes what they say,
with their thumbprints, which is enough to import them elsewhere. Keys are written
with --keys only. The file is readable by its owner alone, and takes the place of
one of the same name once it is complete.`,
		Example: `  berth enrollment export enrollments.json
  berth enrollment export enrollments.csv --keys`,
		Args: between(0, "FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			file := strings.Join(args, "")
			format, err := exchange.FormatOf(asked, file)
			if err != nil {
				return usageError{err}
			}
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			ctx := command.Context()
			summary, err := service.Summary(ctx)
			if err != nil {
				return err
			}
			exporting := export[provisioning.Enrollment]{
				writer: func(output io.Writer) exchange.Writer[provisioning.Enrollment] {
					return exchange.NewWriter(output, format)
				},
				list: func(prefix, after string, top int) ([]provisioning.Enrollment, string, error) {
					return service.Enrollments(ctx, prefix, after, top)
				},
				shown: c.newProgress("enrollments exported", int64(summary.Enrollments)),
			}
			without := 0
			exporting.complete = func(page []provisioning.Enrollment) error {
				return completeEach(page, func(e *provisioning.Enrollment) (err error) {
					if keys && e.Attestation.Type == "symmetricKey" {
						e.Attestation, err = service.AttestationMechanism(ctx, e.RegistrationID)
					}
					return err
				}, func(e provisioning.Enrollment) {
					if !keys && e.Attestation.Type == "symmetricKey" {
						without++
					}
				})
			}
			return errors.Join(exporting.run(c, wanted, file), c.tellOfKeys(without))
		},
	}
	command.Flags().StringVar(&asked, "format", "", "json or csv (default: by the file's name, else json)")
	command.Flags().BoolVar(&keys, "keys", false, "write the symmetric keys too")
	command.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]cobra.Completion{"json", "csv"}, cobra.ShellCompDirectiveNoFileComp))
	wanted.flags(command)
	return command
}

func (c *cli) groupExport() *cobra.Command {
	var keys bool
	var wanted selection
	command := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write enrollment groups to a file, as JSON",
		Long: `Writes enrollment groups to a file, or to the standard output, as a JSON array in
the form of the service API, with the certificates that sign their devices. Where a
group names certificate authorities, these have to be where it is imported. Keys are
written with --keys only. The file is readable by its owner alone, and takes the
place of one of the same name once it is complete.`,
		Example: `  berth group export groups.json --keys`,
		Args:    between(0, "FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			ctx, without := command.Context(), 0
			exporting := export[provisioning.EnrollmentGroup]{
				writer: exchange.NewGroupWriter,
				list: func(prefix, after string, top int) ([]provisioning.EnrollmentGroup, string, error) {
					return service.Groups(ctx, prefix, after, top)
				},
				complete: func(page []provisioning.EnrollmentGroup) error {
					return completeEach(page, func(g *provisioning.EnrollmentGroup) (err error) {
						if keys || g.Attestation.Type == "x509" {
							g.Attestation, err = service.GroupAttestationMechanism(ctx, g.EnrollmentGroupID)
						}
						return err
					}, func(g provisioning.EnrollmentGroup) {
						if !keys && g.Attestation.Type == "symmetricKey" {
							without++
						}
					})
				},
				shown: c.newProgress("groups exported", 0),
			}
			return errors.Join(exporting.run(c, wanted, strings.Join(args, "")), c.tellOfKeys(without))
		},
	}
	command.Flags().BoolVar(&keys, "keys", false, "write the symmetric keys too")
	wanted.flags(command)
	return command
}

// tellOfKeys says that keys were left out: who imports the file gets others.
func (c *cli) tellOfKeys(without int) error {
	if without == 0 {
		return nil
	}
	_, err := fmt.Fprintf(c.stderr, "berth: the keys of %d are not in it, and others are made where it is imported; --keys writes them\n", without)
	return err
}

// completeAtOnce is how many requests for what a list does not show are under way.
const completeAtOnce = 8

// completeEach asks for what a list does not show of its items, several at once, and
// then looks at each.
func completeEach[T any](page []T, complete func(*T) error, look func(T)) error {
	failures := make([]error, len(page))
	var next atomic.Int64
	var working sync.WaitGroup
	for range completeAtOnce {
		working.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(page) {
					return
				}
				failures[i] = complete(&page[i])
			}
		})
	}
	working.Wait()
	for _, item := range page {
		look(item)
	}
	return cmp.Or(failures...)
}

// export writes a list to a file, page by page.
type export[T any] struct {
	writer   func(io.Writer) exchange.Writer[T]
	list     func(prefix, after string, top int) ([]T, string, error)
	complete func(page []T) error
	shown    *progressBar
}

// run writes to the file, or to the standard output without one.
func (e export[T]) run(c *cli, wanted selection, file string) error {
	defer c.tellOfUnreadable()
	defer e.shown.end()
	if file == "" {
		return e.write(wanted, c.stdout)
	}
	return writeWhole(file, func(output io.Writer) error { return e.write(wanted, output) })
}

func (e export[T]) write(wanted selection, output io.Writer) error {
	writer := e.writer(output)
	for after, left := "", wanted.max; ; {
		top := pageSize
		if wanted.max > 0 {
			top = min(top, left)
		}
		page, next, err := e.list(wanted.prefix, after, top)
		if err != nil {
			return err
		}
		if err := e.complete(page); err != nil {
			return err
		}
		for _, item := range page {
			if err := writer.Write(item); err != nil {
				return fmt.Errorf("write the file: %w", err)
			}
		}
		e.shown.add(int64(len(page)))
		left -= len(page)
		if after = next; next == "" || wanted.max > 0 && left <= 0 {
			return writer.Close()
		}
	}
}

// writeWhole writes a file that only its owner can read. Until it is complete, what
// was there stays. What is no file, such as a pipe, is written to as it is.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	if about, err := os.Stat(name); err == nil && !about.Mode().IsRegular() {
		output, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("open the file: %w", err)
		}
		return errors.Join(write(output), output.Close())
	}
	created, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // 0600
	if err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	err = errors.Join(write(created), created.Sync(), created.Close())
	if err == nil {
		err = os.Rename(created.Name(), name)
	}
	if err != nil {
		os.Remove(created.Name())
	}
	return err
}

func (c *cli) enrollmentImport() *cobra.Command {
	var asked string
	importing := importing[provisioning.Enrollment]{
		id:      func(e provisioning.Enrollment) string { return e.RegistrationID },
		check:   provisioning.Enrollment.Check,
		bulk:    (*backend.Provisioning).BulkEnrollments,
		example: "berth enrollment import enrollments.csv --mode upsert",
	}
	command := &cobra.Command{
		Use:   "import FILE",
		Short: "Make enrollments of a file, JSON or CSV",
		Long: `Makes or changes individual enrollments as a file says: a JSON array or one JSON
object after the other, each beginning a line, in the form of the service API; or CSV
with a header. What is wrong with one is said with its line, and the others are done
all the same; the exit code is 1 then. An update replaces all of an enrollment but
its keys, if the file has none. - is the standard input.

The columns of CSV are ` + strings.Join(exchange.Columns, ", ") + `;
only registrationId is needed. Certificates are PEM or base64, or only thumbprints.
Commas, semicolons or tabs divide them.`,
		Example: `  berth enrollment import enrollments.csv
  berth enrollment import enrollments.json --mode upsert
  berth enrollment import enrollments.json --dry-run`,
		Args: exactly("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			format, err := exchange.FormatOf(asked, args[0])
			if err != nil {
				return usageError{err}
			}
			importing.read = func(input io.Reader, each func(exchange.Row[provisioning.Enrollment]) error) error {
				return exchange.ReadEnrollments(input, format, each)
			}
			return importing.run(command.Context(), c, args[0])
		},
	}
	command.Flags().StringVar(&asked, "format", "", "json or csv (default: by the file's name, else json)")
	command.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]cobra.Completion{"json", "csv"}, cobra.ShellCompDirectiveNoFileComp))
	importing.flags(command)
	return command
}

func (c *cli) groupImport() *cobra.Command {
	importing := importing[provisioning.EnrollmentGroup]{
		id:      func(g provisioning.EnrollmentGroup) string { return g.EnrollmentGroupID },
		check:   provisioning.EnrollmentGroup.Check,
		bulk:    (*backend.Provisioning).BulkGroups,
		read:    exchange.ReadGroups,
		example: "berth group import groups.json --mode upsert",
	}
	command := &cobra.Command{
		Use:   "import FILE",
		Short: "Make enrollment groups of a file, JSON",
		Long: `Makes or changes enrollment groups as a file says: a JSON array or one JSON object
after the other, each beginning a line, in the form of the service API. What is wrong
with one is said with its line, and the others are done all the same; the exit code is
1 then. An update replaces all of a group but its keys, if the file has none. - is the
standard input.`,
		Example: `  berth group import groups.json
  berth group import groups.json --mode upsert`,
		Args: exactly("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			return importing.run(command.Context(), c, args[0])
		},
	}
	importing.flags(command)
	return command
}

// importing sends the items of a file in bulk, several bulks at once.
type importing[T any] struct {
	id      func(T) string
	check   func(T) error // of a dry run
	bulk    func(*backend.Provisioning, context.Context, backend.BulkMode, []T) ([]backend.BulkError, error)
	read    func(input io.Reader, each func(exchange.Row[T]) error) error
	example string // for who could not create them

	asked   string
	mode    exchange.Mode
	dryRun  bool
	service *backend.Provisioning
	most    atomic.Int64 // items that the service takes at once
}

func (i *importing[T]) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&i.asked, "mode", string(exchange.Create), "create (those that are there fail), update (those that are not there fail) or upsert")
	flags.BoolVar(&i.dryRun, "dry-run", false, "only read the file, and say what is wrong as far as that shows without the server")
	completions := make([]cobra.Completion, len(exchange.Modes))
	for n, mode := range exchange.Modes {
		completions[n] = cobra.Completion(mode)
	}
	command.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(completions, cobra.ShellCompDirectiveNoFileComp))
}

const (
	bulksAtOnce = 4  // bulk operations under way
	azureBulk   = 10 // items that Azure takes in one, and Berth with its limits
)

func (i *importing[T]) run(ctx context.Context, c *cli, file string) error {
	var err error
	if i.mode, err = exchange.ParseMode(i.asked); err != nil {
		return usageError{err}
	}
	input, size := io.Reader(os.Stdin), int64(0)
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("read the file: %w", err)
		}
		defer opened.Close()
		if about, err := opened.Stat(); err == nil && about.Mode().IsRegular() {
			size = about.Size()
		}
		input = opened
	}
	if i.service, err = c.target.provisioning(); err != nil {
		return err
	}
	i.most.Store(backend.MaxBulk)
	done, wrong, there := 0, 0, 0
	shown := c.newProgress("bytes read", size)
	sending := exchange.Import[T]{Size: backend.MaxBulk, AtOnce: bulksAtOnce, Send: i.send,
		Done: func(rows int) { done += rows },
		Failed: func(row exchange.Row[T], why error) {
			wrong++
			if errors.Is(why, fault.EnrollmentConflict) {
				there++
			}
			shown.line(fmt.Sprintf("line %d, %s: %s", row.Line, plain(orDash(i.id(row.Item))), plain(fault.From(why).Message)))
		}}
	if i.dryRun {
		sending.Send = i.look
	}
	err = sending.Run(ctx, func(each func(exchange.Row[T]) error) error { return i.read(io.TeeReader(input, shown), each) })
	shown.end()
	if printed := c.print(map[string]int{"done": done, "failed": wrong}, func(w io.Writer) {
		verb := "imported"
		if i.dryRun {
			verb = "would be sent"
		}
		fmt.Fprintf(w, "%d %s, %d failed\n", done, verb, wrong)
	}); err == nil {
		err = printed
	}
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%d of %d were not imported", wrong, wrong+done)
		if there > 0 {
			err = advise(err, "%d are there already: %s changes those.", there, i.example)
		}
	}
	return err
}

// look says what is wrong with items without sending them.
func (i *importing[T]) look(_ context.Context, rows []exchange.Row[T]) (map[int]error, error) {
	failed := make(map[int]error)
	for n, row := range rows {
		if err := i.check(row.Item); err != nil {
			failed[n] = err
		}
	}
	return failed, nil
}

// send sends a bulk; upsert creates, and updates those that were there.
func (i *importing[T]) send(ctx context.Context, rows []exchange.Row[T]) (map[int]error, error) {
	items := make([]T, len(rows))
	for n, row := range rows {
		items[n] = row.Item
	}
	if i.mode == exchange.Update {
		return i.apply(ctx, backend.BulkUpdate, items)
	}
	failed, err := i.apply(ctx, backend.BulkCreate, items)
	if err != nil || i.mode == exchange.Create {
		return failed, err
	}
	var there []T
	var places []int
	for n := range items {
		if errors.Is(failed[n], fault.EnrollmentConflict) {
			there, places = append(there, items[n]), append(places, n)
			delete(failed, n)
		}
	}
	again, err := i.apply(ctx, backend.BulkUpdate, there)
	for n, why := range again {
		failed[places[n]] = why
	}
	return failed, err
}

// apply returns what failed by the index in items. It sends fewer at once where the
// service takes fewer, and again what came too fast.
func (i *importing[T]) apply(ctx context.Context, mode backend.BulkMode, items []T) (map[int]error, error) {
	failed := make(map[int]error)
	if most := int(i.most.Load()); len(items) > most {
		for begin := 0; begin < len(items); begin += most {
			some, err := i.apply(ctx, mode, items[begin:min(begin+most, len(items))])
			if err != nil {
				return nil, err
			}
			for n, why := range some {
				failed[begin+n] = why
			}
		}
		return failed, nil
	}
	if len(items) == 0 {
		return failed, nil
	}
	problems, err := i.bulk(i.service, ctx, mode, items)
	var problem *fault.Error
	switch tooMany := errors.As(err, &problem); {
	case tooMany && problem.Code.Status() == 429:
		select {
		case <-time.After(max(problem.RetryAfter, time.Second)):
			return i.apply(ctx, mode, items)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case tooMany && problem.Code.Status() == 400 && len(items) > azureBulk:
		i.most.Store(azureBulk)
		return i.apply(ctx, mode, items)
	case tooMany && problem.Code == fault.MessageTooLarge && len(items) > 1:
		half := len(items) / 2
		if failed, err = i.apply(ctx, mode, items[:half]); err != nil {
			return nil, err
		}
		rest, err := i.apply(ctx, mode, items[half:])
		for n, why := range rest {
			failed[half+n] = why
		}
		return failed, err
	case err != nil && len(items) == 1 && tooMany && problem.Code.Status() < 429:
		return map[int]error{0: err}, nil // it alone is what the service refuses
	case err != nil:
		return nil, err
	}
	for _, problem := range problems {
		// Of two with the same id it is the later one that was in the way.
		for n := range slices.Backward(items) {
			if _, taken := failed[n]; !taken && i.id(items[n]) == problem.ID {
				failed[n] = &fault.Error{Code: fault.Code(problem.Code), Message: problem.Message}
				break
			}
		}
	}
	return failed, nil
}
