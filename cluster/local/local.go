// Package local is the cluster bus of nodes that run in one process: of a Berth that is
// one node, and of the several nodes of a test.
package local

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/berth-iot/berth/cluster"
)

// Network is what connects nodes, with a map and function calls.
type Network struct {
	mutex     sync.RWMutex
	seats     map[string]*seat       // by subject
	receivers map[string][]*receiver // by topic; a slice is replaced and never changed
}

// seat makes each Serve distinct, so that a late release touches only its own.
type seat struct {
	node   *Bus
	server cluster.Server
}

type receiver struct{ receive func(message []byte) }

// NewNetwork returns a network without nodes.
func NewNetwork() *Network {
	return &Network{seats: make(map[string]*seat), receivers: make(map[string][]*receiver)}
}

// Node returns the bus of a new node of the network.
func (n *Network) Node() *Bus { return &Bus{network: n} }

// Bus implements cluster.Bus for one node.
type Bus struct{ network *Network }

var _ cluster.Bus = (*Bus)(nil)

// New returns the bus of a node that is alone.
func New() *Bus { return NewNetwork().Node() }

// Serve implements cluster.Bus.
func (b *Bus) Serve(subject string, server cluster.Server) (release func(), err error) {
	n, mine := b.network, &seat{b, server}
	n.mutex.Lock()
	former := n.seats[subject]
	n.seats[subject] = mine
	n.mutex.Unlock()
	if former != nil {
		former.server.Displaced()
	}
	return func() {
		n.mutex.Lock()
		defer n.mutex.Unlock()
		if n.seats[subject] == mine {
			delete(n.seats, subject)
		}
	}, nil
}

// find returns who serves the subject, or nil.
func (n *Network) find(subject string) *seat {
	n.mutex.RLock()
	defer n.mutex.RUnlock()
	return n.seats[subject]
}

// Request implements cluster.Bus.
func (b *Bus) Request(ctx context.Context, subject string, request []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := b.network.find(subject)
	if found == nil {
		return nil, cluster.ErrNobody
	}
	ctx, cancel := context.WithTimeout(ctx, cluster.RequestTimeout)
	defer cancel()
	return found.server.Handle(ctx, request)
}

// Present implements cluster.Bus.
func (b *Bus) Present(ctx context.Context, subjects ...string) ([]bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.network.mutex.RLock()
	defer b.network.mutex.RUnlock()
	present := make([]bool, len(subjects))
	for i, subject := range subjects {
		present[i] = b.network.seats[subject] != nil
	}
	return present, nil
}

// Count implements cluster.Bus.
func (b *Bus) Count(ctx context.Context, prefix string) (count int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	b.network.mutex.RLock()
	defer b.network.mutex.RUnlock()
	for subject := range b.network.seats {
		if strings.HasPrefix(subject, prefix) {
			count++
		}
	}
	return count, nil
}

// Broadcast implements cluster.Bus. All nodes have the message when it returns.
func (b *Bus) Broadcast(ctx context.Context, topic string, message []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.network.mutex.RLock()
	receivers := b.network.receivers[topic]
	b.network.mutex.RUnlock()
	for _, one := range receivers {
		one.receive(message)
	}
	return nil
}

// Receive implements cluster.Bus.
func (b *Bus) Receive(topic string, receive func(message []byte)) (cancel func(), err error) {
	n, mine := b.network, &receiver{receive}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.receivers[topic] = append(slices.Clip(n.receivers[topic]), mine)
	return func() {
		n.mutex.Lock()
		defer n.mutex.Unlock()
		n.receivers[topic] = slices.DeleteFunc(slices.Clone(n.receivers[topic]),
			func(other *receiver) bool { return other == mine })
	}, nil
}

// Server implements cluster.Bus.
func (b *Bus) Server(subject string) cluster.Server {
	if found := b.network.find(subject); found != nil && found.node == b {
		return found.server
	}
	return nil
}

// Servers implements cluster.Bus.
func (b *Bus) Servers(prefix string) []cluster.Server {
	b.network.mutex.RLock()
	defer b.network.mutex.RUnlock()
	servers := make([]cluster.Server, 0, len(b.network.seats))
	for subject, found := range b.network.seats {
		if found.node == b && strings.HasPrefix(subject, prefix) {
			servers = append(servers, found.server)
		}
	}
	return servers
}
