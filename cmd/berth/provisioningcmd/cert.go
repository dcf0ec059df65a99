package provisioningcmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
)

func (c commands) cert() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "cert",
		Short: "Certificates for tests and trials, and chains diagnosed before a device tries them",
	})
	command.AddCommand(c.certDevice(), c.certCheck())
	return command
}

func (c commands) certDevice() *cobra.Command {
	var (
		keyType    string
		days       int
		passPhrase string
		folder     string
		force      bool
	)
	command := &cobra.Command{
		Use:   "device CN",
		Short: "Make a self-signed device certificate and its private key",
		Long: `Makes what the quickstart makes with openssl: a self-signed X.509 certificate
with CN as its common name, which is the device's registration id, in CN.pem, and
its private key in CN.key.pem. Self-signed certificates are for tests.`,
		Example: `  berth cert device Python-device-01 --pass-phrase 1234
  berth cert device sensor-7 --key-type ec256 --out certificates`,
		Args: cli.ExactArgs("CN"),
		RunE: func(_ *cobra.Command, args []string) error {
			name := args[0]
			if strings.ContainsAny(name, `/\`) || name == "." || name == ".." {
				return cli.UsageError(fmt.Errorf("%q can't be the name of a file, nor a registration id", name))
			}
			certificateFile, keyFile := filepath.Join(folder, name+".pem"), filepath.Join(folder, name+".key.pem")
			if !force {
				for _, file := range []string{certificateFile, keyFile} {
					if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
						return cli.Advise(fmt.Errorf("%s is there already", file), "--force replaces it.")
					}
				}
			}
			certificate, key, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
				CommonName: name, KeyType: credential.KeyType(keyType), PassPhrase: passPhrase,
				NotBefore: time.Now().Add(-time.Minute), Validity: time.Duration(days) * 24 * time.Hour,
			})
			if err != nil {
				return err
			}
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
			if err := cli.ReplaceFile(keyFile, key, 0o600); err != nil {
				return err
			}
			if err := cli.ReplaceFile(certificateFile, certificate, 0o644); err != nil {
				return err
			}
			parsed, err := credential.ParseCertificates(certificate)
			if err != nil {
				return err
			}
			_, thumbprint := credential.Thumbprints(parsed[0])
			made := map[string]string{"certificate": certificateFile, "key": keyFile, "commonName": name,
				"sha256Thumbprint": thumbprint, "notAfter": parsed[0].NotAfter.Format(time.RFC3339)}
			return c.Print(made, func(w io.Writer) {
				cli.PrintFields(w,
					cli.Field{"Certificate", certificateFile},
					cli.Field{"Private key", keyFile},
					cli.Field{"Common name", name},
					cli.Field{"SHA-256", thumbprint},
					cli.Field{"Valid to", cli.FormatTime(parsed[0].NotAfter)})
				fmt.Fprintf(w, "\nEnroll it: berth enrollment create %s --x509 %s\n",
					cli.Quote(name), cli.Quote(certificateFile))
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&keyType, "key-type", string(credential.RSA4096), "rsa4096, rsa2048 or ec256")
	flags.IntVar(&days, "days", 365, "how many days it is valid")
	flags.StringVar(&passPhrase, "pass-phrase", "", "encrypt the private key with this `text`")
	flags.StringVar(&folder, "out", ".", "the `folder` to write to")
	flags.BoolVar(&force, "force", false, "replace files that are there")
	return command
}
