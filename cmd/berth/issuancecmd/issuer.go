package issuancecmd

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/issuance"
)

func (c commands) issuerCreate() *cobra.Command {
	return &cobra.Command{
		Use:   "create NAME",
		Short: "Make an issuing authority under Berth's own root",
		Args:  cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			authority, err := service.CreateIssuingAuthority(command.Context(), args[0])
			if err != nil {
				return err
			}
			return c.Print(authority, func(w io.Writer) { fmt.Fprint(w, authority.Certificate) })
		},
	}
}

func (c commands) issuerList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the issuing authorities",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			authorities, err := service.IssuingAuthorities(command.Context())
			if err != nil {
				return err
			}
			return cli.PrintList(c.Env, authorities,
				"There are no issuing authorities. Make one: berth credential authority create NAME",
				[]string{"NAME", "VALID TO", "REVOKED"}, func(a issuance.Authority) []string {
					validTo := cli.FormatTime(a.NotAfter)
					if a.Certificate == "" {
						validTo = "not activated"
					}
					return []string{a.Name, validTo, cli.OrDash(cli.FormatTime(a.Revoked))}
				})
		},
	}
}

func (c commands) issuerRequest() *cobra.Command {
	var commonName string
	command := &cobra.Command{
		Use:   "request NAME",
		Short: "Make the request for an issuing authority that an authority of your own is to sign",
		Long: `Makes an issuing authority and prints the request for its certificate (PKCS #10, PEM).
Have your own authority sign it as the certificate of an authority that signs devices and
no further authorities, and bring that with: berth credential authority activate NAME FILE.
Asked again, it makes another request for the same key, for instance to renew.`,
		Example: `  berth credential authority request factory > factory.csr
  berth credential authority activate factory factory-chain.pem
  berth credential policy set default --authority factory`,
		Args: cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			authority, err := service.RequestIssuingAuthority(command.Context(), args[0], commonName)
			if err != nil {
				return err
			}
			return c.Print(authority, func(w io.Writer) { fmt.Fprint(w, authority.Request) })
		},
	}
	command.Flags().StringVar(&commonName, "common-name", "",
		"the common `name` of its subject (default Berth operational NAME)")
	return command
}

func (c commands) issuerActivate() *cobra.Command {
	return &cobra.Command{
		Use:   "activate NAME FILE",
		Short: "Bring the certificate of an issuing authority, with those above it up to the root (PEM)",
		Args:  cli.ExactArgs("NAME", "FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			chain, err := os.ReadFile(args[1])
			if err != nil {
				return fmt.Errorf("read the chain: %w", err)
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			authority, err := service.ActivateIssuingAuthority(command.Context(), args[0], chain)
			if err != nil {
				return err
			}
			return c.Print(authority, func(w io.Writer) {
				fmt.Fprintf(w, "%s signs from now on; its certificate is valid to %s\n", authority.Name,
					cli.FormatTime(authority.NotAfter))
			})
		},
	}
}

func (c commands) issuerRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Make void all certificates that an authority issued, and end the connections made with them",
		Args:  cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			return c.revokeIssuer(command, args[0], "")
		},
	}
}

func (c commands) issuerRotate() *cobra.Command {
	var replacement string
	command := &cobra.Command{
		Use:     "rotate NAME --to NAME",
		Short:   "Revoke an authority and have the policies that name it name another, in one step",
		Example: `  berth credential authority rotate default --to default-2`,
		Args:    cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			if replacement == "" {
				return cli.UsageError(errors.New(
					"--to names the authority that the policies name from then on, and is " +
						"missing"))
			}
			return c.revokeIssuer(command, args[0], replacement)
		},
	}
	command.Flags().StringVar(&replacement, "to", "",
		"the authority that the policies `name` from then on; one under Berth's own root is made when there is none")
	return command
}

func (c commands) revokeIssuer(command *cobra.Command, name, replacement string) error {
	service, err := c.Target.Provisioning()
	if err != nil {
		return err
	}
	authority, err := service.RevokeIssuingAuthority(command.Context(), name, replacement)
	if err != nil {
		return err
	}
	return c.Print(authority, func(w io.Writer) {
		fmt.Fprintf(w, "%s is revoked since %s\n", authority.Name, cli.FormatTime(authority.Revoked))
		if replacement != "" {
			fmt.Fprintf(w, "its policies name %s now\n", cli.Printable(replacement))
		}
	})
}

func (c commands) issuerDelete() *cobra.Command {
	var force bool
	command := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete an issuing authority and its key; its name stays taken",
		Args:  cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			return service.DeleteIssuingAuthority(command.Context(), args[0], force)
		},
	}
	command.Flags().BoolVar(&force, "force", false,
		"delete it though a policy names it, or certificates that it issued are good: those are void then")
	return command
}
