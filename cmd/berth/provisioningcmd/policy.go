package provisioningcmd

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
)

func (c commands) policy() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "policy",
		Short: "Shared access policies: who may do what with the provisioning service",
		Long: `Shared access policies of the provisioning service. A back end signs its requests
with a key of one, and may do what the policy has the rights for: ServiceConfig
(also to manage the policies), EnrollmentRead, EnrollmentWrite,
RegistrationStatusRead and RegistrationStatusWrite.`,
		Example: `  berth policy create dashboard --rights EnrollmentRead,RegistrationStatusRead
  berth policy show dashboard --keys
  berth policy regenerate-key dashboard primary`,
	})
	command.AddCommand(
		c.policyCreate(), c.policyShow(), c.policyList(), c.policyRights(), c.policyRegenerateKey(),
		c.policyDelete(),
	)
	return command
}

// printPolicy shows a policy, with its keys and connection string when they were asked
// for.
func (c commands) printPolicy(service *backend.Provisioning, p access.Policy, keys bool) error {
	if keys {
		return c.Print(p, func(w io.Writer) { describePolicy(w, service, p) })
	}
	return c.Print(withoutPolicyKeys(p), func(w io.Writer) {
		cli.PrintFields(w,
			cli.Field{"Name", p.Name},
			cli.Field{"Rights", strings.Join(p.Rights, ", ")},
			cli.Field{"Keys", "not shown: berth policy show " + p.Name + " --keys"},
			cli.Field{"ETag", p.ETag})
	})
}

func describePolicy(w io.Writer, service *backend.Provisioning, p access.Policy) {
	connection := credential.ConnectionString{
		HostName:            service.Host(),
		SharedAccessKeyName: p.Name,
		SharedAccessKey:     p.PrimaryKey,
	}
	cli.PrintFields(w,
		cli.Field{"Name", p.Name},
		cli.Field{"Rights", strings.Join(p.Rights, ", ")},
		cli.Field{"Primary key", p.PrimaryKey},
		cli.Field{"Secondary key", p.SecondaryKey},
		cli.Field{"Connection string", connection.String()},
		cli.Field{"ETag", p.ETag})
}

// keylessPolicy is a policy where nobody asked for its keys.
type keylessPolicy struct {
	Name   string   `json:"keyName"`
	Rights []string `json:"rights"`
	ETag   string   `json:"etag,omitempty"`
}

func withoutPolicyKeys(p access.Policy) keylessPolicy {
	return keylessPolicy{p.Name, p.Rights, p.ETag}
}

// onPolicy is a command that does something to a policy and shows it.
func (c commands) onPolicy(
	command *cobra.Command,
	do func(ctx context.Context, service *backend.Provisioning, args []string) (access.Policy, error),
) *cobra.Command {
	keys := false
	command.RunE = func(command *cobra.Command, args []string) error {
		service, err := c.Target.Provisioning()
		if err != nil {
			return err
		}
		policy, err := do(command.Context(), service, args)
		if err != nil {
			return err
		}
		return c.printPolicy(service, policy, keys)
	}
	cli.KeysFlag(command, &keys)
	return command
}

var errNoRights = cli.UsageError(errors.New("--rights names what the policy may do, and is missing"))

// rightsFlag is --rights, which names the rights of a policy.
func rightsFlag(command *cobra.Command, rights *[]string) {
	command.Flags().StringSliceVar(rights, "rights", nil, "its `rights`, separated by commas")
}

// ifMatchFlag is --etag, the condition of a change.
func ifMatchFlag(command *cobra.Command, etag *string) {
	command.Flags().StringVar(etag, "etag", "", "only if the policy still has this `ETag`, as show prints it")
}

func (c commands) policyCreate() *cobra.Command {
	var rights []string
	command := c.onPolicy(&cobra.Command{
		Use:     "create NAME --rights RIGHT,…",
		Short:   "Create a policy, with fresh keys",
		Example: "  berth policy create dashboard --rights EnrollmentRead,RegistrationStatusRead",
		Args:    cli.ExactArgs("NAME"),
	}, func(ctx context.Context, service *backend.Provisioning, args []string) (access.Policy, error) {
		if len(rights) == 0 {
			return access.Policy{}, errNoRights
		}
		return service.CreatePolicy(ctx, args[0], rights)
	})
	rightsFlag(command, &rights)
	return command
}

func (c commands) policyShow() *cobra.Command {
	return c.onPolicy(&cobra.Command{Use: "show NAME",
		Short: "Show a policy, and with --keys its keys and connection " +
			"string", Args: cli.ExactArgs("NAME")},
		func(ctx context.Context, service *backend.Provisioning, args []string) (access.Policy, error) {
			return service.Policy(ctx, args[0])
		})
}

func (c commands) policyList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the policies and their rights",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			policies, err := service.Policies(command.Context())
			if err != nil {
				return err
			}
			shown := make([]keylessPolicy, len(policies))
			for i, policy := range policies {
				shown[i] = withoutPolicyKeys(policy)
			}
			return cli.PrintList(c.Env, shown, "There are no policies.", []string{"NAME", "RIGHTS"},
				func(p keylessPolicy) []string {
					return []string{p.Name, strings.Join(p.Rights, ", ")}
				})
		},
	}
}

func (c commands) policyRights() *cobra.Command {
	var rights []string
	var etag string
	command := c.onPolicy(&cobra.Command{
		Use:   "rights NAME --rights RIGHT,…",
		Short: "Give a policy other rights; its keys stay",
		Args:  cli.ExactArgs("NAME"),
	}, func(ctx context.Context, service *backend.Provisioning, args []string) (access.Policy, error) {
		if len(rights) == 0 {
			return access.Policy{}, errNoRights
		}
		return service.SetPolicyRights(ctx, args[0], rights, etag)
	})
	rightsFlag(command, &rights)
	ifMatchFlag(command, &etag)
	return command
}

func (c commands) policyRegenerateKey() *cobra.Command {
	var etag string
	command := c.onPolicy(&cobra.Command{
		Use:   "regenerate-key NAME primary|secondary",
		Short: "Regenerate a key of a policy, so that the old one is worth nothing",
		Long: `Regenerates a key of a policy. Requests signed with the old one are refused from
then on. To change keys without a gap, let every back end use the secondary key,
regenerate the primary one, let them use that, and regenerate the secondary one.`,
		Args: cli.ExactArgs("NAME", "primary|secondary"),
	}, func(ctx context.Context, service *backend.Provisioning, args []string) (access.Policy, error) {
		return service.RegeneratePolicyKey(ctx, args[0], args[1], etag)
	})
	ifMatchFlag(command, &etag)
	return command
}

func (c commands) policyDelete() *cobra.Command {
	var etag string
	command := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a policy",
		Long: `Deletes a policy. Who signs with its keys is refused from then on. The last one
that has all rights stays: without it nobody could manage the service.`,
		Args: cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			return service.DeletePolicy(command.Context(), args[0], etag)
		},
	}
	ifMatchFlag(command, &etag)
	return command
}
