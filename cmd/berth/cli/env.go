// Package cli is the frame of the command line: how results, lists, progress and
// failures are printed, what flags and arguments may be, and which server a command
// speaks to. It knows no command.
package cli

import (
	"io"

	"github.com/spf13/cobra"
)

// Env is what the commands of one command line share.
type Env struct {
	Stdout, Stderr io.Writer
	Target         Target
	Output         Format
}

// The groups of the help.
const (
	StartGroup    = "start"
	IdentityGroup = "identity"
	LookGroup     = "look"
)

// InGroup puts commands into a group of the help.
func InGroup(id string, commands ...*cobra.Command) []*cobra.Command {
	for _, command := range commands {
		command.GroupID = id
	}
	return commands
}

// Parent makes a command that only has others below it show them, and refuse
// words that are none of them.
func Parent(command *cobra.Command) *cobra.Command {
	command.SuggestionsMinimumDistance = 2
	command.Args = func(command *cobra.Command, args []string) error {
		if len(args) > 0 {
			return UnknownCommand(command, args[0])
		}
		return nil
	}
	command.RunE = func(command *cobra.Command, _ []string) error { return command.Help() }
	return command
}
