package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/hub"
)

func (c *cli) device() *cobra.Command {
	command := help(&cobra.Command{
		Use:   "device",
		Short: "Device identities of a hub, their twins, and a simulated device",
	})
	command.AddCommand(c.deviceList(), c.deviceShow(), c.deviceCreate(), c.deviceDelete(), c.deviceTwin(), c.deviceSimulate())
	return command
}

func hubFlag(command *cobra.Command, name *string) {
	command.Flags().StringVar(name, "hub", "", "the hub's `name` or host, when there are several")
}

func (c *cli) deviceList() *cobra.Command {
	var wanted selection
	var hubName string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the devices of a hub",
		Args:  exactly(),
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := c.target.hub(hubName)
			if err != nil {
				return err
			}
			devices, err := collect(wanted, func(prefix, after string, top int) ([]hub.Device, string, error) {
				return client.Devices(command.Context(), prefix, after, top)
			})
			if err != nil {
				return err
			}
			for _, device := range devices {
				if device.Authentication != nil {
					device.Authentication.SymmetricKey = hub.KeyPair{} // that a list is not asked for
				}
			}
			return printDevices(c, devices)
		},
	}
	wanted.flags(command)
	hubFlag(command, &hubName)
	return command
}

func printDevices(c *cli, devices []hub.Device) error {
	return printList(c, devices, "The hub has no devices. Devices come by registering: berth device simulate",
		[]string{"DEVICE ID", "STATUS", "CONNECTION", "AUTHENTICATION", "LAST ACTIVITY"},
		func(d hub.Device) []string {
			return []string{d.DeviceID, d.Status, d.ConnectionState, authentication(d), orDash(when(d.LastActivityTime.Time))}
		})
}

func (c *cli) deviceShow() *cobra.Command {
	var hubName string
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Show a device identity",
		Args:  exactly("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := c.target.hub(hubName)
			if err != nil {
				return err
			}
			d, err := client.Device(command.Context(), args[0])
			if err != nil {
				return err
			}
			return c.print(d, func(w io.Writer) { describeDevice(w, d) })
		},
	}
	hubFlag(command, &hubName)
	return command
}

func (c *cli) deviceDelete() *cobra.Command {
	var hubName string
	command := &cobra.Command{
		Use:   "delete ID",
		Short: "Delete a device identity with its twin, and end its connection",
		Args:  exactly("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := c.target.hub(hubName)
			if err != nil {
				return err
			}
			return client.DeleteDevice(command.Context(), args[0], "*")
		},
	}
	hubFlag(command, &hubName)
	return command
}

func authentication(d hub.Device) string {
	if d.Authentication == nil {
		return "-"
	}
	return string(d.Authentication.Type)
}

func describeDevice(w io.Writer, d hub.Device) {
	fields := []field{
		{"Device id", d.DeviceID},
		{"Status", d.Status},
		{"Connection", d.ConnectionState},
		{"  since", when(d.ConnectionStateUpdatedTime.Time)},
		{"Last activity", when(d.LastActivityTime.Time)},
		{"Authentication", authentication(d)},
	}
	if d.StatusReason != nil {
		fields = append(fields, field{"Status reason", *d.StatusReason})
	}
	if a := d.Authentication; a != nil {
		for _, thumbprint := range []struct {
			name  string
			value *string
		}{{"  Primary thumbprint", a.X509Thumbprint.PrimaryThumbprint}, {"  Secondary thumbprint", a.X509Thumbprint.SecondaryThumbprint}} {
			if thumbprint.value != nil {
				fields = append(fields, field{thumbprint.name, *thumbprint.value})
			}
		}
	}
	record(w, append(fields, field{"Generation", d.GenerationID})...)
}
