package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/server"
)

func (c *program) data() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "data",
		Short: "What a server keeps: check, repair and print it, and records that cannot be read",
	})
	command.AddCommand(c.dataCheck(), c.dataRepair(), c.dataDump(), c.unreadable())
	return command
}

// anotherFolder advises on a folder that a command about data can't work on.
func anotherFolder(err error) error {
	if errors.Is(err, server.ErrNeverUsed) {
		return cli.Advise(err, "Name another folder with --data.")
	}
	return cli.ForeignFolder(err)
}

func (c *program) dataCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read all that the data folder holds, and say what is missing or damaged",
		Long: `Reads all documents and logs of the data folder and changes nothing. The server
must be stopped. The exit code is 0 when all is there that was ever confirmed, and
3 when something is missing or damaged.`,
		Example: `  berth data check
  berth data check --data /var/lib/berth -o json | jq .problems`,
		Args: cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			report, err := server.CheckData(command.Context(), c.Target.DataDir())
			if err != nil {
				return anotherFolder(err)
			}
			if err := c.Print(report, func(w io.Writer) { describeData(w, report) }); err != nil {
				return err
			}
			if len(report.Problems) > 0 {
				return cli.LossError{Count: len(report.Problems)}
			}
			return nil
		},
	}
}

func (c *program) dataRepair() *cobra.Command {
	return &cobra.Command{
		Use:   "repair",
		Short: "Drop what can't be read, so that a server starts on the folder again",
		Long: `Drops what is damaged, and what was stored after it, and puts it aside in the
folder lost below the data folder. The server must be stopped. Restore a backup
rather, if it has more. What was dropped is said at every start and in the portal
until the folder that it was put into is removed. When the ID scope is lost, the next
start refuses and says so. Where only a backup helps, nothing is changed, and the exit
code is 3.`,
		Example: `  berth data repair --data /var/lib/berth`,
		Args:    cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			report, err := server.RepairData(command.Context(), c.Target.DataDir(), time.Now())
			if cli.IsLoss(err) {
				return cli.Advise(err, "This can't be repaired: restore the folder from a backup.")
			}
			if err != nil {
				return anotherFolder(err)
			}
			return c.Print(report, func(w io.Writer) {
				if len(report.Problems) == 0 {
					fmt.Fprintln(w, "Nothing is missing or damaged, and nothing was changed.")
					return
				}
				describeData(w, report)
				fmt.Fprintf(w, "\nWhat was dropped is in %s, with a report of this.\n", report.Aside)
				if report.Documents == 0 {
					fmt.Fprintln(w, "No documents are left. "+
						"Restore the folder from the backup, or begin a new service in an empty one with --data.")
				}
			})
		},
	}
}

func describeData(w io.Writer, report server.DataReport) {
	fields := []cli.Field{{"Documents", fmt.Sprint(report.Documents)}}
	for _, log := range report.Logs {
		text := fmt.Sprintf("%d records", log.Records)
		if log.Missing > 0 {
			text += fmt.Sprintf(", %d are missing", log.Missing)
		}
		fields = append(fields, cli.Field{"Log " + log.Name, text})
	}
	cli.PrintFields(w, fields...)
	for _, problem := range report.Problems {
		fmt.Fprintf(w, "\n%s\n", problem)
	}
}
