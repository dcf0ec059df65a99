package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// localHub is a hub of this process as the provisioning service needs it.
type localHub struct{ *hub.Hub }

var _ linkedhub.CommittingHub = localHub{}

// EnsureDevice implements linkedhub.Hub.
func (l localHub) EnsureDevice(ctx context.Context, admission linkedhub.Admission) (generation string, _ error) {
	return l.Hub.EnsureDevice(ctx, hubAdmission(admission))
}

// Identity implements linkedhub.Hub.
func (l localHub) Identity(ctx context.Context, admission linkedhub.Admission) (linkedhub.Identity, error) {
	prepared, err := l.Hub.PrepareDevice(ctx, hubAdmission(admission))
	return present(prepared), err
}

// Check implements linkedhub.Hub.
func (l localHub) Check(admission linkedhub.Admission) error {
	return hubAdmission(admission).Check()
}

// PrepareDevice implements provisioning.CommittingHub: hub and service keep
// their documents in the same store.
func (l localHub) PrepareDevice(ctx context.Context, admission linkedhub.Admission) (linkedhub.PreparedDevice, error) {
	prepared, err := l.Hub.PrepareDevice(ctx, hubAdmission(admission))
	return linkedhub.PreparedDevice{
		Changes:    prepared.Changes,
		Committed:  prepared.Committed,
		Generation: prepared.Generation,
		Present:    present(prepared),
	}, err
}

// present is the identity that a hub has found when it prepared an admission.
func present(prepared hub.PreparedDevice) linkedhub.Identity {
	return linkedhub.Identity{Generation: prepared.Present, Differs: prepared.Replaces,
		Status: linkedhub.Status{Disabled: prepared.Disabled, Reason: prepared.StatusReason}}
}

// Twin implements linkedhub.Hub.
func (l localHub) Twin(ctx context.Context, deviceID string) (*linkedhub.InitialTwin, error) {
	return twinToMigrate(l.Hub.Twin(ctx, deviceID))
}

// twinToMigrate is what migrates of a twin: tags and desired properties.
func twinToMigrate(twin twin.Twin, err error) (*linkedhub.InitialTwin, error) {
	if errors.Is(err, fault.DeviceNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	desired := twin.Properties.Desired
	desired.Delete("$metadata", "$version")
	return &linkedhub.InitialTwin{Tags: twin.Tags.AppendJSON(nil),
		Properties: linkedhub.InitialTwinProperties{Desired: desired.AppendJSON(nil)}}, nil
}

// Remove implements linkedhub.Hub.
func (l localHub) Remove(ctx context.Context, deviceID string) error {
	err := l.DeleteDevice(ctx, deviceID, "")
	if errors.Is(err, fault.DeviceNotFound) {
		return nil
	}
	return err
}

func hubAdmission(a linkedhub.Admission) hub.Admission {
	admission := hub.Admission{
		IfGeneration:        a.IfGeneration,
		DeviceID:            a.DeviceID,
		PrimaryThumbprint:   a.PrimaryThumbprint,
		SecondaryThumbprint: a.SecondaryThumbprint,
		PrimaryKey:          a.PrimaryKey,
		SecondaryKey:        a.SecondaryKey,
		IoTEdge:             a.IoTEdge,
		ParentDeviceID:      a.ParentDeviceID,
		Disabled:            a.Status.Disabled,
		StatusReason:        a.Status.Reason,
	}
	if a.CredentialPolicy != "" {
		admission.Issuance = &identity.Issuance{RegistrationID: a.RegistrationID, Policy: a.CredentialPolicy}
	}
	if a.Twin != nil {
		admission.Tags, admission.Desired = a.Twin.Tags, a.Twin.Properties.Desired
	}
	return admission
}

// hubEntry is a hub of this process on record.
type hubEntry struct {
	Name    string    `json:"name"`
	Host    string    `json:"host"`
	Created time.Time `json:"created"`
}

// Intact implements store.Checkable.
func (e *hubEntry) Intact() error {
	if !hubNames.MatchString(e.Name) || e.Host == "" {
		return errors.New("it has no name, or no host name")
	}
	return nil
}

// hubRecords is the collection of the hubs, as an Inspector knows it.
const hubRecords = "server/hubs"

func (s *Server) hubEntries() store.Table[hubEntry] {
	return store.NewTable[hubEntry](s.documents, hubRecords)
}

// maxHubs bounds the hubs of one process: each has logs of its own.
const maxHubs = 100

// openHubs opens the hubs of this server, the first in first place.
func (s *Server) openHubs(ctx context.Context) (err error) {
	if s.config.HubHost, err = s.firstHubHost(ctx); err != nil {
		return err
	}
	if err := s.openHub(ctx, hubEntry{Name: hubName, Host: s.config.HubHost}); err != nil {
		return err
	}
	entries, err := s.hubEntries().List(ctx, "", "", maxHubs)
	if err != nil {
		return fmt.Errorf("read the hubs: %w", err)
	}
	slices.SortStableFunc(entries, func(a, b store.Entry[hubEntry]) int {
		return a.Value.Created.Compare(b.Value.Created)
	})
	for _, entry := range entries {
		if strings.EqualFold(entry.Value.Host, s.config.Host) {
			return &HostError{
				fmt.Sprintf("the hub %s has the host name %s, which --host gives to the provisioning service",
					entry.Value.Name, entry.Value.Host), "Give the provisioning service one of its own with --host."}
		}
		other := s.hubs.ByHost(entry.Value.Host)
		if other != nil && other.Name() != hubName {
			s.config.Logger.Error("a hub can't be opened: an older one has its host name", "hub", entry.Value.Name,
				"host", entry.Value.Host, "other", other.Name())
			continue
		}
		if other != nil {
			return fmt.Errorf("the hub %s has the host name %s, and so has the hub %s", entry.Value.Name,
				entry.Value.Host, hubName)
		}
		if err := s.openHub(ctx, entry.Value); err != nil {
			return err
		}
	}
	return nil
}

// telemetryLog is the name of the log with a hub's telemetry.
func telemetryLog(hub string) string { return "hub." + hub + ".telemetry" }

// eventsLog is the name of the log with what happens to a hub's devices.
func eventsLog(hub string) string { return "hub." + hub + ".events" }

// hasMessages reports whether a log with this name has a hub's telemetry, or its events.
func hasMessages(log string) bool {
	return strings.HasPrefix(log, "hub.") && (strings.HasSuffix(log, ".telemetry") || strings.HasSuffix(log, ".events"))
}

func (s *Server) openHub(ctx context.Context, entry hubEntry) error {
	options := s.config.Telemetry.options()
	telemetry, err := s.logs.Open(telemetryLog(entry.Name), options)
	if err != nil {
		return fmt.Errorf("open the telemetry of hub %s: %w", entry.Name, err)
	}
	if has := telemetry.Partitions(); has != options.Partitions {
		s.config.Logger.Info("a hub keeps the telemetry partitions that it was made with", "hub", entry.Name,
			"partitions", has, "asked", options.Partitions)
	}
	events, err := s.logs.Open(eventsLog(entry.Name), s.config.Events.options())
	if err != nil {
		return fmt.Errorf("open the events of hub %s: %w", entry.Name, err)
	}
	engine, knows := s.engine.(interface{ Stale() bool })
	h, err := hub.Open(ctx,
		hub.Config{Name: entry.Name, Host: entry.Host, Node: s.config.node.name, Documents: s.documents,
			Telemetry: telemetry, Events: events, Limits: s.config.Messages, Jobs: s.config.Jobs,
			Blobs: newBlobs(s.config.StorageHosts, s.config.StorageRoots),
			Bus:   s.config.node.bus, Issuer: s.issuer, Audit: s.audit, Now: s.config.Now, Logger: s.config.Logger,
			Panics: s.panics, Reindex: knows && engine.Stale(), FaultInjection: s.config.FaultInjection,
			Size: s.config.HubSize})
	if err != nil {
		return err
	}
	s.hubs.Add(h)
	return nil
}

// hubNames are those that a hub can have: part of file names.
var hubNames = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$`)

// CreateHub adds a hub to this process and links it. host is what devices connect
// to; "" takes the next address of this machine, if the first hub has one of those.
// It returns fault 400004 for what is wrong and 409000 for a name or host that is
// taken.
func (s *Server) CreateHub(ctx context.Context, name, host string) (linkedhub.Link, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if host == "" {
		host = s.nextHost()
	}
	switch hubs := s.hubs.All(); {
	case !hubNames.MatchString(name):
		return linkedhub.Link{}, fault.New(fault.ArgumentInvalid,
			"%.64q can't be the name of a hub. It has 1 to 50 small letters, digits and dashes between them", name)
	case host == "":
		return linkedhub.Link{}, fault.New(fault.ArgumentInvalid,
			"The hub needs a host name that devices reach this server by, such as hub2.example.com")
	case s.hubs.ByName(name) != nil:
		return linkedhub.Link{}, fault.New(fault.Conflict, "There is a hub %s already", name)
	case s.hubs.ByHost(host) != nil || strings.EqualFold(host, s.config.Host):
		return linkedhub.Link{}, fault.New(fault.Conflict, "The host name %.253q is in use. "+
			"Each hub has one of its own, because clients say by it which one they want", host)
	case len(hubs) >= maxHubs:
		return linkedhub.Link{}, fault.New(fault.ArgumentInvalid,
			"This server has %d hubs already, which is the limit", maxHubs)
	}
	if err := linkedhub.CheckHostName(host); err != nil {
		return linkedhub.Link{}, err
	}
	free, err := s.provisioning.Links().PrepareCreate(ctx, name, host)
	if err != nil {
		return linkedhub.Link{}, err
	}
	if err := s.certificates.renewServer(append(s.names(), host), s.config.Now()); err != nil {
		return linkedhub.Link{}, err
	}
	entry := hubEntry{Name: name, Host: host, Created: s.config.Now().UTC()}
	_, err = s.documents.Commit(ctx, s.hubEntries().Put(name, store.Absent, entry), free)
	switch at, conflict := store.IsConflict(err); { // somebody was faster
	case conflict && at == 0:
		return linkedhub.Link{}, fault.New(fault.Conflict, "There is a hub %s already", name)
	case conflict:
		return linkedhub.Link{}, fault.New(fault.Conflict, "The host name %.253q is in use. "+
			"Each hub has one of its own, because clients say by it which one they want", host)
	}
	if err != nil {
		return linkedhub.Link{}, err
	}
	if err := s.openHub(ctx, entry); err != nil {
		// Else nobody could make it again, and another hub with its host would keep the
		// server from starting.
		_, undone := s.documents.Commit(context.WithoutCancel(ctx), s.hubEntries().Delete(name, store.Always))
		return linkedhub.Link{}, errors.Join(err, undone)
	}
	if err := s.addHub(ctx, name); err != nil {
		return linkedhub.Link{}, err
	}
	return s.provisioning.Links().Get(host)
}

// addHub makes a hub that was opened while the server runs known to all who have to know.
func (s *Server) addHub(ctx context.Context, name string) error {
	s.limitConnections()
	if err := s.provisioning.Links().Add(ctx, localHub{s.hubs.ByName(name)}); err != nil {
		return err
	}
	return s.describe(ctx)
}

// followHubs opens the hubs that other nodes create, until the server ends.
func (s *Server) followHubs() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	wake := make(chan struct{}, 1)
	wake <- struct{}{} // for what was created between the start and the watch
	s.documents.Watch(ctx, func() {
		select {
		case wake <- struct{}{}:
		default: // it is awake
		}
	}, hubRecords)
	for {
		select {
		case <-wake:
		case <-s.ending:
			return
		}
		err := s.panics.Do(panics.Background, func() error { return s.openNewHubs(ctx) })
		if err != nil {
			s.config.Logger.Error("a hub that another node has created can't be opened", "error", err)
		}
	}
}

// openNewHubs opens the hubs on record that are not open, but for those that can't be.
func (s *Server) openNewHubs(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	entries, err := s.hubEntries().List(ctx, "", "", maxHubs)
	if err != nil {
		return fmt.Errorf("read the hubs: %w", err)
	}
	for _, entry := range entries {
		name, host := entry.Value.Name, entry.Value.Host
		if s.hubs.ByName(name) != nil || s.hubs.ByHost(host) != nil {
			continue // the start has said which has the host name of another
		}
		if err := s.certificates.renewServer(append(s.names(), host), s.config.Now()); err != nil {
			return err
		}
		if err := s.openHub(ctx, entry.Value); err != nil {
			return err
		}
		if err := s.addHub(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// nextHost is the loopback address after those of the hubs that are there, "" when
// the first hub has a name of another kind.
func (s *Server) nextHost() string {
	first, err := netip.ParseAddr(s.config.HubHost)
	if err != nil || !first.Is4() || !first.IsLoopback() {
		return ""
	}
	next := first
	for s.hubs.ByHost(next.String()) != nil {
		next = next.Next()
	}
	return next.String()
}
