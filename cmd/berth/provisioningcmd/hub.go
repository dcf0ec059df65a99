package provisioningcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

func (c commands) hubs() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "hub",
		Short: "Hubs that devices are assigned to: of this server, and elsewhere",
		Long: `The hubs that the provisioning service is linked to. A hub is one of the server's
own process, or any other, of Berth or of Azure, that is reached by its service
REST API with a connection string.`,
		Example: `  berth hub create east
  berth hub link @azure-hub.txt --weight 3 --location westeurope
  berth hub list`,
	})
	command.AddCommand(c.hubCreate(), c.hubLink(), c.hubUnlink(), c.hubList(), c.hubShow())
	return command
}

// linkFlags are what can be said of a link on the command line.
type linkFlags struct {
	weight            int
	location, address string
	caFile            string
	byName, measure   bool
}

func (f *linkFlags) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.IntVar(&f.weight, "weight", 1, "its share of the devices, 0 to 1000")
	flags.StringVar(&f.location, "location", "", "its `region`, such as westeurope, for allocation by lowest latency")
	flags.BoolVar(&f.byName, "only-by-name", false, "leave it to enrollments that name it")
	flags.BoolVar(&f.measure, "measure-latency", false,
		"let the time from this server to it stand for networks of no known latency")
	flags.StringVar(&f.address, "hub-address", "",
		"reach its service API at this `host:port`, when that is not port 443 of its host name")
	flags.StringVar(&f.caFile, "hub-ca-file", "", "trust the authorities in this PEM `file` there")
}

func (f *linkFlags) apply(command *cobra.Command, link *linkedhub.Link) error {
	changed := command.Flags().Changed
	if changed("weight") {
		link.AllocationWeight = &f.weight
	}
	if applies := !f.byName; changed("only-by-name") {
		link.ApplyAllocationPolicy = &applies
	}
	if changed("hub-ca-file") {
		text, err := os.ReadFile(f.caFile)
		if err != nil {
			return fmt.Errorf("read the hub's authorities: %w", err)
		}
		link.CACertificates = string(text)
	}
	if changed("location") {
		link.Location = f.location
	}
	if changed("hub-address") {
		link.Address = f.address
	}
	if changed("measure-latency") {
		link.MeasureLatency = f.measure
	}
	return nil
}

func describeLink(w io.Writer, l linkedhub.Link) {
	where := "elsewhere"
	if l.Local {
		where = "this server"
	}
	fields := []cli.Field{{"Name", l.Hub}, {"Host", l.HostName}, {"Where", where},
		{"Weight", number(l.AllocationWeight)},
		{"Location", l.Location}, {"Service API", l.Address}}
	if l.LatencyMillis != nil {
		fields = append(fields, cli.Field{"Latency", number(l.LatencyMillis) + " ms"})
	}
	if l.ApplyAllocationPolicy != nil && !*l.ApplyAllocationPolicy {
		fields = append(fields, cli.Field{"Takes", "devices of enrollments that name it"})
	}
	cli.PrintFields(w, append(fields, cli.Field{"Devices", number(l.AssignedDevices)})...)
}

func number(n *int) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

func (c commands) hubCreate() *cobra.Command {
	var host string
	command := &cobra.Command{
		Use:   "create NAME",
		Short: "Add a hub to the server's process, and link it",
		Long: `Adds a hub to the server's process and links it. Clients say by the host name
which hub they want, so each has one of its own that leads to this server. While
the first hub is a loopback address, the next one is taken when none is given.`,
		Example: `  berth hub create east
  berth hub create east --hub-host east.example.com`,
		Args: cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			if host != "" {
				if err := CheckHubHost("hub-host", host); err != nil {
					return err
				}
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			link, err := service.CreateHub(command.Context(), args[0], host)
			if err != nil {
				return err
			}
			return c.Print(link, func(w io.Writer) { describeLink(w, link) })
		},
	}
	command.Flags().StringVar(&host, "hub-host", "", "host `name` that devices reach it by; it must contain a dot")
	return command
}

func (c commands) hubLink() *cobra.Command {
	var flags linkFlags
	command := &cobra.Command{
		Use:   "link HUB",
		Short: "Link a hub, or change its link",
		Long: `Links a hub, so that devices are assigned to it, or changes its link. HUB is the
connection string of a hub elsewhere, @FILE that holds it (so that its key stays
out of the shell's history), or the name or host of a hub of this server or of
one that is linked already. The connection string's policy needs the rights
RegistryRead, RegistryWrite and ServiceConnect: iothubowner has them.`,
		Example: `  berth hub link @azure-hub.txt
  berth hub link berth --weight 3`,
		Args: cli.ExactArgs("HUB"),
		RunE: func(command *cobra.Command, args []string) error {
			wanted, err := c.wantedLink(command.Context(), args[0])
			if err != nil {
				return err
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			link, err := service.HubLink(command.Context(), wanted.HostName, false)
			if err != nil && !errors.Is(err, fault.NotFound) {
				return err
			}
			link.HostName, link.ConnectionString = wanted.HostName, wanted.ConnectionString
			if err := flags.apply(command, &link); err != nil {
				return err
			}
			linked, err := service.LinkHub(command.Context(), link, link.ETag)
			if err != nil && strings.Contains(err.Error(), "not trusted") {
				return cli.Advise(err,
					"--hub-ca-file FILE trusts its authority: of a Berth server that is the authority file which "+
						"berth info shows there.")
			}
			if err != nil {
				return err
			}
			return c.Print(linked, func(w io.Writer) { describeLink(w, linked) })
		},
	}
	flags.flags(command)
	return command
}

// wantedLink is the hub that a person means.
func (c commands) wantedLink(ctx context.Context, text string) (linkedhub.Link, error) {
	text, err := cli.ReadSecret(text)
	if err != nil {
		return linkedhub.Link{}, err
	}
	if !strings.Contains(text, "=") {
		host, err := c.hostOf(ctx, text)
		return linkedhub.Link{HostName: host}, err
	}
	connection, err := credential.ParseConnectionString(text)
	if err != nil {
		return linkedhub.Link{}, cli.UsageError(err)
	}
	if connection.SharedAccessKeyName == "" {
		return linkedhub.Link{}, cli.UsageError(errors.New("this is a device's connection string: " +
			"a hub's has SharedAccessKeyName"))
	}
	return linkedhub.Link{HostName: connection.HostName, ConnectionString: text}, nil
}

func (c commands) hubUnlink() *cobra.Command {
	var force bool
	command := &cobra.Command{
		Use:   "unlink HUB",
		Short: "End the link of a hub, so that no device is assigned to it any more",
		Long: `Ends the link of a hub, by its name or host. Its devices stay in it, but go to
another hub, as new ones, when they register again. A hub that has devices, or
that an enrollment or group names, needs --force; to let devices move with their
twins, link another hub and give this one the weight 0, and unlink it when they have
come by.`,
		Args: cli.ExactArgs("HUB"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			host, err := c.hostOf(command.Context(), args[0])
			if err != nil {
				return err
			}
			err = service.UnlinkHub(command.Context(), host, "", force)
			if errors.Is(err, fault.Conflict) && strings.Contains(err.Error(), "has devices") {
				return cli.Advise(err,
					"berth hub link %s --weight 0 has them go to another hub when they register again; "+
						"--force unlinks it all the same.", cli.Quote(args[0]))
			}
			return err
		},
	}
	command.Flags().BoolVar(&force, "force", false, "though devices are assigned to it, or enrollments name it")
	return command
}

func (c commands) hubList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the linked hubs",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			links, err := service.HubLinks(command.Context())
			if err != nil {
				return err
			}
			return cli.PrintList(c.Env, links,
				"No hub is linked, so no device can be assigned. Link one: berth hub link HUB",
				[]string{"NAME", "HOST", "WHERE", "WEIGHT", "LOCATION", "LATENCY"}, func(l linkedhub.Link) []string {
					where, latency := "elsewhere", ""
					if l.Local {
						where = "this server"
					}
					if l.LatencyMillis != nil {
						latency = number(l.LatencyMillis) + " ms"
					}
					return []string{
						cli.OrDash(l.Hub), l.HostName, where, number(l.AllocationWeight),
						cli.OrDash(l.Location), cli.OrDash(latency),
					}
				})
		},
	}
}

func (c commands) hubShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show HUB",
		Short: "Show the link of a hub, and how many devices are assigned to it",
		Args:  cli.ExactArgs("HUB"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			host, err := c.hostOf(command.Context(), args[0])
			if err != nil {
				return err
			}
			link, err := service.HubLink(command.Context(), host, true)
			if err != nil {
				return err
			}
			return c.Print(link, func(w io.Writer) { describeLink(w, link) })
		},
	}
}

// CheckHubHost refuses a host name that no hub can have.
func CheckHubHost(flag, host string) error {
	if linkedhub.CheckHostName(host) == nil {
		return nil
	}
	why := "the Java, C and C# SDKs refuse a hub whose name has no dot"
	if strings.Contains(host, ".") {
		why = "it has letters, digits and dashes between full stops"
	}
	return cli.UsageError(fmt.Errorf("--%s must be a host name such as hub.example.com, not %q: %s", flag, host, why))
}
