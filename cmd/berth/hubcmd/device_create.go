package hubcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
)

// deviceFlags are what can be said of a device identity on the command line.
type deviceFlags struct {
	authenticationFlags
	status, reason      string
	parent              string
	edge, disabled      bool
	keysWanted, creates bool
}

func (f *deviceFlags) flags(command *cobra.Command) {
	flags := command.Flags()
	f.authenticationFlags.flags(command, "sas", "selfSigned", "certificateAuthority", "none")
	flags.StringVar(&f.reason, "status-reason", "", "why the device is enabled or disabled, a `text` of up to 128 "+
		"characters; '' removes it")
	flags.StringVar(&f.parent, "parent", "", "make it a child of the IoT Edge device with this `id`, in the same "+
		"hub; '' takes its parent away")
	flags.BoolVar(&f.edge, "edge", false, "the device is an IoT Edge device")
	cli.KeysFlag(command, &f.keysWanted)
	if f.creates {
		flags.BoolVar(&f.disabled, "disabled", false, "do not let the device connect yet")
		return
	}
	flags.StringVar(&f.status, "status", "", "enabled or disabled")
	command.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]cobra.Completion{"enabled", "disabled"},
		cobra.ShellCompDirectiveNoFileComp))
}

// apply writes into the device what the flags say.
func (f *deviceFlags) apply(
	ctx context.Context, command *cobra.Command, client cli.HubClient, device *identity.Device,
) error {
	changed := command.Flags().Changed
	after, err := f.authenticationFlags.apply(changed, device.Authentication)
	if err != nil {
		return err
	}
	device.Authentication = after
	if changed("status") {
		device.Status = f.status
	}
	if f.disabled {
		device.Status = "disabled"
	}
	if changed("status-reason") {
		device.StatusReason = optional(f.reason)
	}
	if changed("edge") {
		device.Capabilities.IoTEdge = f.edge
	}
	if !changed("parent") {
		return nil
	}
	if f.parent == "" {
		device.ParentScopes = []string{}
		if !device.Capabilities.IoTEdge {
			device.DeviceScope = ""
		}
		return nil
	}
	parent, err := client.Device(ctx, f.parent)
	switch {
	case err != nil:
		return fmt.Errorf("--parent: %w", err)
	case !parent.Capabilities.IoTEdge:
		return fmt.Errorf("--parent: the device %q is no IoT Edge device, which a parent must be", f.parent)
	}
	device.ParentScopes = []string{parent.DeviceScope}
	if !device.Capabilities.IoTEdge {
		device.DeviceScope = parent.DeviceScope
	}
	return nil
}

// optional is a text that the REST API leaves out when it is empty.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func (c commands) deviceCreate() *cobra.Command {
	var hubName string
	wanted := deviceFlags{creates: true}
	command := &cobra.Command{
		Use:   "create ID",
		Short: "Add a device to a hub by hand, without provisioning",
		Long: `Adds a device to a hub. It proves itself with a symmetric key, which is made
unless one is given, or with a certificate whose thumbprint is given. Devices that
are provisioned need none of this: their hub gets them when they register.`,
		Example: `  berth device create thermostat-1
  berth device connection-string thermostat-1
  berth device create thermostat-2 --thumbprint "$(openssl x509 -in thermostat-2.pem -noout -fingerprint -sha256 | cut -d= -f2 | tr -d :)"`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := c.Target.Hub(hubName)
			if err != nil {
				return err
			}
			device := identity.Device{DeviceID: args[0], Status: "enabled"}
			if err := wanted.apply(command.Context(), command, client, &device); err != nil {
				return err
			}
			created, err := client.CreateDevice(command.Context(), device)
			if errors.Is(err, fault.DeviceAlreadyExists) {
				return cli.Advise(err, "berth device update %s changes the one that is there.", cli.Quote(args[0]))
			}
			if err != nil {
				return err
			}
			return c.printDevice(created, wanted.keysWanted)
		},
	}
	hubFlag(command, &hubName)
	wanted.flags(command)
	return command
}
