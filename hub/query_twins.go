package hub

import (
	"context"
	"errors"
	"slices"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/query"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

const (
	manyTwins     = 2048    // that a query looks at together at most
	manyTwinBytes = 4 << 20 // likewise, about
)

// twinSource looks through the twins of devices, or of modules, for one page of a query. Of each it reads
// what the condition is about, and the rest only of those that it holds for.
type twinSource struct {
	hub        *Hub
	query      *query.Query
	modules    bool
	identities string // the collection of their identities
	candidates candidates
	filter     *columns // what the condition is about
	all        *columns
	values     [][]byte // of filter
	atOnce     int
	device     store.Document // of the module that was read last
}

// candidates are the ids of the twins that a condition may hold for: those that list
// returns, in order and fewer than limit at the end, or all with the prefix if there is no
// list.
type candidates struct {
	prefix string
	list   func(ctx context.Context, after string, limit int) ([]string, error)
}

// querySource returns what a query looks through.
func (h *Hub) querySource(ctx context.Context, q *query.Query) (querySource, error) {
	s := &twinSource{hub: h, query: q, identities: h.registry.Collection(), values: make([][]byte, q.Filter),
		atOnce: h.queryBudget.Few}
	locate := twin.Locate
	switch q.Source {
	case query.Devices:
	case query.Modules:
		s.modules, s.identities, locate = true, h.registry.ModuleCollection(), twin.LocateModule
	case query.Jobs:
		return h.deviceJobSource(q), nil
	}
	s.filter, s.all = newColumns(q.Paths[:q.Filter], locate), newColumns(q.Paths, locate)
	if q.All() {
		s.filter = s.all // as all are found, all is read at once
	}
	var err error
	s.candidates, err = h.candidatesOf(ctx, q)
	return s.next, err
}

// next is a querySource.
func (s *twinSource) next(ctx context.Context, after string, limit int) (
	found []queryRow, last string, end bool, _ error,
) {
	records, last, end, err := s.read(ctx, after)
	if err != nil {
		return nil, "", false, err
	}
	if records, err = s.complete(ctx, records, s.filter, false); err != nil {
		return nil, "", false, err
	}
	for i, r := range records {
		if !s.query.All() {
			s.filter.fill(s.values, r)
			if !s.query.Holds(s.values) {
				continue
			}
		}
		found = append(found, queryRow{key: r.id})
		records[len(found)-1] = r
		if len(found) == limit && i < len(records)-1 {
			last, end = r.id, false
			break
		}
	}
	whole := s.query.Items == nil
	if records, err = s.complete(ctx, records[:len(found)], s.all, whole); err != nil {
		return nil, "", false, err
	}
	values := make([][]byte, len(records)*len(s.query.Paths))
	for i, r := range records { // fewer than were found, if some are damaged or gone
		found[i] = queryRow{key: r.id, whole: r.whole}
		if !whole {
			found[i].values, values = values[:len(s.query.Paths)], values[len(s.query.Paths):]
			s.all.fill(found[i].values, r)
		}
	}
	return found[:len(records)], last, end, nil
}

// read reads some candidates after a key: their ids, and what of them lies side by side.
func (s *twinSource) read(ctx context.Context, after string) (
	records []*twinRecord, last string, end bool, err error,
) {
	atOnce := s.atOnce
	if s.candidates.list != nil {
		ids, err := s.candidates.list(ctx, after, atOnce)
		if err != nil || len(ids) == 0 {
			return nil, "", true, err
		}
		for _, id := range ids {
			records = append(records, &twinRecord{id: id})
		}
		s.atOnce = min(2*atOnce, manyTwins)
		return records, ids[len(ids)-1], len(ids) < atOnce, nil
	}
	all := s.query.All() && s.query.Items == nil
	identities, twins := all || s.filter.needs(identityParts...), all || s.filter.needs(storedParts...)
	collection := s.identities
	if twins && !identities {
		collection = s.hub.twins.Collection()
	}
	documents, err := s.hub.config.Documents.List(ctx, collection, s.candidates.prefix, after, atOnce)
	if err != nil || len(documents) == 0 {
		return nil, "", true, err
	}
	last, end = documents[len(documents)-1].Key, len(documents) < atOnce
	several := make([]twinRecord, len(documents))
	size := 0
	for i, d := range documents {
		size += len(d.Value)
		if _, moduleID := identity.SplitKey(d.Key); s.modules != (moduleID != "") {
			continue // twins of both lie together
		}
		several[i].id = d.Key
		if twins && !identities {
			several[i].stored = d
		} else {
			several[i].identity = d
		}
		records = append(records, &several[i])
	}
	if twins && identities {
		more, err := s.readTwins(ctx, records, after, last)
		if err != nil {
			return nil, "", false, err
		}
		size += more
	}
	s.atOnce = min(2*atOnce, manyTwins, 1+manyTwinBytes*len(documents)/(1+size))
	return records, last, end, nil
}

// readTwins reads the twins of records, which lie after one key and up to another, and
// returns how many bytes they have.
func (s *twinSource) readTwins(ctx context.Context, records []*twinRecord, after, last string) (size int, _ error) {
	atOnce := len(records)
	for next := 0; after < last && next < len(records); {
		documents, err := s.hub.config.Documents.List(ctx, s.hub.twins.Collection(), s.candidates.prefix, after, atOnce)
		if err != nil {
			return 0, err
		}
		for _, d := range documents {
			for next < len(records) && records[next].id < d.Key {
				next++
			}
			if next < len(records) && records[next].id == d.Key {
				records[next].stored = d
				size += len(d.Value)
			}
		}
		if len(documents) < atOnce {
			break
		}
		after = documents[len(documents)-1].Key
	}
	return size, nil
}

// What of a record is read for the parts of its twin.
var (
	identityParts = []twin.Part{twin.Identity, twin.Device, twin.Activity, twin.Several}
	storedParts   = []twin.Part{twin.Stored, twin.Several}
)

// complete reads what columns need of records and was not read yet; with whole, all of
// their twins. It returns those that are there and can be read.
func (s *twinSource) complete(ctx context.Context, records []*twinRecord, c *columns, whole bool) (
	[]*twinRecord, error,
) {
	identities := whole || s.candidates.list != nil || c.needs(identityParts...) // of a list, some may not be there
	twins := whole || c.needs(storedParts...)
	there := records[:0]
	for _, r := range records {
		err := errors.Join(s.get(ctx, &r.identity, identities, s.identities, r.id),
			s.get(ctx, &r.stored, twins, s.hub.twins.Collection(), r.id))
		if err == nil && s.modules && (whole || c.needs(twin.Device, twin.Several)) {
			err = s.getDevice(ctx, r)
		}
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted meanwhile, or in an index that is behind
		}
		if err != nil {
			return nil, err
		}
		there = append(there, r)
	}
	var err error
	switch whole = whole || c.needs(twin.Several); {
	case whole || c.needs(twin.Activity):
		if there, err = s.describe(ctx, there); err != nil {
			return nil, err
		}
	case c.needs(twin.Connection):
		s.connected(ctx, there)
	}
	if whole {
		if err := s.configured(ctx, there); err != nil {
			return nil, err
		}
		return slices.DeleteFunc(there, func(r *twinRecord) bool { return !s.describeWhole(r) }), nil
	}
	return there, nil
}

// get reads a document that is needed and was not read yet.
func (s *twinSource) get(ctx context.Context, d *store.Document, needed bool, collection, id string) (err error) {
	if needed && d.Value == nil {
		*d, err = s.hub.config.Documents.Get(ctx, collection, id)
	}
	return err
}

// describe reads the identities of records and what is known beside them, and returns
// those that can be read.
func (s *twinSource) describe(ctx context.Context, records []*twinRecord) ([]*twinRecord, error) {
	there := records[:0]
	var states []connection.Described
	for _, r := range records {
		if state, err := s.decode(r); err == nil { // else it is logged, and listed by berth data unreadable
			there, states = append(there, r), append(states, state)
		}
	}
	if err := s.hub.describeAll(ctx, states); err != nil {
		return nil, err
	}
	for _, r := range there {
		if r.connection == "" {
			r.connection = r.state.ConnectionState
		}
		r.state.ConnectionState = r.connection // as the condition saw it
	}
	return there, nil
}

// decode reads the identity of a record.
func (s *twinSource) decode(r *twinRecord) (connection.Described, error) {
	if !s.modules {
		device, err := s.hub.registry.Decode(r.identity)
		r.state = &device.State
		r.describe = func(d twin.Document) twin.Twin { return d.Describe(device) }
		return connection.Described{ID: r.id, Generation: device.GenerationID, State: r.state}, err
	}
	module, err := s.hub.registry.DecodeModule(r.identity)
	if err != nil {
		return connection.Described{}, err
	}
	var device identity.Device
	if r.device.Value != nil {
		device, err = s.hub.registry.Decode(r.device)
	}
	r.state = &module.State
	r.describe = func(d twin.Document) twin.Twin { return d.DescribeModule(module, device) }
	return connection.Described{ID: r.id, Generation: module.GenerationID, State: r.state}, err
}

// getDevice reads the identity of the device that a module is of. Modules of one device come
// one after the other.
func (s *twinSource) getDevice(ctx context.Context, r *twinRecord) (err error) {
	deviceID, _ := identity.SplitKey(r.id)
	if s.device.Key != deviceID {
		s.device = store.Document{}
		err = s.get(ctx, &s.device, true, s.hub.registry.Collection(), deviceID)
	}
	r.device = s.device
	return err
}

// connected finds out which of the records' devices are connected.
func (s *twinSource) connected(ctx context.Context, records []*twinRecord) {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.id
	}
	present := s.hub.connections.Present(ctx, ids...)
	for i, r := range records {
		switch {
		case r.connection != "": // as the condition saw it
		case present[i]:
			r.connection = identity.Connected
		default:
			r.connection = identity.Disconnected
		}
	}
}

// configured finds out which configurations target the records.
func (s *twinSource) configured(ctx context.Context, records []*twinRecord) error {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.id
	}
	statuses, err := s.hub.configurations.Statuses(ctx, ids...)
	for _, r := range records {
		r.configurations = statuses[r.id]
	}
	return err
}

// describeWhole makes the twin of a record as back ends see it, and reports whether it can
// be read.
func (s *twinSource) describeWhole(r *twinRecord) bool {
	stored, err := s.hub.twins.Decode(r.stored)
	if err == nil {
		described := r.describe(stored)
		described.Configurations = r.configurations
		r.whole, err = document.Marshal(described)
	}
	return err == nil
}
