package hub

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Directory holds the hubs of a process, in the order in which they were made.
// It may be read while a hub is added.
type Directory struct {
	adding sync.Mutex
	hubs   atomic.Pointer[[]*Hub]
}

// NewDirectory returns a directory of these hubs.
func NewDirectory(hubs ...*Hub) *Directory {
	d := new(Directory)
	d.hubs.Store(&hubs)
	return d
}

// All returns the hubs. The slice is not the caller's to change.
func (d *Directory) All() []*Hub { return *d.hubs.Load() }

// ByHost returns the hub with this host name, or nil. A full stop at its end, as fully
// qualified names have it, does not count.
func (d *Directory) ByHost(host string) *Hub {
	host = strings.TrimSuffix(host, ".")
	return d.find(func(h *Hub) bool { return strings.EqualFold(h.Host(), host) })
}

// ByName returns the hub with this name, or nil.
func (d *Directory) ByName(name string) *Hub {
	return d.find(func(h *Hub) bool { return strings.EqualFold(h.Name(), name) })
}

// Add puts a hub at the end.
func (d *Directory) Add(h *Hub) {
	d.adding.Lock()
	defer d.adding.Unlock()
	hubs := append(slices.Clone(d.All()), h)
	d.hubs.Store(&hubs)
}

func (d *Directory) find(wanted func(*Hub) bool) *Hub {
	hubs := d.All()
	if i := slices.IndexFunc(hubs, wanted); i >= 0 {
		return hubs[i]
	}
	return nil
}
