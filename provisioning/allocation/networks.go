package allocation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/store"
)

// Network is a part of the address space from which devices come, and how far the
// locations of hubs are from there. Allocation by lowest latency goes by it.
type Network struct {
	Prefix    string             `json:"prefix"`    // such as 10.1.0.0/16 or 2001:db8::/32
	Latencies map[string]float64 `json:"latencies"` // milliseconds by location, in lower case
	ETag      string             `json:"etag,omitempty"`
}

// Networks are those that are configured, by whichever node. Their methods may be called
// at once from many goroutines; their errors are *fault.Error unless storage fails.
type Networks struct {
	table  store.Table[Network]
	audit  *audit.Log                // of changes; nil keeps none
	now    *store.Cache[[]networkOf] // the longest prefix first
	logger *slog.Logger
}

// networkOf is a network with its prefix, read.
type networkOf struct {
	netip.Prefix
	Network
}

// NewNetworks returns the networks of a service.
func NewNetworks(documents store.Documents, changes *audit.Log, logger *slog.Logger) *Networks {
	n := &Networks{table: store.NewTable[Network](documents, "provisioning/networks"), audit: changes, logger: logger}
	n.now = store.NewCache(documents, func(ctx context.Context) ([]networkOf, error) {
		return readNetworks(ctx, n.table)
	}, n.table.Collection)
	return n
}

const (
	maxNetworks       = 10_000
	maxLatencies      = 100 // of one network
	maxLatency        = 60_000
	maxLocationLength = 64
)

// containing returns the networks that an address is in, the narrowest first.
func (n *Networks) containing(remote string) (found []Network) {
	if address := guard.AddressOf(remote); address.IsValid() {
		for _, network := range n.all() {
			if network.Contains(address) {
				found = append(found, network.Network)
			}
		}
	}
	return found
}

// Load reads the networks, so that a start that can't ends.
func (n *Networks) Load(ctx context.Context) error {
	_, err := n.now.Get(ctx)
	return err
}

// all returns the networks, the longest prefix first. While they can't be read they are as
// they were, which the log says.
func (n *Networks) all() []networkOf {
	all, err := n.now.GetOrFormer()
	if err != nil {
		n.logger.Error("the networks may be others", "error", err)
	}
	return all
}

// readNetworks returns what is stored, the longest prefix first.
func readNetworks(ctx context.Context, table store.Table[Network]) ([]networkOf, error) {
	entries, err := table.List(ctx, "", "", maxNetworks)
	if err != nil {
		return nil, fmt.Errorf("read the networks: %w", err)
	}
	var all []networkOf
	for _, entry := range entries {
		prefix, err := netip.ParsePrefix(entry.Value.Prefix)
		if err != nil {
			continue // Intact has seen it
		}
		entry.Value.ETag = store.QuoteETag(entry.ETag)
		all = append(all, networkOf{prefix, entry.Value})
	}
	slices.SortStableFunc(all, func(a, b networkOf) int { return cmp.Compare(b.Bits(), a.Bits()) })
	return all, nil
}

// List returns what is configured, the narrowest first.
func (n *Networks) List() []Network {
	shown := []Network{}
	for _, network := range n.all() {
		shown = append(shown, network.Network)
	}
	return shown
}

// Put configures a network, or replaces what is configured of it, under the
// condition ifMatch: "" for any state, "*" for an existing one, or the ETag it must have.
// It returns the faults 400004 and 412001.
func (n *Networks) Put(ctx context.Context, network Network, ifMatch string) (Network, error) {
	prefix, err := parsePrefix(network.Prefix)
	if err != nil {
		return Network{}, err
	}
	checked := Network{Prefix: prefix, Latencies: make(map[string]float64)}
	for location, millis := range network.Latencies {
		if location == "" || len(location) > maxLocationLength || !(millis >= 0 && millis <= maxLatency) {
			return Network{}, fault.New(fault.ArgumentInvalid,
				"The latency of %.64q is %g. A location has 1 to 64 characters, and a latency 0 to 60000 milliseconds",
				location, millis)
		}
		if other, twice := checked.Latencies[strings.ToLower(location)]; twice && other != millis {
			return Network{}, fault.New(fault.ArgumentInvalid,
				"The location %.64q has two latencies, %g and %g: its name has no case", strings.ToLower(location),
				min(other, millis), max(other, millis))
		}
		checked.Latencies[strings.ToLower(location)] = millis
	}
	if len(checked.Latencies) == 0 || len(checked.Latencies) > maxLatencies {
		return Network{}, fault.New(fault.ArgumentInvalid, "A network has the latencies of 1 to %d locations",
			maxLatencies)
	}
	return store.RetryOnConflict(ctx, func() (Network, error) { return n.put(ctx, checked, ifMatch) })
}

func (n *Networks) put(ctx context.Context, checked Network, ifMatch string) (Network, error) {
	prefix := checked.Prefix
	before, etag, err := n.table.Get(ctx, prefix)
	unreadable := store.IsUnreadable(err)
	if err != nil && !unreadable && !errors.Is(err, store.ErrNotFound) {
		return Network{}, err
	}
	exists := err == nil || unreadable
	if err := fault.PreconditionOf("network", ifMatch, store.QuoteETag(etag), exists); err != nil {
		return Network{}, err
	}
	if !exists && len(n.List()) >= maxNetworks {
		return Network{}, fault.New(fault.ArgumentInvalid,
			"There are %d networks already. Join some under a shorter prefix", maxNetworks)
	}
	expected := store.Absent
	if exists {
		expected = store.IfMatch(etag)
	}
	changes := []store.Change{n.table.Put(prefix, expected, checked)}
	if exists && !unreadable {
		changes = append(changes, n.audit.Change(ctx, audit.Updated, audit.Network, prefix, before, checked)...)
	} else {
		changes = append(changes, n.audit.Change(ctx, audit.Created, audit.Network, prefix, nil, nil)...)
	}
	etags, err := n.table.Documents.Commit(ctx, changes...)
	if err != nil {
		return Network{}, err
	}
	checked.ETag = store.QuoteETag(etags[0])
	return checked, nil
}

// Delete forgets a network, under the condition ifMatch: "", "*" or the ETag that it must
// have. It returns fault 404000 when there is none, and 412001.
func (n *Networks) Delete(ctx context.Context, prefix, ifMatch string) error {
	prefix, err := parsePrefix(prefix)
	if err != nil {
		return err
	}
	_, err = store.RetryOnConflict(ctx, func() (struct{}, error) { return struct{}{}, n.delete(ctx, prefix, ifMatch) })
	return err
}

func (n *Networks) delete(ctx context.Context, prefix, ifMatch string) error {
	_, etag, err := n.table.Get(ctx, prefix)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fault.New(fault.NotFound, "There is no network %s", prefix)
	case err != nil && !store.IsUnreadable(err):
		return err
	}
	if err := fault.Precondition("network", ifMatch, store.QuoteETag(etag)); err != nil {
		return err
	}
	_, err = n.table.Documents.Commit(ctx, append(
		n.audit.Change(ctx, audit.Deleted, audit.Network, prefix, nil, nil),
		n.table.Delete(prefix, store.IfMatch(etag)))...)
	return err
}

// parsePrefix returns the one way to write a prefix.
func parsePrefix(text string) (string, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return "", fault.New(fault.ArgumentInvalid,
			"A network must be written like 10.1.0.0/16 or 2001:db8::/32, not %.64q", text)
	}
	if prefix.Addr().Is4In6() {
		return "", fault.New(fault.ArgumentInvalid,
			"%.64q is an IPv4 network in the form of IPv6. Write it like 10.1.0.0/16", text)
	}
	return prefix.Masked().String(), nil
}

var _ store.Checkable = (*Network)(nil)

// Intact implements store.Checkable.
func (n *Network) Intact() error {
	_, err := netip.ParsePrefix(n.Prefix)
	return err
}
