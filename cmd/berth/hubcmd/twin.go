package hubcmd

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/twin"
)

func (c commands) deviceTwin() *cobra.Command {
	var hubName, moduleID, tags, desired string
	command := &cobra.Command{
		Use:   "twin ID",
		Short: "Show or change the twin of a device, or of a module",
		Long: `Shows the twin of a device, or of a module of it. With --tags or --desired it merges a patch into the
twin first: what is null in it is deleted, what it does not name stays. A
connected device is told of its new desired properties at once.`,
		Example: `  berth device twin Python-device-01
  berth device twin Python-device-01 --desired '{"interval":10,"old":null}'`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			patch, err := twinPatch(command, tags, desired)
			if err != nil {
				return err
			}
			ctx, id := command.Context(), identityID(args[0], moduleID)
			var twin twin.Twin
			err = c.inHubOf(ctx, hubName, args[0], func(client cli.HubClient) error {
				twin, err = client.Twin(ctx, id)
				if patch != nil && err == nil {
					twin, err = client.PatchTwin(ctx, id, patch, "*")
				}
				return err
			})
			if err != nil {
				return err
			}
			return c.Print(twin, func(w io.Writer) {
				cli.PrintFields(w,
					cli.Field{"Device id", twin.DeviceID},
					cli.Field{"Module id", twin.ModuleID},
					cli.Field{"Connection", twin.ConnectionState},
					cli.Field{"Version", fmt.Sprint(twin.Version)},
					cli.Field{"Model id", twin.ModelID},
					cli.Field{"Tags", twin.Tags.String()},
					cli.Field{"Desired", withoutMetadata(twin.Properties.Desired)},
					cli.Field{"Reported", withoutMetadata(twin.Properties.Reported)})
			})
		},
	}
	command.Flags().StringVar(&tags, "tags", "", "merge these tags: `JSON`, or @FILE that holds it")
	command.Flags().StringVar(&desired, "desired", "", "merge these desired properties: `JSON`, or @FILE that holds it")
	moduleFlag(command, &moduleID)
	hubFlag(command, &hubName)
	return command
}

// twinPatch is what the flags want changed, nil for nothing.
func twinPatch(command *cobra.Command, tags, desired string) (json.RawMessage, error) {
	type properties struct {
		Desired json.RawMessage `json:"desired,omitempty"`
	}
	var patch struct {
		Tags       json.RawMessage `json:"tags,omitempty"`
		Properties *properties     `json:"properties,omitempty"`
	}
	var err error
	if command.Flags().Changed("tags") {
		if patch.Tags, err = cli.ReadJSON("tags", tags); err != nil {
			return nil, err
		}
	}
	if command.Flags().Changed("desired") {
		patch.Properties = new(properties)
		if patch.Properties.Desired, err = cli.ReadJSON("desired", desired); err != nil {
			return nil, err
		}
	}
	if patch.Tags == nil && patch.Properties == nil {
		return nil, nil
	}
	return document.Marshal(patch)
}

// withoutMetadata is properties as people want to see them; JSON output has all.
func withoutMetadata(properties document.Object) string {
	shown := properties.Clone()
	shown.Delete("$metadata")
	return shown.String()
}
