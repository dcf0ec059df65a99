package provisioningcmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/guard"
)

func (c commands) lockout() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "lockout",
		Short: "Addresses that are locked out because devices there kept failing to prove themselves",
		Long: `Lists and lifts lock-outs. berth up --lockout says when a source is locked out; by
default none is.`,
	})
	command.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the sources that are locked out",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			locked, err := service.LockedOut(command.Context())
			if err != nil {
				return err
			}
			return cli.PrintList(c.Env, locked, "Nobody is locked out.",
				[]string{"SOURCE", "SINCE", "UNTIL", "FAILURES", "REFUSED SINCE"}, func(l guard.LockedOut) []string {
					return []string{
						l.Source, cli.FormatTime(l.Since.Time), cli.FormatTime(l.Until.Time),
						fmt.Sprint(l.Failures), fmt.Sprint(l.Refused),
					}
				})
		},
	}, &cobra.Command{
		Use:   "lift SOURCE",
		Short: "Lift the lock-out of a source",
		Args:  cli.ExactArgs("SOURCE"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			return service.LiftLockout(command.Context(), args[0])
		},
	})
	return command
}
