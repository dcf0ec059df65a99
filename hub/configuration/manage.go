package configuration

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// stored is a configuration as it is kept. What is counted and computed of it is not.
type stored struct {
	Configuration
	Slot    int   `json:"slot"`
	Version int64 `json:"version"` // of the whole: what an update brings is applied again
}

// slot is a number that a configuration has, and keeps after its end until nothing is left
// of it. The collections of its targets have the number in their names: ids are too long for
// that.
type slot struct {
	ID string `json:"id"`
}

// revision moves with each change of any configuration.
type revision struct {
	// Pass moves with those for which all identities have to be evaluated.
	Pass string `json:"pass"`
}

const (
	onlyKey  = "all" // of collections with one document
	maxSlots = 1000
)

func slotKey(number int) string { return fmt.Sprintf("%03d", number) }

// etagOf is how the ETag of a document is shown: in base64, as Azure's are.
func etagOf(etag string) string { return base64.StdEncoding.EncodeToString([]byte(etag)) }

// Get returns a configuration with its metrics. It returns fault 404301 when there is none, and
// 400004 for what can't be an id.
func (c *Configurations) Get(ctx context.Context, id string) (Configuration, error) {
	if err := checkID(id); err != nil {
		return Configuration{}, err
	}
	found, etag, err := c.stored.Get(ctx, id)
	if err != nil {
		return Configuration{}, notFound(id, err)
	}
	found.ETag = etagOf(etag)
	described, err := c.describe(ctx, found)
	if err != nil {
		return Configuration{}, err
	}
	return described[0], nil
}

// List returns all configurations with their metrics, in the order of their ids, but for
// those that can't be read.
func (c *Configurations) List(ctx context.Context) ([]Configuration, error) {
	entries, err := c.stored.List(ctx, "", "", maxSlots)
	if err != nil {
		return nil, err
	}
	found := make([]stored, len(entries))
	for i, e := range entries {
		found[i] = e.Value
		found[i].ETag = etagOf(e.ETag)
	}
	return c.describe(ctx, found...)
}

// notFound makes fault 404301 of the error of a store that has no such document.
func notFound(id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fault.New(fault.ConfigurationNotFound, "There is no configuration %.128q", id)
	}
	return err
}

// Create adds a configuration. It returns fault 409401 when the id is taken, 413101 when there
// are too many, and those of check for what is wrong in it. One that can't be read is replaced.
func (c *Configurations) Create(ctx context.Context, wanted Configuration) (Configuration, error) {
	if err := c.check(&wanted); err != nil {
		return Configuration{}, err
	}
	return c.commit(ctx, wanted.ID, func(before *stored, etag string) (stored, []store.Change, error) {
		if before != nil {
			return stored{}, nil, fault.New(fault.ConfigurationExists,
				"There is a configuration %q already. To change it send If-Match with its ETag, or with *", wanted.ID)
		}
		number, changes, err := c.takeSlot(ctx, wanted.ID)
		wanted.CreatedTimeUTC.Time = c.config.Now().UTC()
		wanted.LastUpdatedTimeUTC = wanted.CreatedTimeUTC
		return stored{wanted, number, 1}, changes, err
	})
}

// Update changes what may be changed of a configuration, all but its content: as in Azure,
// that stays what it was, and must be sent all the same. ifMatch is "*" or the ETag that it
// must have. It returns the faults 404301, 412001 and those of check.
func (c *Configurations) Update(ctx context.Context, wanted Configuration, ifMatch string) (Configuration, error) {
	if err := c.check(&wanted); err != nil {
		return Configuration{}, err
	}
	return c.commit(ctx, wanted.ID, func(before *stored, etag string) (stored, []store.Change, error) {
		if before == nil {
			return stored{}, nil, notFound(wanted.ID, store.ErrNotFound)
		}
		if err := fault.Precondition("configuration", ifMatch, etagOf(etag)); err != nil {
			return stored{}, nil, err
		}
		after := *before
		after.SchemaVersion, after.Labels, after.Metrics = wanted.SchemaVersion, wanted.Labels, wanted.Metrics
		after.TargetCondition, after.Priority = wanted.TargetCondition, wanted.Priority
		after.LastUpdatedTimeUTC.Time = c.config.Now().UTC()
		after.Version++
		return after, nil, nil
	})
}

// commit writes a configuration that change makes of the one that is there, nil for none, and
// has all identities evaluated.
func (c *Configurations) commit(
	ctx context.Context, id string, change func(before *stored, etag string) (stored, []store.Change, error),
) (Configuration, error) {
	return store.RetryOnConflict(ctx, func() (Configuration, error) {
		present, etag, err := c.stored.Get(ctx, id)
		before, match := &present, store.IfMatch(etag)
		if err != nil {
			if !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
				return Configuration{}, err
			}
			before = nil
			if etag == "" {
				match = store.Absent
			}
		}
		after, changes, err := change(before, etag)
		if err != nil {
			return Configuration{}, err
		}
		after.ETag, after.SystemMetrics, after.Metrics.Results = "", Metrics{}, document.Object{}
		changes = append([]store.Change{c.stored.Put(id, match, after)}, changes...)
		changes = append(changes, c.revision.Put(onlyKey, store.Always, revision{Pass: fault.NewTrackingID()}))
		etags, err := c.config.Documents.Commit(ctx, changes...)
		if err != nil {
			return Configuration{}, err
		}
		after.ETag = etagOf(etags[0])
		described, err := c.describe(ctx, after)
		if err != nil {
			return Configuration{}, err
		}
		return described[0], nil
	})
}

// takeSlot returns the lowest number that is free, and what is to be committed to have it. It
// returns fault 413101 when there are as many configurations as there may be.
func (c *Configurations) takeSlot(ctx context.Context, id string) (int, []store.Change, error) {
	count, err := c.stored.Count(ctx)
	if err != nil {
		return 0, nil, err
	}
	taken, err := c.config.Documents.List(ctx, c.slots.Collection, "", "", maxSlots)
	if err != nil {
		return 0, nil, err
	}
	if count >= c.config.Limit || len(taken) >= maxSlots {
		return 0, nil, fault.New(fault.TooManyConfigurations,
			"There are %d configurations, and a hub has at most %d. Delete one first", count, c.config.Limit)
	}
	number := 0
	for number < len(taken) && taken[number].Key == slotKey(number) {
		number++
	}
	return number, []store.Change{c.slots.Put(slotKey(number), store.Absent, slot{ID: id})}, nil
}

// Delete removes a configuration. What it has written into desired properties stays, until
// another one writes something else there. ifMatch is "", "*" or the ETag that it must have. It
// returns the faults 404301, 412001, and 400004 for what can't be an id.
func (c *Configurations) Delete(ctx context.Context, id, ifMatch string) error {
	if err := checkID(id); err != nil {
		return err
	}
	_, err := store.RetryOnConflict(ctx, func() (struct{}, error) {
		_, etag, err := c.stored.Get(ctx, id)
		if err != nil && !store.IsUnreadable(err) {
			return struct{}{}, notFound(id, err)
		}
		if err := fault.Precondition("configuration", ifMatch, etagOf(etag)); err != nil {
			return struct{}{}, err
		}
		now, _, err := c.revision.Get(ctx, onlyKey)
		if err != nil {
			now.Pass = fault.NewTrackingID()
		}
		changes := []store.Change{c.stored.Delete(id, store.IfMatch(etag)), c.results.Delete(id, store.Always),
			c.revision.Put(onlyKey, store.Always, now)}
		_, err = c.config.Documents.Commit(ctx, changes...)
		return struct{}{}, err
	})
	return err
}

// describe returns configurations with what is counted of them: how many identities they
// target and are applied to, now, and what the metrics had when they were evaluated last.
func (c *Configurations) describe(ctx context.Context, found ...stored) ([]Configuration, error) {
	if len(found) == 0 {
		return []Configuration{}, nil
	}
	var collections []string
	for _, one := range found {
		collections = append(collections, c.targeted(one.Slot), c.applied(one.Slot))
	}
	counts, err := c.config.Documents.Count(ctx, collections...)
	if err != nil {
		return nil, err
	}
	described := make([]Configuration, len(found))
	for i, one := range found {
		d := one.Configuration
		d.SystemMetrics = Metrics{Results: document.Object{}, Queries: d.systemQueries()}
		evaluated, _, err := c.results.Get(ctx, d.ID)
		switch {
		case err == nil && evaluated.Slot == one.Slot:
			d.SystemMetrics.Results.Set(targetedCount, document.IntegerOf(int64(counts[2*i])))
			d.SystemMetrics.Results.Set(appliedCount, document.IntegerOf(int64(counts[2*i+1])))
			d.SystemMetrics.Results.Merge(evaluated.System)
			for name := range d.Metrics.Queries.All() { // of those that were replaced since there is none
				if result := evaluated.Custom.Get(name); result.Kind() != document.KindAbsent {
					d.Metrics.Results.Set(name, result)
				}
			}
		case err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err):
			return nil, err
		}
		described[i] = d
	}
	return described, nil
}

// The names of the system metrics.
const (
	targetedCount = "targetedCount"
	appliedCount  = "appliedCount"
	successCount  = "reportedSuccessfulCount"
	failureCount  = "reportedFailedCount"
)

// systemQueries are the queries that have the rows which the system metrics count.
func (c Configuration) systemQueries() (queries document.Object) {
	queries = queries.Clone()
	parsed, err := c.Content.parse()
	if err != nil {
		return queries // of a record that an earlier version took
	}
	selected, of := "select deviceId from devices", "FROM DEVICES WHERE"
	if parsed.kind == ofModules {
		selected, of = "select deviceId, moduleId from devices.modules", "FROM DEVICES.MODULES WHERE"
	}
	condition := strings.TrimSpace(c.TargetCondition)
	if words := strings.Fields(condition); len(words) > 3 && strings.EqualFold(strings.Join(words[:3], " "), of) {
		condition = strings.TrimSpace(condition[strings.Index(condition, words[2])+len(words[2]):])
	}
	conditions := []string{}
	if parsed.kind == ofEdge {
		conditions = append(conditions, "capabilities.iotEdge = true")
	}
	status := "configurations.[[" + c.ID + "]].status = 'Applied'"
	set := func(name, selected string, conditions ...string) {
		text := selected
		if len(conditions) > 0 {
			text += " where " + strings.Join(conditions, " and ")
		}
		queries.Set(name, document.TextOf(text))
	}
	targets := slices.Clone(conditions)
	if condition != "*" {
		if len(targets) > 0 {
			condition = "(" + condition + ")"
		}
		targets = append(targets, condition)
	}
	if condition != "" && condition != "()" {
		set(targetedCount, selected, targets...)
	}
	if parsed.kind != ofEdge {
		set(appliedCount, selected, status)
		return queries
	}
	const agents, agent = "select deviceId from devices.modules", "moduleId = '$edgeAgent'"
	const version = "properties.desired.$version = properties.reported.lastDesiredVersion"
	set(appliedCount, agents, agent, status)
	set(successCount, agents, agent, status, version, "properties.reported.lastDesiredStatus.code = 200")
	set(failureCount, agents, agent, status, version, "properties.reported.lastDesiredStatus.code != 200")
	return queries
}
