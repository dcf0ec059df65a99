package provisioningcmd

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning"
)

func (c commands) registration() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "registration",
		Short: "Registration records: where devices were assigned",
	})
	command.AddCommand(c.registrationShow(), c.registrationList(), c.registrationDelete())
	return command
}

func (c commands) registrationShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show the registration record of a device",
		Args:  cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			r, err := service.Registration(command.Context(), args[0])
			if err != nil {
				return err
			}
			return c.Print(r, func(w io.Writer) {
				cli.PrintFields(w,
					cli.Field{"Registration id", r.RegistrationID},
					cli.Field{"Status", string(r.Status)},
					cli.Field{"Substatus", string(r.Substatus)},
					cli.Field{"Assigned hub", r.AssignedHub},
					cli.Field{"Device id", r.DeviceID},
					cli.Field{"Error", r.ErrorMessage},
					cli.Field{"Created", cli.FormatTime(r.CreatedDateTimeUTC.Time)},
					cli.Field{"Last updated", cli.FormatTime(r.LastUpdatedDateTimeUTC.Time)})
			})
		},
	}
}

func (c commands) registrationList() *cobra.Command {
	return cli.ListCommand(c.Env, "List the registration records", c.Target.Provisioning,
		(*backend.Provisioning).Registrations,
		"No device has registered. berth attempts shows those that tried.",
		[]string{"REGISTRATION ID", "STATUS", "SUBSTATUS", "ASSIGNED HUB", "DEVICE ID", "LAST UPDATED"},
		func(r provisioning.Registration) []string {
			return []string{
				r.RegistrationID, string(r.Status), cli.OrDash(string(r.Substatus)),
				cli.OrDash(r.AssignedHub), cli.OrDash(r.DeviceID),
				cli.FormatTime(r.LastUpdatedDateTimeUTC.Time),
			}
		})
}

func (c commands) registrationDelete() *cobra.Command {
	many := cli.DeleteMany{Things: "registrations", Effect: "The devices stay in their hubs."}
	command := &cobra.Command{
		Use:   "delete (ID | --prefix TEXT | --file FILE)",
		Short: "Delete the registration record of a device, or of many",
		Long: `Deletes the registration record. The device stays in its hub; when it registers
again it is assigned as if for the first time.`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			ctx := command.Context()
			if !many.Wanted(command) {
				return service.DeleteRegistration(ctx, args[0], "")
			}
			list := func(prefix, after string, top int) ([]provisioning.Registration, string, error) {
				return service.Registrations(ctx, prefix, after, top)
			}
			return many.Run(command, c.Env, cli.Deletion{
				List: cli.IDsOf(list, func(r provisioning.Registration) string { return r.RegistrationID }),
				Remove: cli.RemoveEach(func(ctx context.Context, id string) error {
					return service.DeleteRegistration(ctx, id, "")
				}),
			})
		},
	}
	many.Flags(command)
	return command
}
