package hubcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/document"
)

func (c commands) digitalTwin() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "digital-twin",
		Short: "Twins by the conventions of IoT Plug and Play: components, what is acknowledged, commands",
	})
	command.AddCommand(c.digitalTwinShow(), c.digitalTwinUpdate(), c.digitalTwinInvoke())
	return command
}

func (c commands) digitalTwinShow() *cobra.Command {
	return c.onDevice(&cobra.Command{
		Use:   "show ID",
		Short: "Show the digital twin of a device",
		Long: `Shows what a device has reported, a component apart from the others, with its
model, what is desired, and what of that the device has acknowledged.`,
		Example: "  berth digital-twin show Python-device-01",
	}, c.printDigitalTwin)
}

func (c commands) printDigitalTwin(ctx context.Context, client cli.HubClient, id string) error {
	view, err := client.DigitalTwin(ctx, id)
	if err != nil {
		return err
	}
	return c.Print(view, func(w io.Writer) {
		fields := []cli.Field{{"Device id", id}, {"Model id", view.Get("$metadata", "$model").Text()}}
		for name, value := range view.All() {
			if name != "$dtId" && name != "$metadata" {
				fields = append(fields, cli.Field{name, value.String()})
			}
		}
		root := view.Get("$metadata").Object().Clone()
		root.Delete("$model")
		cli.PrintFields(w, append(fields, cli.Field{"Metadata", document.ValueOf(root).String()})...)
	})
}

func (c commands) digitalTwinUpdate() *cobra.Command {
	var patch string
	command := c.onDevice(&cobra.Command{
		Use:   "update ID",
		Short: "Set desired properties by a JSON Patch of the digital twin",
		Long: `Sets what is desired of a device: op is add, replace or remove, and path
/property, /component or /component/property. The value of a whole component has
"$metadata": {} in it. A connected device is told at once.`,
		Example: "  berth digital-twin update Python-device-01 --json-patch " +
			`'[{"op":"add","path":"/thermostat1/targetTemperature","value":21.5}]'`,
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		if patch == "" {
			return cli.UsageError(errors.New("say what to change: --json-patch JSON"))
		}
		read, err := cli.ReadJSON("json-patch", patch)
		if err != nil {
			return err
		}
		if err := client.PatchDigitalTwin(ctx, id, read, ""); err != nil {
			return err
		}
		return c.printDigitalTwin(ctx, client, id)
	})
	command.Flags().StringVar(&patch, "json-patch", "", "the patch: `JSON`, or @FILE that holds it")
	return command
}

func (c commands) digitalTwinInvoke() *cobra.Command {
	var hubName, payload string
	var wanted backend.Command
	command := &cobra.Command{
		Use:   "invoke ID COMMAND",
		Short: "Have a device carry out a command",
		Long: `Has a device carry out a command of its model and prints what it answers. It is a
direct method, COMMAND, or COMPONENT*COMMAND of a component.`,
		Example: `  berth digital-twin invoke Python-device-01 reboot --payload 5
  berth digital-twin invoke Python-device-01 getMaxMinReport --component thermostat1`,
		Args: cli.ExactArgs("ID", "COMMAND"),
		RunE: func(command *cobra.Command, args []string) (err error) {
			wanted.Name, wanted.Payload = args[1], json.RawMessage("null")
			if payload != "" {
				if wanted.Payload, err = cli.ReadJSON("payload", payload); err != nil {
					return err
				}
			}
			ctx := command.Context()
			return c.inHubOf(ctx, hubName, args[0], func(client cli.HubClient) error {
				answer, err := client.InvokeCommand(ctx, args[0], wanted)
				if err != nil {
					return err
				}
				return c.Print(answer, func(w io.Writer) {
					cli.PrintFields(w, cli.Field{"Status", fmt.Sprint(answer.Status)},
						cli.Field{"Payload", cli.Printable(string(answer.Payload))})
				})
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&wanted.Component, "component", "", "the `component` whose command it is")
	flags.StringVar(&payload, "payload", "", "what the command gets: any `JSON`, or @FILE that holds it")
	flags.IntVar(&wanted.ResponseTimeout, "timeout", 30, "how many `seconds` the device has to answer, 5 to 300")
	flags.IntVar(&wanted.ConnectTimeout, "connect-timeout", 0,
		"how many `seconds` to wait for a device that is not connected, up to --timeout")
	hubFlag(command, &hubName)
	return command
}
