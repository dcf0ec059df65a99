package configuration

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// plan is what is to become of an identity.
type plan struct {
	after   state
	changes bool     // the state is another
	writes  []write  // of twins: its own, and those of its modules
	missing []string // modules that are to be made first
}

func (p plan) any() bool { return p.changes || len(p.writes) > 0 || len(p.missing) > 0 }

// write is a change of the desired properties of one twin.
type write struct {
	id      string
	puts    []store.Change
	changed twin.Document
	notice  []byte
}

// evaluate has one identity be what the configurations want of it: its state, and its desired
// properties. With assert, properties that somebody else has changed since are written again;
// without, only when another configuration is to be applied, or it was updated. marked are the
// changes that go with it. It is safe to repeat, and does nothing for what is as it should be.
func (c *Configurations) evaluate(ctx context.Context, id string, assert bool, marked ...store.Change) error {
	problem := "" // why modules of a deployment can't be made
	ensure := func(module string) error {
		err := c.config.EnsureModule(ctx, id, module)
		if problem = unfit(err); problem != "" {
			return nil
		}
		return err
	}
	return c.change(ctx, id, ensure, func() (plan, []store.Change, error) {
		all, err := c.set.Get(ctx)
		if err != nil {
			return plan{}, nil, err
		}
		before, err := c.readState(ctx, id)
		if err != nil {
			return plan{}, nil, err
		}
		present, err := c.config.Twins.Get(ctx, id)
		if isNotFound(err) || store.IsUnreadable(err) { // it has no state
			changes := marked
			if before.etag != "" {
				changes = append(slices.Clone(marked), c.prepareState(id, before, state{}, all)...)
			}
			return plan{}, changes, nil
		}
		if err != nil {
			return plan{}, nil, err
		}
		p, err := c.plan(ctx, all, subjectOf(id, present), before, assert, problem)
		if err != nil || !p.any() {
			return p, marked, err
		}
		changes := append(slices.Clone(marked), all.revision)
		changes = append(changes, c.prepareState(id, before, p.after, all)...)
		if !slices.ContainsFunc(p.writes, func(w write) bool { return w.id == id }) {
			changes = append(changes, c.config.Twins.Unchanged(id, present))
		}
		return p, changes, nil
	}, len(marked))
}

// isNotFound reports whether an error says that there is no such device or module.
func isNotFound(err error) bool {
	return errors.Is(err, fault.DeviceNotFound) || errors.Is(err, fault.ModuleNotFound)
}

// change commits what prepare returns with the writes of its plan, again while somebody else
// is faster, and tells the devices. Modules that are missing are ensured first. A conflict of
// the first so many changes says that it is somebody else's turn.
func (c *Configurations) change(
	ctx context.Context, id string, ensure func(module string) error,
	prepare func() (plan, []store.Change, error), first int,
) error {
	locked := []string{id}
	for {
		p, err := c.tryChange(ctx, locked, prepare, first)
		if err != nil {
			return err
		}
		for _, module := range p.missing {
			if err := ensure(module); err != nil {
				return err
			}
		}
		if p.locks(locked) && len(p.missing) == 0 {
			return nil
		}
		for _, w := range p.writes {
			if !slices.Contains(locked, w.id) {
				locked = append(locked, w.id)
			}
		}
	}
}

// locks reports whether the locks of these ids are all that the plan needs.
func (p plan) locks(ids []string) bool {
	return !slices.ContainsFunc(p.writes, func(w write) bool { return !slices.Contains(ids, w.id) })
}

// tryChange is change under the locks of these ids. It changes nothing when the plan needs
// others, or modules that are not there.
func (c *Configurations) tryChange(
	ctx context.Context, locked []string, prepare func() (plan, []store.Change, error), first int,
) (plan, error) {
	defer c.config.LockDesired(locked...)()
	p, err := store.RetryOnConflict(ctx, func() (plan, error) {
		p, changes, err := prepare()
		if err != nil || len(p.missing) > 0 || !p.locks(locked) {
			return p, err
		}
		for _, w := range p.writes {
			changes = append(changes, w.puts...)
		}
		if len(changes) == 0 {
			return plan{}, nil
		}
		_, err = c.config.Documents.Commit(ctx, changes...)
		if at, conflict := store.IsConflict(err); conflict && at < first {
			return plan{}, nil
		}
		return p, err
	})
	if err != nil || len(p.missing) > 0 || !p.locks(locked) {
		return p, err
	}
	for _, w := range p.writes {
		c.config.NotifyDesired(ctx, w.id, w.changed.Generation, w.changed.Desired.Version, w.notice)
	}
	return p, nil
}

// plan decides what is to become of an identity, given what it is, and why nothing can be
// applied to it, if that is known.
func (c *Configurations) plan(
	ctx context.Context, all *set, of subject, before state, assert bool, problem string,
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
	if problem == "" {
		p.writes, p.missing, err = c.write(ctx, of, former, d.applied)
		problem = unfit(err)
	}
	if problem != "" {
		// What does not fit is not applied, nor what comes after it: the operator said which
		// one wins.
		p.after = state{Targets: standings(d.targeting, nil), Problem: problem}
		p.changes = before.unreadable || before.Problem != p.after.Problem ||
			!slices.Equal(before.Targets, p.after.Targets)
		p.writes, p.missing, err = c.write(ctx, of, former, nil)
	}
	return p, err
}

// unfit says why content does not fit into twins, "" when the error is none of that.
func unfit(err error) string {
	var problem *fault.Error
	switch {
	case store.IsUnreadable(err):
		return fault.ForOperator(err).Message
	case errors.As(err, &problem) && problem.Code.Status() < 500:
		return problem.Message
	}
	return ""
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

// write returns the changes of desired properties by which former configurations give way to
// others, the one that wins first, and the modules that have to be made before.
func (c *Configurations) write(
	ctx context.Context, of subject, former, applied []*compiled,
) (writes []write, missing []string, _ error) {
	for _, module := range modulesOf(former, applied) {
		id, present := of.id, of.twin
		if module != "" {
			id = identity.ModuleKey(of.deviceID, module)
			var err error
			present, err = c.config.Twins.Get(ctx, id)
			if errors.Is(err, fault.ModuleNotFound) {
				if slices.ContainsFunc(applied, func(one *compiled) bool { return len(one.partsFor(module)) > 0 }) {
					missing = append(missing, module)
				}
				continue
			}
			if err != nil {
				return nil, nil, fmt.Errorf("the module %q: %w", module, err)
			}
		}
		patch, any := difference(present.Desired.Properties, settle(present.Desired.Properties, module, former, applied))
		if !any {
			continue
		}
		change := twin.Patch{Desired: &patch}
		changed, puts, err := c.config.Twins.PreparePatch(id, present, change)
		if err != nil {
			return nil, nil, err
		}
		writes = append(writes, write{id, puts, changed, changed.DesiredNotice(change, false)})
	}
	return writes, missing, nil
}

// modulesOf names the modules that configurations write to, "" for the target itself.
func modulesOf(configurations ...[]*compiled) (modules []string) {
	for _, one := range slices.Concat(configurations...) {
		for _, p := range one.parts {
			if !slices.Contains(modules, p.module) {
				modules = append(modules, p.module)
			}
		}
	}
	return modules
}

// settle returns what desired properties become when former configurations give way to
// others, the one that wins first.
func settle(desired document.Object, module string, former, applied []*compiled) document.Object {
	wanted := desired.Clone()
	for _, one := range former {
		for _, part := range one.partsFor(module) {
			wanted = withdraw(wanted, part.settings)
		}
	}
	for _, one := range slices.Backward(applied) {
		for _, part := range one.partsFor(module) {
			if part.replace {
				wanted = document.Object{}
			}
			wanted.Merge(part.settings)
		}
	}
	return wanted
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

// Apply writes content to the modules of one IoT Edge device, which stays until a deployment
// that targets the device is evaluated. It returns fault 404001, 400004 for a device that is
// no IoT Edge device, and 400402 for content that can't be applied.
func (c *Configurations) Apply(ctx context.Context, deviceID string, given Content) error {
	parsed, err := given.parse()
	if err != nil {
		return err
	}
	present, err := c.config.Twins.Get(ctx, deviceID)
	if err != nil && !store.IsUnreadable(err) {
		return err
	}
	edge, err := c.config.IsEdge(ctx, deviceID)
	if err != nil {
		return err
	}
	if !edge {
		return fault.New(fault.ArgumentInvalid,
			"Not an Azure IoT Edge device: %q has no capability iotEdge, and content is applied to such alone", deviceID)
	}
	if parsed.kind != ofEdge {
		return fault.New(fault.InvalidContent, "content must have modulesContent, which is for one IoT Edge device")
	}
	one := &compiled{content: parsed}
	ensure := func(module string) error { return c.config.EnsureModule(ctx, deviceID, module) }
	err = c.change(ctx, deviceID, ensure, func() (plan, []store.Change, error) {
		writes, missing, err := c.write(ctx, subjectOf(deviceID, present), nil, []*compiled{one})
		return plan{writes: writes, missing: missing}, nil, err
	}, 0)
	if errors.Is(err, fault.ArgumentInvalid) {
		return fault.New(fault.InvalidContent, "%v", fault.ReasonOf(err))
	}
	return err
}
