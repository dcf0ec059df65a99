// Package server is Berth as a whole: configuration, certificates, listeners,
// the services behind them, started and stopped in order. It is the only
// package that knows all the others.
package server

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/job"
	"github.com/berth-iot/berth/hub/throttle"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/store"
)

// Config says what a server is.
type Config struct {
	DataDir    string // everything it keeps
	DefaultDir string // the folder that commands find without --data: those that are shown name any other
	Host       string // of the provisioning service
	// HubHost is the host name of the first hub; it must contain a dot, or some SDKs refuse
	// it. "" is the one that the hub has, 127.0.0.1 for a new hub. A hub that devices are
	// assigned to, or that enrollments name, can't get another.
	HubHost    string
	Listen     string // address that devices and back ends reach; all when empty
	MQTTPort   int    // 0 is a free one, here and below
	AMQPPort   int    // reserved: this version does not serve AMQP
	HTTPSPort  int    // also MQTT over WebSocket
	PortalPort int    // on loopback only: portal, health, metrics

	// MaxConnections is how many connections of devices and back ends may be open at
	// once, over MQTT, HTTPS and WebSocket together. 0 is as many as the process may have
	// file descriptors, less those that it needs for everything else.
	MaxConnections int

	NoCBC        bool          // offers no AES-CBC suite in TLS 1.2, which old devices may need
	ProofTimeout time.Duration // that a connection may stay without proving who its client is; a minute when zero

	// QoS0AnswerDelay is how long after a registration or a poll of QoS 0, over MQTT, its
	// answer goes out at the earliest; 0 is at once. Some clients lose an answer that comes
	// while they are still busy with sending.
	QoS0AnswerDelay time.Duration

	Pace   provisioning.Pace   // of registrations
	Limits provisioning.Limits // of the provisioning service; none when zero
	Jobs   job.Limits          // of each hub; defaults when zero

	StorageHosts []string       // that identities may be imported from and exported to, as HOST or HOST:PORT
	StorageRoots *x509.CertPool // authorities that these may have; the system's when nil
	Webhooks     *x509.CertPool // authorities that the webhooks of custom allocation may have; the system's when nil
	Logger       *slog.Logger
	Notice       func(string)     // told what a person should know of the start, in a sentence
	Now          func() time.Time // time.Now when nil
	Replace      bool             // a group's device may always take the hub identity of another device, as in Azure
	Exact        bool             // requests for certificates are taken only in the form that Azure documents
	// After is the timer by which renewals are due; time.After when nil.
	After func(time.Duration) <-chan time.Time

	HubSize        throttle.Size // in Azure, as whose throttles bound each hub; none do when zero
	FaultInjection bool          // devices may ask hubs for faults of their own, by the messages of the SDKs' tests

	Telemetry LogConfig  // of each hub; as DefaultConfig has it when zero
	Events    LogConfig  // what happens to the devices of each hub; likewise
	Attempts  LogConfig  // the devices' attempts to register; likewise
	Messages  c2d.Limits // of messages to the devices of each hub; likewise

	// DiskReserve is how many bytes of the data folder's disk are left free: below,
	// changes are refused and the server is not ready. 0 is none.
	DiskReserve Size

	elapsed func() time.Duration // see clock.Config
	node    node
}

// node makes a server one of several of one service. Nothing outside of tests sets it
// yet: there is no engine that servers on several machines could share. The zero node is
// alone.
type node struct {
	name      string          // among the others
	documents store.Documents // that all share, opened for this server, which closes them
	logs      store.Logs      // likewise
	bus       cluster.Bus     // by which it reaches the others
}

// DefaultConfig is the configuration of `berth up` without flags but for its
// data folder.
func DefaultConfig() Config {
	return Config{
		Host:            "localhost",
		MQTTPort:        8883,
		AMQPPort:        5671,
		HTTPSPort:       443,
		PortalPort:      8080,
		Pace:            provisioning.Instant,
		DiskReserve:     64 << 20,
		QoS0AnswerDelay: 100 * time.Millisecond,
		Telemetry:       telemetryRetention,
		Events:          eventsRetention,
		Attempts:        attemptsRetention,
		Messages:        c2d.DefaultLimits,
	}
}

// How long logs keep their records unless the configuration says otherwise: telemetry as
// long as Azure does.
var (
	telemetryRetention = LogConfig{Partitions: 4, Retention: 7 * 24 * time.Hour, MaxSize: 8 << 30}
	eventsRetention    = LogConfig{Partitions: 1, Retention: 7 * 24 * time.Hour, MaxSize: 1 << 30}
	attemptsRetention  = LogConfig{Partitions: 1, Retention: 30 * 24 * time.Hour, MaxSize: 256 << 20}
)

// LogConfig says how a log is divided and how long it keeps its records. It drops whole
// files of 64 MiB from its front, so it may keep more than it says, never less. Here it is
// only said: store/segment deletes them (retention.go).
type LogConfig struct {
	Partitions int           // 1 to 128; a log that is there keeps those that it was made with
	Retention  time.Duration // records that are older are dropped; zero means never
	MaxSize    Size          // on disk, of all partitions, at least 64 MiB: the oldest records above are dropped
}

// segmentSize is the size of the files of logs.
const segmentSize = 64 << 20

// files is how many files a log has when it is as large as it may be.
func (c LogConfig) files() int { return int(c.MaxSize / segmentSize) }

func (c LogConfig) check(flag string) error {
	switch {
	case c.Partitions < 1 || c.Partitions > 128:
		return fmt.Errorf("--%s-partitions must be 1 to 128, not %d", flag, c.Partitions)
	case c.Retention < 0:
		return fmt.Errorf("--%s-retention must be 0 (for ever) or more, not %s", flag, c.Retention)
	case c.MaxSize < segmentSize:
		return fmt.Errorf("--%s-max-size must be %s or more, not %s", flag, Size(segmentSize), c.MaxSize)
	}
	return nil
}

func (c LogConfig) options() store.LogOptions {
	return store.LogOptions{Partitions: c.Partitions,
		Retention: store.Retention{Age: int64(c.Retention), Bytes: int64(c.MaxSize)}}
}

func (c *Config) complete() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Notice == nil {
		c.Notice = func(string) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	if c.node.bus == nil {
		c.node.bus = local.New()
	}
	if c.Telemetry == (LogConfig{}) {
		c.Telemetry = telemetryRetention
	}
	if c.Events == (LogConfig{}) {
		c.Events = eventsRetention
	}
	if c.Attempts == (LogConfig{}) {
		c.Attempts = attemptsRetention
	}
	if c.Messages == (c2d.Limits{}) {
		c.Messages = c2d.DefaultLimits
	}
}

const hubName = "berth" // of the first hub
