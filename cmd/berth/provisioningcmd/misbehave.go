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

func (c commands) misbehave() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "misbehave",
		Short: "Be nasty to the next devices that register, to test what they do",
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
	inject.Fail: "fail", inject.Throttle: "throttle", inject.Delay: "delay", inject.Drop: "drop", inject.WrongHub: "wrong-hub",
}

func (c commands) misbehaveAs(kind inject.Kind, short string) *cobra.Command {
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
			return c.Print(armed, func(w io.Writer) {
				fmt.Fprintf(w, "%s strikes the next %d registrations of %s. It ends by itself, or with: berth misbehave stop %s\n",
					misbehaveNames[kind], armed.Times, misbehaveScope(armed), armed.ID)
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

func (c commands) misbehaveList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List what is left of the misbehaviours",
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
			return cli.PrintList(c.Env, armed, "The service behaves.",
				[]string{"ID", "KIND", "TIMES", "SECONDS", "STRIKES"},
				func(m inject.Fault) []string {
					return []string{m.ID, misbehaveNames[m.Kind], fmt.Sprint(m.Times), fmt.Sprint(m.Seconds), misbehaveScope(m)}
				})
		},
	}
}

func (c commands) misbehaveStop() *cobra.Command {
	return &cobra.Command{
		Use:   "stop [ID]",
		Short: "End a misbehaviour, or all",
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
