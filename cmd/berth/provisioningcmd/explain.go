package provisioningcmd

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/snapshot"
	"github.com/berth-iot/berth/server"
)

// errRefused ends a command that found that a device would not be let in: what it
// found stands in its output.
var errRefused = errors.New("the device is refused")

// explained is what berth explain prints.
type explained struct {
	Attempt  attest.Attempt        `json:"attempt"`
	Again    provisioning.Decision `json:"again"`
	SameAs   bool                  `json:"sameVerdict"`
	Differed string                `json:"differs,omitempty"` // where, if it did
}

func (c commands) explain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain FILE",
		Short: "Judge a saved attempt again, on any machine and without a server",
		Long: `Judges an attempt that was saved with berth attempts ID --save FILE once more, by
the same code and at the same time of day, from nothing but the file, and says
whether the verdict is the same. The exit code is 1 when it is another. The file
holds certificates and settings, and no secret.`,
		Example: `  berth attempts Python-device-01 --save attempt.json
  berth explain attempt.json`,
		Args: cli.ExactArgs("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			text, err := cli.ReadText(args[0])
			if err != nil {
				return fmt.Errorf("read the attempt: %w", err)
			}
			var result explained
			if err := json.Unmarshal(text, &result.Attempt); err != nil {
				return fmt.Errorf("%s is no saved attempt: %w", args[0], err)
			}
			var saved snapshot.Snapshot
			if len(result.Attempt.Snapshot) == 0 {
				return cli.Advise(fmt.Errorf("%s does not hold what the decision depended on", args[0]),
					"Save the attempt with: berth attempts ID --save FILE. "+
						"One of a TLS handshake that failed, or of a TPM, can't be judged again.")
			}
			if err := json.Unmarshal(result.Attempt.Snapshot, &saved); err != nil {
				return fmt.Errorf("%s is no saved attempt: %w", args[0], err)
			}
			if result.Again, err = server.Explain(command.Context(), &saved); err != nil {
				return err
			}
			result.compare()
			if err := c.Print(result, func(w io.Writer) { describeExplained(w, result) }); err != nil {
				return err
			}
			if !result.SameAs {
				return fmt.Errorf("the verdict is another: %s", result.Differed)
			}
			return nil
		},
	}
}

// compare holds the checks of the new decision against the first ones of the
// attempt: what came after attestation is not judged again.
func (e *explained) compare() {
	if len(e.Again.Checks) > len(e.Attempt.Checks) {
		e.Differed = fmt.Sprintf("the attempt ended after %d checks", len(e.Attempt.Checks))
		return
	}
	for i, check := range e.Again.Checks {
		if before := e.Attempt.Checks[i]; before.Name != check.Name || before.Passed != check.Passed {
			e.Differed = fmt.Sprintf("check %d was %s, %s; now it is %s, %s",
				i+1, before.Name, verdictOf(before), check.Name, verdictOf(check))
			return
		}
	}
	if _, failed := e.Again.Checks.Failed(); failed == e.Again.Admitted {
		e.Differed = "the checks and the verdict do not fit"
		return
	}
	e.SameAs = true
}

func verdictOf(check attest.Check) string {
	if check.Passed {
		return "passed"
	}
	return "failed"
}

func describeExplained(w io.Writer, e explained) {
	fmt.Fprintf(w, "%s  %s, judged again as at that time:\n", cli.FormatTime(e.Attempt.Time),
		cli.Printable(e.Attempt.RegistrationID))
	describeDecision(w, e.Again)
	if e.SameAs {
		fmt.Fprintln(w, "The verdict is the same as it was.")
	}
}

func describeDecision(w io.Writer, decision provisioning.Decision) {
	describeChecks(w, decision.Checks)
	switch {
	case decision.Admitted && decision.GroupID != "":
		fmt.Fprintf(w, "The device may come in, by the group %s.\n", cli.Printable(decision.GroupID))
	case decision.Admitted:
		fmt.Fprintln(w, "The device may come in.")
	default:
		fmt.Fprintf(w, "The device is refused, and told: %s\n", cli.Printable(decision.Message))
	}
}

func (c commands) certCheck() *cobra.Command {
	var authorities []string
	var registrationID, at string
	command := &cobra.Command{
		Use:   "check CHAIN",
		Short: "Diagnose a certificate chain before any device tries it",
		Long: `Judges a chain of certificates as if a device came with it: a PEM file with the
device's own certificate first and then each signer, as the device will send it.
With --ca it is judged against those authorities, and no server is needed; else
against the enrollments and groups of the server. The exit code is 1 when the device
would be refused.`,
		Example: `  berth cert check device-chain.pem --ca root.pem
  berth cert check device-chain.pem --registration-id meter-17`,
		Args: cli.ExactArgs("CHAIN"),
		RunE: func(command *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the chain: %w", err)
			}
			decision, err := c.judgeChain(command, text, authorities, registrationID, at)
			if err != nil {
				return err
			}
			if err := c.Print(decision, func(w io.Writer) { describeDecision(w, decision) }); err != nil {
				return err
			}
			if !decision.Admitted {
				return errRefused
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.StringArrayVar(&authorities, "ca", nil,
		"judge against the authority in this `file`; may be given more than once")
	flags.StringVar(&registrationID, "registration-id", "",
		"the device's registration `id` (default: the common name of its certificate)")
	flags.StringVar(&at, "at", "", "with --ca: judge as at this `time`, such as 2027-01-01T00:00:00Z")
	return command
}

func (c commands) judgeChain(
	command *cobra.Command, text []byte, authorities []string, registrationID, at string,
) (provisioning.Decision, error) {
	ctx := command.Context()
	if len(authorities) == 0 && at != "" {
		return provisioning.Decision{}, cli.UsageError(errors.New("--at belongs to --ca: " +
			"a server judges by its own clock"))
	}
	chain, err := credential.ParseCertificates(text)
	if err != nil {
		return provisioning.Decision{}, fmt.Errorf("the chain is refused: %w", err)
	}
	if len(authorities) == 0 {
		service, err := c.Target.Provisioning()
		if err != nil {
			return provisioning.Decision{}, err
		}
		return service.CheckChain(ctx, []byte(pemOf(chain)), registrationID)
	}
	now := time.Now()
	if at != "" {
		if now, err = cli.ParseTime(at, now); err != nil {
			return provisioning.Decision{}, cli.UsageError(fmt.Errorf("--at must be %w", err))
		}
	}
	var roots []*x509.Certificate
	for _, file := range authorities {
		text, err := os.ReadFile(file)
		if err != nil {
			return provisioning.Decision{}, fmt.Errorf("read an authority: %w", err)
		}
		found, err := credential.ParseCertificates(text)
		if err != nil {
			return provisioning.Decision{}, fmt.Errorf("the authority %s is refused: %w", file, err)
		}
		roots = append(roots, found...)
	}
	return server.Explain(ctx, snapshot.FromChain(chain, roots, registrationID, now))
}
