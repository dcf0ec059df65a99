package hubcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
)

// deviceKey is one of the two keys of a device, see keyOf.
func deviceKey(device identity.Device, secondary bool) (string, error) {
	return keyOf("device", device.DeviceID, device.Authentication, secondary)
}

// keyOf is one of the two keys of a device or module. One that has none is an error that
// says how it proves itself.
func keyOf(thing, id string, a *identity.Authentication, secondary bool) (string, error) {
	if a != nil && a.Type == identity.SAS {
		key := a.SymmetricKey.PrimaryKey
		if secondary {
			key = a.SymmetricKey.SecondaryKey
		}
		if key != nil {
			return *key, nil
		}
	}
	return "", fmt.Errorf("the %s %q has no key: it proves itself by %s", thing, id, authentication(a))
}

func (c commands) deviceConnectionString() *cobra.Command {
	secondary := false
	command := c.onDevice(&cobra.Command{
		Use:   "connection-string ID",
		Short: "Print the connection string that a device is configured with",
		Long: `Prints the connection string of a device: with its primary key, or without any for
a device that proves itself with a certificate.`,
		Example: `  export IOTHUB_DEVICE_CONNECTION_STRING="$(berth device connection-string thermostat-1)"`,
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		device, err := client.Device(ctx, id)
		if err != nil {
			return err
		}
		if err := (credential.ConnectionString{DeviceID: device.DeviceID}).Check(); err != nil {
			return cli.Advise(err,
				"Give the device its host name, %s, its id and its key apart: berth device show --keys %s",
				client.Host(), cli.Quote(device.DeviceID))
		}
		text := fmt.Sprintf("HostName=%s;DeviceId=%s;x509=true", client.Host(), device.DeviceID)
		if a := device.Authentication; a == nil || a.Type != identity.SelfSigned &&
			a.Type != identity.CertificateAuthority {
			key, err := deviceKey(device, secondary)
			if err != nil {
				return err
			}
			text = credential.ConnectionString{
				HostName:        client.Host(),
				DeviceID:        device.DeviceID,
				SharedAccessKey: key,
			}.String()
		} else if secondary {
			return cli.UsageError(fmt.Errorf("--secondary: the device %q has no keys, but a certificate", id))
		}
		return c.Print(map[string]string{"connectionString": text}, func(w io.Writer) { fmt.Fprintln(w, text) })
	})
	command.Flags().BoolVar(&secondary, "secondary", false, "with the secondary key")
	return command
}

func (c commands) deviceSASToken() *cobra.Command {
	secondary, ttl := false, time.Hour
	command := c.onDevice(&cobra.Command{
		Use:   "sas-token ID",
		Short: "Print a token that lets a device connect for a time",
		Long: `Prints a shared access signature for a device, made with its primary key. Who has
it is the device until the time is over, or the key is changed.`,
		Example: `  berth device sas-token thermostat-1 --ttl 15m`,
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		if ttl <= 0 {
			return cli.UsageError(errors.New("--ttl must be more than nothing, such as 15m or 24h"))
		}
		device, err := client.Device(ctx, id)
		if err != nil {
			return err
		}
		key, err := deviceKey(device, secondary)
		if err != nil {
			return err
		}
		expiry := time.Now().Add(ttl)
		token, err := credential.NewToken(credential.DeviceResource(client.Host(), device.DeviceID).String(), "", key,
			expiry)
		if err != nil {
			return err
		}
		answer := struct {
			Token  string    `json:"sasToken"`
			Expiry time.Time `json:"expiry"`
		}{token, expiry.UTC().Truncate(time.Second)}
		return c.Print(answer, func(w io.Writer) { fmt.Fprintln(w, token) })
	})
	command.Flags().BoolVar(&secondary, "secondary", false, "made with the secondary key")
	command.Flags().DurationVar(&ttl, "ttl", time.Hour, "good for this `time`")
	return command
}
