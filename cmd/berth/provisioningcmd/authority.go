package provisioningcmd

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

func (of commands) authority() *cobra.Command {
	c := &authorityCommands{Env: of.Env}
	command := cli.Parent(&cobra.Command{
		Use:   "authority",
		Short: "Certificate authorities that enrollment groups may name, and those of hubs",
		Long: `Certificate authorities of the provisioning service, and with --hub those of a hub.
An enrollment group that names one lets in every device that the authority signed; a hub
lets in the devices whose authentication is certificateAuthority. An authority must be
verified before: by proof of possession of its key, or by trusting it on upload.

  berth authority create factory --file ca.pem
  berth authority code factory
  openssl req -newkey rsa:2048 -nodes -keyout verify.key -subj "/CN=CODE" |
    openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -out verify.pem
  berth authority verify factory --file verify.pem`,
	})
	command.PersistentFlags().StringVar(&c.hub, "hub", "", "the authorities of this hub, by its `name` or host")
	command.AddCommand(
		c.authorityCreate(), c.authorityCode(), c.authorityVerify(), c.authorityShow(), c.authorityList(),
		c.authorityDelete(),
	)
	return command
}

// certificateText is what a certificate file holds, in PEM. What is no certificate is
// refused before it is sent: it may be a private key.
func certificateText(file string) ([]byte, error) {
	if file == "" {
		return nil, cli.UsageError(errors.New("--file names the certificate's file, and is missing"))
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	parsed, err := credential.ParseCertificates(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return []byte(pemOf(parsed)), nil
}

// authorityCommands are the commands on the authorities of a service.
type authorityCommands struct {
	*cli.Env
	hub string // whose they are; "" for the provisioning service's
}

// authorityClient is a client of either service.
type authorityClient interface {
	Authority(ctx context.Context, name string) (authority.Authority, error)
	Authorities(ctx context.Context, prefix, after string, top int) ([]authority.Authority, string, error)
	PutAuthority(ctx context.Context, name string, certificate []byte, trusted bool,
		ifMatch string) (authority.Authority, error)
	NewVerificationCode(ctx context.Context, name string) (authority.Authority, error)
	VerifyAuthority(ctx context.Context, name string, certificate []byte) (authority.Authority, error)
	DeleteAuthority(ctx context.Context, name, ifMatch string, force bool) error
}

// client is one of the service whose authorities are meant.
func (c *authorityCommands) client() (authorityClient, error) {
	if c.hub != "" {
		return c.Target.Hub(c.hub)
	}
	return c.Target.Provisioning()
}

// hubFlag is what a command that is suggested has to say of the hub.
func (c *authorityCommands) hubFlag() string {
	if c.hub == "" {
		return ""
	}
	return " --hub " + cli.Quote(c.hub)
}

// onAuthority is a command that does something to an authority and shows it.
func (c *authorityCommands) onAuthority(
	command *cobra.Command,
	do func(ctx context.Context, service authorityClient, name string) (authority.Authority, error),
) *cobra.Command {
	command.Args = cli.ExactArgs("NAME")
	command.RunE = func(command *cobra.Command, args []string) error {
		service, err := c.client()
		if err != nil {
			return err
		}
		authority, err := do(command.Context(), service, args[0])
		if err != nil {
			return err
		}
		return c.Print(authority, func(w io.Writer) { c.describeAuthority(w, authority) })
	}
	return command
}

func (c *authorityCommands) describeAuthority(w io.Writer, a authority.Authority) {
	verified := "no"
	if a.IsVerified {
		verified = "yes"
	}
	cli.PrintFields(w,
		cli.Field{"Name", a.Name},
		cli.Field{"Subject", a.Info.SubjectName},
		cli.Field{"Verified", verified},
		cli.Field{"Verification code", a.VerificationCode},
		cli.Field{"SHA-256", a.Info.SHA256Thumbprint},
		cli.Field{"Valid from", cli.FormatTime(a.Info.NotBeforeUTC.Time)},
		cli.Field{"Valid to", cli.FormatTime(a.Info.NotAfterUTC.Time)},
		cli.Field{"Warning", a.Warning},
		cli.Field{"Created", cli.FormatTime(a.Created.Time)},
		cli.Field{"Last updated", cli.FormatTime(a.Updated.Time)})
	switch {
	case a.IsVerified:
	case a.VerificationCode == "":
		fmt.Fprintf(w, "\nNot verified yet. Prove that you hold its key: berth authority code %s%s\n", a.Name,
			c.hubFlag())
	default:
		fmt.Fprintf(w,
			"\nSign a certificate with the code as its common name, then: berth authority verify %s --file FILE%s\n",
			a.Name, c.hubFlag())
	}
}

func (c *authorityCommands) authorityCreate() *cobra.Command {
	var file string
	var trust bool
	command := c.onAuthority(&cobra.Command{
		Use:   "create NAME --file FILE",
		Short: "Upload an authority's certificate, or replace it",
		Example: `  berth authority create factory --file ca.pem
  berth authority create factory --file ca.pem --trust`,
	}, func(ctx context.Context, service authorityClient, name string) (authority.Authority, error) {
		certificate, err := certificateText(file)
		if err != nil {
			return authority.Authority{}, err
		}
		return service.PutAuthority(ctx, name, certificate, trust, "")
	})
	command.Flags().StringVar(&file, "file", "", "the authority's certificate: PEM or DER in this `file`")
	command.Flags().BoolVar(&trust, "trust", false, "verify it at once, without proof of possession of its key")
	return command
}

func (c *authorityCommands) authorityCode() *cobra.Command {
	return c.onAuthority(&cobra.Command{
		Use:   "code NAME",
		Short: "Make the verification code that proves possession of an authority's key",
		Long: `Makes the verification code: the common name of a certificate that the authority is to
sign, for berth authority verify. Each call makes another one in place of the one before:
a certificate with a former code proves nothing. berth authority show shows the present
one.`,
	}, func(ctx context.Context, service authorityClient, name string) (authority.Authority, error) {
		return service.NewVerificationCode(ctx, name)
	})
}

func (c *authorityCommands) authorityVerify() *cobra.Command {
	var file string
	command := c.onAuthority(&cobra.Command{
		Use:   "verify NAME --file FILE",
		Short: "Hand in the certificate that proves possession: signed by the authority, with the code as its common name",
	}, func(ctx context.Context, service authorityClient, name string) (authority.Authority, error) {
		certificate, err := certificateText(file)
		if err != nil {
			return authority.Authority{}, err
		}
		return service.VerifyAuthority(ctx, name, certificate)
	})
	command.Flags().StringVar(&file, "file", "", "the certificate: PEM or DER in this `file`")
	return command
}

func (c *authorityCommands) authorityShow() *cobra.Command {
	return c.onAuthority(&cobra.Command{Use: "show NAME", Short: "Show an authority"},
		func(ctx context.Context, service authorityClient, name string) (authority.Authority, error) {
			return service.Authority(ctx, name)
		})
}

func (c *authorityCommands) authorityList() *cobra.Command {
	return cli.ListCommand(c.Env, "List the authorities", c.client, authorityClient.Authorities,
		"There are no certificate authorities. Upload one: berth authority create NAME --file FILE",
		[]string{"NAME", "VERIFIED", "SUBJECT", "VALID TO", "WARNING"},
		func(a authority.Authority) []string {
			return []string{
				a.Name, fmt.Sprint(a.IsVerified), a.Info.SubjectName, cli.FormatTime(a.Info.NotAfterUTC.Time),
				cli.OrDash(a.Warning),
			}
		})
}

func (c *authorityCommands) authorityDelete() *cobra.Command {
	var force bool
	command := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete an authority",
		Long: `Deletes an authority. One that groups name needs --force: their devices are refused
from then on, and those that are in their hubs stay. To replace it without a gap,
give its groups the next one with berth group update GROUP --authority-secondary,
and make that the only one when the devices have certificates of it.`,
		Args: cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.client()
			if err != nil {
				return err
			}
			if force && c.hub != "" {
				return cli.UsageError(errors.New("--force is for authorities that enrollment groups name; nothing " +
					"names those of a hub"))
			}
			err = service.DeleteAuthority(command.Context(), args[0], "", force)
			if errors.Is(err, fault.Conflict) {
				return cli.Advise(err,
					"berth group update GROUP --authority NAME names another one; --force deletes it all the same.")
			}
			return err
		},
	}
	command.Flags().BoolVar(&force, "force", false, "though enrollment groups name it")
	return command
}

func pemOf(certificates []*x509.Certificate) string {
	var text strings.Builder
	for _, certificate := range certificates {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	return text.String()
}
