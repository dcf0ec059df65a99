// Package hubcmd has the commands about what is in a hub: devices, modules, their twins and
// what they send, and a device that is simulated.
package hubcmd

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
)

// commands makes the commands.
type commands struct{ *cli.Env }

// Commands are the commands about hubs.
func Commands(env *cli.Env) []*cobra.Command {
	c := commands{env}
	return slices.Concat(
		cli.InGroup(cli.IdentityGroup, c.device(), c.module(), c.configuration(), c.job()),
		cli.InGroup(cli.LookGroup, c.telemetry(), c.events(), c.query(), c.index(), c.c2d(), c.method(),
			c.digitalTwin()),
	)
}
