package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/fault"
)

// usageError is a command line that is wrong.
type usageError struct{ error }

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
func (c *cli) exit(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(c.stderr, "berth: %s\n", describe(err))
	if hint := hintFor(err); hint != "" {
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

// describe is the error in one line. A refusal of the server is told in its own
// words.
func describe(err error) string {
	var (
		problem *fault.Error
		dial    *net.OpError
	)
	switch {
	case errors.As(err, &problem):
		text := fmt.Sprintf("%s (%d", problem.Message, problem.Code)
		if problem.TrackingID != "" {
			text += ", tracking id " + problem.TrackingID
		}
		return text + ")"
	case errors.As(err, &dial) && dial.Op == "dial" && dial.Addr != nil:
		return fmt.Sprintf("the server can't be reached at %s: %v", dial.Addr, dial.Err)
	}
	return err.Error()
}

// hintFor is what to do next.
func hintFor(err error) string {
	var advice advised
	if errors.As(err, &advice) {
		return advice.hint
	}
	switch {
	case errors.As(err, new(usageError)):
		return "berth help COMMAND shows how a command is written."
	case isLoss(err):
		return lossHint
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Is the server running? Start it with: berth up"
	case errors.As(err, new(*net.DNSError)):
		return "Is the host name right? --address HOST:PORT says where else the server is reached."
	case errors.Is(err, fault.TokenExpired), errors.Is(err, fault.UnauthorizedAccess):
		return "berth info shows the connection strings that the server takes now."
	case errors.Is(err, fault.EnrollmentNotFound):
		return "berth enrollment list shows which there are."
	case errors.Is(err, fault.RegistrationNotFound):
		return "berth registration list shows which there are; berth attempts shows who tried."
	case errors.Is(err, fault.DeviceNotFound):
		return "berth device list shows which there are."
	case errors.Is(err, fault.EnrollmentConflict):
		return "berth enrollment update changes the one that is there."
	case errors.Is(err, fault.PreconditionFailed):
		return "Somebody else changed it meanwhile: look at it, and repeat the command."
	case errors.Is(err, context.DeadlineExceeded):
		return "The server did not answer in time."
	case errors.Is(err, fs.ErrPermission):
		return "The file or folder belongs to somebody else: run the command as the user that ran berth up, or name another folder with --data."
	}
	return ""
}

// flagError says what a flag takes, in place of how the library failed to read it.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	flag, value := invalid.GetFlag(), invalid.GetValue()
	takes := map[string]string{"int": "a whole number", "bool": "true or false", "duration": "a time such as 90s or 15m"}[flag.Value.Type()]
	if flag.Name == "log-level" {
		takes = "DEBUG, INFO, WARN or ERROR"
	}
	if takes == "" {
		return fmt.Errorf("--%s is %q: %w", flag.Name, value, invalid.Unwrap())
	}
	return fmt.Errorf("--%s must be %s, not %q", flag.Name, takes, value)
}

func unknownCommand(command *cobra.Command, word string) error {
	err := error(usageError{fmt.Errorf("there is no command %q", strings.TrimSpace(command.CommandPath()+" "+word))})
	if near := command.SuggestionsFor(word); len(near) > 0 {
		return advise(err, "Did you mean: %s %s", command.CommandPath(), strings.Join(near, ", "))
	}
	return advise(err, "%s --help shows which there are.", command.CommandPath())
}

// exactly is cobra.ExactArgs with the names of what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return between(len(names), names...)
}

// between takes at least the first so many of the named arguments.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError{fmt.Errorf("%s needs %s", command.CommandPath(), strings.Join(names[len(args):least], " and "))}
		case len(args) > len(names):
			return usageError{fmt.Errorf("%s does not take %q", command.CommandPath(), args[len(names)])}
		}
		return nil
	}
}
