package configuration

import (
	"context"
	"errors"
	"slices"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// evaluate has one identity be what the configurations want of it: its state, and its desired
// properties. With assert, properties that somebody else has changed since are written again;
// without, only when another configuration is to be applied, or it was updated. marked are the
// changes that go with it. It is safe to repeat, and does nothing for what is as it should be.
func (c *Configurations) evaluate(ctx context.Context, id string, assert bool, marked ...store.Change) error {
	defer c.config.LockDesired(id)()
	type outcome struct {
		changed twin.Document
		notice  []byte
	}
	out, err := store.RetryOnConflict(ctx, func() (outcome, error) {
		all, err := c.set.Get(ctx)
		if err != nil {
			return outcome{}, err
		}
		before, err := c.readState(ctx, id)
		if err != nil {
			return outcome{}, err
		}
		present, err := c.config.Twins.Get(ctx, id)
		switch {
		case errors.Is(err, fault.DeviceNotFound), store.IsUnreadable(err):
			return outcome{}, c.forget(ctx, id, before, all, marked)
		case err != nil:
			return outcome{}, err
		}
		p, err := c.plan(ctx, all, subjectOf(id, present), before, assert)
		if err != nil {
			return outcome{}, err
		}
		changes := marked
		if p.any() {
			changes = append(slices.Clone(marked), all.revision)
			changes = append(changes, c.prepareState(id, before, p.after, all)...)
			if p.put == nil {
				changes = append(changes, c.config.Twins.Unchanged(id, present))
			} else {
				changes = append(changes, *p.put)
			}
		}
		if len(changes) == 0 {
			return outcome{}, nil
		}
		_, err = c.config.Documents.Commit(ctx, changes...)
		if at, conflict := store.IsConflict(err); conflict && at < len(marked) {
			return outcome{}, nil // it has changed again, and is evaluated for that
		}
		return outcome{p.changed, p.notice}, err
	})
	if err == nil && out.notice != nil {
		c.config.NotifyDesired(ctx, id, out.changed.Generation, out.changed.Desired.Version, out.notice)
	}
	return err
}

// forget leaves an identity without a state that has no twin, or one that can't be read.
func (c *Configurations) forget(
	ctx context.Context, id string, before state, all *set, marked []store.Change,
) error {
	changes := marked
	if before.etag != "" {
		changes = append(slices.Clone(marked), c.prepareState(id, before, state{}, all)...)
	}
	if len(changes) == 0 {
		return nil
	}
	_, err := c.config.Documents.Commit(ctx, changes...)
	if at, conflict := store.IsConflict(err); conflict && at < len(marked) {
		return nil
	}
	return err
}

// plan is what is to become of an identity.
type plan struct {
	after   state
	changes bool // the state is another

	put     *store.Change // of the twin, nil to leave it
	changed twin.Document
	notice  []byte
}

func (p plan) any() bool { return p.changes || p.put != nil }

// plan decides what is to become of an identity, given what it is.
func (c *Configurations) plan(
	ctx context.Context, all *set, of subject, before state, assert bool,
) (plan, error) {
	d, err := all.decide(ctx, of, c.config.IsEdge)
	if err != nil {
		return plan{}, err
	}
	p := plan{after: state{Targets: standings(d.targeting, d.applied)}}
	p.changes = before.unreadable || !slices.Equal(before.Targets, p.after.Targets)
	if !p.changes && !assert {
		p.after.Problem = before.Problem
		return p, nil
	}
	former := all.former(before)
	if p.put, p.changed, p.notice, err = c.write(of, former, d.applied); errors.Is(err, fault.ArgumentInvalid) {
		// What does not fit is not applied, nor what comes after it: the operator said which
		// one wins.
		p.after = state{Targets: standings(d.targeting, nil), Problem: fault.From(err).Message}
		p.changes = before.unreadable || before.Problem != p.after.Problem ||
			!slices.Equal(before.Targets, p.after.Targets)
		p.put, p.changed, p.notice, err = c.write(of, former, nil)
	}
	return p, err
}

// standings are those of the configurations that target an identity, in the order of their
// precedence.
func standings(targeting, applied []*compiled) []standing {
	var all []standing
	for _, one := range targeting {
		s := standing{ID: one.ID, Slot: one.Slot}
		if slices.Contains(applied, one) {
			s.Applied, s.Version = true, one.Version
		}
		all = append(all, s)
	}
	return all
}

// former are the configurations that were applied, of those that there still are. What one
// that was deleted has written stays.
func (s *set) former(before state) (former []*compiled) {
	for _, t := range before.Targets {
		if one := s.bySlot[t.Slot]; t.Applied && one != nil && one.ID == t.ID {
			former = append(former, one)
		}
	}
	return former
}

// write returns the change of a twin's desired properties by which former configurations give
// way to others, the one that wins first; nil when it has them already.
func (c *Configurations) write(
	of subject, former, applied []*compiled,
) (*store.Change, twin.Document, []byte, error) {
	desired := of.twin.Desired.Properties
	wanted := desired.Clone()
	for _, one := range former {
		for _, part := range one.partsFor("") {
			wanted = withdraw(wanted, part.settings)
		}
	}
	for _, one := range slices.Backward(applied) {
		for _, part := range one.partsFor("") {
			if part.replace {
				wanted = document.Object{}
			}
			wanted.Merge(part.settings)
		}
	}
	patch, any := difference(desired, wanted)
	if !any {
		return nil, of.twin, nil, nil
	}
	change := twin.Patch{Desired: &patch}
	changed, put, err := c.config.Twins.PreparePatch(of.id, of.twin, change)
	if err != nil {
		return nil, of.twin, nil, err
	}
	return &put, changed, changed.DesiredNotice(change, false), nil
}

// partsFor returns what content writes to the twin of a module, or of the target itself.
func (c content) partsFor(module string) (parts []part) {
	for _, p := range c.parts {
		if p.module == module {
			parts = append(parts, p)
		}
	}
	return parts
}
