package provisioning

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// HubLink is a hub that devices may be assigned to: one of this process, or any
// other that is reached by its service REST API with a connection string. It has
// the fields of Azure's IotHubDefinitionDescription, and Berth's own after them.
type HubLink struct {
	HostName              string `json:"name"`                       // host name that devices connect to
	ConnectionString      string `json:"connectionString,omitempty"` // of a hub elsewhere; never shown again, and kept when it is left out
	Location              string `json:"location,omitempty"`         // region, such as westeurope; for lowest latency
	ApplyAllocationPolicy *bool  `json:"applyAllocationPolicy"`      // false leaves the hub to enrollments that name it; true when nil
	AllocationWeight      *int   `json:"allocationWeight"`           // share of the devices, 0 to 1,000; 1 when nil

	Local           bool   `json:"local"`                     // read only: a hub of this process
	Hub             string `json:"hub,omitempty"`             // read only: what people call it
	Address         string `json:"address,omitempty"`         // host:port of the service API, when it is not port 443 of the host name
	CACertificates  string `json:"caCertificates,omitempty"`  // PEM of the authorities to trust there; those of the system when empty
	MeasureLatency  bool   `json:"measureLatency,omitempty"`  // let the time to this hub stand for a network's that has no figure
	LatencyMillis   *int   `json:"latencyMillis,omitempty"`   // read only: last measured, in milliseconds
	AssignedDevices *int   `json:"assignedDevices,omitempty"` // read only: registrations that name it, where they were counted
	ETag            string `json:"etag,omitempty"`
}

// storedLink is a link as it is kept. A hub of this process that was unlinked
// stays on record, so that it is not linked again at the next start.
type storedLink struct {
	HubLink
	Unlinked bool `json:"unlinked,omitempty"`
}

// linkedHub is a hub that devices may be assigned to, with its link.
type linkedHub struct {
	Hub
	link    HubLink
	latency *atomic.Int64 // nanoseconds; 0 is not measured
}

func (h *linkedHub) weight() int {
	if h.link.AllocationWeight == nil {
		return 1
	}
	return *h.link.AllocationWeight
}

func (h *linkedHub) applies() bool {
	return h.link.ApplyAllocationPolicy == nil || *h.link.ApplyAllocationPolicy
}

// name is what people call the hub: its name in this process, or of one elsewhere the
// first label of its host name, which is what Azure calls a hub. An IP address is not
// a name.
func (h *linkedHub) name() string {
	if named, ok := h.Hub.(interface{ Name() string }); ok {
		return named.Name()
	}
	if _, err := netip.ParseAddr(h.Host()); err == nil {
		return ""
	}
	label, _, _ := strings.Cut(h.Host(), ".")
	return label
}

// is reports whether the hub has this host name.
func (h *linkedHub) is(host string) bool { return strings.EqualFold(h.Host(), host) }

// links are the hubs that are linked now. Readers see one state of them.
type links struct {
	store.Table[storedLink]
	changing sync.Mutex
	local    map[string]Hub // hubs of this process by their keys
	now      atomic.Pointer[[]*linkedHub]
}

func (l *links) all() []*linkedHub {
	if hubs := l.now.Load(); hubs != nil {
		return *hubs
	}
	return nil
}

// MaxAllocationWeight is the largest weight of a linked hub.
const MaxAllocationWeight = 1000

// maxLinks bounds the linked hubs: each is held in memory with its connections.
const maxLinks = 10_000

// openLinks reads the links, and makes those of hubs that have none.
func (s *Service) openLinks(ctx context.Context) error {
	s.links.local = make(map[string]Hub)
	for _, hub := range s.config.Hubs {
		if err := s.AddHub(ctx, hub); err != nil {
			return err
		}
	}
	return s.readLinks(ctx)
}

// AddHub makes a hub of this process known to the service, which links it unless
// that was done, or undone, before.
func (s *Service) AddHub(ctx context.Context, hub Hub) error {
	s.links.changing.Lock()
	defer s.links.changing.Unlock()
	s.links.local[key(hub.Host())] = hub
	link := storedLink{HubLink: HubLink{HostName: hub.Host(), Local: true}}
	_, err := s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Created, audit.HubLink, hub.Host(), nil, nil), s.links.Put(key(hub.Host()), store.Absent, link))...)
	if _, exists := store.IsConflict(err); err != nil && !exists {
		return fmt.Errorf("link the hub %s: %w", hub.Host(), err)
	}
	return s.readLinks(ctx)
}

// readLinks makes what is stored what counts from now on. A hub that can't be
// reached as its link says is left out, and the log says why.
func (s *Service) readLinks(ctx context.Context) error {
	entries, err := s.links.List(ctx, "", "", maxLinks)
	if err != nil {
		return fmt.Errorf("read the linked hubs: %w", err)
	}
	before := s.links.all()
	hubs := []*linkedHub{}
	for _, entry := range entries {
		link := entry.Value.HubLink
		link.ETag = store.QuoteETag(entry.ETag)
		if entry.Value.Unlinked {
			continue
		}
		found := &linkedHub{link: link, latency: new(atomic.Int64)}
		if i := slices.IndexFunc(before, func(h *linkedHub) bool { return h.is(link.HostName) }); i >= 0 && before[i].link.ETag == link.ETag {
			found = before[i]
		} else if link.Local {
			found.Hub = s.links.local[entry.Key]
		} else if found.Hub, err = s.reach(link); err != nil {
			s.config.Logger.Error("a linked hub can't be used", "hub", link.HostName, "error", err)
			continue
		}
		if found.Hub == nil {
			continue // a hub that this process had once
		}
		hubs = append(hubs, found)
	}
	s.links.now.Store(&hubs)
	for _, old := range before {
		if closer, ok := old.Hub.(interface{ Close() }); ok && !slices.Contains(hubs, old) {
			closer.Close()
		}
	}
	return nil
}

func (s *Service) reach(link HubLink) (Hub, error) {
	if s.config.Reach == nil {
		return nil, fault.New(fault.ArgumentInvalid, "This service can't reach hubs elsewhere")
	}
	return s.config.Reach(link)
}

// LinkedHubs returns the host names of the linked hubs.
func (s *Service) LinkedHubs() []string {
	linked := s.links.all()
	hosts := make([]string, len(linked))
	for i, hub := range linked {
		hosts[i] = hub.Host()
	}
	return hosts
}

// HubLinks returns the linked hubs, in the order of their host names.
func (s *Service) HubLinks() []HubLink {
	shown := []HubLink{}
	for _, hub := range s.links.all() {
		shown = append(shown, hub.shown())
	}
	return shown
}

// HubLink returns the link of a hub. It returns fault 404104 when there is none.
func (s *Service) HubLink(host string) (HubLink, error) {
	hub := s.linked(host)
	if hub == nil {
		return HubLink{}, s.notLinked(host)
	}
	return hub.shown(), nil
}

// shown is the link without its secret.
func (h *linkedHub) shown() HubLink {
	link := h.link
	link.ConnectionString, link.Hub = "", h.name()
	if nanoseconds := h.latency.Load(); nanoseconds > 0 {
		millis := int((time.Duration(nanoseconds) + time.Millisecond/2) / time.Millisecond)
		link.LatencyMillis = &millis
	}
	weight, applies := h.weight(), h.applies()
	link.AllocationWeight, link.ApplyAllocationPolicy = &weight, &applies
	return link
}

func (s *Service) notLinked(host string) error {
	return fault.New(fault.HubNotFound, "The hub %.253q is not linked to this service. Linked are: %s", host, cmp.Or(strings.Join(s.LinkedHubs(), ", "), "none"))
}

// linked returns the linked hub with this host name, or nil.
func (s *Service) linked(host string) *linkedHub {
	for _, hub := range s.links.all() {
		if hub.is(host) {
			return hub
		}
	}
	return nil
}

// LinkHub links a hub, or replaces its link; a connection string that is left out
// stays, as it is not shown, while it goes to the same place: with another address or
// other authorities to trust it is fault 400004. ifMatch is as in PutEnrollment. A hub elsewhere is asked
// at once whether its connection string is good. It returns the faults 400004,
// 412001, and what the hub answered.
func (s *Service) LinkHub(ctx context.Context, link HubLink, ifMatch string) (HubLink, error) {
	if err := CheckHostName(link.HostName); err != nil {
		return HubLink{}, err
	}
	s.links.changing.Lock()
	defer s.links.changing.Unlock()
	return store.RetryOnConflict(ctx, func() (HubLink, error) { return s.linkHub(ctx, link, ifMatch) })
}

func (s *Service) linkHub(ctx context.Context, link HubLink, ifMatch string) (HubLink, error) {
	before, etag, err := s.links.Get(ctx, key(link.HostName))
	unreadable := store.IsUnreadable(err)
	if err != nil && !unreadable && !errors.Is(err, store.ErrNotFound) {
		return HubLink{}, err
	}
	exists := err == nil && !before.Unlinked
	shownETag := ""
	if exists || unreadable {
		shownETag = store.QuoteETag(etag)
	}
	if err := fault.PreconditionOf("linked hub", ifMatch, shownETag, exists || unreadable); err != nil {
		return HubLink{}, err
	}
	if err := s.completeLink(ctx, &link, before.HubLink, exists); err != nil {
		return HubLink{}, err
	}
	expected := store.Absent
	if etag != "" {
		expected = store.ETag(etag)
	}
	changes := []store.Change{s.links.Put(key(link.HostName), expected, storedLink{HubLink: link})}
	if exists {
		changes = append(changes, s.config.Audit.Change(ctx, audit.Updated, audit.HubLink, link.HostName, before.HubLink, link)...)
	} else {
		if most := s.config.Limits.LinkedHubs; most > 0 && len(s.links.all()) >= most {
			return HubLink{}, fault.New(fault.QuotaExceeded, "There are %d linked hubs, which is the limit of the service", most)
		}
		changes = append(changes, s.config.Audit.Change(ctx, audit.Created, audit.HubLink, link.HostName, nil, nil)...)
	}
	if _, err := s.config.Documents.Commit(ctx, changes...); err != nil {
		return HubLink{}, err
	}
	if err := s.readLinks(ctx); err != nil {
		return HubLink{}, err
	}
	return s.HubLink(link.HostName)
}

// completeLink checks a link that is to be written and fills in what stays.
func (s *Service) completeLink(ctx context.Context, link *HubLink, before HubLink, exists bool) error {
	link.ETag, link.Hub, link.LatencyMillis, link.AssignedDevices = "", "", nil, nil
	_, link.Local = s.links.local[key(link.HostName)]
	if exists {
		link.HostName = before.HostName
		if err := s.checkDestination(ctx, *link, before); err != nil {
			return err
		}
		link.ConnectionString = cmp.Or(link.ConnectionString, before.ConnectionString)
	}
	switch weight := link.AllocationWeight; {
	case weight != nil && (*weight < 0 || *weight > MaxAllocationWeight):
		return fault.New(fault.ArgumentInvalid, "allocationWeight is %d. It is 0 to %d", *weight, MaxAllocationWeight)
	case len(link.Location) > 64:
		return fault.New(fault.ArgumentInvalid, "location has %d characters, the limit is 64", len(link.Location))
	case link.Local && link.ConnectionString != "":
		return fault.New(fault.ArgumentInvalid, "The hub %s is one of this server and needs no connection string", link.HostName)
	case link.Local:
		return nil
	case link.ConnectionString == "":
		return fault.New(fault.ArgumentInvalid, "The hub %.253q is none of this server. Link it with the connection string of a policy that has the rights RegistryRead, RegistryWrite and ServiceConnect, such as iothubowner", link.HostName)
	}
	hub, err := s.reach(*link)
	if err != nil {
		return err
	}
	if closer, ok := hub.(interface{ Close() }); ok {
		defer closer.Close()
	}
	if !strings.EqualFold(hub.Host(), link.HostName) {
		return fault.New(fault.ArgumentInvalid, "The connection string is of the hub %s, and not of %s", hub.Host(), link.HostName)
	}
	// A device that can't be there: the answer tells whether the hub takes the key.
	trying, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	if _, err := hub.Twin(trying, "berth-link-check"); err != nil {
		var problem *fault.Error
		if errors.As(err, &problem) {
			return fault.New(fault.ArgumentInvalid, "The hub %s refuses the connection string: %s", link.HostName, problem.Message)
		}
		return fault.New(fault.ArgumentInvalid, "The hub %s does not answer: %s", link.HostName, err.Error()).Because(err)
	}
	return nil
}

// checkDestination refuses to send a key that is kept to where its owner did not:
// who may configure the service can't read the connection string.
func (s *Service) checkDestination(ctx context.Context, link, before HubLink) error {
	if link.Local || link.ConnectionString != "" || before.ConnectionString == "" || link.destination() == before.destination() {
		return nil
	}
	refusal := fault.New(fault.ArgumentInvalid, "The address of the hub %s, or the authorities to trust there, would be others. The connection string that is kept is not sent there: give it again (connectionString)", link.HostName)
	link.ConnectionString = before.ConnectionString // that was not to be another
	return errors.Join(s.config.Audit.Refuse(ctx, audit.HubLink, link.HostName, refusal.Message, before, link), refusal)
}

// destination is where the connection string is sent, and who is believed to be
// there.
func (l HubLink) destination() string {
	address := cmp.Or(l.Address, net.JoinHostPort(l.HostName, "443"))
	return strings.ToLower(address) + "\n" + strings.TrimSpace(l.CACertificates)
}

// linkTimeout bounds how long a hub may take to answer when it is linked.
const linkTimeout = 15 * time.Second

// CheckHostName holds the host name of a hub against what all SDKs take; what is
// wrong with it is fault 400004.
func CheckHostName(host string) error {
	valid := len(host) <= 253 && strings.Contains(host, ".") && !strings.HasPrefix(host, ".") && !strings.HasSuffix(host, ".")
	for i := range len(host) {
		c := host[i]
		valid = valid && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '.')
	}
	if !valid {
		return fault.New(fault.ArgumentInvalid, "%.253q can't be the host name of a hub. It has letters, digits, dashes, and at least one full stop, such as hub.example.com", host)
	}
	return nil
}

// UnlinkHub ends the link of a hub under the condition ifMatch, as in
// PutEnrollment. Its devices stay there, and are assigned to another hub when they
// register again. While registrations name it, that is fault 409000, unless force
// is set. It returns the faults 404104 and 412001 too.
func (s *Service) UnlinkHub(ctx context.Context, host, ifMatch string, force bool) error {
	hub := s.linked(host)
	if hub == nil {
		if _, _, err := s.links.Get(ctx, key(host)); store.IsUnreadable(err) {
			return s.deleteRecord(ctx, audit.HubLink, s.links.Collection, key(host))
		}
		return s.notLinked(host)
	}
	if err := fault.PreconditionOf("linked hub", ifMatch, hub.link.ETag, true); err != nil {
		return err
	}
	if !force {
		devices, err := s.AssignedTo(ctx, host)
		if err != nil {
			return err
		}
		if devices > 0 {
			return fault.New(fault.Conflict, "The hub still has devices (%d assigned to %s). They stay in it, and their twins with them, but when they register again they go to another hub as new ones. Let them migrate first by linking another hub and weighing this one 0, or unlink it by force", devices, hub.Host())
		}
	}
	s.links.changing.Lock()
	defer s.links.changing.Unlock()
	change := s.links.Delete(key(host), store.ETag(store.UnquoteETag(hub.link.ETag)))
	if hub.link.Local {
		change = s.links.Put(key(host), store.ETag(store.UnquoteETag(hub.link.ETag)), storedLink{HubLink: HubLink{HostName: hub.link.HostName, Local: true}, Unlinked: true})
	}
	_, err := s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Deleted, audit.HubLink, hub.Host(), nil, nil), change)...)
	if _, conflict := store.IsConflict(err); conflict {
		return fault.New(fault.PreconditionFailed, "The linked hub was changed at the same time. Read it again, and repeat the change if it is still wanted")
	}
	if err != nil {
		return err
	}
	return s.readLinks(ctx)
}

// AssignedTo counts the registrations that name a hub. It reads them all.
func (s *Service) AssignedTo(ctx context.Context, host string) (devices int, err error) {
	for after := ""; ; {
		const stride = 1000
		entries, err := s.registrations.List(ctx, "", after, stride)
		if err != nil {
			return 0, err
		}
		for _, entry := range entries {
			if strings.EqualFold(entry.Value.AssignedHub, host) {
				devices++
			}
		}
		if len(entries) < stride {
			return devices, nil
		}
		after = entries[stride-1].Key
	}
}

// measureEvery is the time between two measurements of a hub's latency.
const measureEvery = time.Minute

// measureLatencies keeps the latencies of the hubs whose links ask for it.
func (s *Service) measureLatencies() {
	for {
		for _, hub := range s.links.all() {
			s.background("the latency of a hub can't be measured", func() error { s.measure(hub); return nil })
		}
		timer := time.NewTimer(measureEvery)
		select {
		case <-timer.C:
		case <-s.closing:
			timer.Stop()
			return
		}
	}
}

func (s *Service) measure(hub *linkedHub) {
	distant, ok := hub.Hub.(interface {
		// Latency returns the time to the hub and back.
		Latency(ctx context.Context) (time.Duration, error)
	})
	if !hub.link.MeasureLatency || !ok {
		return
	}
	ctx, cancel := context.WithTimeout(s.work, 10*time.Second)
	defer cancel()
	latency, err := distant.Latency(ctx)
	if err != nil {
		s.config.Logger.Warn("the latency of a hub can't be measured", "hub", hub.Host(), "error", err)
		latency = 0
	}
	hub.latency.Store(int64(latency))
}
