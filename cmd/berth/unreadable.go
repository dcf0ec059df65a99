package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/fault"
)

func (c *program) unreadable() *cobra.Command {
	command := &cobra.Command{
		Use:   "unreadable",
		Short: "Show the records that cannot be read, and delete them",
		Long: `Has the server read all of its records, and shows those that cannot be read, because
a disk or somebody damaged them. Everything else passes over them. Restore a backup,
write them again, or delete them.`,
		Example: `  berth data unreadable
  berth data unreadable delete provisioning/enrollments python-device-01`,
		Args: cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			records, err := service.Unreadable(command.Context())
			if err != nil {
				return err
			}
			return cli.PrintList(&c.Env, records, "Every record can be read.",
				[]string{"COLLECTION", "RECORD", "REASON"},
				func(r backend.Unreadable) []string { return []string{r.Collection, r.Key, r.Reason} })
		},
	}
	command.AddCommand(&cobra.Command{
		Use:   "delete COLLECTION RECORD",
		Short: "Delete a record that cannot be read, with what belongs to it",
		Long: `Deletes a record that berth data unreadable shows, with what belongs to it: with a
device its twin, with a group its certificates. In place of a twin there is an empty
one then, and in place of a policy of a hub one with other keys.`,
		Example: `  berth data unreadable delete provisioning/enrollments python-device-01`,
		Args:    cli.ExactArgs("COLLECTION", "RECORD"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			err = service.DeleteUnreadable(command.Context(), args[0], args[1])
			if errors.Is(err, fault.NotFound) {
				return cli.Advise(err, "berth data unreadable shows which there are, under the names to give here.")
			}
			if err != nil {
				return err
			}
			return c.Print(struct{}{}, func(w io.Writer) {
				fmt.Fprintf(w, "The record %s %s is deleted.\n", args[0], cli.Printable(args[1]))
			})
		},
	})
	return command
}
