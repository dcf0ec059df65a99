package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/provisioning"
)

func (c *cli) registration() *cobra.Command {
	command := help(&cobra.Command{
		Use:   "registration",
		Short: "Registration records: where devices were assigned",
	})
	command.AddCommand(c.registrationShow(), c.registrationList(), c.registrationDelete())
	return command
}

func (c *cli) registrationShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show the registration record of a device",
		Args:  exactly("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			r, err := service.Registration(command.Context(), args[0])
			if err != nil {
				return err
			}
			return c.print(r, func(w io.Writer) {
				record(w,
					field{"Registration id", r.RegistrationID},
					field{"Status", string(r.Status)},
					field{"Substatus", string(r.Substatus)},
					field{"Assigned hub", r.AssignedHub},
					field{"Device id", r.DeviceID},
					field{"Error", r.ErrorMessage},
					field{"Created", when(r.CreatedDateTimeUTC.Time)},
					field{"Last updated", when(r.LastUpdatedDateTimeUTC.Time)})
			})
		},
	}
}

func (c *cli) registrationList() *cobra.Command {
	return listCommand(c, "List the registration records", (*backend.Provisioning).Registrations,
		"No device has registered. berth attempts shows those that tried.",
		[]string{"REGISTRATION ID", "STATUS", "SUBSTATUS", "ASSIGNED HUB", "DEVICE ID", "LAST UPDATED"},
		func(r provisioning.Registration) []string {
			return []string{r.RegistrationID, string(r.Status), orDash(string(r.Substatus)), orDash(r.AssignedHub), orDash(r.DeviceID), when(r.LastUpdatedDateTimeUTC.Time)}
		})
}

func (c *cli) registrationDelete() *cobra.Command {
	many := deleteMany{things: "registrations", effect: "The devices stay in their hubs."}
	command := &cobra.Command{
		Use:   "delete (ID | --prefix TEXT | --file FILE)",
		Short: "Delete the registration record of a device, or of many",
		Long: `Deletes the registration record. The device stays in its hub; when it registers
again it is assigned as if for the first time.`,
		Args: exactly("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			ctx := command.Context()
			if !many.wanted(command) {
				return service.DeleteRegistration(ctx, args[0], "")
			}
			list := func(prefix, after string, top int) ([]provisioning.Registration, string, error) {
				return service.Registrations(ctx, prefix, after, top)
			}
			return many.run(command, c, deletion{
				list: idsOf(list, func(r provisioning.Registration) string { return r.RegistrationID }),
				remove: removeEach(func(ctx context.Context, id string) error {
					return service.DeleteRegistration(ctx, id, "")
				}),
			})
		},
	}
	many.flags(command)
	return command
}
