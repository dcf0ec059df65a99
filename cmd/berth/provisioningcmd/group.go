package provisioningcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func (c commands) group() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "group",
		Short: "Enrollment groups: all devices that an authority signed, or with keys derived from one",
	})
	command.AddCommand(
		c.groupCreate(), c.groupShow(), c.groupList(), c.groupUpdate(), c.groupDelete(), c.groupDeviceKey(),
		c.groupImport(), c.groupExport(),
	)
	return command
}

// groupFlags are what can be said of a group on the command line.
type groupFlags struct {
	primary, secondary   string // certificate files
	authority, next      string // of the service, by their names
	symmetric            bool
	primaryKey, otherKey string
	initialTwin          string
	allocation           allocationFlags
	status               string
	edge                 bool
	replace              bool
	keys                 bool // are shown
}

func (f *groupFlags) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.primary, "x509", "", "the certificate that signs the group's devices, PEM or DER `file`")
	flags.StringVar(&f.secondary, "x509-secondary", "", "another one to roll over to, PEM or DER `file`")
	flags.StringVar(&f.authority, "authority", "",
		"the `name` of a verified certificate authority that signs the group's devices")
	flags.StringVar(&f.next, "authority-secondary", "", "the `name` of another one to roll over to; '' removes it")
	flags.BoolVar(&f.symmetric, "symmetric", false,
		"devices have keys that are derived from the group's, which are made when none are given")
	flags.StringVar(&f.primaryKey, "primary-key", "",
		"the group's primary `key`, base64 of 16 to 64 bytes, or @FILE that holds it")
	flags.StringVar(&f.otherKey, "secondary-key", "", "the group's secondary `key`")
	f.allocation.flags(command)
	flags.StringVar(&f.initialTwin, "initial-twin", "",
		"tags and desired properties of a new device: `JSON`, or @FILE that holds it")
	flags.StringVar(&f.status, "provisioning-status", "", "enabled or disabled")
	flags.BoolVar(&f.edge, "edge-enabled", false, "the devices are IoT Edge devices")
	flags.BoolVar(&f.replace, "replace-existing-devices", false,
		"let the group's devices take device ids that belong to other enrollments or were made by hand: "+
			"the device that had one is kept out from then on")
	cli.KeysFlag(command, &f.keys)
	command.RegisterFlagCompletionFunc("provisioning-status",
		cobra.FixedCompletions([]cobra.Completion{"enabled", "disabled"}, cobra.ShellCompDirectiveNoFileComp))
}

// apply writes into the group what the flags say.
func (f *groupFlags) apply(c commands, command *cobra.Command, group *enroll.Group) error {
	changed := command.Flags().Changed
	if err := f.applyAttestation(changed, group); err != nil {
		return err
	}
	if err := f.allocation.apply(c, command, &group.Settings); err != nil {
		return err
	}
	if changed("initial-twin") {
		twin, err := readInitialTwin(f.initialTwin)
		if err != nil {
			return err
		}
		group.InitialTwin = twin
	}
	if changed("provisioning-status") {
		group.ProvisioningStatus = enroll.ProvisioningStatus(f.status)
	}
	if changed("edge-enabled") {
		group.Capabilities = &enroll.Capabilities{IoTEdge: f.edge}
	}
	if changed("replace-existing-devices") {
		group.ReplaceExistingDevices = &f.replace
	}
	return nil
}

func (f *groupFlags) applyAttestation(changed func(string) bool, group *enroll.Group) error {
	byAuthority := changed("authority") || changed("authority-secondary")
	byCertificate := changed("x509") || changed("x509-secondary")
	byKeys := changed("symmetric") || changed("primary-key") || changed("secondary-key")
	if byAuthority && byCertificate || byAuthority && byKeys || byCertificate && byKeys {
		return cli.UsageError(errors.New("--x509, --authority and --symmetric are three ways in which devices prove " +
			"themselves: choose one"))
	}
	switch {
	case byAuthority:
		var references enroll.X509CAReferences
		if x := group.Attestation.X509; x != nil && x.CAReferences != nil {
			references = *x.CAReferences
		}
		if changed("authority") {
			references.Primary = f.authority
		}
		if changed("authority-secondary") {
			references.Secondary = f.next
		}
		if references.Primary == "" {
			return cli.UsageError(errors.New("a group that names authorities has a primary one: --authority NAME"))
		}
		group.Attestation = enroll.AttestationMechanism{Type: "x509",
			X509: &enroll.X509Attestation{CAReferences: &references}}
	case byKeys:
		keys, err := symmetricKeys(f.primaryKey, f.otherKey)
		if err != nil {
			return err
		}
		group.Attestation = keys
	case byCertificate:
		var certificates enroll.X509Certificates
		if x := group.Attestation.X509; x != nil && x.SigningCertificates != nil {
			certificates = *x.SigningCertificates
		}
		for _, which := range []struct {
			flag, file  string
			certificate **enroll.X509Certificate
		}{{"x509", f.primary, &certificates.Primary}, {"x509-secondary", f.secondary, &certificates.Secondary}} {
			if !changed(which.flag) {
				continue
			}
			if *which.certificate = nil; which.file != "" {
				text, err := certificateText(which.file)
				if err != nil {
					return err
				}
				*which.certificate = &enroll.X509Certificate{Certificate: string(text)}
			}
		}
		group.Attestation = enroll.AttestationMechanism{
			Type: "x509",
			X509: &enroll.X509Attestation{SigningCertificates: &certificates},
		}
	}
	return nil
}

func (c commands) groupCreate() *cobra.Command {
	var wanted groupFlags
	command := &cobra.Command{
		Use:   "create ID",
		Short: "Let in all devices that an authority signed, or that have a key derived from the group's",
		Example: `  berth group create factory --x509 ca.pem
  berth authority create factory --file ca.pem --trust && berth group create line-7 --authority factory
  berth group create meters --symmetric
  berth group device-key meters meter-0815`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			group := enroll.Group{EnrollmentGroupID: args[0]}
			if err := wanted.apply(c, command, &group); err != nil {
				return err
			}
			if group.Attestation.Type == "" {
				return cli.UsageError(errors.New("a group needs one of --x509 FILE, --authority NAME and --symmetric"))
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			if _, err := service.Group(command.Context(), args[0]); err == nil {
				return cli.Advise(fmt.Errorf("there is an enrollment group %q already", args[0]),
					"berth group update changes it, berth group delete removes it.")
			}
			created, err := service.PutGroup(command.Context(), group, "")
			if err != nil {
				return adviseOnAuthorities(command.Context(), service, group, err)
			}
			if !wanted.keys {
				hideKeys(&created.Attestation)
			}
			return c.Print(created, func(w io.Writer) { describeGroup(w, created) })
		},
	}
	wanted.flags(command)
	return command
}

// adviseOnAuthorities adds to the refusal of a group how the authority that it speaks of is
// verified, when it is not.
func adviseOnAuthorities(ctx context.Context, service *backend.Provisioning, group enroll.Group, refusal error) error {
	x := group.Attestation.X509
	if !errors.Is(refusal, fault.ArgumentInvalid) || x == nil || x.CAReferences == nil {
		return refusal
	}
	for _, name := range []string{x.CAReferences.Primary, x.CAReferences.Secondary} {
		if name == "" || !strings.Contains(refusal.Error(), strconv.Quote(name)) {
			continue
		}
		if found, err := service.Authority(ctx, name); err == nil && !found.IsVerified {
			return cli.Advise(refusal, "The proof begins with: berth authority code %s", cli.Quote(found.Name))
		}
	}
	return refusal
}

func (c commands) groupShow() *cobra.Command {
	keys := false
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Show an enrollment group",
		Args:  cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			group, err := service.Group(command.Context(), args[0])
			if err == nil && keys {
				group.Attestation, err = service.GroupAttestationMechanism(command.Context(), args[0])
			}
			if err != nil {
				return err
			}
			return c.Print(group, func(w io.Writer) { describeGroup(w, group) })
		},
	}
	cli.KeysFlag(command, &keys)
	return command
}

func (c commands) groupList() *cobra.Command {
	return cli.ListCommand(c.Env, "List the enrollment groups", c.Target.Provisioning, (*backend.Provisioning).Groups,
		"There are no enrollment groups. Make one: berth group create ID --x509 FILE",
		[]string{"GROUP", "STATUS", "ATTESTATION", "SIGNED BY", "HUB"},
		func(g enroll.Group) []string {
			return []string{
				g.EnrollmentGroupID, string(g.ProvisioningStatus), g.Attestation.Type,
				cli.OrDash(signedBy(g)), cli.OrDash(g.HubHostName),
			}
		})
}

func (c commands) groupUpdate() *cobra.Command {
	var wanted groupFlags
	command := &cobra.Command{
		Use:   "update ID",
		Short: "Change an enrollment group",
		Long:  "Changes what the flags name and leaves the rest of the group as it is.",
		Example: `  berth group update factory --provisioning-status disabled
  berth group update factory --x509-secondary next-ca.pem
  berth group update line-7 --authority-secondary factory-2027`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			if !cli.AnyChanged(command, "keys") {
				return cli.UsageError(errors.New("nothing is to be changed: name at least one flag"))
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			group, err := service.Group(command.Context(), args[0])
			if err != nil {
				return err
			}
			if err := wanted.apply(c, command, &group); err != nil {
				return err
			}
			updated, err := service.PutGroup(command.Context(), group, group.ETag)
			if err != nil {
				return adviseOnAuthorities(command.Context(), service, group, err)
			}
			if !wanted.keys {
				hideKeys(&updated.Attestation)
			}
			return c.Print(updated, func(w io.Writer) { describeGroup(w, updated) })
		},
	}
	wanted.flags(command)
	return command
}

func (c commands) groupDelete() *cobra.Command {
	many := cli.DeleteMany{Things: "groups", Effect: "Their devices can't register again."}
	command := &cobra.Command{
		Use:   "delete (ID | --prefix TEXT | --file FILE)",
		Short: "Delete an enrollment group, or many",
		Long:  "Deletes a group, so that its devices can't register again. Those that did stay in their hubs.",
		Args:  cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			ctx := command.Context()
			if !many.Wanted(command) {
				return service.DeleteGroup(ctx, args[0], "")
			}
			list := func(prefix, after string, top int) ([]enroll.Group, string, error) {
				return service.Groups(ctx, prefix, after, top)
			}
			return many.Run(command, c.Env, cli.Deletion{
				List:   cli.IDsOf(list, func(g enroll.Group) string { return g.EnrollmentGroupID }),
				Remove: removeGroups(service),
			})
		},
	}
	many.Flags(command)
	return command
}

func (c commands) groupDeviceKey() *cobra.Command {
	return &cobra.Command{
		Use:   "device-key GROUP REGISTRATION-ID",
		Short: "Derive a device's key from its group's",
		Long: `Prints the key of a device of a group with symmetric keys: the HMAC-SHA256 of its
registration id, letter by letter as the device writes it, with the group's
primary key.`,
		Args: cli.ExactArgs("GROUP", "REGISTRATION-ID"),
		RunE: func(command *cobra.Command, args []string) error {
			if err := enroll.CheckRegistrationID(args[1]); err != nil { // no device could come by it
				return cli.UsageError(cli.LocalError(err))
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			mechanism, err := service.GroupAttestationMechanism(command.Context(), args[0])
			if err != nil {
				return err
			}
			if mechanism.SymmetricKey == nil {
				return fmt.Errorf("the group %q has no keys: its devices prove themselves by X.509", args[0])
			}
			key := attest.DeriveKey(mechanism.SymmetricKey.PrimaryKey, args[1])
			return c.Print(map[string]string{"registrationId": args[1], "key": key},
				func(w io.Writer) { fmt.Fprintln(w, key) })
		},
	}
}

// signedBy names who signs a group's devices, "" for a group with keys.
func signedBy(g enroll.Group) string {
	switch x := g.Attestation.X509; {
	case x == nil:
		return ""
	case x.CAReferences != nil:
		return "authority " + strings.Join(strings.Fields(x.CAReferences.Primary+" "+x.CAReferences.Secondary), ", ")
	case x.SigningCertificates != nil && x.SigningCertificates.Primary != nil &&
		x.SigningCertificates.Primary.Info != nil:
		return x.SigningCertificates.Primary.Info.SubjectName
	}
	return ""
}

func describeGroup(w io.Writer, g enroll.Group) {
	fields := []cli.Field{
		{"Group", g.EnrollmentGroupID},
		{"Provisioning status", string(g.ProvisioningStatus)},
		{"Attestation", g.Attestation.Type},
		{"Signed by", signedBy(g)},
	}
	fields = append(fields, describeKeys(g.Attestation, "group", g.EnrollmentGroupID)...)
	fields = append(fields, describeAllocation(g.Settings)...)
	if g.ReplaceExistingDevices != nil && *g.ReplaceExistingDevices {
		fields = append(fields, cli.Field{"Existing devices", "are replaced"})
	}
	if g.InitialTwin != nil {
		fields = append(fields, cli.Field{"Initial twin", cli.CompactJSON(g.InitialTwin)})
	}
	cli.PrintFields(w, append(fields,
		cli.Field{"Created", cli.FormatTime(g.CreatedDateTimeUTC.Time)},
		cli.Field{"Last updated", cli.FormatTime(g.LastUpdatedDateTimeUTC.Time)})...)
}
