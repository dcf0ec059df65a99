// Package server is Berth as a whole: configuration, certificates, listeners,
// the services behind them, started and stopped in order. It is the only
// package that knows all the others.
package server

import (
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/berth-iot/berth/provisioning"
)

// Config says what a server is.
type Config struct {
	DataDir    string // everything it keeps
	DefaultDir string // the folder that commands find without --data: those that are shown name any other
	Host       string // of the provisioning service
	HubHost    string // of the first hub; must contain a dot, or some SDKs refuse it
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

	Pace     provisioning.Pace   // of registrations
	Limits   provisioning.Limits // of the provisioning service; none when zero
	Webhooks *x509.CertPool      // authorities that the webhooks of custom allocation may have; the system's when nil
	Logger   *slog.Logger
	Notice   func(string)     // told what a person should know of the start, in a sentence
	Now      func() time.Time // time.Now when nil
	Replace  bool             // a group's device may always take the hub identity of another device, as in Azure
	Exact    bool             // requests for certificates are taken only in the form that Azure documents
	// After is the timer by which renewals are due; time.After when nil.
	After func(time.Duration) <-chan time.Time

	// DiskReserve is how many bytes of the data folder's disk are left free: below,
	// changes are refused and the server is not ready. 0 is none.
	DiskReserve Size

	elapsed func() time.Duration // see clock.Config
}

// DefaultConfig is the configuration of `berth up` without flags but for its
// data folder.
func DefaultConfig() Config {
	return Config{Host: "localhost", HubHost: "127.0.0.1", MQTTPort: 8883, AMQPPort: 5671, HTTPSPort: 443, PortalPort: 8080,
		Pace: provisioning.Instant, DiskReserve: 64 << 20, QoS0AnswerDelay: 100 * time.Millisecond}
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
}

const (
	hubName             = "berth" // of the first hub
	telemetryPartitions = 4       // as a hub of Azure has by default
	telemetryAge        = 7 * 24 * time.Hour
	telemetryBytes      = 8 << 30
	attemptsAge         = 30 * 24 * time.Hour
	attemptsBytes       = 256 << 20
)
