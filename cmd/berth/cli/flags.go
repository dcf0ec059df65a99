package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/document"
)

// No command prints a key unasked. Those that show a thing which has keys show them
// with --keys; those whose whole answer is a secret (berth info, berth device
// connection-string and their like) are asked for it by their name.

// KeysFlag is --keys, which asks for keys.
func KeysFlag(command *cobra.Command, keys *bool) {
	command.Flags().BoolVar(keys, "keys", false, "show the keys too")
}

// AnyChanged reports whether a flag of the command itself was given, but for those that
// say nothing of what is to be changed.
func AnyChanged(command *cobra.Command, but ...string) (changed bool) {
	command.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
		changed = changed || flag.Changed && !slices.Contains(but, flag.Name)
	})
	return changed
}

// ParseTime reads a time, or how long ago it was.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, fmt.Errorf("a time such as 2026-11-23T12:00:00Z, or a duration such as 24h, not %q", text)
	}
	return at, nil
}

// ParseLogTime is ParseTime of a time that something in a log can have. The zero time,
// with which clients begin to count, is one too: all is after it.
func ParseLogTime(text string, now time.Time) (time.Time, error) {
	at, err := ParseTime(text, now)
	if err == nil && !at.IsZero() && !document.InLogs(at) {
		return at, fmt.Errorf("a time of the years 1678 to 2262, or a duration such as 24h, not %q", text)
	}
	return at, err
}

// Strings are values as the texts that they are.
func Strings[T ~string](values []T) []string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return texts
}
