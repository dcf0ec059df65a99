package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attest"
)

func (c *cli) attempts() *cobra.Command {
	var filter provisioning.AttemptFilter
	command := &cobra.Command{
		Use:   "attempts [ID]",
		Short: "Show who tried to register, what was checked, and what failed",
		Long: `Shows the attempts to register, newest first. With a registration id it shows
every check of each attempt; the one that failed comes last, with advice.`,
		Example: `  berth attempts
  berth attempts Python-device-01
  berth attempts --refused --max 20`,
		Args: between(0, "ID"),
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) > 0 {
				filter.RegistrationID = args[0]
			}
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			found, err := service.Attempts(command.Context(), filter)
			if err != nil {
				return err
			}
			if filter.RegistrationID != "" && len(found) > 0 && c.output != asJSON {
				for _, attempt := range found {
					describeAttempt(c.stdout, attempt)
				}
				return nil
			}
			return printList(c, found, "Nobody has tried to register.",
				[]string{"TIME", "REGISTRATION ID", "OUTCOME", "FAILED CHECK", "SAW", "ADVICE"},
				func(a attest.Attempt) []string {
					failed, _ := a.Checks.Failed()
					// What broke outside of a check has no more than its message.
					saw := cmp.Or(failed.Saw, a.Message)
					return []string{when(a.Time), orDash(a.RegistrationID), outcome(a), orDash(failed.Name), orDash(saw), orDash(failed.Advice)}
				})
		},
	}
	command.Flags().BoolVar(&filter.Refused, "refused", false, "only those that were not assigned")
	command.Flags().IntVar(&filter.Max, "max", 0, "at most so many (0 is 100)")
	return command
}

func outcome(a attest.Attempt) string {
	if a.Code == 0 {
		return string(a.Outcome)
	}
	return fmt.Sprintf("%s %d", a.Outcome, a.Code)
}

// describeAttempt writes an attempt with its trace.
func describeAttempt(w io.Writer, a attest.Attempt) {
	fmt.Fprintf(w, "%s  %s  %s", when(a.Time), plain(a.RegistrationID), outcome(a))
	if a.Hub != "" {
		fmt.Fprintf(w, " to %s as %s", a.Hub, a.DeviceID)
	}
	fmt.Fprintf(w, "  (%s from %s)\n", a.Protocol, a.RemoteAddress)
	for _, check := range a.Checks {
		if check.Passed {
			fmt.Fprintf(w, "  passed  %s: %s\n", check.Name, plain(check.Saw))
			continue
		}
		fmt.Fprintf(w, "  FAILED  %s: saw %s, expected %s\n", check.Name, plain(check.Saw), plain(check.Expected))
		if check.Advice != "" {
			fmt.Fprintf(w, "          %s\n", plain(check.Advice))
		}
	}
	if a.Message != "" {
		fmt.Fprintf(w, "  The device was told: %s\n", plain(a.Message))
	}
	if a.TrackingID != "" {
		fmt.Fprintf(w, "  Tracking id %s\n", a.TrackingID)
	}
	fmt.Fprintln(w)
}
