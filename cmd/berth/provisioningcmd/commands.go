// Package provisioningcmd has the commands about the provisioning service: enrollments and
// how devices prove themselves, the hubs they are assigned to, what became of those that
// registered, and who may do what.
package provisioningcmd

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
)

// commands makes the commands.
type commands struct{ *cli.Env }

// Commands are the commands about the provisioning service.
func Commands(env *cli.Env) []*cobra.Command {
	c := commands{env}
	return slices.Concat(
		cli.InGroup(cli.IdentityGroup, c.cert(), c.authority(), c.enrollment(), c.group(), c.registration(),
			c.hubs(), c.network(), c.allocate(), c.policy()),
		cli.InGroup(cli.LookGroup, c.attempts(), c.explain(), c.lockout(), c.inject()),
	)
}
