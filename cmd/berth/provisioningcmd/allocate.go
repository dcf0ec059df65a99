package provisioningcmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
)

func (c commands) allocate() *cobra.Command {
	var wanted provisioning.PreviewRequest
	var dryRun bool
	var payload string
	command := &cobra.Command{
		Use:   "allocate ID --dry-run",
		Short: "Say where a device would go if it registered now, and why",
		Long: `Says which hub a device would be assigned to, and why, without assigning it: a
device is assigned when it registers. With custom allocation the webhook is asked,
as it would be.`,
		Example: `  berth allocate Python-device-01 --dry-run
  berth allocate meter-17 --dry-run --group meters --from 10.1.2.3`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			if !dryRun {
				return cli.UsageError(errors.New("devices are assigned when they register; " +
					"to see where one would go, add --dry-run"))
			}
			wanted.RegistrationID = args[0]
			if payload != "" {
				var err error
				if wanted.Payload, err = cli.ReadJSON("payload", payload); err != nil {
					return err
				}
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			preview, err := service.PreviewAllocation(command.Context(), wanted)
			if errors.Is(err, fault.EnrollmentNotFound) {
				return cli.Advise(err, "Of a device that comes by a group, name that: "+
					"berth allocate %s --dry-run --group GROUP", cli.Quote(args[0]))
			}
			if err != nil {
				return err
			}
			return c.Print(preview, func(w io.Writer) { describePreview(w, preview) })
		},
	}
	flags := command.Flags()
	flags.BoolVar(&dryRun, "dry-run", false, "only say it: required")
	flags.StringVar(&wanted.GroupID, "group", "", "it would come by this enrollment `group`")
	flags.StringVar(&wanted.RemoteAddress, "from", "", "it would come from this IP `address`")
	flags.StringVar(&payload, "payload", "", "it would send this `JSON` along, or @FILE that holds it")
	return command
}

func describePreview(w io.Writer, p provisioning.Preview) {
	cli.PrintFields(w,
		cli.Field{"Registration ID", p.RegistrationID},
		cli.Field{"Group", p.GroupID},
		cli.Field{"Allocation", string(p.Policy)},
		cli.Field{"Would go to", cli.OrDash(p.HubHostName)},
		cli.Field{"Because", p.Reason},
		cli.Field{"As device", p.DeviceID},
		cli.Field{"Is now in", p.CurrentHub},
		cli.Field{"Would be told", string(p.Substatus)})
	if p.Disabled {
		fmt.Fprintln(w, "\nBut the device would be refused: its enrollment is disabled.")
	}
	if p.OwnEnrollment {
		fmt.Fprintln(w, "\nBut the device has an individual enrollment, which decides alone: leave out --group.")
	}
	if len(p.Candidates) == 0 {
		fmt.Fprintln(w,
			"\nThere is no hub for it: let the enrollment name one that is linked, as berth hub list shows them")
		return
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "\tHUB\tWEIGHT\tLOCATION\tLATENCY")
	for _, candidate := range p.Candidates {
		mark, latency := "", "-"
		if candidate.Chosen {
			mark = "*"
		}
		if candidate.LatencyMillis != nil {
			latency = strconv.FormatFloat(*candidate.LatencyMillis, 'f', -1, 64) + " ms"
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", mark, cli.Printable(candidate.HostName), candidate.Weight,
			cli.Printable(cli.OrDash(candidate.Location)), latency)
	}
	table.Flush()
}

func (c commands) network() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "network",
		Short: "Where devices come from, and how far the hubs' locations are from there",
		Long: `Networks for allocation by lowest latency: of the networks that a device's
address is in, the narrowest that knows a hub's location says how far it is.`,
		Example: `  berth network set 10.1.0.0/16 --latency westeurope=8 --latency eastus=95
  berth network list`,
	})
	command.AddCommand(c.networkSet(), c.networkList(), c.networkDelete())
	return command
}

func (c commands) networkSet() *cobra.Command {
	var latencies []string
	command := &cobra.Command{
		Use:   "set PREFIX --latency LOCATION=MILLISECONDS",
		Short: "Say how far locations are from a network, in place of what was said before",
		Args:  cli.ExactArgs("PREFIX"),
		RunE: func(command *cobra.Command, args []string) error {
			network := allocation.Network{Prefix: args[0], Latencies: make(map[string]float64)}
			for _, text := range latencies {
				location, millis, ok := strings.Cut(text, "=")
				value, err := strconv.ParseFloat(strings.TrimSuffix(millis, "ms"), 64)
				if !ok || err != nil {
					return cli.UsageError(fmt.Errorf("--latency %q is not written like westeurope=8", text))
				}
				for other, before := range network.Latencies {
					if strings.EqualFold(other, location) && value != before {
						return cli.UsageError(fmt.Errorf("--latency names the location %q twice", location))
					}
				}
				network.Latencies[location] = value
			}
			if len(network.Latencies) == 0 {
				return cli.UsageError(errors.New("--latency LOCATION=MILLISECONDS says how far a location is, " +
					"and is missing"))
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			if network, err = service.PutNetwork(command.Context(), network, ""); err != nil {
				return err
			}
			return c.Print(network, func(w io.Writer) {
				cli.PrintFields(w,
					cli.Field{"Network", network.Prefix},
					cli.Field{"Latencies", describeLatencies(network)})
			})
		},
	}
	command.Flags().StringSliceVar(&latencies, "latency", nil, "milliseconds to a `location`, such as westeurope=8")
	return command
}

func describeLatencies(n allocation.Network) string {
	var parts []string
	for _, location := range slices.Sorted(maps.Keys(n.Latencies)) {
		text, _ := json.Marshal(n.Latencies[location]) // a number
		parts = append(parts, location+" "+string(text)+" ms")
	}
	return strings.Join(parts, ", ")
}

func (c commands) networkList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the networks, the narrowest first",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			networks, err := service.Networks(command.Context())
			if err != nil {
				return err
			}
			return cli.PrintList(c.Env, networks,
				"There are no networks. Describe one: berth network set PREFIX --latency LOCATION=MILLISECONDS",
				[]string{"NETWORK", "LATENCIES"},
				func(n allocation.Network) []string { return []string{n.Prefix, describeLatencies(n)} })
		},
	}
}

func (c commands) networkDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete PREFIX",
		Short: "Forget a network",
		Args:  cli.ExactArgs("PREFIX"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			return service.DeleteNetwork(command.Context(), args[0])
		},
	}
}
