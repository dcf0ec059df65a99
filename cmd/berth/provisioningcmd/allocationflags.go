package provisioningcmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// allocationFlags say where devices of an enrollment or a group go, and what
// happens when they come again.
type allocationFlags struct {
	hub, policy, webhook, webhookVersion, reprovision string
	credential, parent                                string
	hubs                                              []string
}

func (f *allocationFlags) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.hub, "hub", "",
		"bind to the hub with this `name` or host; '' lets every linked hub take the devices")
	flags.StringSliceVar(&f.hubs, "hubs", nil,
		"let these hubs take the devices, by `names` or hosts with commas between; '' is every linked hub")
	flags.StringVar(&f.policy, "allocation-policy", "", "how a hub is chosen: "+allocation.Alternatives())
	flags.StringVar(&f.webhook, "webhook", "",
		"ask this `address` which hub a device goes to (custom allocation); '' asks nobody")
	flags.StringVar(&f.webhookVersion, "webhook-api-version", "", "send the webhook this `version` of the documents "+
		"that it gets; '' is 2021-10-01")
	flags.StringVar(&f.reprovision, "reprovision-policy", "",
		"when a device registers again: migrate (its twin with it to another hub), "+
			"reset (its twin there) or never (keep its hub)")
	flags.StringVar(&f.credential, "credential-policy", "",
		"let devices get operational certificates by the credential policy of this `name`; '' gives them none")
	flags.StringVar(&f.parent, "parent", "",
		"make the devices children of the IoT Edge device with this `id`, in the same hub; "+
			"'' leaves their parents as they are")
	for name, values := range map[string][]cobra.Completion{
		"allocation-policy":  cli.Strings(allocation.Policies()),
		"reprovision-policy": {"migrate", "reset", "never"},
	} {
		command.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// apply writes what the flags say.
func (f *allocationFlags) apply(c commands, command *cobra.Command, settings *enroll.Settings) error {
	changed := command.Flags().Changed
	if changed("hub") && changed("hubs") {
		return cli.UsageError(errors.New("--hub binds to one hub, --hubs lets several: give one of them"))
	}
	if changed("hub") {
		settings.HubHostName, settings.Hubs = "", nil
		if f.hub != "" {
			hosts, err := c.linkedHosts(command.Context(), f.hub)
			if err != nil {
				return err
			}
			settings.HubHostName = hosts[0]
		}
	}
	if changed("hubs") {
		var names []string
		for _, name := range f.hubs {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			} else if len(f.hubs) > 1 {
				return cli.UsageError(errors.New("--hubs has an empty name between its commas"))
			}
		}
		settings.HubHostName, settings.Hubs = "", nil
		if len(names) > 0 {
			hosts, err := c.linkedHosts(command.Context(), names...)
			if err != nil {
				return err
			}
			settings.Hubs = hosts
		}
	}
	if changed("webhook") {
		definition := allocation.CustomDefinition{WebhookURL: f.webhook}
		if former := settings.CustomAllocationDefinition; former != nil {
			definition.APIVersion = former.APIVersion
		}
		settings.AllocationPolicy, settings.CustomAllocationDefinition = "", nil
		if f.webhook != "" {
			settings.AllocationPolicy, settings.CustomAllocationDefinition = allocation.Custom, &definition
		}
	}
	if changed("webhook-api-version") {
		if settings.CustomAllocationDefinition == nil {
			return cli.UsageError(errors.New("--webhook-api-version belongs to --webhook, and no webhook is asked"))
		}
		definition := *settings.CustomAllocationDefinition
		definition.APIVersion = f.webhookVersion
		settings.CustomAllocationDefinition = &definition
	}
	if changed("allocation-policy") {
		settings.AllocationPolicy = allocation.ParsePolicy(f.policy) // az writes it in small letters
		if !settings.AllocationPolicy.Asks() {
			settings.CustomAllocationDefinition = nil
		}
	}
	if changed("credential-policy") {
		settings.CredentialPolicyName = f.credential
	}
	if changed("parent") {
		settings.ParentDeviceID = f.parent
	}
	if changed("reprovision-policy") {
		policy, ok := enroll.ReprovisionPolicies[f.reprovision]
		if !ok {
			return cli.UsageError(fmt.Errorf("--reprovision-policy must be migrate, reset or never, not %q",
				f.reprovision))
		}
		settings.ReprovisionPolicy = &policy
	}
	return nil
}

// describeAllocation are the fields of an enrollment or a group that say where its
// devices go, as far as it is not what most do.
func describeAllocation(settings enroll.Settings) []cli.Field {
	hub := settings.HubHostName
	if settings.AllocationPolicy.Binds() && hub == "" && len(settings.Hubs) == 0 {
		hub = "none yet: name it with --hub, or its devices are refused"
	}
	fields := []cli.Field{{"Allocation", string(settings.AllocationPolicy)}, {"Hub", hub},
		{"Hubs", strings.Join(settings.Hubs, ", ")}}
	if settings.CustomAllocationDefinition != nil {
		fields = append(fields, cli.Field{"Webhook", settings.CustomAllocationDefinition.WebhookURL})
	}
	if policy := settings.ReprovisionPolicy; policy != nil && policy.Name() != "migrate" {
		fields = append(fields, cli.Field{"Reprovisioning", policy.Name()})
	}
	return append(fields, cli.Field{"Credential policy", settings.CredentialPolicyName},
		cli.Field{"Parent device", settings.ParentDeviceID})
}
