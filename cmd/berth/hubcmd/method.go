package hubcmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/contract"
)

func (c commands) method() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "method",
		Short: "Direct methods: have a connected device do something, and wait for its answer",
	})
	command.AddCommand(c.methodInvoke())
	return command
}

func (c commands) methodInvoke() *cobra.Command {
	var hubName, moduleID, payload string
	var timeout, connectTimeout int
	command := &cobra.Command{
		Use:   "invoke ID NAME",
		Short: "Call a method of a device, or of a module",
		Long: `Calls a method of a device and prints what the device answers: a status, which is
the device's own, and a payload. The device must be connected and have subscribed to
methods, or do so within --connect-timeout.`,
		Example: `  berth method invoke Python-device-01 reboot
  berth method invoke Python-device-01 setLevel --payload '{"level":3}'
  berth method invoke Python-device-01 reboot --connect-timeout 60 --timeout 60`,
		Args: cli.ExactArgs("ID", "NAME"),
		RunE: func(command *cobra.Command, args []string) (err error) {
			call := contract.MethodCall{MethodName: args[1], ResponseTimeout: &timeout, ConnectTimeout: &connectTimeout}
			if payload != "" {
				if call.Payload, err = cli.ReadJSON("payload", payload); err != nil {
					return err
				}
			}
			return c.invoke(command.Context(), hubName, args[0], moduleID, call)
		},
	}
	flags := command.Flags()
	flags.StringVar(&payload, "payload", "", "what the method gets: any `JSON`, or @FILE that holds it")
	flags.IntVar(&timeout, "timeout", 30, "how many `seconds` the device has to answer, 5 to 300")
	flags.IntVar(&connectTimeout, "connect-timeout", 0,
		"how many `seconds` to wait for a device that is not connected, up to --timeout")
	moduleFlag(command, &moduleID)
	hubFlag(command, &hubName)
	return command
}

func (c commands) invoke(ctx context.Context, hubName, id, moduleID string, call contract.MethodCall) error {
	return c.inHubOf(ctx, hubName, id, func(client cli.HubClient) error {
		answer, err := client.InvokeMethod(ctx, identityID(id, moduleID), call)
		if err != nil {
			return err
		}
		return c.Print(answer, func(w io.Writer) {
			cli.PrintFields(w, cli.Field{"Status", fmt.Sprint(answer.Status)},
				cli.Field{"Payload", cli.Printable(string(answer.Payload))})
		})
	})
}
