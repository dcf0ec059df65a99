package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"
)

// cli is what the commands share.
type cli struct {
	stdout, stderr io.Writer
	target         target
	output         format

	completionTimeout time.Duration // in place of the constant, when it is not zero
}

// The groups of the help.
const (
	startGroup    = "start"
	identityGroup = "identity"
	lookGroup     = "look"
)

// help makes a command that only has others below it show them, and refuse
// words that are none of them.
func help(command *cobra.Command) *cobra.Command {
	command.SuggestionsMinimumDistance = 2
	command.Args = func(command *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(command, args[0])
		}
		return nil
	}
	command.RunE = func(command *cobra.Command, _ []string) error { return command.Help() }
	return command
}
