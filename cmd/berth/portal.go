package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
)

func (c *program) portal() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "portal",
		Short: "Log in to the web portal",
	})
	command.AddCommand(c.portalLink())
	return command
}

func (c *program) portalLink() *cobra.Command {
	role := "operator"
	command := &cobra.Command{
		Use:   "link",
		Short: "Make a link that logs in to the portal, once",
		Long: `Makes a link that logs in to the portal. It is good once and for an hour. The
portal has no passwords: who may read the server's data folder, or has the
connection string of a policy with the right ServiceConfig, may log in.

A reader sees everything but keys. An operator also sees keys, and changes what
there is to change.`,
		Example: `  berth portal link
  berth portal link --role reader
  xdg-open "$(berth portal link -o json | jq -r .url)"`,
		Args: cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			link, err := service.LoginLink(command.Context(), role)
			if err != nil {
				return err
			}
			return c.Print(link, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n\nOver HTTPS: %s\nGood once, until %s, as %s.\n",
					link.URL, link.HTTPSURL, link.Expires.Local().Format(time.TimeOnly), link.Role)
			})
		},
	}
	command.Flags().StringVar(&role, "role", role, "what the link lets one do: operator or `reader`")
	return command
}
