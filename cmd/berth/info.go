package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/server"
)

func (c *program) info() *cobra.Command {
	trust := false
	command := &cobra.Command{
		Use:   "info",
		Short: "Show what devices and back ends need to reach the server",
		Long: `Shows the ID scope, the host names, the authority file and the connection
strings of the server that uses the data folder, or used it last. The connection
strings hold keys.`,
		Example: `  berth info
  berth info --trust
  export PROVISIONING_IDSCOPE=$(berth info -o json | jq -r .idScope)`,
		Args: cli.ExactArgs(),
		RunE: func(*cobra.Command, []string) error {
			info, err := c.Target.Info()
			if err != nil {
				return err
			}
			if trust {
				trusted := map[string]string{"caFile": info.CAFile}
				return c.Print(trusted, func(w io.Writer) { fmt.Fprintln(w, trustText(info.CAFile)) })
			}
			return c.Print(info, func(w io.Writer) { describeServer(w, info) })
		},
	}
	command.Flags().BoolVar(&trust, "trust", false,
		"show how each SDK is made to trust the server's certificate authority")
	return command
}

// hiddenKey stands for a key where it is not shown.
const hiddenKey = "(hidden)"

// withoutKeys is what may be said of a server where others read it.
func withoutKeys(info server.Info) server.Info {
	hide := func(connectionString string) string {
		connection, err := credential.ParseConnectionString(connectionString)
		if err != nil {
			return hiddenKey
		}
		connection.SharedAccessKey = hiddenKey
		return connection.String()
	}
	info.ProvisioningConnectionString = hide(info.ProvisioningConnectionString)
	info.Hubs = slices.Clone(info.Hubs)
	for i := range info.Hubs {
		info.Hubs[i].ConnectionString = hide(info.Hubs[i].ConnectionString)
	}
	return info
}

// welcome is what a person reads when a server has started. Without a link, the info
// is one without keys. data is how commands are told the folder, with a space before
// it, or empty.
func welcome(w io.Writer, info server.Info, link credential.LoginLink, dataDir, data string) {
	fmt.Fprintf(w, "Berth (%s), data in %s\n\n", builtFrom(), dataDir)
	if link.URL != "" {
		fmt.Fprintf(w,
			"Open the portal (this link is good once, within the hour; berth portal link%s makes another):\n  %s\n\n",
			data, link.URL)
	} else {
		fmt.Fprintf(w, "Open the portal with the link that this makes: berth portal link%s\n\n", data)
	}
	describeServer(w, info)
	if link.URL == "" {
		fmt.Fprintf(w, "\nThe keys are shown on a terminal only, or by: berth info%s\n", data)
	}
	fmt.Fprintf(w, "\nClients must trust the authority file. For Python and Node:\n")
	fmt.Fprintf(w, "  export SSL_CERT_FILE=%s\n", cli.Quote(info.CAFile))
	fmt.Fprintf(w, "  export NODE_EXTRA_CA_CERTS=%s\n", cli.Quote(info.CAFile))
	fmt.Fprintf(w, "For Java, C#, C and Go: berth info --trust%s\n", data)
	fmt.Fprintf(w, "AMQP is not served by this version: use MQTT, MQTT over WebSocket or HTTPS.\n\n")
}

func describeServer(w io.Writer, info server.Info) {
	fields := []cli.Field{
		{"Portal", info.PortalURL},
		{"ID scope", info.IDScope},
		{"Global device endpoint", info.ProvisioningHost},
		{"Ports", fmt.Sprintf("MQTT %d, HTTPS and WebSocket %d", info.Ports.MQTT, info.Ports.HTTPS)},
		{"Authority file", info.CAFile},
		{"Provisioning service", info.ProvisioningConnectionString},
	}
	for _, hub := range info.Hubs {
		fields = append(fields, cli.Field{"Hub " + hub.Name, hub.Host}, cli.Field{"", hub.ConnectionString})
	}
	cli.PrintFields(w, fields...)
}

// trustText says how each SDK is made to trust an authority.
func trustText(caFile string) string {
	return strings.NewReplacer("CA_QUOTED", cli.Quote(caFile), "CA_FILE", caFile).Replace(`Every client must trust the certificate authority of this server:

  CA_FILE

Python (azure-iot-device)
  export SSL_CERT_FILE=CA_QUOTED
  The file takes the place of the system's authorities for that process. In code:
  server_verification_cert=open("CA_FILE").read()

Node (azure-iot-device, azure-iothub, azure-iot-provisioning-service)
  export NODE_EXTRA_CA_CERTS=CA_QUOTED

Java
  keytool -importcert -noprompt -alias berth -file CA_QUOTED -keystore berth.p12 -storetype PKCS12 -storepass changeit
  java -Djavax.net.ssl.trustStore=berth.p12 -Djavax.net.ssl.trustStorePassword=changeit ...

C#
  Linux    export SSL_CERT_FILE=CA_QUOTED
  Windows  Import-Certificate -FilePath ca.pem -CertStoreLocation Cert:\CurrentUser\Root
  macOS    security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db ca.pem

C
  Prov_Device_SetOption(handle, OPTION_TRUSTED_CERT, pem);
  IoTHubDeviceClient_SetOption(handle, OPTION_TRUSTED_CERT, pem);
  where pem is the text of the file.

Go
  pool := x509.NewCertPool()
  pool.AppendCertsFromPEM(pem)
  &tls.Config{RootCAs: pool}
  or, on Linux: export SSL_CERT_FILE=CA_QUOTED`)
}
