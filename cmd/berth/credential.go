package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/issuance"
)

func (c *cli) credential() *cobra.Command {
	command := help(&cobra.Command{
		Use:   "credential",
		Short: "Operational certificates that devices get for a certificate signing request",
		Long: `Operational certificates: an enrollment that names a credential policy lets its
device register with a certificate signing request (csr), and gives it a short-lived
certificate for its hub. The device renews it by registering again, or at its hub.`,
		Example: `  berth group update meters --credential-policy default
  berth credential list --device meter-17
  berth credential revoke THUMBPRINT`,
	})
	policy := help(&cobra.Command{Use: "policy", Short: "What certificates devices get"})
	policy.AddCommand(c.credentialPolicySet(), c.credentialPolicyList(), c.credentialPolicyDelete())
	authority := help(&cobra.Command{Use: "authority", Short: "The authorities that issue them"})
	authority.AddCommand(c.issuerCreate(), c.issuerList(), c.issuerRevoke())
	command.AddCommand(policy, authority, c.issuedList(), c.issuedRevoke())
	return command
}

func (c *cli) credentialPolicySet() *cobra.Command {
	var validity time.Duration
	var wanted issuance.Policy
	command := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a credential policy, or replace it",
		Example: `  berth credential policy set short --validity 24h --key-types ec-p256,ec-p384
  berth credential policy set named --dns-names '{registrationId}.devices.example.com'`,
		Args: exactly("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			wanted.Name, wanted.ValidityMinutes = args[0], int(validity/time.Minute)
			policy, err := service.PutCredentialPolicy(command.Context(), wanted, "")
			if err != nil {
				return err
			}
			return c.print(policy, func(w io.Writer) {
				record(w, field{"Policy", policy.Name}, field{"Authority", policy.Authority}, field{"Validity", lasting(policy)},
					field{"Key types", strings.Join(policy.KeyTypes, ", ")}, field{"DNS names", strings.Join(policy.DNSNames, ", ")})
			})
		},
	}
	flags := command.Flags()
	flags.DurationVar(&validity, "validity", 30*24*time.Hour, "how long certificates are valid, such as 24h")
	flags.StringVar(&wanted.Authority, "authority", issuance.DefaultAuthority, "the issuing authority that signs them, by `name`")
	flags.StringSliceVar(&wanted.KeyTypes, "key-types", nil, "the `kinds` of keys they may be for (default "+strings.Join(issuance.KeyTypes, ",")+")")
	flags.StringSliceVar(&wanted.DNSNames, "dns-names", nil, "`patterns` of the DNS names that a request may ask for; {registrationId} stands for the device's")
	return command
}

func lasting(p issuance.Policy) string {
	return strings.TrimSuffix(strings.TrimSuffix((time.Duration(p.ValidityMinutes)*time.Minute).String(), "0s"), "0m")
}

func (c *cli) credentialPolicyList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the credential policies",
		Args:  exactly(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			policies, err := service.CredentialPolicies(command.Context())
			if err != nil {
				return err
			}
			return printList(c, policies, "There are no credential policies. Make one: berth credential policy set NAME",
				[]string{"NAME", "AUTHORITY", "VALIDITY", "KEY TYPES", "DNS NAMES"}, func(p issuance.Policy) []string {
					return []string{p.Name, p.Authority, lasting(p), strings.Join(p.KeyTypes, ","), orDash(strings.Join(p.DNSNames, ","))}
				})
		},
	}
}

func (c *cli) credentialPolicyDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a credential policy; certificates that were issued stay good",
		Args:  exactly("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			return service.DeleteCredentialPolicy(command.Context(), args[0])
		},
	}
}

func (c *cli) issuerCreate() *cobra.Command {
	return &cobra.Command{
		Use:   "create NAME",
		Short: "Make an issuing authority",
		Args:  exactly("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			authority, err := service.CreateIssuingAuthority(command.Context(), args[0])
			if err != nil {
				return err
			}
			return c.print(authority, func(w io.Writer) { fmt.Fprint(w, authority.Certificate) })
		},
	}
}

func (c *cli) issuerList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the issuing authorities",
		Args:  exactly(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			authorities, err := service.IssuingAuthorities(command.Context())
			if err != nil {
				return err
			}
			return printList(c, authorities, "There are no issuing authorities. Make one: berth credential authority create NAME",
				[]string{"NAME", "VALID TO", "REVOKED"}, func(a issuance.Authority) []string {
					return []string{a.Name, when(a.NotAfter), orDash(when(a.Revoked))}
				})
		},
	}
}

func (c *cli) issuerRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Make void all certificates that an authority issued, and end the connections made with them",
		Args:  exactly("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			authority, err := service.RevokeIssuingAuthority(command.Context(), args[0])
			if err != nil {
				return err
			}
			return c.print(authority, func(w io.Writer) { fmt.Fprintf(w, "%s is revoked since %s\n", authority.Name, when(authority.Revoked)) })
		},
	}
}

func (c *cli) issuedList() *cobra.Command {
	var device string
	var wanted selection
	command := &cobra.Command{
		Use:   "list",
		Short: "List operational certificates: those of a device, or all",
		Args:  exactly(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			list := func(_, after string, top int) ([]issuance.Certificate, string, error) {
				return service.IssuedCertificates(command.Context(), after, top)
			}
			if device != "" {
				wanted.max = 0 // a device has few
				list = func(string, string, int) ([]issuance.Certificate, string, error) {
					issued, err := service.IssuedTo(command.Context(), device)
					return issued, "", err
				}
			}
			return printPages(c, wanted, list, "No operational certificate was issued",
				[]string{"DEVICE", "THUMBPRINT", "POLICY", "AUTHORITY", "KEY", "ISSUED", "VALID TO", "REVOKED"}, func(i issuance.Certificate) []string {
					return []string{i.RegistrationID, i.Thumbprint, i.Policy, i.Authority, i.KeyType, when(i.Issued), when(i.NotAfter), orDash(when(i.Revoked))}
				})
		},
	}
	command.Flags().StringVar(&device, "device", "", "only those of the device with this registration `id`, the latest first")
	maxFlag(command, &wanted.max, defaultMax)
	return command
}

func (c *cli) issuedRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke THUMBPRINT",
		Short: "Make an operational certificate void, and end the connection made with it",
		Args:  exactly("THUMBPRINT"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			issued, err := service.RevokeCertificate(command.Context(), args[0])
			if err != nil {
				return err
			}
			return c.print(issued, func(w io.Writer) {
				fmt.Fprintf(w, "the certificate of %s is revoked since %s\n", plain(issued.RegistrationID), when(issued.Revoked))
			})
		},
	}
}
