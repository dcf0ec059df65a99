package hubcmd

import (
	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
)

func (c commands) events() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "events",
		Short: "What happens to devices: they come and go, connect, and their twins change",
	})
	command.AddCommand(c.tail(&cobra.Command{
		Use:   "tail",
		Short: "Follow what happens to the devices of a hub",
		Long: `Prints an event for each device that is created or deleted, connects or disconnects,
and for each change of a twin, as they come, until Ctrl-C or until so many have come
as --max says. With -o json each is one JSON object in a line, with the properties
that Azure's events have.`,
		Example: `  berth events tail
  berth events tail --from earliest --max 10
  berth events tail --from 24h -o json | jq .properties.opType
  berth events tail --from 2026-11-23T12:00:00Z --device Python-device-01 -o json`,
	}, (*backend.Hub).Events))
	return command
}
