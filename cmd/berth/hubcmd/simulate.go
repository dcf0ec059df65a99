package hubcmd

import (
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/server"
)

// simulateFlags are what a simulated device is told, by flags or by the
// quickstart's environment variables.
type simulateFlags struct {
	host, idScope, registrationID string
	certificateFile, keyFile      string
	passPhrase                    string
	symmetricKey                  string
	tpm                           string
	payload                       string
	messages                      int
	webSocket, csr                bool
}

func (c commands) deviceSimulate() *cobra.Command {
	var f simulateFlags
	command := &cobra.Command{
		Use:   "simulate",
		Short: "Be a device: register, connect to the assigned hub, send messages",
		Long: `Does what the quickstart's device does: it registers with its certificate,
connects to the hub that it is assigned to, and sends messages in parallel.

What no flag says comes from the quickstart's environment variables:
PROVISIONING_HOST, PROVISIONING_IDSCOPE, DPS_X509_REGISTRATION_ID, X509_CERT_FILE,
X509_KEY_FILE, and PASS_PHRASE or X509_PASS_PHRASE. What they do not say either
comes from the data folder and from the certificate. Without --ca-file the device
trusts the system's authorities (SSL_CERT_FILE) and that of the data folder. A device
of a group sends its chain: its own certificate is the first in the file of --cert,
and those above it follow.

With --symmetric-key the device proves itself with a key in place of a certificate:
that of its enrollment, or the one that berth group device-key derives for it. Azure's
samples have it in PROVISIONING_SYMMETRIC_KEY, and the registration id in
PROVISIONING_REGISTRATION_ID.

With --csr the device asks for an operational certificate, which its enrollment must
give (--credential-policy), and connects to its hub with that.

With --tpm the device proves itself with a TPM 2.0 in place of a certificate. It
registers over HTTPS then, and speaks MQTT over WebSocket. Its registration id is
by default the one that Azure's device SDKs derive from the endorsement key.`,
		Example: `  berth device simulate --cert Python-device-01.pem --key Python-device-01.key.pem --pass-phrase 1234
  berth device simulate --registration-id meter-17 --symmetric-key @meter-17.key
  berth device simulate --tpm /dev/tpmrm0`,
		Args: cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			simulated, err := f.simulation(&c.Target)
			if err != nil {
				return err
			}
			if f.tpm != "" {
				through, err := openTPM(f.tpm)
				if err != nil {
					return err
				}
				defer through.Close()
				if simulated.TPM, err = device.OpenTPM(through, device.TPMRSA); err != nil {
					return err
				}
				defer simulated.TPM.Close()
				simulated.RegistrationID = cmp.Or(simulated.RegistrationID, simulated.TPM.RegistrationID())
			}
			if f.csr {
				if err := simulated.request(); err != nil {
					return err
				}
			}
			simulated.Log = c.Stdout
			if c.Output == cli.JSON {
				simulated.Log = c.Stderr
			}
			registration, err := simulated.Run(command.Context())
			if err != nil || c.Output != cli.JSON {
				return err
			}
			return c.Print(registration, func(io.Writer) {})
		},
	}
	flags := command.Flags()
	flags.StringVar(&f.host, "host", "",
		"global device endpoint: the provisioning service's `host`, or host:port (PROVISIONING_HOST)")
	flags.StringVar(&f.idScope, "id-scope", "", "ID `scope` of the provisioning service (PROVISIONING_IDSCOPE)")
	flags.StringVar(&f.registrationID, "registration-id", "",
		"the device's registration `id` (DPS_X509_REGISTRATION_ID, "+
			"or with a key PROVISIONING_REGISTRATION_ID; else the certificate's common name)")
	flags.StringVar(&f.certificateFile, "cert", "", "the device's certificate, PEM `file` (X509_CERT_FILE)")
	flags.StringVar(&f.keyFile, "key", "", "its private key, PEM `file` (X509_KEY_FILE)")
	flags.StringVar(&f.passPhrase, "pass-phrase", "",
		"the `text` that opens the private key (PASS_PHRASE or X509_PASS_PHRASE)")
	flags.StringVar(&f.symmetricKey, "symmetric-key", "", "the device's symmetric `key` in base64, or @FILE that "+
		"holds it (PROVISIONING_SYMMETRIC_KEY)")
	flags.StringVar(&f.payload, "payload", "", "send this `JSON` along with the registration, or @FILE that holds it: "+
		"a custom allocation's webhook gets it")
	flags.StringVar(&f.tpm, "tpm", "", "the device's TPM: its `file`, or the socket of a software TPM")
	flags.IntVar(&f.messages, "messages", 10, "how many messages to send")
	flags.BoolVar(&f.csr, "csr", false,
		"ask for an operational certificate with a new key, and connect to the hub with that")
	flags.BoolVar(&f.webSocket, "websocket", false, "speak MQTT over WebSocket")
	return command
}

// simulation completes what the flags say.
func (f simulateFlags) simulation(t *cli.Target) (Simulation, error) {
	s := Simulation{
		Host:           cmp.Or(f.host, os.Getenv("PROVISIONING_HOST")),
		IDScope:        cmp.Or(f.idScope, os.Getenv("PROVISIONING_IDSCOPE")),
		RegistrationID: f.registrationID,
		Messages:       f.messages, WebSocket: f.webSocket || f.tpm != "",
	}
	if err := f.useProof(&s); err != nil {
		return Simulation{}, err
	}
	if f.payload != "" {
		var err error
		if s.Payload, err = cli.ReadJSON("payload", f.payload); err != nil {
			return Simulation{}, err
		}
	}
	info, missing := t.Info()
	if missing != nil && (s.Host == "" || s.IDScope == "") {
		return s, missing
	}
	s.Host, s.IDScope = cmp.Or(s.Host, info.ProvisioningHost), cmp.Or(s.IDScope, info.IDScope)
	if err := s.choosePort(info); err != nil {
		return s, err
	}
	s.Unreachable = "--host HOST:PORT says where the provisioning service is reached."
	if s.Host == info.ProvisioningHost && s.IDScope == info.IDScope {
		s.Unreachable = "Is the server running? Start it with: berth up" + t.DataFlag()
	}
	var err error
	s.Roots, err = deviceRoots(t.CAFile, info.CAFile)
	return s, err
}

// useProof takes what the device proves itself with: what flags say goes before the
// environment. A TPM is opened later.
func (f simulateFlags) useProof(s *Simulation) error {
	byCertificate := f.certificateFile != "" || f.keyFile != ""
	byKey := f.symmetricKey != ""
	if byCertificate && byKey || f.tpm != "" && (byCertificate || byKey) {
		return cli.UsageError(errors.New("--cert, --symmetric-key and --tpm are three ways " +
			"in which a device proves itself: " +
			"choose one"))
	}
	if f.tpm != "" && f.csr {
		return cli.UsageError(errors.New(
			"--csr is for a device with a certificate or a key, and not for one with a TPM"))
	}
	switch key := os.Getenv("PROVISIONING_SYMMETRIC_KEY"); {
	case f.tpm != "":
		return nil
	case byKey:
		return f.useKey(s, "--symmetric-key", f.symmetricKey)
	case !byCertificate && os.Getenv("X509_CERT_FILE") == "" && key != "":
		return f.useKey(s, "PROVISIONING_SYMMETRIC_KEY", key)
	}
	return f.useCertificate(s)
}

// useKey takes a symmetric key, which the source named holds.
func (f simulateFlags) useKey(s *Simulation, source, value string) error {
	key, err := cli.ReadSecret(value)
	if err != nil {
		return err
	}
	if _, err := base64.StdEncoding.DecodeString(key); err != nil {
		return cli.Advise(cli.UsageError(fmt.Errorf("%s must be a key in base64", source)),
			"berth enrollment show ID --keys shows that of an enrollment, berth group device-key GROUP ID that of a "+
				"group's device.")
	}
	s.Key = key
	s.RegistrationID = cmp.Or(s.RegistrationID, os.Getenv("PROVISIONING_REGISTRATION_ID"))
	if s.RegistrationID == "" {
		return cli.UsageError(errors.New("a device with a key needs --registration-id ID too"))
	}
	return nil
}

func (f simulateFlags) useCertificate(s *Simulation) error {
	certificateFile := cmp.Or(f.certificateFile, os.Getenv("X509_CERT_FILE"))
	keyFile := cmp.Or(f.keyFile, os.Getenv("X509_KEY_FILE"))
	if certificateFile == "" || keyFile == "" {
		return cli.Advise(cli.UsageError(errors.New("the device needs a certificate and its private key, "+
			"--cert FILE --key FILE, "+
			"or --symmetric-key KEY, or --tpm FILE")), "berth cert device CN makes a certificate and its key.")
	}
	passPhrase := cmp.Or(f.passPhrase, os.Getenv("PASS_PHRASE"), os.Getenv("X509_PASS_PHRASE"))
	certificate, err := credential.LoadKeyPair(certificateFile, keyFile, passPhrase)
	s.Certificate = &certificate
	if err == nil {
		s.RegistrationID = cmp.Or(s.RegistrationID, os.Getenv("DPS_X509_REGISTRATION_ID"),
			certificate.Leaf.Subject.CommonName)
	}
	return err
}

// openTPM opens a TPM: a device file such as /dev/tpmrm0, or the socket of a
// software TPM.
func openTPM(path string) (transport.TPMCloser, error) {
	found, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open the TPM: %w", err)
	}
	var conn io.ReadWriteCloser
	if found.Mode()&os.ModeSocket != 0 {
		conn, err = net.Dial("unix", path)
	} else {
		conn, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open the TPM: %w", err)
	}
	return transport.FromReadWriteCloser(conn), nil
}

// choosePort takes the port that stands with the host, or that of the data
// folder's server when it is the one that is meant, or the standard one.
func (s *Simulation) choosePort(info server.Info) error {
	s.Port = 8883
	if s.WebSocket {
		s.Port = 443
	}
	if host, port, err := net.SplitHostPort(s.Host); err == nil {
		s.Host = host
		if s.Port, err = strconv.Atoi(port); err != nil {
			return cli.UsageError(fmt.Errorf("--host must be a host name, or host:port with a number, not %q",
				host+":"+port))
		}
		return nil
	}
	if s.Host == info.ProvisioningHost && s.IDScope == info.IDScope {
		s.Port = info.Ports.MQTT
		if s.WebSocket {
			s.Port = info.Ports.HTTPS
		}
	}
	return nil
}

// deviceRoots are what a simulated device trusts.
func deviceRoots(named, ofData string) (*x509.CertPool, error) {
	if named != "" {
		return cli.ReadAuthorities(named)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system without any
	}
	if text, err := os.ReadFile(ofData); ofData != "" && err == nil {
		roots.AppendCertsFromPEM(text)
	}
	return roots, nil
}
