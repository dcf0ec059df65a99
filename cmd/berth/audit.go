package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/audit"
)

// defaultAudit is how many changes are shown unless more are asked for.
const defaultAudit = 100

func (c *cli) audit() *cobra.Command {
	var filter audit.Filter
	var wanted selection
	var kind, since string
	command := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed which enrollment, group, policy or certificate, when and from where",
		Long: `Shows the changes that operators made, the latest first, by whichever way: the
command line, the service API, or the portal, and those that were refused to them
for want of a right or a secret. Values are shown where they can't be secret; of
others it is told that they changed. A bulk operation has one entry. Entries are kept
for 400 days, and the latest 256 MiB of them.`,
		Example: `  berth audit
  berth audit --kind enrollmentGroup --id meters
  berth audit --since 24h -o json`,
		Args: exactly(),
		RunE: func(command *cobra.Command, _ []string) error {
			filter.Kind = audit.Kind(kind)
			if since != "" {
				var err error
				if filter.Since, err = moment(since, time.Now()); err != nil {
					return usageError{fmt.Errorf("--since must be %w", err)}
				}
			}
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			list := func(_, after string, top int) ([]audit.Entry, string, error) {
				filter.After, filter.Max = after, top
				return service.Audit(command.Context(), filter)
			}
			none := "Nothing was changed."
			if filter.Kind != "" || filter.ID != "" || filter.Actor != "" || !filter.Since.IsZero() {
				none = "Nothing of that was changed."
			}
			return printPages(c, wanted, list, nothing(none), []string{"TIME", "ACTOR", "FROM", "ACTION", "KIND", "ID", "CHANGES"},
				func(e audit.Entry) []string {
					return []string{when(e.Time), e.Actor, orDash(e.Remote), string(e.Action), string(e.Kind), orDash(e.ID), orDash(describeChanges(e))}
				})
		},
	}
	command.AddCommand(c.auditItems())
	flags := command.Flags()
	flags.StringVar(&kind, "kind", "", "only things of this `kind`, such as enrollment")
	flags.StringVar(&filter.ID, "id", "", "only the thing with this `id`")
	flags.StringVar(&filter.Actor, "actor", "", "only by actors whose name has this `text` in it")
	flags.StringVar(&since, "since", "", "only since this `time`: 2026-11-23T12:00:00Z, or 24h for the last day")
	maxFlag(command, &wanted.max, defaultAudit)
	return command
}

// auditItems lists the things of a bulk operation.
func (c *cli) auditItems() *cobra.Command {
	wanted := selection{}
	command := &cobra.Command{
		Use:   "items NAME",
		Short: "List the things of a bulk operation",
		Long: `Lists what a bulk operation was about: one that created, changed or deleted many
things at once has a single entry in the audit. berth audit shows its NAME.`,
		Args: exactly("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			list := func(_, after string, _ int) ([]audit.Item, string, error) {
				return service.AuditItems(command.Context(), args[0], after)
			}
			return printPages(c, wanted, list, nothing("There is nothing in it."), []string{"ID", "FAILED", "CHANGES"},
				func(i audit.Item) []string {
					return []string{orDash(i.ID), orDash(i.Failed), orDash(strings.Join(describeFields(i.Changes), "; "))}
				})
		},
	}
	return command
}

// describeFields says what differs.
func describeFields(fields []audit.Field) []string {
	changes := make([]string, len(fields))
	for i, field := range fields {
		changes[i] = fmt.Sprintf("%s: %s -> %s", field.Path, orDash(field.Before), orDash(field.After))
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
		changes = append(changes, fmt.Sprintf("%d done, %d failed%s: berth audit items %s", bulk.Done, bulk.Failed, state, bulk.Name))
	}
	if e.Reason != "" {
		changes = append([]string{e.Reason}, changes...)
	}
	return strings.Join(changes, "; ")
}
