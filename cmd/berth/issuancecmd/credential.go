package issuancecmd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/issuance"
)

func (c commands) credential() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "credential",
		Short: "Operational certificates that devices get for a certificate signing request",
		Long: `Operational certificates: an enrollment that names a credential policy lets its
device register with a certificate signing request (csr), and gives it a short-lived
certificate for its hub. The device renews it by registering again, or at its hub.`,
		Example: `  berth group update meters --credential-policy default
  berth credential list --device meter-17
  berth credential revoke THUMBPRINT
  berth credential revoke --device meter-17`,
	})
	policy := cli.Parent(&cobra.Command{Use: "policy", Short: "What certificates devices get"})
	policy.AddCommand(c.credentialPolicySet(), c.credentialPolicyList(), c.credentialPolicyDelete())
	authority := cli.Parent(&cobra.Command{Use: "authority", Short: "The authorities that issue them"})
	authority.AddCommand(c.issuerCreate(), c.issuerList(), c.issuerRequest(), c.issuerActivate(), c.issuerRevoke(),
		c.issuerRotate(), c.issuerDelete())
	command.AddCommand(policy, authority, c.issuedList(), c.issuedRevoke())
	return command
}

func (c commands) credentialPolicySet() *cobra.Command {
	var validity time.Duration
	var wanted issuance.Policy
	command := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a credential policy, or replace it",
		Example: `  berth credential policy set short --validity 24h --key-types ec-p256,ec-p384
  berth credential policy set named --dns-names '{registrationId}.devices.example.com'`,
		Args: cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			wanted.Name, wanted.ValidityMinutes = args[0], int(validity/time.Minute)
			policy, err := service.PutCredentialPolicy(command.Context(), wanted, "")
			if err != nil {
				return err
			}
			return c.Print(policy, func(w io.Writer) {
				cli.PrintFields(w, cli.Field{"Policy", policy.Name}, cli.Field{"Authority", policy.Authority},
					cli.Field{"Validity", lasting(policy)},
					cli.Field{"Key types", strings.Join(policy.KeyTypes, ", ")},
					cli.Field{"DNS names", strings.Join(policy.DNSNames, ", ")})
			})
		},
	}
	flags := command.Flags()
	flags.DurationVar(&validity, "validity", 30*24*time.Hour, "how long certificates are valid, such as 24h")
	flags.StringVar(&wanted.Authority, "authority", issuance.DefaultAuthority,
		"the issuing authority that signs them, by `name`")
	flags.StringSliceVar(&wanted.KeyTypes, "key-types", nil,
		"the `kinds` of keys they may be for (default "+strings.Join(issuance.KeyTypes, ",")+")")
	flags.StringSliceVar(&wanted.DNSNames, "dns-names", nil,
		"`patterns` of the DNS names that a request may ask for; {registrationId} stands for the device's")
	return command
}

func lasting(p issuance.Policy) string {
	return strings.TrimSuffix(strings.TrimSuffix((time.Duration(p.ValidityMinutes)*time.Minute).String(), "0s"), "0m")
}

func (c commands) credentialPolicyList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the credential policies",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			policies, err := service.CredentialPolicies(command.Context())
			if err != nil {
				return err
			}
			return cli.PrintList(c.Env, policies,
				"There are no credential policies. Make one: berth credential policy set NAME",
				[]string{"NAME", "AUTHORITY", "VALIDITY", "KEY TYPES", "DNS NAMES"}, func(p issuance.Policy) []string {
					return []string{
						p.Name, p.Authority, lasting(p), strings.Join(p.KeyTypes, ","),
						cli.OrDash(strings.Join(p.DNSNames, ",")),
					}
				})
		},
	}
}

func (c commands) credentialPolicyDelete() *cobra.Command {
	var force bool
	command := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a credential policy; certificates that were issued stay good",
		Args:  cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			return service.DeleteCredentialPolicy(command.Context(), args[0], force)
		},
	}
	command.Flags().BoolVar(&force, "force", false, "delete it though an enrollment or a group names it")
	return command
}

func (c commands) issuedList() *cobra.Command {
	var device string
	var wanted cli.Selection
	command := &cobra.Command{
		Use:   "list",
		Short: "List operational certificates: those of a device, or all",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			list := func(_, after string, top int) ([]issuance.Certificate, string, error) {
				if device != "" {
					return service.IssuedToAfter(command.Context(), device, after, top)
				}
				return service.IssuedCertificates(command.Context(), after, top)
			}
			none := "No operational certificate was issued."
			if device != "" {
				none = fmt.Sprintf("No operational certificate was issued to %q.", device)
			}
			return cli.PrintPages(c.Env, wanted, list, cli.Nothing(none),
				[]string{"DEVICE", "THUMBPRINT", "POLICY", "AUTHORITY", "KEY", "ISSUED", "VALID TO", "REVOKED"},
				func(i issuance.Certificate) []string {
					return []string{
						i.RegistrationID, i.Thumbprint, i.Policy, i.Authority, i.KeyType,
						cli.FormatTime(i.Issued), cli.FormatTime(i.NotAfter),
						cli.OrDash(cli.FormatTime(i.Revoked)),
					}
				})
		},
	}
	command.Flags().StringVar(&device, "device", "",
		"only those of the device with this registration `id`, the latest first")
	cli.MaxFlag(command, &wanted.Max, cli.DefaultMax)
	return command
}

func (c commands) issuedRevoke() *cobra.Command {
	var device string
	command := &cobra.Command{
		Use:   "revoke THUMBPRINT | --device ID",
		Short: "Make an operational certificate void, or all of a device, and end the connections made with them",
		Example: `  berth credential revoke THUMBPRINT
  berth credential revoke --device meter-17`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case device == "" && len(args) != 1:
				return cli.UsageError(errors.New("name one certificate by its THUMBPRINT, or with --device a device " +
					"whose certificates are all revoked"))
			case device != "" && len(args) != 0:
				return cli.UsageError(errors.New("name a THUMBPRINT or --device, not both"))
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			if device != "" {
				revoked, err := service.RevokeIssuedTo(command.Context(), device)
				if err != nil {
					return err
				}
				return c.Print(map[string]any{"registrationId": device, "revoked": revoked}, func(w io.Writer) {
					fmt.Fprintf(w, "all certificates of %s are revoked: %d now\n", cli.Printable(device), revoked)
				})
			}
			issued, err := service.RevokeCertificate(command.Context(), args[0])
			if err != nil {
				return err
			}
			return c.Print(issued, func(w io.Writer) {
				fmt.Fprintf(w, "the certificate of %s is revoked since %s\n",
					cli.Printable(issued.RegistrationID), cli.FormatTime(issued.Revoked))
			})
		},
	}
	command.Flags().StringVar(&device, "device", "",
		"revoke all certificates of the device with this registration `id`")
	return command
}
