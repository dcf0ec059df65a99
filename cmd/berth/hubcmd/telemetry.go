package hubcmd

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/telemetry"
)

func (c commands) telemetry() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "telemetry",
		Short: "What devices send",
	})
	command.AddCommand(c.tail(&cobra.Command{
		Use:   "tail",
		Short: "Follow the messages of a hub",
		Long: `Prints messages as they come, until Ctrl-C or until so many have come as --max
says. With -o json each is one JSON object in a line.`,
		Example: `  berth telemetry tail
  berth telemetry tail --from earliest --max 10
  berth telemetry tail --from 24h -o json | jq .body
  berth telemetry tail --from 2026-11-23T12:00:00Z --device Python-device-01 -o json`,
	}, (*backend.Hub).Telemetry))
	return command
}

// follower is a method of a hub that calls each with messages from a position on.
type follower func(hub *backend.Hub, ctx context.Context, from telemetry.Position, deviceID string, max int,
	each func(telemetry.Message) error) error

// tail completes a command that prints messages as they come.
func (c commands) tail(command *cobra.Command, follow follower) *cobra.Command {
	var (
		from, device, module, hubName string
		max                           int
	)
	command.Args = cli.ExactArgs()
	command.RunE = func(command *cobra.Command, _ []string) error {
		position, err := parsePosition(from)
		if err != nil {
			return err
		}
		if module != "" && device == "" {
			return cli.UsageError(errors.New("--module names a module of a device: say which with --device"))
		}
		client, err := c.Target.Hub(hubName)
		if device != "" && hubName == "" {
			client, err = c.hubOf(command.Context(), hubName, device)
		}
		if err != nil {
			return err
		}
		if device != "" {
			// Its messages may be there though it is deleted, or come once it has registered.
			if _, err := client.Device(command.Context(), device); errors.Is(err, fault.DeviceNotFound) {
				fmt.Fprintf(c.Stderr,
					"berth: the hub has no device %q now: berth device list shows which there are\n", device)
			}
		}
		write := MessageLines(c.Stdout)
		if c.Output == cli.JSON {
			write = messageObjects(c.Stdout)
		}
		err = follow(client.Hub, command.Context(), position, identityID(device, module), max, write)
		if errors.Is(err, context.Canceled) {
			err = nil // Ctrl-C is how a person ends this
		}
		return err
	}
	flags := command.Flags()
	flags.StringVar(&from, "from", "latest",
		"where to begin: earliest, latest, a `time` such as 2026-11-23T12:00:00Z, or 24h for the last day")
	flags.IntVar(&max, "max", 0, "end after so many messages (0 is never)")
	flags.StringVar(&device, "device", "", "only messages of the device with this `id`, and of its modules")
	flags.StringVar(&module, "module", "", "of the device's, only messages of the module with this `id`")
	hubFlag(command, &hubName)
	command.RegisterFlagCompletionFunc("from",
		cobra.FixedCompletions([]cobra.Completion{"earliest", "latest"}, cobra.ShellCompDirectiveNoFileComp))
	return command
}

func parsePosition(from string) (telemetry.Position, error) {
	switch from {
	case "earliest":
		return telemetry.Position{Earliest: true}, nil
	case "latest":
		return telemetry.Position{}, nil
	}
	at, err := cli.ParseLogTime(from, time.Now())
	if err != nil {
		return telemetry.Position{}, cli.UsageError(fmt.Errorf("--from must be earliest, latest, %w", err))
	}
	position, _ := telemetry.At(at)
	return position, nil
}

// messageObjects writes messages as JSON, one a line, each as soon as it comes.
func messageObjects(w io.Writer) func(telemetry.Message) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return func(message telemetry.Message) error { return encoder.Encode(message) }
}

// MessageLines writes messages for people, each in a line: time, device,
// application properties and body.
func MessageLines(w io.Writer) func(telemetry.Message) error {
	return func(message telemetry.Message) error {
		_, err := fmt.Fprintf(w, "%s  %s\n", cli.FormatMillis(message.EnqueuedTime.Time), DescribeMessage(message))
		return err
	}
}

// DescribeMessage is a message in a line, without its time.
func DescribeMessage(message telemetry.Message) string {
	properties := ""
	if len(message.Properties) > 0 {
		properties = cli.CompactJSON(message.Properties) + "  "
	}
	return cli.Printable(identityID(message.DeviceID, message.ModuleID)) + "  " + cli.Printable(properties) +
		cli.Printable(MessageBody(message))
}

// MessageBody is the body of a message as text: base64 where it is none.
func MessageBody(message telemetry.Message) string {
	if message.Unreadable != "" {
		return "cannot be read: " + message.Unreadable
	}
	switch b := message.Body.(type) {
	case nil:
		return base64.StdEncoding.EncodeToString(message.BodyBase64)
	case string:
		return b
	case json.RawMessage:
		return string(b)
	default:
		return cli.CompactJSON(b)
	}
}
