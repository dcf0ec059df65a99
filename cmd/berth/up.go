package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/cmd/berth/provisioningcmd"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/server"
)

// drainTime is how long a server that is told to stop may take for what it owes
// its clients: no longer than the most impatient of the usual service managers,
// Docker, waits before it kills.
const drainTime = 10 * time.Second

func (c *program) up() *cobra.Command {
	config := server.DefaultConfig()
	level := slog.LevelInfo
	var limits limitFlags
	webhookRoots, storageRoots, showSecrets := "", "", false
	command := &cobra.Command{
		Use:   "up",
		Short: "Start a server and keep it until it is told to stop",
		Long: `Starts a server on the data folder. The first start makes a certificate
authority, a server certificate, an ID scope, shared access policies, one
provisioning service and one hub that is linked to it; later starts find them
again. It prints what devices and back ends need, then a line "ready": on a
terminal with the connection strings and a link that logs in to the portal, and
elsewhere, as where a service manager keeps it, without keys. SIGTERM
and Ctrl-C let it finish what it owes its clients, and end it with exit code 0. It
does not start on a data folder that has lost what it once confirmed: berth data
check says what is missing, and the exit code is 3.

The Azure SDKs have the ports 8883 and 443 built in: other ports are for clients
that can be told. A port of 0 is a free one.`,
		Example: `  berth up
  berth up --data /var/lib/berth --host dps.example.com --hub-host hub.example.com
  berth up --registration paced`,
		Args: cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			config.DataDir, config.DefaultDir = c.Target.DataDir(), cli.DefaultDataDir()
			if err := limits.apply(command, &config); err != nil {
				return err
			}
			if command.Flags().Changed("hub-host") {
				if err := provisioningcmd.CheckHubHost("hub-host", config.HubHost); err != nil {
					return err
				}
			}
			if config.QoS0AnswerDelay < 0 {
				return cli.UsageError(fmt.Errorf("--qos0-answer-delay must be 0 or more, not %s",
					config.QoS0AnswerDelay))
			}
			if err := server.CheckMessageLimits(config.Messages); err != nil {
				return cli.UsageError(err)
			}
			if webhookRoots != "" {
				var err error
				if config.Webhooks, err = webhookAuthorities(webhookRoots); err != nil {
					return err
				}
			}
			if storageRoots != "" {
				var err error
				if config.StorageRoots, err = webhookAuthorities(storageRoots); err != nil {
					return err
				}
			}
			config.Logger = slog.New(slog.NewTextHandler(c.Stderr, &slog.HandlerOptions{Level: level}))
			config.Notice = func(notice string) { fmt.Fprintln(c.Stderr, "berth:", notice) }
			return c.serve(command.Context(), config, showSecrets || cli.IsTerminal(c.Stdout))
		},
	}
	flags := command.Flags()
	flags.StringVar(&config.Host, "host", config.Host,
		"host `name` of the provisioning service, the global device endpoint")
	flags.StringVar(&config.HubHost, "hub-host", config.HubHost,
		"host `name` of the hub; it must contain a dot, because some SDKs refuse one without; by default the one that "+
			"the hub has, 127.0.0.1 for a new one")
	flags.IntVar(&config.MQTTPort, "mqtt-port", config.MQTTPort, "`port` for MQTT over TLS")
	flags.IntVar(&config.AMQPPort, "amqp-port", config.AMQPPort,
		"`port` for AMQP over TLS: reserved, this version does not serve AMQP")
	flags.IntVar(&config.HTTPSPort, "https-port", config.HTTPSPort,
		"`port` for HTTPS and MQTT over WebSocket; 8443 takes the place of a 443 that is not free")
	flags.IntVar(&config.PortalPort, "portal-port", config.PortalPort,
		"`port` for the portal, /healthz, /readyz and /metrics, on loopback only")
	flags.BoolVar(&config.NoCBC, "tls-no-cbc", false,
		"refuse the AES-CBC suites of TLS 1.2, which some old devices have nothing better than")
	flags.Var(&config.DiskReserve, "disk-reserve",
		"leave so much of the data folder's disk free: with less, changes are refused until there is more; "+
			"0 keeps none free")
	flags.Var(pace{&config.Pace}, "registration",
		"how registrations are answered: instant, or paced as Azure does, where devices poll")
	flags.DurationVar(&config.QoS0AnswerDelay, "qos0-answer-delay", config.QoS0AnswerDelay,
		"answer a registration or poll that comes by MQTT with QoS 0 no earlier: some clients (Java's) lose an answer "+
			"that comes at once; 0 is at once")
	flags.IntVar(&config.MaxConnections, "max-connections", 0,
		"most connections of devices and back ends at once; by default what the limit of file descriptors allows")
	flags.IntVar(&config.Telemetry.Partitions, "telemetry-partitions", config.Telemetry.Partitions,
		"partitions of the telemetry of each hub that is made from now on; a hub keeps those that it was made with")
	logFlags(flags, "telemetry", "telemetry of each hub", &config.Telemetry)
	logFlags(flags, "events", "events of each hub (what happens to its devices)", &config.Events)
	logFlags(flags, "attempts", "devices' attempts to register", &config.Attempts)
	messageFlags(flags, &config.Messages)
	limits.flags(command)
	flags.BoolVar(&config.FaultInjection, "fault-injection", false,
		"let devices ask, by messages with AzIoTHub_FaultOperationType as the Azure SDKs' own tests send them, "+
			"that their connections are reset or closed and their requests refused; for faults of any device see "+
			"berth inject")
	flags.StringVar(&webhookRoots, "webhook-ca-file", "",
		"trust the authorities in this PEM `file` too when a custom allocation's webhook is asked")
	flags.StringSliceVar(&config.StorageHosts, "storage-host", nil,
		"let back ends have device identities imported from and exported to containers of blobs on this `host` "+
			"(HOST or HOST:PORT); may be repeated. By default none is allowed")
	flags.StringVar(&storageRoots, "storage-ca-file", "",
		"trust the authorities in this PEM `file` too on the hosts of --storage-host")
	flags.BoolVar(&showSecrets, "show-secrets", false,
		"print keys and a login link, though this is no terminal (otherwise: berth info, berth portal link)")
	flags.TextVar(&level, "log-level", level, "least `level` of what is logged: DEBUG, INFO, WARN or ERROR")
	return command
}

// logFlags are how long a log keeps its records.
func logFlags(flags *pflag.FlagSet, name, what string, log *server.LogConfig) {
	flags.DurationVar(&log.Retention, name+"-retention", log.Retention, "keep the "+what+" for so long; 0 is for ever")
	flags.Var(&log.MaxSize, name+"-max-size", "keep so much of the "+what+" on disk, and drop the oldest above")
}

// webhookAuthorities are the system's and those of the file.
func webhookAuthorities(file string) (*x509.CertPool, error) {
	system, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificate authorities: %w", err)
	}
	return cli.AddAuthorities(system, file)
}

// serve runs a server until the context ends, and shows its secrets at the start or
// not.
func (c *program) serve(ctx context.Context, config server.Config, showSecrets bool) error {
	if runtime.GOMAXPROCS(0) == 1 && os.Getenv("GOMAXPROCS") == "" {
		// With one thread for Go, all stands still while the disk syncs, until the
		// runtime notices: a second one made 1.7 times as many registrations of one
		// core.
		runtime.GOMAXPROCS(2)
	}
	s, err := start(ctx, config)
	var closed *server.ListenError
	var misnamed *server.HostError
	switch {
	case errors.As(err, &misnamed):
		return cli.Advise(cli.UsageError(misnamed), "%s", misnamed.Advice())
	case errors.As(err, &closed):
		return cli.Advise(err, "%s", closed.Advice())
	case err != nil || s == nil:
		return cli.ForeignFolder(err)
	}
	tuned, stopTuning := context.WithCancel(ctx)
	var tuning sync.WaitGroup
	tuning.Go(func() { s.TuneCollector(tuned) })
	defer tuning.Wait()
	defer stopTuning()
	info, link := withoutKeys(s.Info()), credential.LoginLink{}
	if showSecrets {
		info = s.Info()
		if link, err = s.LoginLink(ctx, ""); err != nil {
			return errors.Join(err, s.Shutdown(ctx))
		}
	}
	data := ""
	if c.Target.Data != "" || !showSecrets { // a journal is read where BERTH_DATA is not set
		data = " --data " + cli.Quote(c.Target.DataDir())
	}
	welcome(c.Stdout, info, link, c.Target.DataDir(), data)
	fmt.Fprintln(c.Stdout, "ready")
	select {
	case <-ctx.Done():
	case err = <-s.Failed():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return errors.Join(err, s.Shutdown(stopping))
}

// startGrace is how long a start that is told to stop may take to end what it has
// begun. Cutting it off then loses nothing, as a crash would not.
const startGrace = 5 * time.Second

// start starts a server. It returns nil when it was told to stop meanwhile.
func start(ctx context.Context, config server.Config) (*server.Server, error) {
	starting, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, stop)()
	type result struct {
		server *server.Server
		err    error
	}
	started := make(chan result, 1)
	go func() {
		s, err := server.Start(starting, config)
		started <- result{s, err}
	}()
	var r result
	select {
	case r = <-started:
	case <-ctx.Done():
		select {
		case r = <-started:
		case <-time.After(startGrace):
			return nil, nil
		}
	}
	if ctx.Err() == nil {
		return r.server, r.err
	}
	if r.server != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		return nil, r.server.Shutdown(stopping)
	}
	if errors.Is(r.err, context.Canceled) {
		return nil, nil
	}
	return nil, r.err
}

// pace is a provisioning.Pace as a flag.
type pace struct{ *provisioning.Pace }

// Set implements pflag.Value.
func (p pace) Set(text string) error {
	switch provisioning.Pace(text) {
	case provisioning.Instant, provisioning.Paced:
		*p.Pace = provisioning.Pace(text)
		return nil
	}
	return errors.New("instant or paced")
}

// String implements pflag.Value.
func (p pace) String() string {
	if p.Pace == nil {
		return ""
	}
	return string(*p.Pace)
}

// Type implements pflag.Value.
func (p pace) Type() string { return "instant|paced" }
