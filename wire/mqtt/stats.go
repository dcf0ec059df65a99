package mqtt

import (
	"errors"
	"sync/atomic"
)

// Stats are a server's figures since it was made.
type Stats struct {
	Connections           int64     // open now
	Accepted              uint64    // connections that came
	Refused               [6]uint64 // CONNACKs that said no, by ConnectCode
	ProtocolErrors        uint64    // connections that ended with ErrProtocol
	TimedOut              uint64    // ended with one of the timeouts, or ErrSlowReader
	PacketsIn, PacketsOut uint64    // CONNECT is not counted
	BytesIn, BytesOut     uint64    // without TLS
}

type counters struct {
	connections              atomic.Int64
	accepted                 atomic.Uint64
	refused                  [6]atomic.Uint64
	protocolErrors, timedOut atomic.Uint64
	packetsIn, packetsOut    atomic.Uint64
	bytesIn, bytesOut        atomic.Uint64
}

// Stats returns the present figures.
func (s *Server) Stats() Stats {
	c := &s.stats
	stats := Stats{
		Connections: c.connections.Load(), Accepted: c.accepted.Load(),
		ProtocolErrors: c.protocolErrors.Load(), TimedOut: c.timedOut.Load(),
		PacketsIn: c.packetsIn.Load(), PacketsOut: c.packetsOut.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
	for code := range stats.Refused {
		stats.Refused[code] = c.refused[code].Load()
	}
	return stats
}

// refuse counts a CONNACK that says no.
func (c *counters) refuse(code ConnectCode) {
	if int(code) < len(c.refused) {
		c.refused[code].Add(1)
	}
}

// end counts why a connection ended.
func (c *counters) end(reason error) {
	switch {
	case errors.Is(reason, ErrProtocol):
		c.protocolErrors.Add(1)
	case errors.Is(reason, ErrConnectTimeout), errors.Is(reason, ErrPacketTimeout),
		errors.Is(reason, ErrKeepAlive), errors.Is(reason, ErrSlowReader):
		c.timedOut.Add(1)
	}
}
