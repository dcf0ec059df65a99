// Package issuancecmd has the commands about operational certificates: the policies by which
// devices get them, the authorities that issue them, and those that were issued.
package issuancecmd

import (
	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
)

// commands makes the commands.
type commands struct{ *cli.Env }

// Commands are the commands about operational certificates.
func Commands(env *cli.Env) []*cobra.Command {
	return cli.InGroup(cli.IdentityGroup, commands{env}.credential())
}
