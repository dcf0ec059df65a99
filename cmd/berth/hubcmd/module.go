package hubcmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
)

func (c commands) module() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "module",
		Short: "Module identities: parts of a device that connect for themselves",
		Long: `Modules of devices. Each proves itself with keys or a certificate of its own, and has
a twin, telemetry and messages of its own: berth device twin --module, berth telemetry
tail --module, berth c2d send --module. A device that is disabled has its modules
disabled with it.`,
	})
	command.AddCommand(c.moduleList(), c.moduleShow(), c.moduleCreate(), c.moduleUpdate(), c.moduleDelete(),
		c.moduleConnectionString())
	return command
}

// moduleFlag names a module of the device that a command is about; identityID is the id
// that the two make.
func moduleFlag(command *cobra.Command, moduleID *string) {
	command.Flags().StringVar(moduleID, "module", "", "the module with this `id`, of the device")
}

func identityID(deviceID, moduleID string) string {
	if moduleID == "" {
		return deviceID
	}
	return identity.ModuleKey(deviceID, moduleID)
}

// onModule is a command about one module, with the flag --hub.
func (c commands) onModule(
	command *cobra.Command, do func(ctx context.Context, client cli.HubClient, deviceID, moduleID string) error,
) *cobra.Command {
	var hubName string
	command.Args = cli.ExactArgs("DEVICE", "MODULE")
	command.RunE = func(command *cobra.Command, args []string) error {
		ctx := command.Context()
		return c.inHubOf(ctx, hubName, args[0], func(client cli.HubClient) error { return do(ctx, client, args[0], args[1]) })
	}
	hubFlag(command, &hubName)
	return command
}

func (c commands) moduleList() *cobra.Command {
	var hubName string
	command := &cobra.Command{
		Use:   "list DEVICE",
		Short: "List the modules of a device",
		Args:  cli.ExactArgs("DEVICE"),
		RunE: func(command *cobra.Command, args []string) error {
			ctx := command.Context()
			return c.inHubOf(ctx, hubName, args[0], func(client cli.HubClient) error {
				modules, err := client.Modules(ctx, args[0])
				if err != nil {
					return err
				}
				for i := range modules {
					modules[i] = keylessModule(modules[i])
				}
				return cli.PrintList(c.Env, modules, "The device has no modules.",
					[]string{"MODULE ID", "CONNECTION", "AUTHENTICATION", "MANAGED BY", "LAST ACTIVITY"},
					func(m identity.Module) []string {
						return []string{m.ModuleID, m.ConnectionState, authentication(m.Authentication),
							cli.OrDash(textOf(m.ManagedBy)), cli.OrDash(cli.FormatTime(m.LastActivityTime.Time))}
					})
			})
		},
	}
	hubFlag(command, &hubName)
	return command
}

func (c commands) moduleShow() *cobra.Command {
	keys := false
	command := c.onModule(&cobra.Command{Use: "show DEVICE MODULE", Short: "Show a module identity"},
		func(ctx context.Context, client cli.HubClient, deviceID, moduleID string) error {
			module, err := client.Module(ctx, deviceID, moduleID)
			if err != nil {
				return err
			}
			return c.printModule(module, keys)
		})
	cli.KeysFlag(command, &keys)
	return command
}

// moduleFlags are what can be said of a module identity on the command line.
type moduleFlags struct {
	authenticationFlags
	managedBy  string
	keysWanted bool
}

func (f *moduleFlags) flags(command *cobra.Command) {
	f.authenticationFlags.flags(command, "sas", "selfSigned", "certificateAuthority")
	command.Flags().StringVar(&f.managedBy, "managed-by", "", "`who` looks after the module; '' removes it")
	cli.KeysFlag(command, &f.keysWanted)
}

// apply writes into the module what the flags say.
func (f *moduleFlags) apply(command *cobra.Command, module *identity.Module) (err error) {
	changed := command.Flags().Changed
	if changed("managed-by") {
		module.ManagedBy = optional(f.managedBy)
	}
	module.Authentication, err = f.authenticationFlags.apply(changed, module.Authentication)
	return err
}

func (c commands) moduleCreate() *cobra.Command {
	var wanted moduleFlags
	var command *cobra.Command
	command = c.onModule(&cobra.Command{
		Use:   "create DEVICE MODULE",
		Short: "Add a module to a device",
		Long: `Adds a module to a device. It proves itself with a symmetric key, which is made
unless one is given, or with a certificate whose thumbprint is given. A device can
have 50 modules.`,
		Example: `  berth module create thermostat-1 display
  berth module connection-string thermostat-1 display`,
	}, func(ctx context.Context, client cli.HubClient, deviceID, moduleID string) error {
		module := identity.Module{DeviceID: deviceID, ModuleID: moduleID}
		if err := wanted.apply(command, &module); err != nil {
			return err
		}
		created, err := client.CreateModule(ctx, module)
		if errors.Is(err, fault.ModuleAlreadyExists) {
			return cli.Advise(err, "berth module update %s %s changes the one that is there.", cli.Quote(deviceID),
				cli.Quote(moduleID))
		}
		if err != nil {
			return err
		}
		return c.printModule(created, wanted.keysWanted)
	})
	wanted.flags(command)
	return command
}

func (c commands) moduleUpdate() *cobra.Command {
	var wanted moduleFlags
	var command *cobra.Command
	command = c.onModule(&cobra.Command{
		Use:   "update DEVICE MODULE",
		Short: "Change a module identity",
		Long: `Changes what the flags name and leaves the rest of the module as it is. A module
whose keys or certificate change is disconnected.`,
		Example: `  berth module update thermostat-1 display --managed-by the-display-team`,
	}, func(ctx context.Context, client cli.HubClient, deviceID, moduleID string) error {
		if !cli.AnyChanged(command, "hub", "keys") {
			return cli.UsageError(errors.New("nothing is to be changed: name at least one flag"))
		}
		module, err := client.Module(ctx, deviceID, moduleID)
		if err != nil {
			return err
		}
		if err := wanted.apply(command, &module); err != nil {
			return err
		}
		updated, err := client.UpdateModule(ctx, module, module.ETag)
		if err != nil {
			return err
		}
		return c.printModule(updated, wanted.keysWanted)
	})
	wanted.flags(command)
	return command
}

func (c commands) moduleDelete() *cobra.Command {
	return c.onModule(&cobra.Command{Use: "delete DEVICE MODULE",
		Short: "Delete a module identity with its twin, and end its connection"},
		func(ctx context.Context, client cli.HubClient, deviceID, moduleID string) error {
			return client.DeleteModule(ctx, deviceID, moduleID, "*")
		})
}

func (c commands) moduleConnectionString() *cobra.Command {
	secondary := false
	command := c.onModule(&cobra.Command{
		Use:   "connection-string DEVICE MODULE",
		Short: "Print the connection string that a module is configured with",
	}, func(ctx context.Context, client cli.HubClient, deviceID, moduleID string) error {
		module, err := client.Module(ctx, deviceID, moduleID)
		if err != nil {
			return err
		}
		connection := credential.ConnectionString{HostName: client.Host(), DeviceID: deviceID, ModuleID: moduleID}
		if err := connection.Check(); err != nil {
			return err
		}
		text := fmt.Sprintf("HostName=%s;DeviceId=%s;ModuleId=%s;x509=true", client.Host(), deviceID, moduleID)
		if a := module.Authentication; a == nil || a.Type == identity.SAS || a.Type == identity.NoAuthentication {
			connection.SharedAccessKey, err = keyOf("module", moduleID, a, secondary)
			if err != nil {
				return err
			}
			text = connection.String()
		} else if secondary {
			return cli.UsageError(fmt.Errorf("--secondary: the module %q has no keys, but a certificate", moduleID))
		}
		return c.Print(map[string]string{"connectionString": text}, func(w io.Writer) { fmt.Fprintln(w, text) })
	})
	command.Flags().BoolVar(&secondary, "secondary", false, "with the secondary key")
	return command
}

// keylessModule is a module where nobody asked for its keys.
func keylessModule(m identity.Module) identity.Module {
	if m.Authentication != nil {
		shown := *m.Authentication
		shown.SymmetricKey = identity.KeyPair{}
		m.Authentication = &shown
	}
	return m
}

// printModule shows a module, and its keys when they were asked for.
func (c commands) printModule(module identity.Module, keys bool) error {
	if !keys {
		module = keylessModule(module)
	}
	return c.Print(module, func(w io.Writer) {
		fields := []cli.Field{
			{"Device id", module.DeviceID},
			{"Module id", module.ModuleID},
			{"Managed by", textOf(module.ManagedBy)},
			{"Connection", module.ConnectionState},
			{"  since", cli.FormatTime(module.ConnectionStateUpdatedTime.Time)},
			{"Last activity", cli.FormatTime(module.LastActivityTime.Time)},
			{"Authentication", authentication(module.Authentication)},
		}
		fields = append(fields, secretFields(module.Authentication,
			"berth module show "+module.DeviceID+" "+module.ModuleID+" --keys")...)
		cli.PrintFields(w, append(fields, cli.Field{"Generation", module.GenerationID})...)
	})
}

// textOf is a text that may be left out.
func textOf(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
