package provisioningcmd

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func (c commands) enrollment() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "enrollment",
		Short: "Individual enrollments: the devices that may come in",
	})
	command.AddCommand(
		c.enrollmentCreate(), c.enrollmentShow(), c.enrollmentList(), c.enrollmentUpdate(),
		c.enrollmentDelete(), c.enrollmentImport(), c.enrollmentExport(),
	)
	return command
}

func (c commands) enrollmentCreate() *cobra.Command {
	var wanted enrollmentFlags
	command := &cobra.Command{
		Use:   "create ID (--x509 FILE | --symmetric | --tpm KEY)",
		Short: "Enroll a device with its X.509 certificate, a symmetric key or its TPM",
		Long: `Enrolls a device. ID is its registration id, which must be the common name in
the subject of its certificate. The file holds the certificate as PEM or DER,
never the private key. With --symmetric the device proves itself with a key, which
is made unless one is given; --keys shows it. With --tpm it proves itself with its
TPM, whose public endorsement key is given as a device SDK or tpm2_createek shows
it.`,
		Example: `  berth enrollment create Python-device-01 --x509 Python-device-01.pem
  berth enrollment create meter-0815 --symmetric --keys
  berth enrollment create gateway-7 --tpm ek.pub
  berth enrollment create Python-device-01 --x509 Python-device-01.pem \
    --initial-twin '{"tags":{"plant":"Lyon"},"properties":{"desired":{"interval":10}}}'`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			enrollment := enroll.Enrollment{
				RegistrationID: args[0],
				Settings:       enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509"}},
			}
			if wanted.primary == "" && !wanted.namesKeys(command) && wanted.tpm == "" {
				return cli.UsageError(fmt.Errorf("an enrollment needs the device's certificate, --x509 FILE, or " +
					"--symmetric, or --tpm KEY"))
			}
			if err := wanted.apply(c, command, &enrollment); err != nil {
				return err
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			created, err := service.CreateEnrollment(command.Context(), enrollment)
			if err != nil {
				return err
			}
			if !wanted.keys {
				hideKeys(&created.Attestation)
			}
			return c.Print(created, func(w io.Writer) { DescribeEnrollment(w, created) })
		},
	}
	wanted.flags(command)
	return command
}

func (c commands) enrollmentShow() *cobra.Command {
	keys := false
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Show an enrollment and the state of its device's registration",
		Args:  cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			enrollment, err := service.Enrollment(command.Context(), args[0])
			if err == nil && keys {
				enrollment.Attestation, err = service.AttestationMechanism(command.Context(), args[0])
			}
			if err != nil {
				return err
			}
			return c.Print(enrollment, func(w io.Writer) { DescribeEnrollment(w, enrollment) })
		},
	}
	cli.KeysFlag(command, &keys)
	return command
}

func (c commands) enrollmentList() *cobra.Command {
	return cli.ListCommand(c.Env, "List the enrollments", c.Target.Provisioning, (*backend.Provisioning).Enrollments,
		"No device is enrolled. Enroll one: berth enrollment create ID --x509 FILE",
		[]string{"REGISTRATION ID", "STATUS", "REGISTRATION", "ASSIGNED HUB", "CERTIFICATE VALID TO"},
		func(e enroll.Enrollment) []string {
			state, hub := "unassigned", ""
			if e.RegistrationState != nil {
				state, hub = string(e.RegistrationState.Status), e.RegistrationState.AssignedHub
			}
			expiry := ""
			if primary, _ := certificatesOf(e); primary != nil {
				expiry = cli.FormatTime(primary.NotAfterUTC.Time)
			}
			return []string{e.RegistrationID, string(e.ProvisioningStatus), state, cli.OrDash(hub), cli.OrDash(expiry)}
		})
}

func (c commands) enrollmentUpdate() *cobra.Command {
	var wanted enrollmentFlags
	command := &cobra.Command{
		Use:   "update ID",
		Short: "Change an enrollment",
		Long:  "Changes what the flags name and leaves the rest of the enrollment as it is.",
		Example: `  berth enrollment update Python-device-01 --provisioning-status disabled
  berth enrollment update Python-device-01 --x509-secondary next.pem`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			if !cli.AnyChanged(command, "keys") {
				return cli.UsageError(fmt.Errorf("nothing is to be changed: name at least one flag"))
			}
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			enrollment, err := service.Enrollment(command.Context(), args[0])
			if err != nil {
				return err
			}
			if err := wanted.apply(c, command, &enrollment); err != nil {
				return err
			}
			updated, err := service.PutEnrollment(command.Context(), enrollment, enrollment.ETag)
			if err != nil {
				return err
			}
			if !wanted.keys {
				hideKeys(&updated.Attestation)
			}
			return c.Print(updated, func(w io.Writer) { DescribeEnrollment(w, updated) })
		},
	}
	wanted.flags(command)
	return command
}

func (c commands) enrollmentDelete() *cobra.Command {
	many := cli.DeleteMany{Things: "enrollments", Effect: "Their devices can't register again."}
	command := &cobra.Command{
		Use:   "delete (ID | --prefix TEXT | --file FILE)",
		Short: "Delete an enrollment, or many",
		Long: `Deletes an enrollment, so that its device can't register again. The registration
record and the device in its hub stay: berth registration delete, berth device
delete.`,
		Example: `  berth enrollment delete Python-device-01
  berth enrollment delete --prefix line-7- --yes
  berth enrollment delete --file ids.txt`,
		Args: cli.ExactArgs("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			service, err := c.Target.Provisioning()
			if err != nil {
				return err
			}
			ctx := command.Context()
			if !many.Wanted(command) {
				return service.DeleteEnrollment(ctx, args[0], "")
			}
			list := func(prefix, after string, top int) ([]enroll.Enrollment, string, error) {
				return service.Enrollments(ctx, prefix, after, top)
			}
			return many.Run(command, c.Env, cli.Deletion{
				List:   cli.IDsOf(list, func(e enroll.Enrollment) string { return e.RegistrationID }),
				Remove: removeEnrollments(service),
			})
		},
	}
	many.Flags(command)
	return command
}

// enrollmentFlags are what can be said of an enrollment on the command line.
type enrollmentFlags struct {
	primary, secondary string
	symmetric          bool
	primaryKey         string
	secondaryKey       string
	allocation         allocationFlags
	tpm, storageRoot   string
	deviceID           string
	information        string
	initialTwin        string
	status             string
	edge               bool
	keys               bool // are shown
}

func (f *enrollmentFlags) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.primary, "x509", "", "the device's certificate, PEM or DER `file`")
	flags.StringVar(&f.secondary, "x509-secondary", "",
		"the certificate to roll over to, PEM or DER `file`; '' removes it")
	flags.BoolVar(&f.symmetric, "symmetric", false,
		"the device has a symmetric key; keys are made unless they are given")
	flags.StringVar(&f.primaryKey, "primary-key", "",
		"the device's primary `key`, base64 of 16 to 64 bytes, or @FILE that holds it")
	flags.StringVar(&f.secondaryKey, "secondary-key", "", "the device's secondary `key`")
	f.allocation.flags(command)
	flags.StringVar(&f.tpm, "tpm", "",
		"the public endorsement `key` of the device's TPM: base64 of a TPM2B_PUBLIC, or a file that holds it")
	flags.StringVar(&f.storageRoot, "tpm-storage-root-key", "",
		"the storage root `key` that the TPM must have too, in the same form")
	flags.StringVar(&f.deviceID, "device-id", "",
		"the device's `id` in the hub, when it is to differ from the registration id")
	flags.StringVar(&f.information, "device-information", "", "what else is to be known of the device, for your own "+
		"use: `JSON`, or @FILE that holds it; '' removes it")
	flags.StringVar(&f.initialTwin, "initial-twin", "",
		"tags and desired properties of a new device: `JSON`, or @FILE that holds it")
	flags.StringVar(&f.status, "provisioning-status", "", "enabled or disabled")
	flags.BoolVar(&f.edge, "edge-enabled", false, "the device is an IoT Edge device")
	cli.KeysFlag(command, &f.keys)
	command.RegisterFlagCompletionFunc("provisioning-status",
		cobra.FixedCompletions([]cobra.Completion{"enabled", "disabled"}, cobra.ShellCompDirectiveNoFileComp))
}

// namesKeys reports whether the flags are about the device's keys.
func (f *enrollmentFlags) namesKeys(command *cobra.Command) bool {
	changed := command.Flags().Changed
	return changed("symmetric") || changed("primary-key") || changed("secondary-key")
}

// symmetricKeys is the attestation by keys, which are given as they are or in files.
func symmetricKeys(primary, secondary string) (enroll.AttestationMechanism, error) {
	var keys enroll.SymmetricKeyAttestation
	var unread [2]error
	keys.PrimaryKey, unread[0] = cli.ReadSecret(primary)
	keys.SecondaryKey, unread[1] = cli.ReadSecret(secondary)
	return enroll.AttestationMechanism{Type: "symmetricKey", SymmetricKey: &keys}, errors.Join(unread[:]...)
}

// apply writes into the enrollment what the flags say, and warns of what the
// service would take but no device could use.
func (f *enrollmentFlags) apply(c commands, command *cobra.Command, enrollment *enroll.Enrollment) error {
	flags := command.Flags()
	byCertificate := flags.Changed("x509") || flags.Changed("x509-secondary")
	byTPM := flags.Changed("tpm") || flags.Changed("tpm-storage-root-key")
	if byCertificate && byTPM || f.namesKeys(command) && (byCertificate || byTPM) {
		return cli.UsageError(errors.New(
			"--x509, --symmetric and --tpm are three ways in which a device proves itself: " +
				"choose one"))
	}
	if f.namesKeys(command) {
		keys, err := symmetricKeys(f.primaryKey, f.secondaryKey)
		if err != nil {
			return err
		}
		enrollment.Attestation = keys
	}
	if byCertificate {
		if err := f.applyCertificates(c, command, enrollment); err != nil {
			return err
		}
	}
	if byTPM {
		if err := f.applyTPM(command, enrollment); err != nil {
			return err
		}
	}
	if err := f.allocation.apply(c, command, &enrollment.Settings); err != nil {
		return err
	}
	if flags.Changed("device-id") {
		enrollment.DeviceID = f.deviceID
	}
	if flags.Changed("device-information") {
		enrollment.OptionalDeviceInformation = nil
		if f.information != "" {
			information, err := cli.ReadJSON("device-information", f.information)
			if err != nil {
				return err
			}
			enrollment.OptionalDeviceInformation = information
		}
	}
	if flags.Changed("initial-twin") {
		twin, err := readInitialTwin(f.initialTwin)
		if err != nil {
			return err
		}
		enrollment.InitialTwin = twin
	}
	if flags.Changed("provisioning-status") {
		enrollment.ProvisioningStatus = enroll.ProvisioningStatus(f.status)
	}
	if flags.Changed("edge-enabled") {
		enrollment.Capabilities = &enroll.Capabilities{IoTEdge: f.edge}
	}
	return nil
}

func (f *enrollmentFlags) applyCertificates(c commands, command *cobra.Command,
	enrollment *enroll.Enrollment) error {
	var certificates enroll.X509Certificates
	if x := enrollment.Attestation.X509; x != nil && x.ClientCertificates != nil {
		certificates = *x.ClientCertificates
	}
	for _, which := range []struct {
		flag, file  string
		certificate **enroll.X509Certificate
	}{{"x509", f.primary, &certificates.Primary}, {"x509-secondary", f.secondary, &certificates.Secondary}} {
		switch {
		case !command.Flags().Changed(which.flag):
		case which.file == "":
			*which.certificate = nil
		default:
			text, err := c.readCertificate(which.file, enrollment.RegistrationID)
			if err != nil {
				return err
			}
			*which.certificate = &enroll.X509Certificate{Certificate: text}
		}
	}
	enrollment.Attestation = enroll.AttestationMechanism{
		Type: "x509",
		X509: &enroll.X509Attestation{ClientCertificates: &certificates},
	}
	return nil
}

func (f *enrollmentFlags) applyTPM(command *cobra.Command, enrollment *enroll.Enrollment) error {
	var keys enroll.TPMAttestation
	if there := enrollment.Attestation.TPM; there != nil {
		keys = *there
	}
	for _, which := range []struct {
		flag, value string
		key         *string
	}{{"tpm", f.tpm, &keys.EndorsementKey}, {"tpm-storage-root-key", f.storageRoot, &keys.StorageRootKey}} {
		if !command.Flags().Changed(which.flag) {
			continue
		}
		text, err := readTPMKey(which.value)
		if err != nil {
			return fmt.Errorf("--%s: %w", which.flag, err)
		}
		*which.key = text
	}
	enrollment.Attestation = enroll.AttestationMechanism{Type: "tpm", TPM: &keys}
	return nil
}

// readTPMKey returns a key in base64. It may be given so, or as a file that holds
// base64 or, as the tpm2 tools write it, the TPM2B_PUBLIC itself.
func readTPMKey(value string) (string, error) {
	content, err := os.ReadFile(value)
	switch {
	case err == nil && len(content) > 2 && int(content[0])<<8|int(content[1]) == len(content)-2:
		return base64.StdEncoding.EncodeToString(content), nil
	case err == nil:
		return strings.Join(strings.Fields(string(content)), ""), nil
	}
	if _, decodes := base64.StdEncoding.DecodeString(value); decodes != nil {
		return "", fmt.Errorf("this is neither base64 nor a file: %w", err)
	}
	return value, nil
}

// readCertificate returns a certificate as PEM for the service. A common name
// that is not the registration id is no error here, but the device will be
// refused: the person is told.
func (c commands) readCertificate(file, registrationID string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the certificate: %w", err)
	}
	parsed, err := credential.ParseCertificates(content)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if name := parsed[0].Subject.CommonName; !strings.EqualFold(name, registrationID) {
		fmt.Fprintf(c.Stderr,
			"berth: warning: the certificate's common name is %q, "+
				"the registration id is %q: the device is refused while they differ\n", name, registrationID)
	}
	return pemOf(parsed), nil
}

// certificatesOf returns what an enrollment's certificates say, nil for none.
func certificatesOf(e enroll.Enrollment) (primary, secondary *credential.X509CertificateInfo) {
	if e.Attestation.X509 == nil || e.Attestation.X509.ClientCertificates == nil {
		return nil, nil
	}
	certificates := e.Attestation.X509.ClientCertificates
	if certificates.Primary != nil {
		primary = certificates.Primary.Info
	}
	if certificates.Secondary != nil {
		secondary = certificates.Secondary.Info
	}
	return primary, secondary
}

func DescribeEnrollment(w io.Writer, e enroll.Enrollment) {
	fields := []cli.Field{
		{"Registration id", e.RegistrationID},
		{"Device id", e.DeviceID},
		{"Provisioning status", string(e.ProvisioningStatus)},
		{"Attestation", e.Attestation.Type},
	}
	fields = append(fields, describeKeys(e.Attestation, "enrollment", e.RegistrationID)...)
	if keys := e.Attestation.TPM; keys != nil {
		fields = append(fields, cli.Field{"Endorsement key", keys.EndorsementKey},
			cli.Field{"Storage root key", keys.StorageRootKey})
	}
	primary, secondary := certificatesOf(e)
	for _, certificate := range []struct {
		name string
		info *credential.X509CertificateInfo
	}{{"Primary certificate", primary}, {"Secondary certificate", secondary}} {
		if certificate.info != nil {
			fields = append(fields,
				cli.Field{certificate.name, certificate.info.SubjectName + ", valid to " +
					cli.FormatTime(certificate.info.NotAfterUTC.Time)},
				cli.Field{"  SHA-256", certificate.info.SHA256Thumbprint})
		}
	}
	fields = append(fields, describeAllocation(e.Settings)...)
	if len(e.OptionalDeviceInformation) > 0 {
		fields = append(fields, cli.Field{"Device information", string(e.OptionalDeviceInformation)})
	}
	if e.InitialTwin != nil {
		fields = append(fields, cli.Field{"Initial twin", cli.CompactJSON(e.InitialTwin)})
	}
	if state := e.RegistrationState; state != nil {
		registration := strings.TrimSpace(fmt.Sprintf("%s %s", state.Status, state.AssignedHub))
		fields = append(fields, cli.Field{"Registration", registration})
	}
	fields = append(fields,
		cli.Field{"Created", cli.FormatTime(e.CreatedDateTimeUTC.Time)},
		cli.Field{"Last updated", cli.FormatTime(e.LastUpdatedDateTimeUTC.Time)})
	cli.PrintFields(w, fields...)
}
