package provisioning

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

// networks are those that are configured, by whichever node.
type networks struct {
	store.Table[Network]
	now    *store.Cache[[]networkOf] // the longest prefix first
	logger *slog.Logger
}

type networkOf struct {
	netip.Prefix
	Network
}

const (
	maxNetworks       = 10_000
	maxLatencies      = 100 // of one network
	maxLatency        = 60_000
	maxLocationLength = 64
)

// of returns the networks that an address is in, the narrowest first.
func (n *networks) of(remote string) (found []Network) {
	if address := guard.AddressOf(remote); address.IsValid() {
		for _, network := range n.all() {
			if network.Contains(address) {
				found = append(found, network.Network)
			}
		}
	}
	return found
}

// all returns the networks, the longest prefix first. While they can't be read they are as
// they were, which the log says.
func (n *networks) all() []networkOf {
	all, err := n.now.GetOrFormer()
	if err != nil {
		n.logger.Error("the networks may be others", "error", err)
	}
	return all
}

// openNetworks returns those on the documents.
func openNetworks(documents store.Documents, logger *slog.Logger) networks {
	n := networks{Table: store.NewTable[Network](documents, "provisioning/networks"), logger: logger}
	n.now = store.NewCache(documents, func(ctx context.Context) ([]networkOf, error) {
		return readNetworks(ctx, n.Table)
	}, n.Collection)
	return n
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

// Networks returns what is configured, the narrowest first.
func (s *Service) Networks() []Network {
	shown := []Network{}
	for _, network := range s.networks.all() {
		shown = append(shown, network.Network)
	}
	return shown
}

// PutNetwork configures a network, or replaces what is configured of it, under the
// condition ifMatch, as in PutEnrollment. It returns the faults 400004 and 412001.
func (s *Service) PutNetwork(ctx context.Context, network Network, ifMatch string) (Network, error) {
	prefix, err := parsePrefix(network.Prefix)
	if err != nil {
		return Network{}, err
	}
	checked := Network{Prefix: prefix, Latencies: make(map[string]float64)}
	for location, millis := range network.Latencies {
		if location == "" || len(location) > maxLocationLength || !(millis >= 0 && millis <= maxLatency) {
			return Network{}, fault.New(fault.ArgumentInvalid, "The latency of %.64q is %g. A location has 1 to 64 characters, and a latency 0 to 60000 milliseconds", location, millis)
		}
		checked.Latencies[strings.ToLower(location)] = millis
	}
	if len(checked.Latencies) == 0 || len(checked.Latencies) > maxLatencies {
		return Network{}, fault.New(fault.ArgumentInvalid, "A network has the latencies of 1 to %d locations", maxLatencies)
	}
	return store.RetryOnConflict(ctx, func() (Network, error) { return s.putNetwork(ctx, checked, ifMatch) })
}

func (s *Service) putNetwork(ctx context.Context, checked Network, ifMatch string) (Network, error) {
	prefix := checked.Prefix
	before, etag, err := s.networks.Get(ctx, prefix)
	unreadable := store.IsUnreadable(err)
	if err != nil && !unreadable && !errors.Is(err, store.ErrNotFound) {
		return Network{}, err
	}
	exists := err == nil || unreadable
	if err := fault.PreconditionOf("network", ifMatch, store.QuoteETag(etag), exists); err != nil {
		return Network{}, err
	}
	if !exists && len(s.Networks()) >= maxNetworks {
		return Network{}, fault.New(fault.ArgumentInvalid, "There are %d networks already. Join some under a shorter prefix", maxNetworks)
	}
	expected := store.Absent
	if exists {
		expected = store.ETag(etag)
	}
	changes := []store.Change{s.networks.Put(prefix, expected, checked)}
	if exists && !unreadable {
		changes = append(changes, s.config.Audit.Change(ctx, audit.Updated, audit.Network, prefix, before, checked)...)
	} else {
		changes = append(changes, s.config.Audit.Change(ctx, audit.Created, audit.Network, prefix, nil, nil)...)
	}
	etags, err := s.config.Documents.Commit(ctx, changes...)
	if err != nil {
		return Network{}, err
	}
	checked.ETag = store.QuoteETag(etags[0])
	return checked, nil
}

// DeleteNetwork forgets a network. It returns fault 404000 when there is none.
func (s *Service) DeleteNetwork(ctx context.Context, prefix string) error {
	prefix, err := parsePrefix(prefix)
	if err != nil {
		return err
	}
	_, err = s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Deleted, audit.Network, prefix, nil, nil), s.networks.Delete(prefix, store.Present))...)
	if _, missing := store.IsConflict(err); missing {
		return fault.New(fault.NotFound, "There is no network %s", prefix)
	}
	return err
}

// parsePrefix returns the one way to write a prefix.
func parsePrefix(text string) (string, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return "", fault.New(fault.ArgumentInvalid, "%.64q is no network. It is written like 10.1.0.0/16 or 2001:db8::/32", text)
	}
	if prefix.Addr().Is4In6() {
		return "", fault.New(fault.ArgumentInvalid, "%.64q is an IPv4 network in the form of IPv6. Write it like 10.1.0.0/16", text)
	}
	return prefix.Masked().String(), nil
}
