package cli

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/server"
)

// Target is the server that a command speaks to: the one with this data folder
// on this machine, or any that a connection string names.
type Target struct {
	Data             string // folder; "" is that of BERTH_DATA, or the user's default
	ConnectionString string // or @FILE; "" is that of the data folder's server
	Address          string // host:port, with a connection string
	CAFile           string // of the authorities to trust; "" is as the data folder or the system has it

	unreadable []backend.Unreadable // records that lists could not show
}

// Flags adds the flags that say which server is meant.
func (t *Target) Flags(flags *pflag.FlagSet) {
	flags.StringVar(&t.Data, "data", "", "the server's data `folder` (default $BERTH_DATA, else "+DefaultDataDir()+")")
	flags.StringVar(&t.ConnectionString, "connection-string", "",
		"speak to the service that this connection `string` names, "+
			"or @FILE that holds it, instead of the server of the data folder")
	flags.StringVar(&t.Address, "address", "",
		"with --connection-string: connect to this `host:port`, when it is not port 443 of its HostName")
	flags.StringVar(&t.CAFile, "ca-file", "",
		"trust the certificate authorities in this PEM `file` "+
			"(default: with a data folder its own, else those of the system)")
}

// DataDir is the data folder: the flag, BERTH_DATA, or the user's default.
func (t *Target) DataDir() string {
	if t.Data != "" {
		return t.Data
	}
	if dir := os.Getenv("BERTH_DATA"); dir != "" {
		return dir
	}
	return DefaultDataDir()
}

// DefaultDataDir is the user's data folder.
func DefaultDataDir() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "berth")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "berth-data" // in the working folder: a service without a home
	}
	return filepath.Join(home, ".local", "share", "berth")
}

// Info is what the server of the data folder wrote of itself when it started.
func (t *Target) Info() (server.Info, error) {
	info, err := server.ReadInfo(t.DataDir())
	switch {
	case errors.Is(err, server.ErrNeverUsed):
		return info, Advise(err, "Start one with: berth up%s; or name another folder with --data.", t.DataFlag())
	case errors.Is(err, fs.ErrPermission):
		return info, ForeignFolder(err)
	case err != nil:
		return info, Advise(err, "A server that starts on the folder writes it again: berth up%s", t.DataFlag())
	}
	return info, nil
}

// ForeignFolder advises on a data folder that the user may not read or write.
func ForeignFolder(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return Advise(err, "The data folder belongs to somebody else: "+
		"run the command as the user that ran berth up, or name another folder with --data.")
}

// DataFlag is what follows a command in a hint, so that it is for the same folder.
func (t *Target) DataFlag() string {
	if t.Data == "" {
		return ""
	}
	return " --data " + Quote(t.Data)
}

// TrustHint is what to do when a server's authority is not trusted.
const TrustHint = "--ca-file FILE trusts another authority. " +
	"A Berth server's own is the authority file that berth info shows where it runs."

// unreachable is what to do when the server can't be reached.
func (t *Target) unreachable(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case errors.As(err, new(x509.UnknownAuthorityError)) && t.ConnectionString == "":
		return "Is it another server that answers there? berth info" + t.DataFlag() +
			" shows the ports and the authority of the one that used the folder."
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return TrustHint
	case t.ConnectionString == "":
		return "Is the server running? Start it with: berth up" + t.DataFlag()
	case errors.As(err, new(x509.HostnameError)):
		return "The HostName of the connection string must be one that the server has: berth up --host, --hub-host."
	}
	return "Is the HostName of the connection string right? --address HOST:PORT says where else the service is reached."
}

// Provisioning is a client of the provisioning service.
func (t *Target) Provisioning() (*backend.Provisioning, error) {
	connectionString, options, err := t.service(func(info server.Info) (string, error) {
		return info.ProvisioningConnectionString, nil
	})
	if err != nil {
		return nil, err
	}
	options.Unreadable = t.noteUnreadable
	return backend.NewProvisioning(connectionString, options)
}

// HubClient is a client of a hub, with the name that the hub has on its server: ""
// behind a connection string.
type HubClient struct {
	*backend.Hub
	Name string
}

// Hub is a client of the hub with this name or host; "" is the only hub of the server.
// Where there are several, it is an error that asks which one is meant.
func (t *Target) Hub(name string) (HubClient, error) {
	hubs, err := t.Hubs(name)
	if err == nil && len(hubs) > 1 {
		err = errSeveralHubs(hubs)
	}
	if err != nil {
		return HubClient{}, err
	}
	return hubs[0], nil
}

// Hubs are clients of the hub with this name or host, or of all hubs of the server.
func (t *Target) Hubs(name string) ([]HubClient, error) {
	chosen := []server.HubInfo{{}}
	connectionString, options, err := t.service(func(info server.Info) (string, error) {
		if chosen = info.Hubs; name != "" {
			hub, err := FindHub(info, name)
			chosen = []server.HubInfo{hub}
			return "", err
		}
		if len(chosen) == 0 {
			return "", errors.New("the server has no hub")
		}
		return "", nil
	})
	if err != nil {
		return nil, err
	}
	options.Unreadable = t.noteUnreadable
	var hubs []HubClient
	for _, hub := range chosen {
		client, err := backend.NewHub(cmp.Or(hub.ConnectionString, connectionString), options)
		if err != nil {
			return nil, err
		}
		hubs = append(hubs, HubClient{client, hub.Name})
	}
	if host := hubs[0].Host(); t.ConnectionString != "" && name != "" && !strings.EqualFold(name, host) {
		return nil, UsageError(fmt.Errorf("--connection-string names the hub %s, and --hub the hub %s: leave --hub out",
			host, name))
	}
	return hubs, nil
}

// errSeveralHubs asks which of the hubs is meant.
func errSeveralHubs(hubs []HubClient) error {
	return UsageError(fmt.Errorf("the server has several hubs, %s: say which one with --hub", HubNames(hubs)))
}

// HubNames lists hubs for a sentence.
func HubNames(hubs []HubClient) string {
	names := make([]string, len(hubs))
	for i, hub := range hubs {
		names[i] = NameAndHost(hub.Name, hub.Host())
	}
	return strings.Join(names, ", ")
}

// NameAndHost is a hub for a sentence.
func NameAndHost(name, host string) string {
	if name == "" || name == host {
		return host
	}
	return fmt.Sprintf("%s (%s)", name, host)
}

func (t *Target) noteUnreadable(record backend.Unreadable) {
	t.unreadable = append(t.unreadable, record)
}

// FindHub finds the hub of a server that has this name or host.
func FindHub(info server.Info, name string) (server.HubInfo, error) {
	var known []string
	for _, hub := range info.Hubs {
		if strings.EqualFold(name, hub.Name) || strings.EqualFold(name, hub.Host) {
			return hub, nil
		}
		known = append(known, NameAndHost(hub.Name, hub.Host))
	}
	return server.HubInfo{}, Advise(fmt.Errorf("there is no hub %q here, but %s", name, strings.Join(known, ", ")),
		"berth hub list shows those elsewhere too; what is in one of them is reached with its own --connection-string.")
}

// service is how a service is reached: by the connection string that was given,
// or by one that the data folder holds.
func (t *Target) service(choose func(server.Info) (string, error)) (string, backend.Options, error) {
	if t.ConnectionString != "" {
		options := backend.Options{Address: t.Address}
		var err error
		if t.CAFile != "" {
			options.RootCAs, err = ReadAuthorities(t.CAFile)
		}
		connectionString, unread := ReadSecret(t.ConnectionString)
		if err := errors.Join(err, unread); err != nil {
			return "", options, err
		}
		connection, err := credential.ParseConnectionString(connectionString)
		if err == nil && connection.SharedAccessKeyName == "" {
			err = errors.New("this is a device's connection string: a service's has SharedAccessKeyName")
		}
		if err != nil {
			return "", options, Advise(UsageError(fmt.Errorf("--connection-string can't be used: %w", err)),
				"berth info shows those of a server, where it runs. In a shell it stands between quotes.")
		}
		return connectionString, options, nil
	}
	if t.Address != "" {
		return "", backend.Options{}, UsageError(errors.New("--address belongs to --connection-string"))
	}
	info, err := t.Info()
	if err != nil {
		return "", backend.Options{}, err
	}
	connectionString, err := choose(info)
	if err != nil {
		return "", backend.Options{}, err
	}
	caFile := t.CAFile
	if caFile == "" {
		caFile = info.CAFile
	}
	authorities, err := ReadAuthorities(caFile)
	return connectionString, backend.Options{Address: Loopback(info.Ports.HTTPS), RootCAs: authorities}, err
}

// ReadSecret is a secret as it was given, or what is in the file of @FILE: others on the
// machine see the arguments of a command, and a shell keeps them.
func ReadSecret(text string) (string, error) {
	file, ok := strings.CutPrefix(text, "@")
	if !ok {
		return text, nil
	}
	content, err := ReadText(file)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		return "", fmt.Errorf("read the secret: %s is empty", file)
	}
	return secret, nil
}

// Loopback is where a server on this machine is reached, whatever it is called.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// ReadAuthorities reads the authorities to trust from a file in PEM.
func ReadAuthorities(file string) (*x509.CertPool, error) {
	return AddAuthorities(x509.NewCertPool(), file)
}

// AddAuthorities adds the authorities of a file in PEM to a pool, and returns it.
func AddAuthorities(pool *x509.CertPool, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}
