package cli

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

// UsageError says that an error is that of the command line: the exit code is 2.
func UsageError(err error) error { return usageError{err} }

// advised is an error with what to do next.
type advised struct {
	error
	hint string
}

func (e advised) Unwrap() error { return e.error }

// Advise adds what to do next to an error; nil stays nil.
func Advise(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return advised{err, fmt.Sprintf(format, args...)}
}

// Exit tells the person what went wrong and what to do next, and returns the
// exit code.
func (c *Env) Exit(command *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(c.Stderr, "berth: %s\n", describe(command, err))
	if hint := c.hintFor(command, err); hint != "" {
		fmt.Fprintf(c.Stderr, "       %s\n", hint)
	}
	if errors.As(err, new(usageError)) {
		return 2
	}
	if IsLoss(err) {
		return LossCode
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
func (c *Env) hintFor(command *cobra.Command, err error) string {
	var advice advised
	if errors.As(err, &advice) {
		return advice.hint
	}
	switch {
	case errors.As(err, new(usageError)):
		return command.CommandPath() + " --help shows how it is written."
	case IsLoss(err):
		if strings.Contains(err.Error(), "from the backup") {
			return "" // it says itself what is to be done, and a repair would not help
		}
		return lossHint + c.Target.DataFlag()
	case errors.As(err, new(*backend.UnreachableError)):
		return c.Target.unreachable(err)
	case errors.Is(err, fault.TokenExpired), errors.Is(err, fault.UnauthorizedAccess):
		if c.Target.ConnectionString != "" {
			return "Get the current connection string: berth info shows it where the server runs. That of a hub is for " +
				"berth device and berth telemetry, that of the provisioning service for the others."
		}
		return "berth info" + c.Target.DataFlag() + " shows the connection strings that the server takes now."
	case errors.Is(err, fault.EnrollmentNotFound):
		return "berth enrollment list shows which there are."
	case errors.Is(err, fault.RegistrationNotFound):
		return "berth registration list shows which there are; berth attempts shows who tried."
	case errors.Is(err, fault.GroupNotFound):
		return "berth group list shows which there are."
	case errors.Is(err, fault.DeviceNotFound):
		return "berth device list shows which there are."
	case errors.Is(err, fault.NotFound):
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

// LossCode is the exit code for a data folder that has lost something.
const LossCode = 3

// LossError is a data folder that has lost something, after that has been shown.
type LossError struct{ Count int } // of things that are missing or damaged

// Error implements error.
func (e LossError) Error() string {
	if e.Count == 1 {
		return "something is missing or damaged in the data folder"
	}
	return fmt.Sprintf("%d things are missing or damaged in the data folder", e.Count)
}

// IsLoss reports whether an error says that the data folder has lost something.
func IsLoss(err error) bool { return server.IsLoss(err) || errors.As(err, new(LossError)) }

const lossHint = `Restore the folder from a backup; or go on without what is missing: berth data repair`
