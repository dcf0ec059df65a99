package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// defaultHubHost is the host name of the first hub, in a new data folder, when the
// configuration has none.
const defaultHubHost = "127.0.0.1"

// hubHostRecord is the setting that has the host name of the first hub. Registrations,
// enrollments and links name a hub by its host, so that it is the data folder that knows it.
const hubHostRecord = "hubHost"

// HostError says that a host name of the configuration does not fit what the data folder has.
type HostError struct{ problem, advice string }

// Error implements error.
func (e *HostError) Error() string { return e.problem }

// Advice is what to do about it.
func (e *HostError) Advice() string { return e.advice }

// checkHosts returns a *HostError for a host name that no service can have.
func (c Config) checkHosts() error {
	address, err := netip.ParseAddr(c.Host)
	if (err != nil || address.Zone() != "") && !linkedhub.IsHostName(c.Host) {
		return &HostError{fmt.Sprintf("--host must be a host name such as dps.example.com, or an IP address, not %q: "+
			"a host name has letters, digits and dashes between full stops", c.Host),
			"A name with other letters has a form in ASCII that begins with xn--. A port has a flag of its own."}
	}
	if c.HubHost != "" && linkedhub.CheckHostName(c.HubHost) != nil {
		return &HostError{fmt.Sprintf("--hub-host must be a host name such as hub.example.com, with at least one full "+
			"stop, not %q", c.HubHost), "The Java, C and C# SDKs refuse a hub whose name has none."}
	}
	return nil
}

// firstHubHost returns the host name of the first hub: the one that it has, unless the
// configuration has another and nothing refers to the hub by its own. It returns a
// *HostError when the configuration has one that the hub can't have.
func (s *Server) firstHubHost(ctx context.Context) (string, error) {
	return store.RetryOnConflict(ctx, func() (string, error) {
		settings := store.NewTable[string](s.documents, settingsRecords)
		recorded, etag, err := settings.Get(ctx, hubHostRecord)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
			return "", fmt.Errorf("read the host name of the hub %s: %w", hubName, err)
		}
		entries, err := s.hubEntries().List(ctx, "", "", maxHubs)
		if err != nil {
			return "", fmt.Errorf("read the hubs: %w", err)
		}
		has := []string{recorded}
		if recorded == "" { // a new folder, or one of a version that did not record it
			if has, err = s.formerHosts(ctx, entries); err != nil {
				return "", err
			}
		}
		host, err := s.chooseHubHost(ctx, has, entries)
		if err != nil || host == recorded {
			return host, err
		}
		match := store.Absent
		if etag != "" {
			match = store.IfMatch(etag)
		}
		changes := []store.Change{settings.Put(hubHostRecord, match, host)}
		if len(has) == 1 && has[0] != host {
			if err := provisioning.MoveOwners(ctx, s.documents, has[0], host); err != nil {
				return "", err
			}
			renamed, err := linkedhub.Rename(ctx, s.documents, has[0], host)
			if err != nil {
				return "", err
			}
			changes = append(changes, renamed...)
		}
		if _, err := s.documents.Commit(ctx, changes...); err != nil {
			return "", err
		}
		if len(has) == 1 && has[0] != host {
			s.config.Logger.Warn("the hub has another host name: connection strings of its devices and policies that "+
				"have the former one are no longer good", "hub", hubName, "host", host, "former", has[0])
		}
		return host, nil
	})
}

// formerHosts returns the hosts of this process that are linked and belong to no other
// hub than the first.
func (s *Server) formerHosts(ctx context.Context, others []store.Entry[hubEntry]) ([]string, error) {
	hosts, err := linkedhub.LocalHosts(ctx, s.documents)
	return slices.DeleteFunc(hosts, func(host string) bool { return hubOf(host, others) != "" }), err
}

// hubOf returns the name of the hub with this host name, "" for none.
func hubOf(host string, hubs []store.Entry[hubEntry]) string {
	for _, entry := range hubs {
		if strings.EqualFold(entry.Value.Host, host) {
			return entry.Value.Name
		}
	}
	return ""
}

// chooseHubHost returns the host name that the first hub is to have, which has had these.
func (s *Server) chooseHubHost(ctx context.Context, has []string, others []store.Entry[hubEntry]) (string, error) {
	asked := s.config.HubHost
	if asked == "" && len(has) > 1 {
		return "", &HostError{
			fmt.Sprintf("the hub %s has had several host names: %s", hubName, strings.Join(has, ", ")),
			"Say with --hub-host which one its devices know."}
	}
	if asked == "" && len(has) == 1 {
		asked = has[0]
	}
	if asked == "" {
		asked = defaultHubHost
	}
	for _, host := range has {
		if strings.EqualFold(host, asked) {
			return host, nil // spelled as what refers to it
		}
	}
	if other := hubOf(asked, others); other != "" {
		return "", &HostError{
			fmt.Sprintf("the hub %s has the host name %s, which --hub-host gives to the hub %s too", other, asked,
				hubName),
			"Each hub has a host name of its own."}
	}
	elsewhere, err := linkedhub.IsElsewhere(ctx, s.documents, asked)
	if err != nil {
		return "", err
	}
	if elsewhere {
		return "", &HostError{
			fmt.Sprintf("%s is the host name of a hub elsewhere that is linked, and --hub-host gives it to the hub %s",
				asked, hubName), "Each hub has a host name of its own."}
	}
	for _, host := range has {
		reference, err := provisioning.FindReference(ctx, s.documents, host)
		if err != nil {
			return "", err
		}
		if reference != "" {
			return "", &HostError{
				fmt.Sprintf("the hub %s has the host name %s (%s), and --hub-host gives it %s: its devices would be "+
					"lost to the provisioning service", hubName, host, reference, asked),
				fmt.Sprintf("Start it with --hub-host %s, or without --hub-host. For devices to go to %s, add a hub "+
					"of that name: berth hub create NAME --hub-host %s.", host, asked, asked)}
		}
	}
	return asked, nil
}
