package hubcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
)

func (c commands) c2d() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "c2d",
		Short: "Messages to devices (cloud-to-device), and what became of them",
	})
	command.AddCommand(c.c2dSend(), c.c2dFeedback(), c.c2dPurge())
	return command
}

func (c commands) c2dSend() *cobra.Command {
	var message contract.DeviceMessage
	var body, file, expires, moduleID string
	var properties []string
	command := c.onDevice(&cobra.Command{
		Use:   "send ID",
		Short: "Send a message to a device, or to a module",
		Long: `Puts a message into the queue of a device and returns when it is on disk. A device
that is connected and has subscribed gets it at once, another when it comes, unless
it has expired by then: after an hour, or as --expires says.`,
		Example: `  berth c2d send Python-device-01 --body "open the valve"
  berth c2d send Python-device-01 --file order.json --content-type application/json --ack full
  berth c2d send Python-device-01 --body now --property level=high --expires 5m`,
	}, func(ctx context.Context, client cli.HubClient, id string) (err error) {
		if err := readPayload(&message, body, file); err != nil {
			return err
		}
		if err := readProperties(&message, properties); err != nil {
			return err
		}
		if expires != "" {
			if message.Expires, err = expiry(expires, time.Now()); err != nil {
				return err
			}
		}
		sent, err := client.SendMessage(ctx, identityID(id, moduleID), message)
		if err != nil {
			return err
		}
		return c.Print(sent, func(w io.Writer) {
			cli.PrintFields(w, cli.Field{"Message id", sent.MessageID},
				cli.Field{"Sequence number", fmt.Sprint(sent.SequenceNumber)},
				cli.Field{"Expires", cli.FormatTime(sent.Expires.Time)})
		})
	})
	moduleFlag(command, &moduleID)
	flags := command.Flags()
	flags.StringVar(&body, "body", "", "the `text` of the message")
	flags.StringVar(&file, "file", "", "send the content of this `file`")
	flags.StringArrayVar(&properties, "property", nil, "an application property, `NAME=VALUE`; may be repeated")
	flags.StringVar(&message.MessageID, "message-id", "",
		"its `id`, by which feedback speaks of it (default: one is made)")
	flags.StringVar(&message.CorrelationID, "correlation-id", "", "the `id` of what it answers")
	flags.StringVar(&message.UserID, "user-id", "", "`whose` message it is")
	flags.StringVar(&message.ContentType, "content-type", "", "such as application/json: a media `type`")
	flags.StringVar(&message.ContentEncoding, "content-encoding", "", "such as utf-8: an `encoding`")
	flags.StringVar(&message.Ack, "ack", "", "what berth c2d feedback tells of it: `none|positive|negative|full`")
	flags.StringVar(&expires, "expires", "", "drop it if the device has not come by then: a `time`, or 5m")
	command.RegisterFlagCompletionFunc("ack", cobra.FixedCompletions(
		[]cobra.Completion{"none", "positive", "negative", "full"}, cobra.ShellCompDirectiveNoFileComp))
	return command
}

// readPayload takes the payload from the flags.
func readPayload(message *contract.DeviceMessage, payload, file string) error {
	if file == "" {
		message.Payload = payload
		return nil
	}
	if payload != "" {
		return cli.UsageError(errors.New("--body and --file exclude each other"))
	}
	content, err := cli.ReadText(file)
	if err != nil {
		return err
	}
	if utf8.Valid(content) {
		message.Payload = string(content)
	} else {
		message.PayloadBase64 = content
	}
	return nil
}

func readProperties(message *contract.DeviceMessage, properties []string) error {
	message.Properties = make(map[string]string, len(properties))
	for _, property := range properties {
		name, value, ok := strings.Cut(property, "=")
		if !ok || name == "" {
			return cli.UsageError(fmt.Errorf("--property must be NAME=VALUE, not %q", property))
		}
		message.Properties[name] = value
	}
	return nil
}

// expiry is a time, or one that is so long from now.
func expiry(text string, now time.Time) (*document.Time, error) {
	if after, err := time.ParseDuration(text); err == nil {
		return &document.Time{Time: now.Add(after).UTC()}, nil
	}
	at, err := cli.ParseTime(text, now)
	if err != nil {
		return nil, cli.UsageError(fmt.Errorf("--expires must be %w", err))
	}
	return &document.Time{Time: at.UTC()}, nil
}

func (c commands) c2dFeedback() *cobra.Command {
	var hubName string
	var max int
	command := &cobra.Command{
		Use:   "feedback",
		Short: "Read what became of messages that were sent with --ack",
		Long: `Prints the feedback that there is, and removes it: of each message that asked for
it whether its device took it (Success), or why it will not get it (Expired,
DeliveryCountExceeded, Rejected, Purged). Who else reads feedback of the hub does
not get what this has printed.`,
		Example: "  berth c2d feedback\n  berth c2d feedback -o json",
		Args:    cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := c.Target.Hub(hubName)
			if err != nil {
				return err
			}
			records, tokens := []contract.Feedback{}, []string{}
			for max == 0 || len(records) < max {
				batch, err := client.ReceiveFeedback(command.Context())
				if err != nil {
					return err
				}
				if len(batch.Records) == 0 {
					break
				}
				records, tokens = append(records, batch.Records...), append(tokens, batch.LockToken)
			}
			if err := cli.PrintList(c.Env, records, "There is no feedback.",
				[]string{"TIME", "DEVICE", "MESSAGE ID", "OUTCOME"}, func(f contract.Feedback) []string {
					return []string{cli.FormatTime(f.EnqueuedTime.Time), identityID(f.DeviceID, f.ModuleID),
						f.OriginalMessageID, f.StatusCode}
				}); err != nil {
				return err
			}
			for _, token := range tokens { // only now: what was not printed comes again
				if err := client.CompleteFeedback(command.Context(), token); err != nil {
					return err
				}
			}
			return nil
		},
	}
	command.Flags().IntVar(&max, "max", 1000, "end after about so many (0 is all)")
	hubFlag(command, &hubName)
	return command
}

func (c commands) c2dPurge() *cobra.Command {
	var moduleID string
	command := c.onDevice(&cobra.Command{
		Use:     "purge ID",
		Short:   "Remove all messages from the queue of a device, or of a module",
		Example: "  berth c2d purge Python-device-01",
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		to := identityID(id, moduleID)
		purged, err := client.PurgeMessages(ctx, to)
		if err != nil {
			return err
		}
		return c.Print(contract.PurgeResult{DeviceID: id, ModuleID: moduleID, Purged: purged}, func(w io.Writer) {
			fmt.Fprintf(w, "%d messages to %s were removed.\n", purged, cli.Printable(to))
		})
	})
	moduleFlag(command, &moduleID)
	return command
}
