package provisioningcmd

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/inject"
)

func (c commands) inject() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:     "inject",
		Aliases: []string{"misbehave"}, // what the command was called
		Short:   "Inject faults into the next registrations, to test what devices do",
		Long: `Makes the provisioning service fail, delay, throttle or drop registrations, or
name a wrong hub, for those who test their devices. A fault is injected into so many
registrations of attested devices, of one registration id or group if that is given,
and is used up then; berth attempts shows which. There is none unless you ask.`,
		Example: `  berth inject fail --times 2 --device Python-device-01
  berth inject throttle --for 5s
  berth inject list
  berth inject stop`,
	})
	for _, kind := range []struct {
		kind  inject.Kind
		short string
	}{
		{inject.Fail, "Answer 500001"},
		{inject.Throttle, "Answer 429001, with the time to come back at (--for)"},
		{inject.Delay, "Answer late, by --for"},
		{inject.Drop, "End the connection without an answer"},
		{inject.WrongHub, "Name another hub (--hub-host) than the one that has the device"},
	} {
		command.AddCommand(c.injectKind(kind.kind, kind.short))
	}
	command.AddCommand(c.injectList(), c.injectStop())
	return command
}

// injectNames are what the kinds of faults are called on the command line.
var injectNames = map[inject.Kind]string{
	inject.Fail: "fail", inject.Throttle: "throttle", inject.Delay: "delay", inject.Drop: "drop",
	inject.WrongHub: "wrong-hub",
}

func (c commands) injectKind(kind inject.Kind, short string) *cobra.Command {
	wanted := inject.Fault{Kind: kind}
	var delay time.Duration
	command := &cobra.Command{
		Use:   injectNames[kind],
		Short: short,
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			if kind == inject.WrongHub && wanted.HubHostName == "" {
				return errNoHubHost
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			wanted.Seconds = int(delay / time.Second)
			injected, err := service.InjectFault(command.Context(), wanted)
			if err != nil {
				return err
			}
			return c.Print(injected, func(w io.Writer) {
				next := "registration"
				if injected.Times != 1 {
					next = fmt.Sprintf("%d registrations", injected.Times)
				}
				fmt.Fprintf(w, "%s is injected into the next %s of %s. "+
					"It ends by itself, or with: berth inject stop %s\n",
					injectNames[kind], next, injectScope(injected), injected.ID)
			})
		},
	}
	flags := command.Flags()
	flags.IntVar(&wanted.Times, "times", 1, "how many registrations it is injected into")
	flags.StringVar(&wanted.RegistrationID, "device", "", "only the device with this registration `id`")
	flags.StringVar(&wanted.GroupID, "group", "", "only devices of this enrollment `group`")
	switch kind {
	case inject.Delay, inject.Throttle:
		flags.DurationVar(&delay, "for", 5*time.Second, "the delay, or after how long the device is told to come back")
	case inject.WrongHub:
		flags.StringVar(&wanted.HubHostName, "hub-host", "", "`host` name of the hub that the device is told")
	}
	return command
}

func injectScope(injected inject.Fault) string {
	switch {
	case injected.RegistrationID != "":
		return injected.RegistrationID
	case injected.GroupID != "":
		return "the group " + injected.GroupID
	}
	return "any device"
}

func (c commands) injectList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the faults that are still to be injected",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			faults, err := service.InjectedFaults(command.Context())
			if err != nil {
				return err
			}
			return cli.PrintList(c.Env, faults, "No faults are injected.",
				[]string{"ID", "KIND", "LEFT", "SECONDS", "DEVICES"},
				func(f inject.Fault) []string {
					seconds := ""
					if f.Seconds > 0 {
						seconds = fmt.Sprint(f.Seconds)
					}
					return []string{
						f.ID, injectNames[f.Kind], fmt.Sprint(f.Times), cli.OrDash(seconds), injectScope(f),
					}
				})
		},
	}
}

func (c commands) injectStop() *cobra.Command {
	return &cobra.Command{
		Use:   "stop [ID]",
		Short: "Remove an injected fault, or all",
		Args:  cli.RangeArgs(0, "ID"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return service.RemoveFault(command.Context(), id)
		},
	}
}

var errNoHubHost = cli.UsageError(errors.New("--hub-host names the hub that the device is told, and is missing"))
