package hubcmd

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/query"
)

func (c commands) query() *cobra.Command {
	var hubName string
	var max int
	command := &cobra.Command{
		Use:   "query QUERY",
		Short: "Query twins, and devices of jobs, in the language of IoT Hub",
		Long: `Answers a query in the language of IoT Hub:

  SELECT [TOP n] *|MEMBER [AS NAME], … FROM devices|devices.modules|devices.jobs
    [WHERE CONDITION] [GROUP BY MEMBER, …]

A member is a path such as tags.site, properties.reported.firmware.version, status or
deviceId, or one of the aggregates COUNT(), AVG, SUM, MIN and MAX of a path. A condition
has comparisons, IN, AND, OR, NOT, arithmetic, and the functions IS_DEFINED, STARTSWITH,
ENDSWITH, CONTAINS, ARRAY_CONTAINS and others. What is in double brackets is a name
whatever it holds: tags.[[my site]].`,
		Example: `  berth query "SELECT * FROM devices WHERE tags.site = 'Paris'"
  berth query "SELECT deviceId, tags.site FROM devices WHERE connectionState = 'Connected'"
  berth query "SELECT tags.site AS site, COUNT() AS n FROM devices GROUP BY tags.site" -o json`,
		Args: cli.ExactArgs("QUERY"),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := c.Target.Hub(hubName)
			if err != nil {
				return err
			}
			list := func(_, after string, top int) ([]document.Object, string, error) {
				page, err := nextPage(func(continuation string) (backend.QueryPage, error) {
					return client.Query(command.Context(), args[0], top, continuation)
				}, after)
				return page.Rows, page.Continuation, err
			}
			header, row := queryColumns(args[0])
			return cli.PrintPages(c.Env, cli.Selection{Max: max}, list, cli.Nothing("Nothing was found."), header, row)
		},
	}
	cli.MaxFlag(command, &max, 0)
	hubFlag(command, &hubName)
	return command
}

// nextPage reads pages until one has rows, or is the last.
func nextPage(read func(continuation string) (backend.QueryPage, error), after string) (backend.QueryPage, error) {
	for {
		page, err := read(after)
		if err != nil || len(page.Rows) > 0 || page.Continuation == "" {
			return page, err
		}
		after = page.Continuation
	}
}

// queryColumns returns the columns of a table of what a query finds. Of a query that
// can't be read, which the hub refuses, there are none.
func queryColumns(text string) (header []string, row func(document.Object) []string) {
	q, err := query.Parse(text)
	if err != nil {
		return []string{""}, func(o document.Object) []string { return []string{o.String()} }
	}
	var paths [][]string
	for _, item := range q.Items {
		header, paths = append(header, item.Name), append(paths, []string{item.Name})
	}
	if q.Items == nil {
		header = []string{"DEVICE ID", "STATUS", "CONNECTION", "LAST ACTIVITY", "TAGS"}
		paths = [][]string{{"deviceId"}, {"status"}, {"connectionState"}, {"lastActivityTime"}, {"tags"}}
		switch q.Source {
		case query.Modules:
			header, paths = slices.Insert(header, 1, "MODULE ID"), slices.Insert(paths, 1, []string{"moduleId"})
		case query.Jobs:
			header = []string{"JOB ID", "DEVICE ID", "TYPE", "STATUS", "CREATED"}
			paths = [][]string{{"jobId"}, {"deviceId"}, {"jobType"}, {"status"}, {"createdDateTimeUtc"}}
		}
	}
	return header, func(o document.Object) []string {
		cells := make([]string, len(paths))
		for i, path := range paths {
			value := o.Get(path...)
			cells[i] = value.String()
			if value.Kind() == document.KindString {
				cells[i] = value.Text()
			}
			cells[i] = cli.OrDash(cells[i])
		}
		return cells
	}
}
