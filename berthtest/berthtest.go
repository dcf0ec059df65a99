// Package berthtest starts a Berth server inside a Go test, in one line:
//
//	func TestMyDevice(t *testing.T) {
//		berth := berthtest.Start(t)
//		// The device under test gets berth.Info().IDScope and the ports, trusts
//		// berth.RootCAs, and is enrolled with berth.Provisioning.
//	}
//
// The server listens on free ports of 127.0.0.1, keeps its data in a temporary
// folder and is gone when the test ends.
package berthtest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/server"
)

// Server is a running server with clients of its services.
type Server struct {
	Provisioning *backend.Provisioning // with all rights
	Hub          *backend.Hub          // of the one hub, with all rights
	RootCAs      *x509.CertPool        // holds the server's authority, for clients

	config    server.Config
	server    *server.Server
	temporary string // the folder of the data, when Stop is to remove it
}

// An Option changes what Start starts.
type Option func(*server.Config)

// DataDir keeps the server's data in dir, so that a later server can find it
// again.
func DataDir(dir string) Option { return func(c *server.Config) { c.DataDir = dir } }

// Paced makes devices poll for the result of their registration, as Azure does.
func Paced() Option { return func(c *server.Config) { c.Pace = provisioning.Paced } }

// Hosts names the provisioning service and the hub otherwise than localhost and
// 127.0.0.1. The server listens on 127.0.0.1 all the same.
func Hosts(provisioning, hub string) Option {
	return func(c *server.Config) { c.Host, c.HubHost = provisioning, hub }
}

// Now is the server's clock. A server mistrusts a clock that is set: what it keeps for a
// time is kept for at least an hour after that, though it is over.
func Now(now func() time.Time) Option { return func(c *server.Config) { c.Now = now } }

// Logger gets the server's log. Without it the log goes to the output of the test that
// Start belongs to, and nowhere with NewServer.
func Logger(logger *slog.Logger) Option { return func(c *server.Config) { c.Logger = logger } }

// Start starts a server. The test fails when it does not start, or does not stop
// in good order at the test's end.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{config: configure(slog.New(slog.NewTextHandler(t.Output(), nil)), options)}
	if s.config.DataDir == "" {
		s.config.DataDir = t.TempDir()
	}
	if err := s.start(); err != nil {
		t.Fatalf("berthtest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("berthtest: %v", err)
		}
	})
	return s
}

// NewServer starts a server that belongs to no single test: one for all tests of a
// package, in TestMain, or one in an example. The caller stops it with Stop, which also
// removes its data, unless DataDir says where that is kept.
func NewServer(options ...Option) (*Server, error) {
	s := &Server{config: configure(slog.New(slog.DiscardHandler), options)}
	if s.config.DataDir == "" {
		var err error
		if s.temporary, err = os.MkdirTemp("", "berthtest-"); err != nil {
			return nil, err
		}
		s.config.DataDir = s.temporary
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// configure is the configuration of a server on free ports, with the options.
func configure(logger *slog.Logger, options []Option) server.Config {
	config := server.DefaultConfig()
	config.Listen = "127.0.0.1"
	config.MQTTPort, config.AMQPPort, config.HTTPSPort, config.PortalPort = 0, 0, 0, 0
	config.Logger = logger
	for _, option := range options {
		option(&config)
	}
	return config
}

func (s *Server) start() error {
	running, err := server.Start(context.Background(), s.config)
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.server = running
	if err := s.connect(); err != nil {
		return fmt.Errorf("make the clients: %w", err)
	}
	return nil
}

// connect makes the clients anew: ports change with each start.
func (s *Server) connect() error {
	info := s.Info()
	authority, err := os.ReadFile(info.CAFile)
	if err != nil {
		return err
	}
	s.RootCAs = x509.NewCertPool()
	s.RootCAs.AppendCertsFromPEM(authority)
	reached := backend.Options{RootCAs: s.RootCAs, Address: s.HTTPSAddress()}
	if s.Provisioning, err = backend.NewProvisioning(info.ProvisioningConnectionString, reached); err != nil {
		return err
	}
	s.Hub, err = backend.NewHub(info.Hubs[0].ConnectionString, reached)
	return err
}

// Info is what devices and back ends need to reach the server.
func (s *Server) Info() server.Info { return s.server.Info() }

// MQTTAddress is the host:port where MQTT is served, whatever the server's hosts
// are called.
func (s *Server) MQTTAddress() string { return address(s.Info().Ports.MQTT) }

// HTTPSAddress is the host:port where HTTPS and WebSocket are served.
func (s *Server) HTTPSAddress() string { return address(s.Info().Ports.HTTPS) }

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Restart stops the server in good order and starts another on the same data,
// with the options changed as given. Ports and clients are new afterwards.
func (s *Server) Restart(t testing.TB, options ...Option) {
	t.Helper()
	if err := s.shutdown(); err != nil {
		t.Fatalf("berthtest: %v", err)
	}
	for _, option := range options {
		option(&s.config)
	}
	if err := s.start(); err != nil {
		t.Fatalf("berthtest: %v", err)
	}
}

// Stop stops the server: of Start before the test ends, of NewServer in any case. It may
// be called more than once.
func (s *Server) Stop() error {
	err := s.shutdown()
	if s.temporary != "" {
		err = errors.Join(err, os.RemoveAll(s.temporary))
	}
	return err
}

func (s *Server) shutdown() error {
	if s.server == nil {
		return nil
	}
	if s.Provisioning != nil {
		s.Provisioning.Close()
	}
	if s.Hub != nil {
		s.Hub.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	running := s.server
	s.server = nil
	if err := running.Shutdown(ctx); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	return nil
}
