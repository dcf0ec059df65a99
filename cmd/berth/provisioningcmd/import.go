package provisioningcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/exchange"
)

func (c commands) enrollmentImport() *cobra.Command {
	var asked string
	importing := importing[enroll.Enrollment]{
		id:      func(e enroll.Enrollment) string { return e.RegistrationID },
		hubs:    func(e enroll.Enrollment) []string { return append(slices.Clone(e.Hubs), e.HubHostName) },
		kind:    func(e enroll.Enrollment) string { return e.Attestation.Type },
		fit:     (*exchange.Origin).Enrollments,
		bulk:    (*backend.Provisioning).BulkEnrollments,
		dry:     (*backend.Provisioning).DryRunEnrollments,
		example: "berth enrollment import",
	}
	command := &cobra.Command{
		Use:   "import FILE",
		Short: "Make enrollments of a file, JSON or CSV",
		Long: `Makes or changes individual enrollments as a file says: a JSON array or one JSON
object after the other, each beginning a line, in the form of the service API; or CSV
with a header. What is wrong with one is said with its line, and the others are done
all the same; the exit code is 1 then. An update replaces all of an enrollment but
its keys, if the file has none. - is the standard input.

A file that Azure or another server exported names the hubs there: --map-hub takes
one of this server for each, --ignore-hubs lets any linked hub take the devices. What
the file has and can't come over is said at the end: keys, where none were exported,
and registrations. With --dry-run the server makes the same checks and changes nothing.

The file is in UTF-8. The columns of CSV are ` + strings.Join(exchange.Columns, ", ") + `;
only registrationId is needed. Certificates are PEM or base64, or only thumbprints.
Commas, semicolons or tabs divide them.`,
		Example: `  berth enrollment import enrollments.csv
  berth enrollment import enrollments.json --mode upsert
  berth enrollment import enrollments.json --dry-run
  berth enrollment import azure.json --map-hub contoso.azure-devices.net=berth`,
		Args: cli.ExactArgs("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			format, err := exchange.FormatOf(asked, args[0])
			if err != nil {
				return cli.UsageError(cli.LocalError(err))
			}
			importing.read = func(input io.Reader, each func(exchange.Row[enroll.Enrollment]) error) error {
				return exchange.ReadEnrollments(input, format, each)
			}
			return importing.run(command.Context(), c, args[0])
		},
	}
	command.Flags().StringVar(&asked, "format", "", "json or csv (default: by the file's name, else json)")
	importing.flags(command)
	return command
}

func (c commands) groupImport() *cobra.Command {
	importing := importing[enroll.Group]{
		id:      func(g enroll.Group) string { return g.EnrollmentGroupID },
		hubs:    func(g enroll.Group) []string { return append(slices.Clone(g.Hubs), g.HubHostName) },
		kind:    func(g enroll.Group) string { return g.Attestation.Type },
		fit:     (*exchange.Origin).Groups,
		bulk:    (*backend.Provisioning).BulkGroups,
		dry:     (*backend.Provisioning).DryRunGroups,
		read:    exchange.ReadGroups,
		example: "berth group import",
	}
	command := &cobra.Command{
		Use:   "import FILE",
		Short: "Make enrollment groups of a file, JSON",
		Long: `Makes or changes enrollment groups as a file says: a JSON array or one JSON object
after the other, each beginning a line, in the form of the service API. What is wrong
with one is said with its line, and the others are done all the same; the exit code is
1 then. An update replaces all of a group but its keys, if the file has none. - is the
standard input.

A file that Azure or another server exported names the hubs there: --map-hub takes
one of this server for each, --ignore-hubs lets any linked hub take the devices. With
--dry-run the server makes the same checks and changes nothing.`,
		Example: `  berth group import groups.json
  berth group import azure.json --ignore-hubs --dry-run
  berth group import groups.json --mode upsert`,
		Args: cli.ExactArgs("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			return importing.run(command.Context(), c, args[0])
		},
	}
	importing.flags(command)
	return command
}

// bulkOf is a bulk operation on items of a kind.
type bulkOf[T any] func(*backend.Provisioning, context.Context, backend.BulkMode, []T) ([]backend.BulkError, error)

// dryRunOf is a bulk operation that changes nothing.
type dryRunOf[T any] func(service *backend.Provisioning, ctx context.Context, mode backend.BulkMode, items []T,
	created map[string]int) ([]backend.BulkError, error)

// importing sends the items of a file in bulk, several bulks at once.
type importing[T any] struct {
	id      func(T) string
	hubs    func(T) []string // that it names
	fit     func(*exchange.Origin, func(exchange.Row[T]) error) func(exchange.Row[T]) error
	kind    func(T) string // of attestation
	bulk    bulkOf[T]
	dry     dryRunOf[T]
	read    func(input io.Reader, each func(exchange.Row[T]) error) error
	example string // the command, for who could not create them

	asked   string
	mapped  []string // OLD=NEW
	origin  exchange.Origin
	mode    exchange.Mode
	dryRun  bool
	service *backend.Provisioning
	most    atomic.Int64 // items that the service takes at once
}

func (i *importing[T]) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&i.asked, "mode", string(exchange.Create),
		"create (those that are there fail), update (those that are not there fail) or upsert")
	flags.BoolVar(&i.dryRun, "dry-run", false,
		"only say what would be imported and what would fail: the server makes the same checks, and nothing changes")
	flags.StringArrayVar(&i.mapped, "map-hub", nil,
		"where the file names the hub OLD, take NEW, a name or host of a hub here: `OLD=NEW`; "+
			"may be given more than once")
	flags.BoolVar(&i.origin.IgnoreHubs, "ignore-hubs", false,
		"leave out the hubs that the file names, but for those of --map-hub: any linked hub may take the devices")
}

// azureBulk is how many items Azure takes in one bulk operation, and Berth with its limits.
const azureBulk = 10

func (i *importing[T]) run(ctx context.Context, c commands, file string) error {
	var err error
	if i.mode, err = exchange.ParseMode(i.asked); err != nil {
		return cli.UsageError(cli.LocalError(err))
	}
	if i.origin.Hubs, err = exchange.ParseHubs(i.mapped); err != nil {
		return cli.UsageError(fmt.Errorf("--map-hub: %w", cli.LocalError(err)))
	}
	for old, name := range i.origin.Hubs {
		if i.origin.Hubs[old], err = c.hostOf(ctx, name); err != nil {
			return err
		}
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
	if i.service, err = c.Target.Provisioning(); err != nil {
		return err
	}
	i.most.Store(backend.MaxBulk)
	done, wrong, there, elsewhere := 0, 0, 0, 0
	shown := c.NewProgress("bytes read", size)
	sending := exchange.Import[T]{Size: backend.MaxBulk, AtOnce: cli.BulksAtOnce, Send: i.send,
		Done: func(rows int) { done += rows },
		Failed: func(row exchange.Row[T], why error) {
			wrong++
			if errors.Is(why, fault.EnrollmentConflict) {
				there++
			}
			if i.isElsewhere(row.Item, why) {
				elsewhere++
			}
			shown.Line(fmt.Sprintf("line %d, %s: %s",
				row.Line, cli.Printable(cli.OrDash(i.id(row.Item))), cli.Printable(fault.From(why).Message)))
		}}
	if i.dryRun {
		i.bulk, sending.AtOnce = i.rehearse(), 1
		if i.mode == exchange.Create {
			sending.ID = i.id
		}
	}
	err = sending.Run(ctx, func(each func(exchange.Row[T]) error) error {
		return ofFile(file, i.read(io.TeeReader(input, shown), i.fit(&i.origin, each)))
	})
	shown.End()
	i.tellOfRest(c.Stderr)
	result := struct {
		Done    int              `json:"done"`
		Failed  int              `json:"failed"`
		Without exchange.Without `json:"without,omitzero"`
	}{done, wrong, i.origin.Without()}
	if printed := c.Print(result, func(w io.Writer) {
		verb := "imported"
		if i.dryRun {
			verb = "would be imported"
		}
		fmt.Fprintf(w, "%d %s, %d failed\n", done, verb, wrong)
	}); err == nil {
		err = printed
	}
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%d of %d were not imported", wrong, wrong+done)
		if i.dryRun {
			err = fmt.Errorf("%d of %d would not be imported", wrong, wrong+done)
		}
		var hints []string
		if there > 0 {
			hints = append(hints, fmt.Sprintf("%d are there already: %s %s --mode upsert changes those.", there,
				i.example, cli.Quote(file)))
		}
		if elsewhere > 0 {
			hints = append(hints, fmt.Sprintf(
				"%d name hubs that are not linked here: --map-hub OLD=NEW takes one that is, --ignore-hubs any.",
				elsewhere))
		}
		if len(hints) > 0 {
			err = cli.Advise(err, "%s", strings.Join(hints, " "))
		}
	}
	return err
}

// rehearse is the bulk operation of a dry run, which is told what those before it would
// have created: there are limits on how many there may be. One call is under way at a
// time.
func (i *importing[T]) rehearse() bulkOf[T] {
	created := make(map[string]int)
	return func(service *backend.Provisioning, ctx context.Context, mode backend.BulkMode, items []T,
	) ([]backend.BulkError, error) {
		failed, err := i.dry(service, ctx, mode, items, created)
		if err != nil || mode != backend.BulkCreate {
			return failed, err
		}
		for _, item := range items {
			if !slices.ContainsFunc(failed, func(f backend.BulkError) bool { return f.ID == i.id(item) }) {
				created[i.kind(item)]++
			}
		}
		return failed, nil
	}
}

// ofFile names the file in what is wrong with it.
func ofFile(file string, err error) error {
	var problem *fault.Error
	if !errors.As(err, &problem) {
		return err
	}
	return fmt.Errorf("%s: %w", file, cli.LocalError(problem))
}

// isElsewhere reports whether an item was refused for a hub that it names.
func (i *importing[T]) isElsewhere(item T, why error) bool {
	var problem *fault.Error
	if !errors.As(why, &problem) || problem.Code != fault.ArgumentInvalid {
		return false
	}
	return slices.ContainsFunc(i.hubs(item), func(host string) bool {
		return host != "" && strings.Contains(problem.Message, strconv.Quote(host))
	})
}

// tellOfRest says what the file had that does not come over, and which hubs of --map-hub
// it does not name.
func (i *importing[T]) tellOfRest(w io.Writer) {
	without := i.origin.Without()
	for _, rest := range []struct {
		rows int
		what string
	}{
		{without.Hubs, "without the hubs that the file names: any linked hub may take the devices"},
		{without.Keys, "without keys, which the file does not have: " +
			"where they are created, others are made, and the devices have to get them"},
		{without.Registrations, "without their registrations: the devices are assigned when they register again"},
	} {
		if rest.rows > 0 {
			fmt.Fprintf(w, "berth: %d come over %s\n", rest.rows, rest.what)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(without.Members)) {
		fmt.Fprintf(w, "berth: %d have %s, for which there is no place here: it is left out\n", without.Members[name],
			cli.Printable(name))
	}
	for _, name := range i.origin.Unused() {
		fmt.Fprintf(w, "berth: warning: the file does not name the hub %q of --map-hub\n", name)
	}
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
	case tooMany && problem.Code.Status() == 404 && i.dryRun:
		return nil, cli.Advise(errors.New("this service can't say what an import would do"),
			"Only Berth can, of this version on. Without --dry-run the rows that can't be imported are listed.")
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
