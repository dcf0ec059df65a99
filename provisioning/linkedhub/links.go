package linkedhub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Records is the collection of the links, as an Inspector knows it.
const Records = "provisioning/links"

// maxLinks bounds the linked hubs: each is held in memory with its connections.
const maxLinks = 10_000

// Config is what the links of a service are made of.
type Config struct {
	Documents store.Documents
	Hubs      []Hub                   // those of this process, which are linked unless that was undone
	Reach     func(Link) (Hub, error) // a hub elsewhere; nil reaches none. That it has a Close is no need
	Limit     int                     // of linked hubs; 0 means unlimited

	// AssignedTo counts the devices that are assigned to a hub.
	AssignedTo func(ctx context.Context, host string) (int, error)

	// CheckUnnamed returns fault 409000 for a hub that an enrollment or group names; nil
	// asks nobody.
	CheckUnnamed func(ctx context.Context, host string) error

	Audit  *audit.Log // of changes; nil keeps none
	Panics *panics.Recorder
	Logger *slog.Logger
}

// Links are the hubs that are linked now, by whichever node. Their methods may be called at
// once from many goroutines, and readers see one state of them. Errors are *fault.Error
// unless storage fails.
//
// The connections to hubs elsewhere, and their latencies, are of this node: it is from here
// that they are reached.
type Links struct {
	config  Config
	table   store.Table[storedLink]
	limited sync.Mutex // held from the count to the commit of a link where there may be only so many
	now     *store.Cache[[]*Linked]

	mutex  sync.Mutex     // held while the links are read; never while a hub is asked
	local  map[string]Hub // hubs of this process by their keys
	former []*Linked      // that were read last, with their connections
}

// storedLink is a link as it is kept. A hub of this process that was unlinked
// stays on record, so that it is not linked again at the next start.
type storedLink struct {
	Link
	Unlinked bool `json:"unlinked,omitempty"`
}

var _ store.Checkable = (*storedLink)(nil)

// Intact implements store.Checkable.
func (l *storedLink) Intact() error {
	if l.HostName == "" {
		return errors.New("it names no hub")
	}
	return nil
}

// Linked is a hub that devices may be assigned to, with its link.
type Linked struct {
	Hub
	Link    Link          // with its secret
	latency *atomic.Int64 // nanoseconds; 0 is not measured
}

// Weight is the hub's share of the devices.
func (h *Linked) Weight() int {
	if h.Link.AllocationWeight == nil {
		return 1
	}
	return *h.Link.AllocationWeight
}

// Applies reports whether devices may go to the hub whose enrollments don't name it.
func (h *Linked) Applies() bool {
	return h.Link.ApplyAllocationPolicy == nil || *h.Link.ApplyAllocationPolicy
}

// Name is what people call the hub: its name in this process, or of one elsewhere the
// first label of its host name, which is what Azure calls a hub. An IP address is not
// a name.
func (h *Linked) Name() string {
	if named, ok := h.Hub.(interface{ Name() string }); ok {
		return named.Name()
	}
	return nameElsewhere(h.Host())
}

// nameElsewhere is Name of a hub elsewhere.
func nameElsewhere(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	label, _, _ := strings.Cut(host, ".")
	return label
}

// Is reports whether the hub has this host name.
func (h *Linked) Is(host string) bool { return strings.EqualFold(h.Host(), host) }

// Latency returns the time to the hub and back as it was measured last, where the link
// asks for that; else 0.
func (h *Linked) Latency() time.Duration {
	if !h.Link.MeasureLatency {
		return 0
	}
	return time.Duration(h.latency.Load())
}

// withoutSecret is the link without its secret.
func (h *Linked) withoutSecret() Link {
	link := h.Link
	link.ConnectionString, link.Hub = "", h.Name()
	if nanoseconds := h.latency.Load(); nanoseconds > 0 {
		millis := int((time.Duration(nanoseconds) + time.Millisecond/2) / time.Millisecond)
		link.LatencyMillis = &millis
	}
	weight, applies := h.Weight(), h.Applies()
	link.AllocationWeight, link.ApplyAllocationPolicy = &weight, &applies
	return link
}

// New returns the links of a service.
func New(config Config) *Links {
	l := &Links{config: config, table: store.NewTable[storedLink](config.Documents, Records),
		local: make(map[string]Hub)}
	l.now = store.NewCache(config.Documents, l.read, Records)
	return l
}

// Load reads the links, and makes those of the hubs of this process that have none.
func (l *Links) Load(ctx context.Context) error {
	for _, hub := range l.config.Hubs {
		if err := l.Add(ctx, hub); err != nil {
			return err
		}
	}
	_, err := l.now.Get(ctx)
	return err
}

// LocalHosts returns the host names under which hubs of this process were linked, also those
// that are no longer.
func LocalHosts(ctx context.Context, documents store.Documents) (hosts []string, _ error) {
	entries, err := store.NewTable[storedLink](documents, Records).List(ctx, "", "", maxLinks)
	if err != nil {
		return nil, fmt.Errorf("read the linked hubs: %w", err)
	}
	for _, entry := range entries {
		if entry.Value.Local {
			hosts = append(hosts, entry.Value.HostName)
		}
	}
	return hosts, nil
}

// IsElsewhere reports whether a hub that is not of this process is linked by this host name.
func IsElsewhere(ctx context.Context, documents store.Documents, host string) (bool, error) {
	link, _, err := store.NewTable[storedLink](documents, Records).Get(ctx, key(host))
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
		return false, nil
	}
	return err == nil && !link.Local && !link.Unlinked, err
}

// Rename returns what is to be committed for the link of a hub of this process to be that
// of the same hub under another host name. One that was linked under that name before is
// replaced.
func Rename(ctx context.Context, documents store.Documents, from, to string) ([]store.Change, error) {
	table := store.NewTable[storedLink](documents, Records)
	link, etag, err := table.Get(ctx, key(from))
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
		return nil, nil // it is linked anew
	}
	if err != nil {
		return nil, fmt.Errorf("read the link of the hub %s: %w", from, err)
	}
	link.HostName = to
	return []store.Change{table.Delete(key(from), store.IfMatch(etag)), table.Put(key(to), store.Always, link)}, nil
}

// Add makes a hub of this process known, which links it unless that was done, or
// undone, before.
func (l *Links) Add(ctx context.Context, hub Hub) error {
	l.mutex.Lock()
	l.local[key(hub.Host())] = hub
	l.mutex.Unlock()
	link := storedLink{Link: Link{HostName: hub.Host(), Local: true}}
	_, err := l.config.Documents.Commit(ctx, append(
		l.config.Audit.Change(ctx, audit.Created, audit.HubLink, hub.Host(), nil, nil),
		l.table.Put(key(hub.Host()), store.Absent, link))...)
	_, exists := store.IsConflict(err)
	if err != nil && !exists {
		return fmt.Errorf("link the hub %s: %w", hub.Host(), err)
	}
	if elsewhere, err := IsElsewhere(ctx, l.config.Documents, hub.Host()); err == nil && elsewhere {
		l.config.Logger.Error("no device can be assigned to a hub of this server: one elsewhere is linked by its "+
			"host name. Unlink that one", "host", hub.Host())
	}
	l.now.Invalidate() // the link may have been there before the hub
	_, err = l.now.Get(ctx)
	return err
}

// PrepareCreate returns what must still hold when a hub of this process is created with a
// name and a host name. A hub elsewhere that is listed by one of them is fault 409000.
func (l *Links) PrepareCreate(ctx context.Context, name, host string) (store.Change, error) {
	entries, err := l.table.List(ctx, "", "", maxLinks)
	if err != nil {
		return store.Change{}, fmt.Errorf("read the linked hubs: %w", err)
	}
	check := store.Change{Collection: Records, Key: key(host), Match: store.Absent, Check: true}
	for _, entry := range entries {
		link := entry.Value.Link
		if entry.Key == check.Key {
			check.Match = store.IfMatch(entry.ETag)
		}
		switch {
		case link.Local:
		case strings.EqualFold(link.HostName, host):
			return check, fault.New(fault.Conflict,
				"The hub %s, which is elsewhere, is linked by this host name. Devices that are assigned to it would "+
					"come here: choose another host name, or unlink it first", link.HostName)
		case strings.EqualFold(nameElsewhere(link.HostName), name):
			return check, fault.New(fault.Conflict,
				"The linked hub %s, which is elsewhere, is listed by the name %s. Choose another name",
				link.HostName, name)
		}
	}
	return check, nil
}

func (l *Links) isLocal(host string) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	_, local := l.local[key(host)]
	return local
}

// read returns what is stored, with the connections that there are already. A hub that
// can't be reached as its link says is left out, and the log says why.
func (l *Links) read(ctx context.Context) ([]*Linked, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	entries, err := l.table.List(ctx, "", "", maxLinks)
	if err != nil {
		return nil, fmt.Errorf("read the linked hubs: %w", err)
	}
	before := l.former
	hubs := []*Linked{}
	for _, entry := range entries {
		link := entry.Value.Link
		link.ETag = store.QuoteETag(entry.ETag)
		if entry.Value.Unlinked {
			continue
		}
		found := &Linked{Link: link, latency: new(atomic.Int64)}
		same := func(h *Linked) bool { return h.Is(link.HostName) && h.Link.ETag == link.ETag }
		if i := slices.IndexFunc(before, same); i >= 0 {
			found = before[i]
		} else if link.Local {
			found.Hub = l.local[entry.Key]
		} else if found.Hub, err = l.connect(link); err != nil {
			l.config.Logger.Error("a linked hub can't be used", "hub", link.HostName, "error", err)
			continue
		}
		if found.Hub == nil {
			continue // a hub that this process had once
		}
		hubs = append(hubs, found)
	}
	l.former = hubs
	for _, old := range before {
		if closer, ok := old.Hub.(interface{ Close() }); ok && !slices.Contains(hubs, old) {
			closer.Close()
		}
	}
	return hubs, nil
}

func (l *Links) connect(link Link) (Hub, error) {
	if l.config.Reach == nil {
		return nil, fault.New(fault.ArgumentInvalid, "This service can't reach hubs elsewhere")
	}
	return l.config.Reach(link)
}

// All returns the linked hubs, in the order of their host names. While they can't be read
// they are as they were, which the log says.
func (l *Links) All() []*Linked {
	hubs, err := l.now.GetOrFormer()
	if err != nil {
		l.config.Logger.Error("the linked hubs may be others", "error", err)
	}
	return hubs
}

// Find returns the linked hub with this host name, or nil.
func (l *Links) Find(host string) *Linked {
	for _, hub := range l.All() {
		if hub.Is(host) {
			return hub
		}
	}
	return nil
}

// Hosts returns the host names of the linked hubs, in their order.
func (l *Links) Hosts() []string {
	linked := l.All()
	hosts := make([]string, len(linked))
	for i, hub := range linked {
		hosts[i] = hub.Host()
	}
	return hosts
}

// List returns the links, in the order of their host names.
func (l *Links) List() []Link {
	shown := []Link{}
	for _, hub := range l.All() {
		shown = append(shown, hub.withoutSecret())
	}
	return shown
}

// Get returns the link of a hub. It returns fault 404000 when there is none.
func (l *Links) Get(host string) (Link, error) {
	hub := l.Find(host)
	if hub == nil {
		return Link{}, l.notLinked(host)
	}
	return hub.withoutSecret(), nil
}

func (l *Links) notLinked(host string) error {
	return fault.New(fault.NotFound, "The hub %.253q is not linked to this service. Linked are: %s", host,
		cmp.Or(strings.Join(l.Hosts(), ", "), "none"))
}

// Put links a hub, or replaces its link, under the condition ifMatch: "" for any state,
// "*" for an existing one, or the ETag it must have. A connection string that is left
// out stays, as it is not shown, while it goes to the same place: with another address
// or other authorities to trust it is fault 400004. A hub elsewhere is asked at once
// whether a connection string that is given is good; nobody waits for that but the caller. It
// returns the faults 400004, 412001, 403002 when there are as many links as there may
// be, and what the hub answered.
func (l *Links) Put(ctx context.Context, link Link, ifMatch string) (Link, error) {
	if err := CheckHostName(link.HostName); err != nil {
		return Link{}, err
	}
	return store.RetryOnConflict(ctx, func() (Link, error) { return l.put(ctx, link, ifMatch) })
}

func (l *Links) put(ctx context.Context, link Link, ifMatch string) (Link, error) {
	before, etag, err := l.table.Get(ctx, key(link.HostName))
	unreadable := store.IsUnreadable(err)
	if err != nil && !unreadable && !errors.Is(err, store.ErrNotFound) {
		return Link{}, err
	}
	exists := err == nil && !before.Unlinked
	shownETag := ""
	if exists || unreadable {
		shownETag = store.QuoteETag(etag)
	}
	if err := fault.PreconditionOf("linked hub", ifMatch, shownETag, exists || unreadable); err != nil {
		return Link{}, err
	}
	if err := l.complete(ctx, &link, before.Link, exists); err != nil {
		return Link{}, err
	}
	expected := store.Absent
	if etag != "" {
		expected = store.IfMatch(etag)
	}
	changes := []store.Change{l.table.Put(key(link.HostName), expected, storedLink{Link: link})}
	if exists {
		changes = append(changes,
			l.config.Audit.Change(ctx, audit.Updated, audit.HubLink, link.HostName, before.Link, link)...)
	} else {
		if most := l.config.Limit; most > 0 {
			l.limited.Lock()
			defer l.limited.Unlock()
			if len(l.All()) >= most {
				return Link{}, fault.New(fault.QuotaExceeded,
					"There are %d linked hubs, which is the limit of the service", most)
			}
		}
		changes = append(changes, l.config.Audit.Change(ctx, audit.Created, audit.HubLink, link.HostName, nil, nil)...)
	}
	if _, err := l.config.Documents.Commit(ctx, changes...); err != nil {
		return Link{}, err
	}
	if _, err := l.now.Get(ctx); err != nil {
		return Link{}, err
	}
	return l.Get(link.HostName)
}

// Delete ends the link of a hub under the condition ifMatch, as in Put. Its devices
// stay there, and are assigned to another hub when they register again. While
// registrations, enrollments or groups name it, that is fault 409000, unless force is set.
// It returns the faults 404000 and 412001 too.
func (l *Links) Delete(ctx context.Context, host, ifMatch string, force bool) error {
	hub := l.Find(host)
	if hub == nil {
		if _, _, err := l.table.Get(ctx, key(host)); store.IsUnreadable(err) {
			return l.DeleteUnreadable(ctx, key(host))
		}
		return l.notLinked(host)
	}
	if err := fault.Precondition("linked hub", ifMatch, hub.Link.ETag); err != nil {
		return err
	}
	if !force {
		devices, err := l.config.AssignedTo(ctx, host)
		if err != nil {
			return err
		}
		if devices > 0 {
			return fault.New(fault.Conflict,
				"The hub still has devices (%d assigned to %s). They stay in it, and their twins with them, "+
					"but when they register again they go to another hub as new ones. Let them migrate first "+
					"by linking another hub and weighing this one 0, or unlink it by force", devices, hub.Host())
		}
	}
	if !force {
		if err := l.CheckUnnamed(ctx, hub.Host()); err != nil {
			return err
		}
	}
	match := store.IfMatch(store.UnquoteETag(hub.Link.ETag))
	change := l.table.Delete(key(host), match)
	if hub.Link.Local {
		change = l.table.Put(key(host), match,
			storedLink{Link: Link{HostName: hub.Link.HostName, Local: true}, Unlinked: true})
	}
	_, err := l.config.Documents.Commit(ctx,
		append(l.config.Audit.Change(ctx, audit.Deleted, audit.HubLink, hub.Host(), nil, nil), change)...)
	if _, conflict := store.IsConflict(err); conflict {
		return fault.New(fault.PreconditionFailed, "The linked hub was changed at the same time. Read it again, and "+
			"repeat the change if it is still wanted")
	}
	if err != nil {
		return err
	}
	_, err = l.now.Get(ctx)
	return err
}

// CheckUnnamed returns fault 409000 for a hub that an enrollment or group names.
func (l *Links) CheckUnnamed(ctx context.Context, host string) error {
	if l.config.CheckUnnamed == nil {
		return nil
	}
	return l.config.CheckUnnamed(ctx, host)
}

// DeleteUnreadable removes the record of a link that can't be read, by its key.
func (l *Links) DeleteUnreadable(ctx context.Context, key string) error {
	_, err := l.config.Documents.Commit(ctx,
		append(l.config.Audit.Change(ctx, audit.Deleted, audit.HubLink, key, nil, nil),
			store.Change{Collection: Records, Key: key, Delete: true})...)
	return err
}

const (
	measureEvery   = time.Minute      // the time between two measurements of a hub's latency
	measureTimeout = 10 * time.Second // of one
)

// MeasureLatencies keeps measuring the latencies of the hubs whose links ask for it,
// until stop is closed. A measurement ends with ctx.
func (l *Links) MeasureLatencies(ctx context.Context, stop <-chan struct{}) {
	for {
		for _, hub := range l.All() {
			err := l.config.Panics.Do(panics.Background, func() error { l.measure(ctx, hub); return nil })
			if err != nil && ctx.Err() == nil {
				l.config.Logger.Error("the latency of a hub can't be measured", "error", err)
			}
		}
		timer := time.NewTimer(measureEvery)
		select {
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return
		}
	}
}

func (l *Links) measure(ctx context.Context, hub *Linked) {
	distant, ok := hub.Hub.(interface {
		// Latency returns the time to the hub and back.
		Latency(ctx context.Context) (time.Duration, error)
	})
	if !hub.Link.MeasureLatency || !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	latency, err := distant.Latency(ctx)
	if err != nil {
		l.config.Logger.Warn("the latency of a hub can't be measured", "hub", hub.Host(), "error", err)
		latency = 0
	}
	hub.latency.Store(int64(latency))
}

// key is what a link is stored under: host names have no case.
func key(host string) string { return strings.ToLower(host) }
