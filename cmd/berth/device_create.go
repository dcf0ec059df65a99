package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/hub"
)

func (c *cli) deviceCreate() *cobra.Command {
	var hubName, primary, secondary string
	var disabled, edge bool
	command := &cobra.Command{
		Use:   "create ID",
		Short: "Add a device to a hub by hand, without provisioning",
		Long: `Adds a device to a hub. It proves itself with a symmetric key, which is made, or
with a certificate whose thumbprint is given. Devices that are provisioned need
none of this: their hub gets them when they register.`,
		Example: `  berth device create thermostat-1
  berth device create thermostat-2 --thumbprint "$(openssl x509 -in thermostat-2.pem -noout -fingerprint -sha256 | cut -d= -f2 | tr -d :)"`,
		Args: exactly("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := c.target.hub(hubName)
			if err != nil {
				return err
			}
			wanted := hub.Device{DeviceID: args[0], Status: "enabled", Capabilities: hub.Capabilities{IoTEdge: edge}, Authentication: &hub.Authentication{Type: hub.SAS}}
			if disabled {
				wanted.Status = "disabled"
			}
			if primary != "" {
				wanted.Authentication = &hub.Authentication{Type: hub.SelfSigned, X509Thumbprint: hub.ThumbprintPair{PrimaryThumbprint: &primary}}
				if secondary != "" {
					wanted.Authentication.X509Thumbprint.SecondaryThumbprint = &secondary
				}
			}
			created, err := client.CreateDevice(command.Context(), wanted)
			if err != nil {
				return err
			}
			return c.print(created, func(w io.Writer) { describeDevice(w, created) })
		},
	}
	hubFlag(command, &hubName)
	flags := command.Flags()
	flags.StringVar(&primary, "thumbprint", "", "`hexadecimal` SHA-256 or SHA-1 thumbprint of the device's certificate; without it, the device gets keys")
	flags.StringVar(&secondary, "secondary-thumbprint", "", "`hexadecimal` thumbprint of a certificate to roll over to")
	flags.BoolVar(&disabled, "disabled", false, "do not let the device connect yet")
	flags.BoolVar(&edge, "edge", false, "the device is an IoT Edge device")
	return command
}
