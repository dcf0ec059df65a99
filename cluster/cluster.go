// Package cluster says how the nodes of one Berth find the connection of a
// device: the node that holds it serves the device's subject, and being
// connected means answering. There is no table of who is where to go stale.
package cluster

import (
	"context"
	"errors"
	"time"
)

// ErrNobody is returned by Bus.Request when no node serves the subject.
var ErrNobody = errors.New("nobody serves this subject")

// RequestTimeout is how long a request waits for its answer at most. What takes longer is
// answered in two parts: that it has begun, and what came of it by a request the other way.
const RequestTimeout = 5 * time.Second

// Bus carries requests to whoever serves a subject, and messages to all nodes, in this
// process or another. It alone knows who serves; everybody else asks it. A subject is any
// text of 1 to 1,024 bytes.
type Bus interface {
	// Serve makes server answer requests on the subject until release is
	// called. The newest server of a subject wins, on whatever node: the former one
	// is told by Displaced, once, and gets no more requests. Two that begin on two
	// nodes at one moment may both serve for a second. release is idempotent and
	// harmless after a displacement.
	Serve(subject string, server Server) (release func(), err error)

	// Request asks the subject's server and returns its answer or its error,
	// ErrNobody at once when there is none, or the context's error: that of ctx, or
	// context.DeadlineExceeded after RequestTimeout.
	Request(ctx context.Context, subject string, request []byte) ([]byte, error)

	// Present reports of each subject whether any node serves it. It asks all nodes
	// once, whatever the number of subjects, and waits as long as Request.
	Present(ctx context.Context, subjects ...string) ([]bool, error)

	// Count returns how many subjects that begin with prefix are served, on all nodes.
	Count(ctx context.Context, prefix string) (int, error)

	// Broadcast hands a message to all who receive the topic, on every node that can
	// be reached: those of this node before it returns, the others soon after. Nobody
	// answers and nothing is repeated, so that who must not miss anything also looks
	// at the documents from time to time.
	Broadcast(ctx context.Context, topic string, message []byte) error

	// Receive calls receive with each message of the topic until cancel is called,
	// those of this node among them. It must return soon, and may not change the
	// message.
	Receive(topic string, receive func(message []byte)) (cancel func(), err error)

	// Server returns who serves the subject on this node now, or nil.
	Server(subject string) Server

	// Servers returns those on this node whose subjects begin with prefix, in no
	// order. The slice is the caller's.
	Servers(prefix string) []Server
}

// Server answers requests on one subject. Both methods may be called at once
// from many goroutines. Handle ends with its context at the latest, and may call
// release; neither may serve or request the same subject. Displaced may be called
// while the Serve that displaces is still under way.
type Server interface {
	Handle(ctx context.Context, request []byte) ([]byte, error)
	Displaced()
}
