package hubcmd

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/hub/inject"
)

// Inject is the command of the faults of hubs. It is below berth inject, which has those of
// registrations.
func Inject(env *cli.Env) *cobra.Command {
	c := commands{env}
	command := cli.Parent(&cobra.Command{
		Use:   "hub",
		Short: "Inject faults into what devices do next at a hub",
		Long: `Makes a hub fail, delay, throttle, drop or refuse what its devices do next: connect,
send a message, ask for something of their twins, or make a request over HTTPS. A fault
is injected so many times, into what one device does if that is given, and is used up
then. Where there is no other answer, as to a message over MQTT, the connection ends.`,
		Example: `  berth inject hub drop --device Python-device-01
  berth inject hub delay --for 10s --times 3
  berth inject hub list
  berth inject hub stop`,
	})
	for _, kind := range []struct {
		kind  inject.Kind
		short string
	}{
		{inject.Fail, "Answer 500001"},
		{inject.Throttle, "Answer 429001"},
		{inject.Delay, "Answer or acknowledge late, by --for"},
		{inject.Drop, "End the connection without an answer"},
		{inject.Refuse, "Refuse the connection, or the request over HTTPS, with 400030"},
	} {
		command.AddCommand(c.injectKind(kind.kind, kind.short))
	}
	command.AddCommand(c.injectList(), c.injectStop())
	return command
}

func (c commands) injectKind(kind inject.Kind, short string) *cobra.Command {
	wanted := inject.DeviceFault{Kind: kind}
	var hubName string
	var delay time.Duration
	command := &cobra.Command{
		Use:   string(kind),
		Short: short,
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := c.Target.Hub(hubName)
			if wanted.DeviceID != "" && hubName == "" {
				client, err = c.hubOf(command.Context(), hubName, wanted.DeviceID)
			}
			if err != nil {
				return err
			}
			wanted.Seconds = int(delay / time.Second)
			injected, err := client.InjectFault(command.Context(), wanted)
			if err != nil {
				return err
			}
			return c.Print(injected, func(w io.Writer) {
				next := "operation"
				if injected.Times != 1 {
					next = fmt.Sprintf("%d operations", injected.Times)
				}
				fmt.Fprintf(w, "%s is injected into the next %s of %s. "+
					"It ends by itself, or with: berth inject hub stop %s\n",
					injected.Kind, next, injectScope(injected), injected.ID)
			})
		},
	}
	flags := command.Flags()
	flags.IntVar(&wanted.Times, "times", 1, "how many operations it is injected into")
	flags.StringVar(&wanted.DeviceID, "device", "", "only what the device with this `id` does")
	if kind == inject.Delay {
		flags.DurationVar(&delay, "for", 5*time.Second, "the delay, from 1s to 1m")
	}
	hubFlag(command, &hubName)
	return command
}

func injectScope(injected inject.DeviceFault) string { return cmp.Or(injected.DeviceID, "any device") }

func (c commands) injectList() *cobra.Command {
	var hubName string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the faults that are still to be injected",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := c.Target.Hub(hubName)
			if err != nil {
				return err
			}
			faults, err := client.InjectedFaults(command.Context())
			if err != nil {
				return err
			}
			return cli.PrintList(c.Env, faults, "No faults are injected.",
				[]string{"ID", "KIND", "LEFT", "SECONDS", "DEVICES"},
				func(f inject.DeviceFault) []string {
					seconds := ""
					if f.Seconds > 0 {
						seconds = fmt.Sprint(f.Seconds)
					}
					return []string{f.ID, string(f.Kind), fmt.Sprint(f.Times), cli.OrDash(seconds), injectScope(f)}
				})
		},
	}
	hubFlag(command, &hubName)
	return command
}

func (c commands) injectStop() *cobra.Command {
	var hubName string
	command := &cobra.Command{
		Use:   "stop [ID]",
		Short: "Remove an injected fault, or all",
		Args:  cli.RangeArgs(0, "ID"),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := c.Target.Hub(hubName)
			if err != nil {
				return err
			}
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return client.RemoveFault(command.Context(), id)
		},
	}
	hubFlag(command, &hubName)
	return command
}
