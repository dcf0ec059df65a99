// Package cluster says how the nodes of one Berth find the connection of a
// device: the node that holds it serves the device's subject, and being
// connected means answering. There is no table of who is where to go stale.
package cluster

import (
	"context"
	"errors"
)

// ErrNobody is returned by Bus.Request when no node serves the subject.
var ErrNobody = errors.New("nobody serves this subject")

// Bus carries requests to whoever serves a subject, in this process or another.
// It alone knows who serves; everybody else asks it.
type Bus interface {
	// Serve makes server answer requests on the subject until release is
	// called. The newest server of a subject wins: the former one is told by
	// Displaced, once, and gets no more requests. release is idempotent and
	// harmless after a displacement.
	Serve(subject string, server Server) (release func(), err error)

	// Request asks the subject's server and returns its answer, ErrNobody at
	// once when there is none, or the context's error.
	Request(ctx context.Context, subject string, request []byte) ([]byte, error)

	// Server returns who serves the subject on this node now, or nil.
	Server(subject string) Server

	// Servers returns those on this node whose subjects begin with prefix, in no
	// order. The slice is the caller's.
	Servers(prefix string) []Server
}

// Server answers requests on one subject. Both methods may be called at once
// from many goroutines. Handle may call release; neither may serve or request
// the same subject. Displaced may be called while the Serve that displaces is
// still under way.
type Server interface {
	Handle(ctx context.Context, request []byte) ([]byte, error)
	Displaced()
}
