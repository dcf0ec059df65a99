package provisioningcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/attempts"
)

// defaultAttempts is how many attempts are shown unless more are asked for.
const defaultAttempts = 100

func (c commands) attempts() *cobra.Command {
	var filter attempts.Filter
	var save string
	command := &cobra.Command{
		Use:   "attempts [ID]",
		Short: "Show who tried to register, what was checked, and what failed",
		Long: `Shows the attempts to register, newest first. With a registration id it shows
every check of each attempt; the one that failed comes last, with advice. With the
tracking id that a device was told it shows that attempt, if it is among the latest
10,000.`,
		Example: `  berth attempts
  berth attempts Python-device-01
  berth attempts 555e6634-da66-40ba-aace-c31fba5c5383
  berth attempts --refused --max 20`,
		Args: cli.RangeArgs(0, "ID"),
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) > 0 {
				filter.RegistrationID = args[0]
			}
			if filter.Max > cli.PageSize {
				return cli.UsageError(fmt.Errorf("--max must be 0 to %d, not %d", cli.PageSize, filter.Max))
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			most := cmp.Or(max(filter.Max, 0), defaultAttempts)
			if filter.Max = most; most < cli.PageSize {
				filter.Max++ // one more tells whether there are more
			}
			found, err := service.Attempts(command.Context(), filter)
			if err != nil {
				return err
			}
			more := len(found) > most
			found = found[:min(len(found), most)]
			if save != "" {
				return c.saveAttempt(command.Context(), service, found, save)
			}
			if filter.RegistrationID != "" && len(found) > 0 && c.Output != cli.JSON {
				for _, attempt := range found {
					describeAttempt(c.Stdout, attempt)
				}
				return nil
			}
			if more {
				defer c.TellOfMore(most, "--max N shows more of them")
			}
			return cli.PrintList(c.Env, found, noAttempts(filter),
				[]string{"TIME", "REGISTRATION ID", "OUTCOME", "FAILED CHECK", "SAW", "ADVICE"},
				func(a attest.Attempt) []string {
					failed, _ := a.Checks.Failed()
					// What broke outside of a check has no more than its message.
					saw := cmp.Or(failed.Saw, a.Message)
					return []string{
						cli.FormatTime(a.Time), cli.OrDash(a.RegistrationID), outcome(a),
						cli.OrDash(failed.Name), cli.OrDash(saw), cli.OrDash(failed.Advice),
					}
				})
		},
	}
	command.Flags().BoolVar(&filter.Refused, "refused", false, "only those that were not assigned")
	command.Flags().StringVar(&save, "save", "",
		"write the latest one to this `file`, with all that its decision depended on: for berth explain")
	command.Flags().IntVar(&filter.Max, "max", 0, "at most so many (0 is 100)")
	return command
}

// noAttempts says that a list of attempts is empty.
func noAttempts(filter attempts.Filter) string {
	switch {
	case attempts.IsTrackingID(filter.RegistrationID):
		return fmt.Sprintf("None of the latest attempts has the tracking id %s, and no device of this id has tried.",
			filter.RegistrationID)
	case filter.RegistrationID != "" && filter.Refused:
		return fmt.Sprintf("No attempt of %q was refused.", filter.RegistrationID)
	case filter.RegistrationID != "":
		return fmt.Sprintf("The device %q has not tried to register.", filter.RegistrationID)
	case filter.Refused:
		return "No attempt was refused."
	}
	return "Nobody has tried to register."
}

// saveAttempt writes the latest attempt to a file.
func (c commands) saveAttempt(
	ctx context.Context, service *backend.Provisioning, found []attest.Attempt, file string,
) error {
	if len(found) == 0 {
		return errors.New("there is no such attempt to be saved")
	}
	attempt, err := service.Attempt(ctx, found[0].Sequence)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(attempt, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("save the attempt: %w", err)
	}
	return c.Print(attempt, func(w io.Writer) {
		fmt.Fprintf(w, "The attempt of %s at %s is in %s. ",
			cli.OrDash(cli.Printable(attempt.RegistrationID)), cli.FormatTime(attempt.Time), file)
		if len(attempt.Snapshot) == 0 {
			fmt.Fprintln(w, "It can't be judged again: a TLS handshake, or a TPM, leaves nothing behind to judge.")
			return
		}
		fmt.Fprintf(w, "Judge it again: berth explain %s\n", file)
	})
}

func outcome(a attest.Attempt) string {
	if a.Code == 0 {
		return string(a.Outcome)
	}
	return fmt.Sprintf("%s %d", a.Outcome, a.Code)
}

// describeAttempt writes an attempt with its trace.
func describeAttempt(w io.Writer, a attest.Attempt) {
	fmt.Fprintf(w, "%s  %s  %s", cli.FormatTime(a.Time), cli.Printable(a.RegistrationID), outcome(a))
	if a.Hub != "" {
		fmt.Fprintf(w, " to %s as %s", a.Hub, a.DeviceID)
	}
	fmt.Fprintf(w, "  (%s from %s)\n", a.Protocol, a.RemoteAddress)
	describeChecks(w, a.Checks)
	if a.Message != "" {
		fmt.Fprintf(w, "  The device was told: %s\n", cli.Printable(a.Message))
	}
	if a.TrackingID != "" {
		fmt.Fprintf(w, "  Tracking id %s\n", a.TrackingID)
	}
	fmt.Fprintln(w)
}

func describeChecks(w io.Writer, checks attest.Trace) {
	for _, check := range checks {
		if check.Passed {
			fmt.Fprintf(w, "  passed  %s: %s\n", check.Name, cli.Printable(check.Saw))
			continue
		}
		fmt.Fprintf(w, "  FAILED  %s: saw %s, expected %s\n", check.Name, cli.Printable(check.Saw),
			cli.Printable(check.Expected))
		if check.Advice != "" {
			fmt.Fprintf(w, "          %s\n", cli.Printable(check.Advice))
		}
	}
}
