package hubcmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/hub/identity"
)

func (c commands) deviceUpdate() *cobra.Command {
	var wanted deviceFlags
	var hubName string
	command := &cobra.Command{
		Use:   "update ID",
		Short: "Change a device identity",
		Long: `Changes what the flags name and leaves the rest of the device as it is. A device
that is disabled, or whose keys or certificate change, is disconnected. Its twin is
changed with berth device twin.`,
		Example: `  berth device update thermostat-1 --status disabled --status-reason "stolen"
  berth device update thermostat-2 --secondary-thumbprint 5FA1…`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			if !cli.AnyChanged(command, "hub", "keys") {
				return cli.UsageError(errors.New("nothing is to be changed: name at least one flag"))
			}
			return c.changeDevice(command.Context(), hubName, args[0], wanted.keysWanted, func(client cli.HubClient,
				device *identity.Device) error {
				return wanted.apply(command.Context(), command, client, device)
			})
		},
	}
	hubFlag(command, &hubName)
	wanted.flags(command)
	return command
}

// changeDevice changes a device, if nobody else does meanwhile, and shows it.
func (c commands) changeDevice(ctx context.Context, hubName, id string, keys bool, change func(client cli.HubClient,
	device *identity.Device) error) error {
	return c.inHubOf(ctx, hubName, id, func(client cli.HubClient) error {
		device, err := client.Device(ctx, id)
		if err != nil {
			return err
		}
		if err := change(client, &device); err != nil {
			return err
		}
		updated, err := client.UpdateDevice(ctx, device, device.ETag)
		if err != nil {
			return err
		}
		return c.printDevice(updated, keys)
	})
}

func (c commands) deviceEnable() *cobra.Command {
	return c.setDeviceStatus("enabled", &cobra.Command{Use: "enable ID", Short: "Let a device connect again"})
}

func (c commands) deviceDisable() *cobra.Command {
	return c.setDeviceStatus("disabled", &cobra.Command{Use: "disable ID",
		Short: "Keep a device from connecting, and end its connection"})
}

func (c commands) setDeviceStatus(status string, command *cobra.Command) *cobra.Command {
	var hubName, reason string
	command.Args = cli.ExactArgs("ID")
	command.RunE = func(command *cobra.Command, args []string) error {
		return c.changeDevice(command.Context(), hubName, args[0], false,
			func(_ cli.HubClient, device *identity.Device) error {
				device.Status = status
				if command.Flags().Changed("status-reason") {
					device.StatusReason = optional(reason)
				}
				return nil
			})
	}
	hubFlag(command, &hubName)
	command.Flags().StringVar(&reason, "status-reason", "", "why, a `text` of up to 128 characters; '' removes the "+
		"one that is there")
	return command
}
