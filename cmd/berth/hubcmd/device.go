package hubcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
)

func (c commands) device() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "device",
		Short: "Device identities of a hub, their twins, and a simulated device",
		Long: `Device identities. Where the server has several hubs and --hub names none of them,
a device is looked for in all; --hub says which one is meant when more than one has
a device of that id.`,
	})
	command.AddCommand(c.deviceList(), c.deviceShow(), c.deviceCreate(), c.deviceUpdate(), c.deviceEnable(),
		c.deviceDisable(), c.deviceDelete(), c.deviceConnectionString(), c.deviceSASToken(), c.deviceTwin(),
		c.deviceSimulate())
	return command
}

func hubFlag(command *cobra.Command, name *string) {
	command.Flags().StringVar(name, "hub", "", "the hub's `name` or host, when there are several")
}

// hubAction is what a command does in a hub with its argument, "" for a command without.
type hubAction func(ctx context.Context, client cli.HubClient, argument string) error

// inHub makes a command that does something in one hub, which the flag --hub names.
func (c commands) inHub(command *cobra.Command, do hubAction) *cobra.Command {
	var hubName string
	command.RunE = func(command *cobra.Command, args []string) error {
		client, err := c.Target.Hub(hubName)
		if err != nil {
			return err
		}
		return do(command.Context(), client, strings.Join(args, ""))
	}
	hubFlag(command, &hubName)
	return command
}

// hubOf is the hub that a device is in: that with this name or host, or the one that
// has the device. A hub that is the only one is not asked: the command does that.
func (c commands) hubOf(ctx context.Context, hubName, id string) (cli.HubClient, error) {
	hubs, err := c.Target.Hubs(hubName)
	if err != nil {
		return cli.HubClient{}, err
	}
	if len(hubs) == 1 {
		return hubs[0], nil
	}
	var found []cli.HubClient
	for _, client := range hubs {
		switch _, err := client.Device(ctx, id); {
		case err == nil:
			found = append(found, client)
		case !errors.Is(err, fault.DeviceNotFound):
			return cli.HubClient{}, err
		}
	}
	switch len(found) {
	case 0:
		none := fmt.Sprintf("There is no device %q in the hubs %s", id, cli.HubNames(hubs))
		return cli.HubClient{}, &fault.Error{Code: fault.DeviceNotFound, Message: none}
	case 1:
		return found[0], nil
	}
	err = fmt.Errorf("several hubs have a device %q, %s: say which one with --hub", id, cli.HubNames(found))
	return cli.HubClient{}, cli.UsageError(err)
}

// inHubOf does something with a device in the hub that it is in.
func (c commands) inHubOf(ctx context.Context, hubName, id string, do func(cli.HubClient) error) error {
	client, err := c.hubOf(ctx, hubName, id)
	if err == nil {
		err = do(client)
	}
	if errors.Is(err, fault.DeviceNotFound) {
		if elsewhere := c.hubsElsewhere(ctx); elsewhere != "" {
			return cli.Advise(err,
				"berth device list shows which there are in this server's hubs. Others are linked, %s: "+
					"one of them is asked with its own --connection-string.", elsewhere)
		}
	}
	return err
}

// deviceAction does something with a device that is in the client's hub.
type deviceAction func(ctx context.Context, client cli.HubClient, id string) error

// onDevice is a command about one device, with the flag --hub.
func (c commands) onDevice(command *cobra.Command, do deviceAction) *cobra.Command {
	var hubName string
	command.Args = cli.ExactArgs("ID")
	command.RunE = func(command *cobra.Command, args []string) error {
		ctx := command.Context()
		return c.inHubOf(ctx, hubName, args[0], func(client cli.HubClient) error { return do(ctx, client, args[0]) })
	}
	hubFlag(command, &hubName)
	return command
}

// ListedDevice is a device in a list: with the name of its hub where there are several.
type ListedDevice struct {
	identity.Device
	Hub string `json:"hub,omitempty"`
}

func (c commands) deviceList() *cobra.Command {
	var wanted cli.Selection
	var hubName string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the devices of a hub, or of all hubs of the server",
		Args:  cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			hubs, err := c.Target.Hubs(hubName)
			if err != nil {
				return err
			}
			header, row := DeviceTable(len(hubs) > 1)
			return cli.PrintPages(c.Env,
				wanted, devicesOf(command.Context(), hubs), c.noDevices(command.Context(), hubs), header, row)
		},
	}
	wanted.ListFlags(command)
	hubFlag(command, &hubName)
	return command
}

// devicesOf lists the devices of one hub after the other, without their keys: a page may
// have those of several, so that the columns of a table fit them all. Where it goes on is
// the place of the hub, a slash, and where to go on there.
func devicesOf(ctx context.Context, hubs []cli.HubClient) cli.Lister[ListedDevice] {
	return func(prefix, after string, top int) (devices []ListedDevice, _ string, _ error) {
		place, after, _ := strings.Cut(after, "/")
		i, _ := strconv.Atoi(place) // it is of this function, or empty
		for i < len(hubs) && len(devices) < top {
			found, next, err := hubs[i].Devices(ctx, prefix, after, top-len(devices))
			if err != nil {
				return nil, "", err
			}
			for _, device := range found {
				shown := ListedDevice{Device: keylessDevice(device)}
				if len(hubs) > 1 {
					shown.Hub = hubs[i].Name
				}
				devices = append(devices, shown)
			}
			if after = next; next == "" {
				i++
			}
		}
		if i == len(hubs) {
			return devices, "", nil
		}
		return devices, strconv.Itoa(i) + "/" + after, nil
	}
}

// noDevices says that a list is empty, and which hubs it is of.
func (c commands) noDevices(ctx context.Context, hubs []cli.HubClient) func() string {
	return func() string {
		none := "The hub has no devices. Devices come by registering: berth device simulate"
		if len(hubs) > 1 {
			none = "There are no devices in the hubs " + cli.HubNames(hubs) +
				". Devices come by registering: berth device simulate"
		}
		if elsewhere := c.hubsElsewhere(ctx); elsewhere != "" {
			none += "\nOther hubs are linked, " + elsewhere +
				": the devices of one are listed with its own --connection-string."
		}
		return none
	}
}

// DeviceTable is how devices are listed; several says that they are of more than one
// hub.
func DeviceTable(several bool) (header []string, row func(ListedDevice) []string) {
	header = []string{"DEVICE ID", "STATUS", "CONNECTION", "AUTHENTICATION", "LAST ACTIVITY"}
	if several {
		header = append(header, "HUB")
	}
	return header, func(d ListedDevice) []string {
		row := []string{d.DeviceID, d.Status, d.ConnectionState, authentication(d.Authentication),
			cli.OrDash(cli.FormatTime(d.LastActivityTime.Time))}
		if several {
			row = append(row, d.Hub)
		}
		return row
	}
}

func (c commands) deviceShow() *cobra.Command {
	keys := false
	command := c.onDevice(&cobra.Command{Use: "show ID", Short: "Show a device identity"},
		func(ctx context.Context, client cli.HubClient, id string) error {
			device, err := client.Device(ctx, id)
			if err != nil {
				return err
			}
			return c.printDevice(device, keys)
		})
	cli.KeysFlag(command, &keys)
	return command
}

func (c commands) deviceDelete() *cobra.Command {
	many := cli.DeleteMany{Things: "devices", Effect: "Their twins go with them, and their connections end."}
	var hubName string
	command := &cobra.Command{
		Use:   "delete (ID | --prefix TEXT | --file FILE)",
		Short: "Delete a device identity with its twin, or many, and end its connection",
		Args:  cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			ctx := command.Context()
			if !many.Wanted(command) {
				return c.inHubOf(ctx, hubName, args[0], func(client cli.HubClient) error {
					return client.DeleteDevice(ctx, args[0], "*")
				})
			}
			client, err := c.Target.Hub(hubName)
			if err != nil {
				return err
			}
			list := func(prefix, after string, top int) ([]identity.Device, string, error) {
				return client.Devices(ctx, prefix, after, top)
			}
			return many.Run(command, c.Env, cli.Deletion{
				List:   cli.IDsOf(list, func(d identity.Device) string { return d.DeviceID }),
				Remove: removeDevices(client.Hub),
			})
		},
	}
	many.Flags(command)
	hubFlag(command, &hubName)
	return command
}

func authentication(a *identity.Authentication) string {
	if a == nil {
		return "-"
	}
	return string(a.Type)
}

// keylessDevice is a device where nobody asked for its keys.
func keylessDevice(d identity.Device) identity.Device {
	if d.Authentication != nil {
		shown := *d.Authentication
		shown.SymmetricKey = identity.KeyPair{}
		d.Authentication = &shown
	}
	return d
}

// printDevice shows a device, and its keys when they were asked for.
func (c commands) printDevice(device identity.Device, keys bool) error {
	if !keys {
		device = keylessDevice(device)
	}
	return c.Print(device, func(w io.Writer) { describeDevice(w, device) })
}

func describeDevice(w io.Writer, d identity.Device) {
	fields := []cli.Field{
		{"Device id", d.DeviceID},
		{"Status", d.Status},
		{"Connection", d.ConnectionState},
		{"  since", cli.FormatTime(d.ConnectionStateUpdatedTime.Time)},
		{"Last activity", cli.FormatTime(d.LastActivityTime.Time)},
		{"Authentication", authentication(d.Authentication)},
	}
	if d.StatusReason != nil {
		fields = append(fields, cli.Field{"Status reason", *d.StatusReason})
	}
	fields = append(fields, secretFields(d.Authentication, "berth device show "+d.DeviceID+" --keys")...)
	if d.Capabilities.IoTEdge {
		fields = append(fields, cli.Field{"IoT Edge", "yes"})
	}
	cli.PrintFields(w, append(fields,
		cli.Field{"Parent", strings.Join(d.ParentScopes, ", ")},
		cli.Field{"Generation", d.GenerationID})...)
}

// secretFields are the keys and thumbprints of an identity; command is what shows keys that
// were left out.
func secretFields(a *identity.Authentication, command string) (fields []cli.Field) {
	if a == nil {
		return nil
	}
	keys := a.SymmetricKey
	for _, each := range []struct {
		name  string
		value *string
	}{
		{"  Primary key", keys.PrimaryKey}, {"  Secondary key", keys.SecondaryKey},
		{"  Primary thumbprint", a.X509Thumbprint.PrimaryThumbprint},
		{"  Secondary thumbprint", a.X509Thumbprint.SecondaryThumbprint},
	} {
		if each.value != nil {
			fields = append(fields, cli.Field{each.name, *each.value})
		}
	}
	if a.Type == identity.SAS && keys.PrimaryKey == nil {
		fields = append(fields, cli.Field{"  Keys", "not shown: " + command})
	}
	return fields
}

// hubsElsewhere are the linked hubs that are not of the server, as far as that can be
// found out, for a sentence.
func (c commands) hubsElsewhere(ctx context.Context) string {
	if c.Target.ConnectionString != "" {
		return "" // it is of one hub, which was asked
	}
	service, err := c.Target.Provisioning()
	if err != nil {
		return ""
	}
	links, err := service.HubLinks(ctx)
	if err != nil {
		return ""
	}
	var hosts []string
	for _, link := range links {
		if !link.Local {
			hosts = append(hosts, link.HostName)
		}
	}
	return strings.Join(hosts, ", ")
}

// removeDevices deletes device identities.
func removeDevices(client *backend.Hub) func(context.Context, []string) (map[int]error, error) {
	return func(ctx context.Context, ids []string) (map[int]error, error) {
		var problems []backend.BulkError
		err := cli.RetryThrottled(ctx, func() (err error) {
			problems, err = client.DeleteDevices(ctx, ids)
			return err
		})
		failed := make(map[int]error)
		for _, problem := range problems {
			failed[slices.Index(ids, problem.ID)] = &fault.Error{Code: fault.Code(problem.Code),
				Message: problem.Message}
		}
		return failed, err
	}
}
