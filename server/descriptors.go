package server

import (
	"fmt"

	"github.com/berth-iot/berth/wire/admission"
)

const (
	// localConnections are those to the portal, health and figures on loopback.
	localConnections = 64

	// mostOutgoing is how many requests to webhooks and to hubs elsewhere are under way at
	// most, however many descriptors there are.
	mostOutgoing = 400
)

// budget says what the file descriptors of the process are for.
type budget struct {
	descriptors int // that the process may have; 0 is without a limit
	reserve     int // for everything but connections of devices and back ends, with one hub
	documents   int // of the reserve, for the files of the documents; 0 is the engine's default
	outgoing    int // of the reserve, for requests to webhooks and to hubs elsewhere
	hub         int // that telemetry and events of each further hub take
}

// newBudget reserves a fortieth, and what a server with one hub and much data may take
// at the least: the files of its logs, 64 and more of documents, connections on
// loopback, and to webhooks and hubs elsewhere. Of very few descriptors it takes half.
func newBudget(descriptors int, telemetry, events, attempts LogConfig) budget {
	hub := telemetry.files() + events.files() + 8
	if descriptors == 0 {
		return budget{outgoing: mostOutgoing, hub: hub}
	}
	least := hub + attempts.files() + 180
	reserve := min(max(least, min(descriptors/40, 2048)), descriptors/2)
	return budget{descriptors, reserve, min(max(64, reserve/4), 512), min(max(16, reserve/4), mostOutgoing), hub}
}

// connections is how many connections of devices and back ends there may be; 0 is
// without a limit.
func (b budget) connections(hubs int) int {
	if b.descriptors == 0 {
		return 0
	}
	return max(1, b.descriptors-b.reserve-b.hub*(hubs-1))
}

// check refuses a limit of connections that there can't be even with one hub.
func (b budget) check(wanted int) error {
	most := b.connections(1)
	switch {
	case b.descriptors > 0 && b.hub > b.descriptors/2:
		return fmt.Errorf("a hub's logs of the size that --telemetry-max-size and --events-max-size allow are %d files, "+
			"and the process may have %d file descriptors: allow less, "+
			"or raise that limit (ulimit -n, or LimitNOFILE of a systemd unit)", b.hub, b.descriptors)
	case wanted < 0:
		return fmt.Errorf("--max-connections must be 0 (as many as the file descriptors allow) or more, not %d", wanted)
	case most > 0 && wanted > most:
		return fmt.Errorf("--max-connections is %d, and the process may have %d file descriptors, "+
			"some of which its data needs: allow %d connections at most, "+
			"or raise that limit (ulimit -n, or LimitNOFILE of a systemd unit)", wanted, b.descriptors, most)
	}
	return nil
}

// openGates makes the gates of the listeners.
func (s *Server) openGates() {
	limit := s.maxConnections()
	if limit < s.config.MaxConnections {
		s.config.Logger.Warn("there may be fewer connections than --max-connections says: "+
			"each hub needs file descriptors too",
			"connections", limit, "wanted", s.config.MaxConnections, "hubs", len(s.hubs.All()))
	}
	s.listeners.gate = &admission.Gate{
		MaxConnections: limit,
		ProofTimeout:   s.config.ProofTimeout,
		Logger:         s.config.Logger,
	}
	s.listeners.local = &admission.Gate{MaxConnections: localConnections, ProofTimeout: -1, Logger: s.config.Logger}
	s.config.Logger.Info("connections are limited", "connections", limit, "descriptors", s.budget.descriptors)
}

// limitConnections follows the number of hubs, which have descriptors too.
func (s *Server) limitConnections() { s.listeners.gate.SetMaxConnections(s.maxConnections()) }

// maxConnections is how many connections there may be with the hubs that there are: what
// the configuration says, or fewer. Hubs are added while a server runs, and must not keep
// it from starting again.
func (s *Server) maxConnections() int {
	most := s.budget.connections(len(s.hubs.All()))
	if s.config.MaxConnections == 0 || most > 0 && s.config.MaxConnections > most {
		return most
	}
	return s.config.MaxConnections
}
