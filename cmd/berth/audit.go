package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/cmd/berth/cli"
)

// defaultAudit is how many changes are shown unless more are asked for.
const defaultAudit = 100

func (c *program) audit() *cobra.Command {
	var filter audit.Filter
	var wanted cli.Selection
	var kind, since string
	command := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed which enrollment, group, policy or certificate, when and from where",
		Long: `Shows the changes that operators made in the provisioning service, the latest
first, by whichever way: the command line, the service API, or the portal, and those
that were refused to them for want of a right or a secret. What is done in a hub is
not among them yet: devices and their twins. Values are shown where they can't be secret; of
others it is told that they changed. A bulk operation has one entry. Entries are kept
for 400 days, and the latest 256 MiB of them.`,
		Example: `  berth audit
  berth audit --kind enrollmentGroup --id meters
  berth audit --since 24h -o json`,
		Args: cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			filter.Kind = audit.Kind(kind)
			if since != "" {
				var err error
				if filter.Since, err = cli.ParseLogTime(since, time.Now()); err != nil {
					return cli.UsageError(fmt.Errorf("--since must be %w", err))
				}
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			list := func(_, after string, top int) ([]audit.Entry, string, error) {
				filter.After, filter.Max = after, top
				return service.Audit(command.Context(), filter)
			}
			none := "Nothing was changed."
			if filter.Kind != "" || filter.ID != "" || filter.Actor != "" || !filter.Since.IsZero() {
				none = "Nothing of that was changed. What is done in a hub, with devices and twins, is not in the audit."
			}
			return cli.PrintPages(&c.Env, wanted, list, cli.Nothing(none),
				[]string{"TIME", "ACTOR", "FROM", "ACTION", "KIND", "ID", "CHANGES"}, func(e audit.Entry) []string {
					return []string{
						cli.FormatTime(e.Time), e.Actor, cli.OrDash(e.Remote), string(e.Action),
						kindInWords(e.Kind), cli.OrDash(e.ID), cli.OrDash(describeChanges(e)),
					}
				})
		},
	}
	command.AddCommand(c.auditItems())
	flags := command.Flags()
	flags.StringVar(&kind, "kind", "", "only things of this `kind`, such as enrollment")
	flags.StringVar(&filter.ID, "id", "", "only the thing with this `id`")
	flags.StringVar(&filter.Actor, "actor", "", "only by actors whose name has this `text` in it")
	flags.StringVar(&since, "since", "", "only since this `time`: 2026-11-23T12:00:00Z, or 24h for the last day")
	cli.MaxFlag(command, &wanted.Max, defaultAudit)
	return command
}

// auditItems lists the things of a bulk operation.
func (c *program) auditItems() *cobra.Command {
	wanted := cli.Selection{}
	command := &cobra.Command{
		Use:   "items NAME",
		Short: "List the things of a bulk operation",
		Long: `Lists what a bulk operation was about: one that created, changed or deleted many
things at once has a single entry in the audit. berth audit shows its NAME.`,
		Args: cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			list := func(_, after string, _ int) ([]audit.Item, string, error) {
				return service.AuditItems(command.Context(), args[0], after)
			}
			return cli.PrintPages(&c.Env, wanted, list, cli.Nothing("There is nothing in it."),
				[]string{"ID", "FAILED", "CHANGES"},
				func(i audit.Item) []string {
					return []string{
						cli.OrDash(i.ID), cli.OrDash(i.Failed),
						cli.OrDash(strings.Join(describeFields(i.Changes), "; ")),
					}
				})
		},
	}
	return command
}

// kindInWords is a kind as the table has it: JSON and --kind have the word that is stored.
func kindInWords(kind audit.Kind) string {
	if kind == audit.Misbehaviour {
		return "injected fault"
	}
	return string(kind)
}

// describeFields says what differs.
func describeFields(fields []audit.Field) []string {
	changes := make([]string, len(fields))
	for i, field := range fields {
		changes[i] = fmt.Sprintf("%s: %s -> %s", field.Path, cli.OrDash(field.Before), cli.OrDash(field.After))
	}
	return changes
}

func describeChanges(e audit.Entry) string {
	changes := describeFields(e.Changes)
	if bulk := e.Bulk; bulk != nil {
		state := ""
		if !bulk.Ended {
			state = ", not ended"
		}
		changes = append(changes, fmt.Sprintf("%d done, %d failed%s: berth audit items %s",
			bulk.Done, bulk.Failed, state, bulk.Name))
	}
	if e.Reason != "" {
		changes = append([]string{e.Reason}, changes...)
	}
	return strings.Join(changes, "; ")
}
