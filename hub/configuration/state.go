package configuration

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
)

// state is what configurations are to one identity. There is none of an identity that none
// targets.
type state struct {
	Targets []standing `json:"targets"`
	Problem string     `json:"problem,omitempty"` // why the one that wins is not applied

	etag       string
	unreadable bool
}

// standing is one configuration that targets an identity.
type standing struct {
	ID      string `json:"id"`
	Slot    int    `json:"slot"`
	Applied bool   `json:"applied,omitempty"`
	Version int64  `json:"version,omitempty"` // of the configuration that was applied
}

func slotOf(key string) (int, error) { return strconv.Atoi(key) }

// targeted and applied are the collections of the identities that the configuration of a
// number targets and is applied to. They are there to be counted and gone through.
func (c *Configurations) targeted(number int) string {
	return c.config.Prefix + "targeted-" + slotKey(number)
}

func (c *Configurations) applied(number int) string {
	return c.config.Prefix + "applied-" + slotKey(number)
}

// readState returns the state of an identity, an empty one when there is none or it can't be
// read: it is written anew then.
func (c *Configurations) readState(ctx context.Context, id string) (state, error) {
	s, etag, err := c.states.Get(ctx, id)
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound):
		err = nil
	case store.IsUnreadable(err):
		s, err = state{unreadable: true}, nil
	}
	s.etag = etag
	return s, err
}

// prepareState returns what is to be committed so that an identity has another state.
func (c *Configurations) prepareState(id string, before, after state, all *set) []store.Change {
	match := store.Absent
	if before.etag != "" {
		match = store.IfMatch(before.etag)
	}
	var changes []store.Change
	switch {
	case len(after.Targets) > 0:
		changes = append(changes, c.states.Put(id, match, after))
	case before.etag != "":
		changes = append(changes, c.states.Delete(id, match))
	default:
		changes = append(changes, store.Change{Collection: c.states.Collection, Key: id, Match: match, Check: true})
	}
	index := func(collection string, was, is bool) {
		switch {
		case is && !was:
			changes = append(changes, store.Change{Collection: collection, Key: id, Value: []byte("{}")})
		case was && !is:
			changes = append(changes, store.Change{Collection: collection, Key: id, Delete: true})
		}
	}
	type presence struct {
		id                string
		targeted, applied [2]bool // before and after
	}
	numbers, seen := []int{}, make(map[int]*presence)
	at := func(number int) *presence {
		if seen[number] == nil {
			seen[number] = new(presence)
			numbers = append(numbers, number)
		}
		return seen[number]
	}
	for i, targets := range [][]standing{before.Targets, after.Targets} {
		for _, t := range targets {
			p := at(t.Slot)
			if p.id != t.ID { // nothing of another one counts
				*p = presence{id: t.ID}
			}
			p.targeted[i], p.applied[i] = true, t.Applied
		}
	}
	if before.unreadable && all != nil { // whatever it was
		for _, one := range all.ordered {
			p := at(one.Slot)
			p.targeted[0], p.applied[0] = !p.targeted[1], !p.applied[1]
		}
	}
	for _, number := range numbers {
		p := seen[number]
		index(c.targeted(number), p.targeted[0], p.targeted[1])
		index(c.applied(number), p.applied[0], p.applied[1])
	}
	return changes
}

// Repair makes the state of an identity anew that can't be read, with the index, and reports
// whether the collection is that of states.
func (c *Configurations) Repair(ctx context.Context, collection, key string) (bool, error) {
	if collection != c.states.Collection {
		return false, nil
	}
	return true, c.evaluate(ctx, key, true)
}

// PrepareDelete returns what is to be committed with the end of an identity, so that no
// configuration counts it.
func (c *Configurations) PrepareDelete(ctx context.Context, id string) ([]store.Change, error) {
	before, err := c.readState(ctx, id)
	if err != nil {
		return nil, err
	}
	all, err := c.set.Get(ctx)
	if err != nil {
		return nil, err
	}
	return append(c.prepareState(id, before, state{}, all), c.due.Delete(id, store.Always)), nil
}

// PrepareDue returns what is to be committed with whatever of an identity may have a
// configuration target it, or target it no longer.
func (c *Configurations) PrepareDue(id string) []store.Change {
	if all, err := c.set.GetOrFormer(); err == nil && len(all.ordered) == 0 {
		return nil
	}
	return []store.Change{c.due.Put(id, store.Always, struct{}{})}
}

// PrepareTwinDue is PrepareDue for a twin of which a back end has written something, or the
// device has reported something.
func (c *Configurations) PrepareTwinDue(id string, written, reported bool) []store.Change {
	if all, err := c.set.GetOrFormer(); err == nil && !(written && all.written || reported && all.reported) {
		return nil
	}
	return []store.Change{c.due.Put(id, store.Always, struct{}{})}
}

// Statuses returns what configurations are to identities, as their twins have it:
// {"id":{"status":"Applied"}}. Those that none targets are left out. The agent of an IoT Edge
// device tells of its deployments. The ids are in ascending
// order: few of many have a state, so it reads those that there are between the first and the
// last.
func (c *Configurations) Statuses(ctx context.Context, ids ...string) (map[string]document.Object, error) {
	found := make(map[string]document.Object)
	all, err := c.set.Get(ctx)
	if err != nil || len(ids) == 0 || len(all.ordered) == 0 {
		return found, err
	}
	add := func(id string, s state) {
		var statuses document.Object
		for _, t := range s.Targets {
			present := all.bySlot[t.Slot]
			if present == nil || present.ID != t.ID {
				continue // deleted
			}
			if _, module := identity.SplitKey(id); module == identity.EdgeAgent && present.kind != ofEdge {
				continue
			}
			status := Targeted
			if t.Applied {
				status = Applied
			}
			var one document.Object
			one.Set("status", document.TextOf(string(status)))
			statuses.Set(t.ID, document.ValueOf(one))
		}
		if statuses.Len() > 0 {
			found[id] = statuses
		}
	}
	for _, id := range ids {
		if device, module := identity.SplitKey(id); module == identity.EdgeAgent {
			s, err := c.readState(ctx, device)
			if err != nil {
				return nil, err
			}
			add(id, s)
		}
	}
	first, last := ids[0], ids[len(ids)-1]
	s, err := c.readState(ctx, first)
	if err != nil {
		return nil, err
	}
	add(first, s)
	for after := first; after < last; {
		entries, err := c.states.List(ctx, "", after, page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Key <= last {
				add(e.Key, e.Value)
			}
			after = e.Key
		}
		if len(entries) < page {
			break
		}
	}
	return found, nil
}

// Candidates returns the ids that a configuration may target, or of modules, as a query goes
// through them; otherwise when they are not known.
func (c *Configurations) Candidates(id string, modules bool,
	otherwise func(context.Context, string, int) ([]string, error),
) func(context.Context, string, int) ([]string, error) {
	all, err := c.set.GetOrFormer()
	if err != nil {
		return otherwise
	}
	for _, one := range all.ordered {
		if one.ID != id || (one.kind == ofModules) != modules {
			continue
		}
		return func(ctx context.Context, after string, limit int) (ids []string, _ error) {
			documents, err := c.config.Documents.List(ctx, c.targeted(one.Slot), "", after, limit)
			for _, document := range documents {
				ids = append(ids, document.Key)
			}
			return ids, err
		}
	}
	return otherwise
}

// Problem returns why no configuration is applied to an identity that some target, "" when
// there is none: the content of the one that wins does not fit into its twin.
func (c *Configurations) Problem(ctx context.Context, id string) (string, error) {
	s, err := c.readState(ctx, id)
	return s.Problem, err
}

var errDamaged = errors.New("it has no configurations")

// Intact implements store.Checkable.
func (s *state) Intact() error {
	if len(s.Targets) == 0 {
		return errDamaged
	}
	for _, t := range s.Targets {
		if t.Slot < 0 || t.Slot >= maxSlots || t.ID == "" {
			return fmt.Errorf("it has a configuration %.140q with the number %d", t.ID, t.Slot)
		}
	}
	return nil
}

var _ store.Checkable = (*state)(nil)
