package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/fault"
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

// flagError says what a flag takes, in place of how the library failed to read it, and
// which flag may be meant by one that there is not.
func flagError(command *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		err = fmt.Errorf("%s has no flag --%s", command.CommandPath(), unknown.GetSpecifiedName())
		if near := nearFlags(command, unknown.GetSpecifiedName()); len(near) > 0 {
			return advise(err, "Did you mean: %s", strings.Join(near, ", "))
		}
		return err
	}
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
		return fmt.Errorf("--%s must be %w, not %q", flag.Name, invalid.Unwrap(), value)
	}
	return fmt.Errorf("--%s must be %s, not %q", flag.Name, takes, value)
}

// certificateFlags name a certificate, on one command or another.
var certificateFlags = []string{"x509", "cert", "file"}

// nearFlags are the flags of a command whose names are like a word or have it in them, and
// those of a certificate for another one of it.
func nearFlags(command *cobra.Command, word string) (near []string) {
	like := help(&cobra.Command{Use: "like"}) // cobra compares names of commands
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden {
			like.AddCommand(&cobra.Command{Use: flag.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	names := like.SuggestionsFor(word)
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		if len(word) > 2 && strings.Contains(flag.Name, word) && !slices.Contains(names, flag.Name) {
			names = append(names, flag.Name)
		}
	})
	if slices.Contains(append(certificateFlags, "certificate"), word) && len(names) == 0 {
		for _, name := range certificateFlags {
			if command.Flags().Lookup(name) != nil {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		near = append(near, "--"+name)
	}
	return near
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
