package configuration

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// set is all configurations of a hub at one moment, ready to be evaluated. It does not change.
type set struct {
	ordered  []*compiled // the one that wins first
	bySlot   map[int]*compiled
	leaving  []int // the numbers of configurations that are no more, and of which something is left
	revision store.Change
	pass     string

	// What of a twin the target conditions look at.
	written, reported bool
}

// compiled is a configuration that is ready to be evaluated.
type compiled struct {
	stored
	content
	target
}

// load reads all configurations. The revision is read first: when a configuration changes
// meanwhile, commits that rest on this set find another revision.
func (c *Configurations) load(ctx context.Context) (*set, error) {
	s := &set{bySlot: make(map[int]*compiled)}
	now, etag, err := c.revision.Get(ctx, onlyKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
		return nil, err
	}
	match := store.Absent
	if etag != "" {
		match = store.IfMatch(etag)
	}
	s.pass = now.Pass
	s.revision = store.Change{Collection: c.revision.Collection, Key: onlyKey, Match: match, Check: true}
	entries, err := c.stored.List(ctx, "", "", maxSlots)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		one := &compiled{stored: e.Value}
		var problem error
		if one.content, problem = one.Content.parse(); problem == nil {
			one.target, problem = parseTarget(one.TargetCondition, one.kind)
		}
		if problem != nil { // of a record that an earlier version took
			c.config.Logger.Error("a configuration can't be evaluated, and targets nothing", "hub", c.config.Hub,
				"configuration", one.ID, "error", problem)
			one.target = target{none: true}
		}
		for _, path := range one.condition.Paths {
			s.written = s.written || path[0] == "tags"
			s.reported = s.reported || path[0] == "properties"
		}
		s.ordered = append(s.ordered, one)
		s.bySlot[one.Slot] = one
	}
	slices.SortFunc(s.ordered, func(a, b *compiled) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), b.CreatedTimeUTC.Compare(a.CreatedTimeUTC.Time),
			cmp.Compare(a.ID, b.ID))
	})
	taken, err := c.config.Documents.List(ctx, c.slots.Collection, "", "", maxSlots)
	for _, document := range taken {
		if number, err := slotOf(document.Key); err == nil && s.bySlot[number] == nil {
			s.leaving = append(s.leaving, number)
		}
	}
	return s, err
}

// subject is the twin of a device or module that is evaluated.
type subject struct {
	id, deviceID, moduleID string
	twin                   twin.Document
}

func subjectOf(id string, d twin.Document) subject {
	deviceID, moduleID := identity.SplitKey(id)
	return subject{id: id, deviceID: deviceID, moduleID: moduleID, twin: d}
}

// value returns what a target condition finds at a path, nil for nothing.
func (s subject) value(path []string) []byte {
	var found document.Value
	switch path[0] {
	case "deviceId":
		if len(path) == 1 {
			found = document.TextOf(s.deviceID)
		}
	case "moduleId":
		if len(path) == 1 && s.moduleID != "" {
			found = document.TextOf(s.moduleID)
		}
	case "tags":
		found = document.ValueOf(s.twin.Tags)
		if len(path) > 1 {
			found = s.twin.Tags.Get(path[1:]...)
		}
	case "properties":
		found = document.ValueOf(s.twin.Reported.Properties)
		if len(path) > 2 {
			found = s.twin.Reported.Properties.Get(path[2:]...)
		}
	}
	if found.Kind() == document.KindAbsent {
		return nil
	}
	return found.AppendJSON(nil)
}

// holds reports whether a target means the subject.
func (t *target) holds(s subject) bool {
	if t.none {
		return false
	}
	values := make([][]byte, len(t.condition.Paths))
	for i, path := range t.condition.Paths {
		values[i] = s.value(path)
	}
	return t.condition.Holds(values)
}

// decision is which configurations target a subject, and which of them are applied, the one
// that wins first.
type decision struct{ targeting, applied []*compiled }

// decide evaluates all configurations for one subject.
func (s *set) decide(
	ctx context.Context, of subject, isEdge func(context.Context, string) (bool, error),
) (decision, error) {
	var d decision
	whole := make(map[kind]bool) // nothing below it counts
	edge, asked := false, false
	var layers []*compiled
	for _, one := range s.ordered {
		if (one.kind == ofModules) != (of.moduleID != "") || !one.holds(of) {
			continue
		}
		if one.kind == ofEdge {
			if !asked {
				var err error
				if edge, err = isEdge(ctx, of.deviceID); err != nil {
					return d, err
				}
				asked = true
			}
			if !edge {
				continue
			}
		}
		d.targeting = append(d.targeting, one)
		switch {
		case whole[one.kind]:
		case !one.base:
			layers = append(layers, one)
		default:
			whole[one.kind] = true
			if one.kind == ofEdge { // what lies upon it
				d.applied = append(d.applied, layers...)
			}
			d.applied = append(d.applied, one)
		}
	}
	return d, nil
}
