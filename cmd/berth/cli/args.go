package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// UnknownCommand says that a word is none of the commands below a command, and which may be meant.
func UnknownCommand(command *cobra.Command, word string) error {
	err := UsageError(fmt.Errorf("there is no command %q", strings.TrimSpace(command.CommandPath()+" "+word)))
	if near := command.SuggestionsFor(word); len(near) > 0 {
		return Advise(err, "Did you mean: %s %s", command.CommandPath(), strings.Join(near, ", "))
	}
	return Advise(err, "%s --help shows which there are.", command.CommandPath())
}

// ExactArgs is cobra.ExactArgs with the names of what is missing.
func ExactArgs(names ...string) cobra.PositionalArgs {
	return RangeArgs(len(names), names...)
}

// RangeArgs takes at least the first so many of the named arguments.
func RangeArgs(least int, names ...string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return UsageError(fmt.Errorf("%s needs %s",
				command.CommandPath(), strings.Join(names[len(args):least], " and ")))
		case len(args) > len(names):
			return UsageError(fmt.Errorf("%s does not take %q", command.CommandPath(), args[len(names)]))
		}
		return nil
	}
}

// FlagError says what is wrong with a flag. It is for cobra, whose own words it replaces.
func FlagError(command *cobra.Command, err error) error {
	return UsageError(flagError(command, err))
}

// flagError says what a flag takes, in place of how the library failed to read it, and
// which flag may be meant by one that there is not.
func flagError(command *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		err = fmt.Errorf("%s has no flag --%s", command.CommandPath(), unknown.GetSpecifiedName())
		if near := nearFlags(command, unknown.GetSpecifiedName()); len(near) > 0 {
			return Advise(err, "Did you mean: %s", strings.Join(near, ", "))
		}
		return err
	}
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	flag, value := invalid.GetFlag(), invalid.GetValue()
	takes := map[string]string{"int": "a whole number", "bool": "true or false",
		"duration": "a time such as 90s or 15m"}[flag.Value.Type()]
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
	like := Parent(&cobra.Command{Use: "like"}) // cobra compares names of commands
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
