// Package local is the cluster bus of a Berth that runs in one process.
package local

import (
	"context"
	"strings"
	"sync"

	"github.com/berth-iot/berth/cluster"
)

// Bus implements cluster.Bus with a map and function calls.
type Bus struct {
	mutex   sync.RWMutex
	servers map[string]*seat
}

// seat makes each Serve distinct, so that a late release touches only its own.
type seat struct{ server cluster.Server }

var _ cluster.Bus = (*Bus)(nil)

// New returns a bus that nobody serves on.
func New() *Bus { return &Bus{servers: make(map[string]*seat)} }

// Serve implements cluster.Bus.
func (b *Bus) Serve(subject string, server cluster.Server) (release func(), err error) {
	mine := &seat{server}
	b.mutex.Lock()
	former := b.servers[subject]
	b.servers[subject] = mine
	b.mutex.Unlock()
	if former != nil {
		former.server.Displaced()
	}
	return func() {
		b.mutex.Lock()
		defer b.mutex.Unlock()
		if b.servers[subject] == mine {
			delete(b.servers, subject)
		}
	}, nil
}

// Request implements cluster.Bus.
func (b *Bus) Request(ctx context.Context, subject string, request []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mutex.RLock()
	found := b.servers[subject]
	b.mutex.RUnlock()
	if found == nil {
		return nil, cluster.ErrNobody
	}
	return found.server.Handle(ctx, request)
}

// Server implements cluster.Bus.
func (b *Bus) Server(subject string) cluster.Server {
	b.mutex.RLock()
	defer b.mutex.RUnlock()
	if found := b.servers[subject]; found != nil {
		return found.server
	}
	return nil
}

// Servers implements cluster.Bus.
func (b *Bus) Servers(prefix string) []cluster.Server {
	b.mutex.RLock()
	defer b.mutex.RUnlock()
	servers := make([]cluster.Server, 0, len(b.servers))
	for subject, found := range b.servers {
		if strings.HasPrefix(subject, prefix) {
			servers = append(servers, found.server)
		}
	}
	return servers
}
