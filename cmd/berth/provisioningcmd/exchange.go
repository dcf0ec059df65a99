package provisioningcmd

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/exchange"
)

func (c commands) enrollmentExport() *cobra.Command {
	var asked string
	var keys bool
	var wanted cli.Selection
	command := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write enrollments to a file, as JSON or CSV",
		Long: `Writes individual enrollments to a file, or to the standard output without one or
with -, as a JSON array in the form of the service API, or as CSV. Of certificates
it writes what they say, with their thumbprints, which is enough to import them
elsewhere. Keys are written with --keys only. The file is readable by its owner
alone, and takes the place of one of the same name once it is complete.`,
		Example: `  berth enrollment export enrollments.json
  berth enrollment export enrollments.csv --keys`,
		Args: cli.RangeArgs(0, "FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			file := exportFile(args)
			format, err := exchange.FormatOf(asked, file)
			if err != nil {
				return cli.UsageError(cli.LocalError(err))
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			ctx := command.Context()
			summary, err := service.Summary(ctx)
			if err != nil {
				return err
			}
			exporting := export[enroll.Enrollment]{
				writer: func(output io.Writer) exchange.Writer[enroll.Enrollment] {
					return exchange.NewWriter(output, format)
				},
				list: func(prefix, after string, top int) ([]enroll.Enrollment, string, error) {
					return service.Enrollments(ctx, prefix, after, top)
				},
				shown: c.NewProgress("enrollments exported", int64(summary.Enrollments)),
			}
			without := 0
			exporting.complete = func(page []enroll.Enrollment) error {
				return completeEach(page, func(e *enroll.Enrollment) (err error) {
					if keys && e.Attestation.Type == "symmetricKey" {
						e.Attestation, err = service.AttestationMechanism(ctx, e.RegistrationID)
					}
					return err
				}, func(e enroll.Enrollment) {
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
	wanted.Flags(command)
	return command
}

func (c commands) groupExport() *cobra.Command {
	var keys bool
	var wanted cli.Selection
	command := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write enrollment groups to a file, as JSON",
		Long: `Writes enrollment groups to a file, or to the standard output without one or with
-, as a JSON array in the form of the service API, with the certificates that sign
their devices. Where a group names certificate authorities, these have to be where
it is imported. Keys are written with --keys only. The file is readable by its owner
alone, and takes the place of one of the same name once it is complete.`,
		Example: `  berth group export groups.json --keys`,
		Args:    cli.RangeArgs(0, "FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			ctx, without := command.Context(), 0
			exporting := export[enroll.Group]{
				writer: exchange.NewGroupWriter,
				list: func(prefix, after string, top int) ([]enroll.Group, string, error) {
					return service.Groups(ctx, prefix, after, top)
				},
				complete: func(page []enroll.Group) error {
					return completeEach(page, func(g *enroll.Group) (err error) {
						if keys || g.Attestation.Type == "x509" {
							g.Attestation, err = service.GroupAttestationMechanism(ctx, g.EnrollmentGroupID)
						}
						return err
					}, func(g enroll.Group) {
						if !keys && g.Attestation.Type == "symmetricKey" {
							without++
						}
					})
				},
				shown: c.NewProgress("groups exported", 0),
			}
			return errors.Join(exporting.run(c, wanted, exportFile(args)), c.tellOfKeys(without))
		},
	}
	command.Flags().BoolVar(&keys, "keys", false, "write the symmetric keys too")
	wanted.Flags(command)
	return command
}

// tellOfKeys says that keys were left out: who imports the file gets others.
func (c commands) tellOfKeys(without int) error {
	if without == 0 {
		return nil
	}
	_, err := fmt.Fprintf(c.Stderr,
		"berth: the keys of %d are not in it, and others are made where it is imported; --keys writes them\n", without)
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
	shown    *cli.Progress
}

// exportFile is the file that the arguments name, "" for the standard output.
func exportFile(args []string) string {
	if len(args) == 0 || args[0] == "-" {
		return ""
	}
	return args[0]
}

// run writes to the file, or to the standard output without one.
func (e export[T]) run(c commands, wanted cli.Selection, file string) error {
	defer c.TellOfUnreadable()
	defer e.shown.End()
	if file == "" {
		return e.write(wanted, c.Stdout)
	}
	return writeWhole(file, func(output io.Writer) error { return e.write(wanted, output) })
}

func (e export[T]) write(wanted cli.Selection, output io.Writer) error {
	writer := e.writer(output)
	for after, left := "", wanted.Max; ; {
		top := cli.PageSize
		if wanted.Max > 0 {
			top = min(top, left)
		}
		page, next, err := e.list(wanted.Prefix, after, top)
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
		e.shown.Add(int64(len(page)))
		left -= len(page)
		if after = next; next == "" || wanted.Max > 0 && left <= 0 {
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
