package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/server"
)

// usageError is a command line that is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// advised is an error with what to do next.
type advised struct {
	error
	hint string
}

func (e advised) Unwrap() error { return e.error }

// advise adds what to do next to an error; nil stays nil.
func advise(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return advised{err, fmt.Sprintf(format, args...)}
}

// exit tells the person what went wrong and what to do next, and returns the
// exit code.
func (c *cli) exit(command *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(c.stderr, "berth: %s\n", describe(command, err))
	if hint := c.hintFor(command, err); hint != "" {
		fmt.Fprintf(c.stderr, "       %s\n", hint)
	}
	if errors.As(err, new(usageError)) {
		return 2
	}
	if isLoss(err) {
		return lossCode
	}
	return 1
}

// describe is the error of a command in one line. A refusal of the server is told in
// its own words, with the flags for the names that it has on the wire.
func describe(command *cobra.Command, err error) string {
	var problem *fault.Error
	if !errors.As(err, &problem) {
		return inWords(err)
	}
	text := fmt.Sprintf("%s (%d", inFlags(command, problem.Message), problem.Code)
	if problem.TrackingID != "" {
		text += ", tracking id " + problem.TrackingID
	}
	return text + ")"
}

// hintFor is what to do next.
func (c *cli) hintFor(command *cobra.Command, err error) string {
	var advice advised
	if errors.As(err, &advice) {
		return advice.hint
	}
	switch {
	case errors.As(err, new(usageError)):
		return command.CommandPath() + " --help shows how it is written."
	case isLoss(err):
		if strings.Contains(err.Error(), "from the backup") {
			return "" // it says itself what is to be done, and a repair would not help
		}
		return lossHint + c.target.dataFlag()
	case errors.As(err, new(*backend.UnreachableError)):
		return c.target.unreachable(err)
	case errors.Is(err, fault.TokenExpired), errors.Is(err, fault.UnauthorizedAccess):
		if c.target.connectionString != "" {
			return "Get the current connection string: berth info shows it where the server runs. That of a hub is for " +
				"berth device and berth telemetry, that of the provisioning service for the others."
		}
		return "berth info" + c.target.dataFlag() + " shows the connection strings that the server takes now."
	case errors.Is(err, fault.EnrollmentNotFound):
		return "berth enrollment list shows which there are."
	case errors.Is(err, fault.RegistrationNotFound):
		return "berth registration list shows which there are; berth attempts shows who tried."
	case errors.Is(err, fault.GroupNotFound):
		return "berth group list shows which there are."
	case errors.Is(err, fault.DeviceNotFound):
		return "berth device list shows which there are."
	case errors.Is(err, fault.NotFound), errors.Is(err, fault.HubNotFound):
		return listHint(command, err)
	case errors.Is(err, fault.Conflict) && command.Flags().Lookup("force") != nil:
		return "--force does it all the same. " + command.CommandPath() + " --help says what that means."
	case errors.Is(err, fault.EnrollmentConflict):
		return "berth enrollment update changes the one that is there."
	case errors.Is(err, fault.PreconditionFailed):
		return "Somebody else changed it meanwhile: look at it, and repeat the command."
	}
	return ""
}

// listHint names the command beside this one that lists what there is, if there is one, and
// what is missing is what the command is about.
func listHint(command *cobra.Command, err error) string {
	if !command.HasParent() || !slices.ContainsFunc(command.Flags().Args(), func(arg string) bool {
		return strings.Contains(err.Error(), arg)
	}) {
		return ""
	}
	for _, sibling := range command.Parent().Commands() {
		if sibling.Name() == "list" && sibling != command {
			return sibling.CommandPath() + " shows which there are."
		}
	}
	return ""
}

// lossCode is the exit code for a data folder that has lost something.
const lossCode = 3

// lossError is a data folder that has lost something, after that has been shown.
type lossError struct{ count int }

func (e lossError) Error() string {
	if e.count == 1 {
		return "something is missing or damaged in the data folder"
	}
	return fmt.Sprintf("%d things are missing or damaged in the data folder", e.count)
}

// isLoss reports whether an error says that the data folder has lost something.
func isLoss(err error) bool { return server.IsLoss(err) || errors.As(err, new(lossError)) }

const lossHint = `Restore the folder from a backup; or go on without what is missing: berth data repair`
