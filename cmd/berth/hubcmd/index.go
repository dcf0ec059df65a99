package hubcmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/hub/twin"
)

func (c commands) index() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "index",
		Short: "Indexes by which queries find twins fast",
		Long: `A query that asks for a value of an indexed path, with = or IN, looks at the twins
that have it alone: SELECT * FROM devices WHERE tags.site = 'Paris' with an index of
tags.site. Ids, the connection state and disabled devices are found without one.`,
	})
	command.AddCommand(c.indexCreate(), c.indexList(), c.indexDelete())
	return command
}

func (c commands) indexCreate() *cobra.Command {
	return c.inHub(&cobra.Command{
		Args:  cli.ExactArgs("PATH"),
		Use:   "create PATH",
		Short: "Index twins by a path below tags, properties.desired or properties.reported",
		Long: `Makes an index, which is built in the background; berth index list says how far it
is. Until then queries look through all twins, with the same answer.`,
		Example: "  berth index create tags.site\n  berth index create properties.reported.firmware.version",
	}, func(ctx context.Context, client cli.HubClient, path string) error {
		index, err := client.CreateTwinIndex(ctx, path)
		if err != nil {
			return err
		}
		return c.Print(index, func(w io.Writer) {
			fmt.Fprintf(w, "Twins are indexed by %s. berth index list says when that is done.\n", cli.Printable(index.Path))
		})
	})
}

func (c commands) indexList() *cobra.Command {
	var hubName string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the indexes of twins, and how far they are",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := c.Target.Hub(hubName)
			if err != nil {
				return err
			}
			indexes, err := client.TwinIndexes(command.Context())
			if err != nil {
				return err
			}
			return cli.PrintList(c.Env, indexes, "There are no indexes of twins.",
				[]string{"PATH", "STATE", "TWINS READ", "CREATED"}, func(i twin.Index) []string {
					read := "all"
					if i.State == twin.IndexBuilding {
						read = fmt.Sprint(i.Twins)
					}
					return []string{i.Path, string(i.State), read, cli.FormatTime(i.Created.Time)}
				})
		},
	}
	hubFlag(command, &hubName)
	return command
}

func (c commands) indexDelete() *cobra.Command {
	return c.inHub(&cobra.Command{
		Args:    cli.ExactArgs("PATH"),
		Use:     "delete PATH",
		Short:   "Delete an index of twins",
		Example: "  berth index delete tags.site",
	}, func(ctx context.Context, client cli.HubClient, path string) error {
		return client.DeleteTwinIndex(ctx, path)
	})
}
