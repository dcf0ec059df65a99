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
	authentication      string
	keys, thumbprints   [2]string // primary and secondary
	status, reason      string
	parent              string
	edge, disabled      bool
	keysWanted, creates bool
}

func (f *deviceFlags) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.authentication, "authentication", "", "how the device proves itself: sas (keys), selfSigned (a "+
		"certificate, by its thumbprint), certificateAuthority or none; by default as the flags below say")
	flags.StringVar(&f.keys[0], "primary-key", "", "its primary `key`, base64 of 16 to 64 bytes, or @FILE that holds "+
		"it; keys are made unless they are given")
	flags.StringVar(&f.keys[1], "secondary-key", "", "its secondary `key`")
	flags.StringVar(&f.thumbprints[0], "thumbprint", "", "`hexadecimal` SHA-256 or SHA-1 thumbprint of its certificate")
	flags.StringVar(&f.thumbprints[1], "secondary-thumbprint", "", "`hexadecimal` thumbprint of a certificate to roll "+
		"over to; '' removes it")
	flags.StringVar(&f.reason, "status-reason", "", "why the device is enabled or disabled, a `text` of up to 128 "+
		"characters; '' removes it")
	flags.StringVar(&f.parent, "parent", "", "make it a child of the IoT Edge device with this `id`, in the same "+
		"hub; '' takes its parent away")
	flags.BoolVar(&f.edge, "edge", false, "the device is an IoT Edge device")
	cli.KeysFlag(command, &f.keysWanted)
	command.RegisterFlagCompletionFunc("authentication", cobra.FixedCompletions(
		[]cobra.Completion{"sas", "selfSigned", "certificateAuthority", "none"}, cobra.ShellCompDirectiveNoFileComp))
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
	if err := f.applyAuthentication(changed, device); err != nil {
		return err
	}
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

func (f *deviceFlags) applyAuthentication(changed func(string) bool, device *identity.Device) error {
	before := identity.Authentication{Type: identity.SAS}
	if device.Authentication != nil {
		before = *device.Authentication
	}
	keys := changed("primary-key") || changed("secondary-key")
	thumbprints := changed("thumbprint") || changed("secondary-thumbprint")
	wanted := before.Type
	switch {
	case changed("authentication"):
		wanted = identity.AuthenticationType(f.authentication)
	case keys:
		wanted = identity.SAS
	case thumbprints:
		wanted = identity.SelfSigned
	}
	switch {
	case keys && wanted != identity.SAS:
		return cli.UsageError(errors.New(
			"--primary-key and --secondary-key are of a device with the authentication sas"))
	case thumbprints && wanted != identity.SelfSigned:
		return cli.UsageError(errors.New("--thumbprint and --secondary-thumbprint are of one " +
			"with the authentication selfSigned"))
	}
	after := identity.Authentication{Type: wanted}
	if wanted == before.Type {
		after = before
	}
	pair, prints := &after.SymmetricKey, &after.X509Thumbprint
	for _, each := range []struct {
		flag, value string
		secret      bool
		into        **string
	}{
		{"primary-key", f.keys[0], true, &pair.PrimaryKey}, {"secondary-key", f.keys[1], true, &pair.SecondaryKey},
		{"thumbprint", f.thumbprints[0], false, &prints.PrimaryThumbprint},
		{"secondary-thumbprint", f.thumbprints[1], false, &prints.SecondaryThumbprint},
	} {
		if !changed(each.flag) {
			continue
		}
		value := each.value
		if each.secret {
			var err error
			if value, err = cli.ReadSecret(value); err != nil {
				return err
			}
		}
		*each.into = optional(value)
	}
	if (pair.PrimaryKey == nil) != (pair.SecondaryKey == nil) {
		err := errors.New("a device has two keys: give --primary-key and --secondary-key, or none to have both made")
		return cli.UsageError(err)
	}
	device.Authentication = &after
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
