package main

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

// target is the server that a command speaks to: the one with this data folder
// on this machine, or any that a connection string names.
type target struct {
	data             string
	connectionString string
	address          string
	caFile           string

	unreadable []backend.Unreadable // records that lists could not show
}

func (t *target) flags(flags *pflag.FlagSet) {
	flags.StringVar(&t.data, "data", "", "the server's data `folder` (default $BERTH_DATA, else "+defaultDataDir()+")")
	flags.StringVar(&t.connectionString, "connection-string", "", "speak to the service that this connection `string` names, or @FILE that holds it, instead of the server of the data folder")
	flags.StringVar(&t.address, "address", "", "with --connection-string: connect to this `host:port`, when it is not port 443 of its HostName")
	flags.StringVar(&t.caFile, "ca-file", "", "trust the certificate authorities in this PEM `file` (default: with a data folder its own, else those of the system)")
}

// dataDir is the data folder: the flag, BERTH_DATA, or the user's default.
func (t *target) dataDir() string {
	if t.data != "" {
		return t.data
	}
	if dir := os.Getenv("BERTH_DATA"); dir != "" {
		return dir
	}
	return defaultDataDir()
}

func defaultDataDir() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "berth")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "berth-data" // in the working folder: a service without a home
	}
	return filepath.Join(home, ".local", "share", "berth")
}

// info is what the server of the data folder wrote of itself when it started.
func (t *target) info() (server.Info, error) {
	info, err := server.ReadInfo(t.dataDir())
	switch {
	case errors.Is(err, server.ErrNeverUsed):
		return info, advise(err, "Start one with: berth up%s; or name another folder with --data.", t.dataFlag())
	case errors.Is(err, fs.ErrPermission):
		return info, foreignFolder(err)
	case err != nil:
		return info, advise(err, "A server that starts on the folder writes it again: berth up%s", t.dataFlag())
	}
	return info, nil
}

// foreignFolder advises on a data folder that the user may not read or write.
func foreignFolder(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return advise(err, "The data folder belongs to somebody else: "+
		"run the command as the user that ran berth up, or name another folder with --data.")
}

// dataFlag is what follows a command in a hint, so that it is for the same folder.
func (t *target) dataFlag() string {
	if t.data == "" {
		return ""
	}
	return " --data " + quote(t.data)
}

// trustHint is what to do when a server's authority is not trusted.
const trustHint = "--ca-file FILE trusts another authority. " +
	"A Berth server's own is the authority file that berth info shows where it runs."

// unreachable is what to do when the server can't be reached.
func (t *target) unreachable(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case errors.As(err, new(x509.UnknownAuthorityError)) && t.connectionString == "":
		return "Is it another server that answers there? berth info" + t.dataFlag() +
			" shows the ports and the authority of the one that used the folder."
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return trustHint
	case t.connectionString == "":
		return "Is the server running? Start it with: berth up" + t.dataFlag()
	case errors.As(err, new(x509.HostnameError)):
		return "The HostName of the connection string must be one that the server has: berth up --host, --hub-host."
	}
	return "Is the HostName of the connection string right? --address HOST:PORT says where else the service is reached."
}

// provisioning is a client of the provisioning service.
func (t *target) provisioning() (*backend.Provisioning, error) {
	connectionString, options, err := t.service(func(info server.Info) (string, error) { return info.ProvisioningConnectionString, nil })
	if err != nil {
		return nil, err
	}
	options.Unreadable = t.noteUnreadable
	return backend.NewProvisioning(connectionString, options)
}

// hubClient is a client of a hub, with the name that the hub has on its server: ""
// behind a connection string.
type hubClient struct {
	*backend.Hub
	name string
}

// hub is a client of the hub with this name or host; "" is the only hub of the server.
// Where there are several, it is an error that asks which one is meant.
func (t *target) hub(name string) (hubClient, error) {
	hubs, err := t.hubs(name)
	if err == nil && len(hubs) > 1 {
		err = errSeveralHubs(hubs)
	}
	if err != nil {
		return hubClient{}, err
	}
	return hubs[0], nil
}

// hubs are clients of the hub with this name or host, or of all hubs of the server.
func (t *target) hubs(name string) ([]hubClient, error) {
	chosen := []server.HubInfo{{}}
	connectionString, options, err := t.service(func(info server.Info) (string, error) {
		if chosen = info.Hubs; name != "" {
			hub, err := findHub(info, name)
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
	var hubs []hubClient
	for _, hub := range chosen {
		client, err := backend.NewHub(cmp.Or(hub.ConnectionString, connectionString), options)
		if err != nil {
			return nil, err
		}
		hubs = append(hubs, hubClient{client, hub.Name})
	}
	if host := hubs[0].Host(); t.connectionString != "" && name != "" && !strings.EqualFold(name, host) {
		return nil, usageError{fmt.Errorf("--connection-string names the hub %s, and --hub the hub %s: leave --hub out",
			host, name)}
	}
	return hubs, nil
}

// errSeveralHubs asks which of the hubs is meant.
func errSeveralHubs(hubs []hubClient) error {
	return usageError{fmt.Errorf("the server has several hubs, %s: say which one with --hub", hubNames(hubs))}
}

// hubNames lists hubs for a sentence.
func hubNames(hubs []hubClient) string {
	names := make([]string, len(hubs))
	for i, hub := range hubs {
		names[i] = nameAndHost(hub.name, hub.Host())
	}
	return strings.Join(names, ", ")
}

// nameAndHost is a hub for a sentence.
func nameAndHost(name, host string) string {
	if name == "" || name == host {
		return host
	}
	return fmt.Sprintf("%s (%s)", name, host)
}

func (t *target) noteUnreadable(record backend.Unreadable) {
	t.unreadable = append(t.unreadable, record)
}

func findHub(info server.Info, name string) (server.HubInfo, error) {
	var known []string
	for _, hub := range info.Hubs {
		if strings.EqualFold(name, hub.Name) || strings.EqualFold(name, hub.Host) {
			return hub, nil
		}
		known = append(known, nameAndHost(hub.Name, hub.Host))
	}
	return server.HubInfo{}, advise(fmt.Errorf("there is no hub %q here, but %s", name, strings.Join(known, ", ")),
		"berth hub list shows those elsewhere too; what is in one of them is reached with its own --connection-string.")
}

// service is how a service is reached: by the connection string that was given,
// or by one that the data folder holds.
func (t *target) service(choose func(server.Info) (string, error)) (string, backend.Options, error) {
	if t.connectionString != "" {
		options := backend.Options{Address: t.address}
		var err error
		if t.caFile != "" {
			options.RootCAs, err = readAuthorities(t.caFile)
		}
		connectionString, unread := secretOf(t.connectionString)
		if err := errors.Join(err, unread); err != nil {
			return "", options, err
		}
		connection, err := credential.ParseConnectionString(connectionString)
		if err == nil && connection.SharedAccessKeyName == "" {
			err = errors.New("this is a device's connection string: a service's has SharedAccessKeyName")
		}
		if err != nil {
			return "", options, advise(usageError{fmt.Errorf("--connection-string can't be used: %w", err)},
				"berth info shows those of a server, where it runs. In a shell it stands between quotes.")
		}
		return connectionString, options, nil
	}
	if t.address != "" {
		return "", backend.Options{}, usageError{errors.New("--address belongs to --connection-string")}
	}
	info, err := t.info()
	if err != nil {
		return "", backend.Options{}, err
	}
	connectionString, err := choose(info)
	if err != nil {
		return "", backend.Options{}, err
	}
	caFile := t.caFile
	if caFile == "" {
		caFile = info.CAFile
	}
	authorities, err := readAuthorities(caFile)
	return connectionString, backend.Options{Address: loopback(info.Ports.HTTPS), RootCAs: authorities}, err
}

// secretOf is a secret as it was given, or what is in the file of @FILE: others on the
// machine see the arguments of a command, and a shell keeps them.
func secretOf(text string) (string, error) {
	file, ok := strings.CutPrefix(text, "@")
	if !ok {
		return text, nil
	}
	content, err := readText(file)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		return "", fmt.Errorf("read the secret: %s is empty", file)
	}
	return secret, nil
}

// loopback is where a server on this machine is reached, whatever it is called.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// readAuthorities reads the authorities to trust from a file in PEM.
func readAuthorities(file string) (*x509.CertPool, error) {
	return addAuthorities(x509.NewCertPool(), file)
}

func addAuthorities(pool *x509.CertPool, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}
