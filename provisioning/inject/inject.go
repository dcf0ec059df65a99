// Package inject lets a provisioning service fail on request, for people who test what
// their devices do then. Nothing is injected unless somebody asks for it, and the attempts
// say when it was. In paths, in the audit and in the documents they are called
// misbehaviours.
package inject

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Fault is what is injected into the next registrations.
type Fault struct {
	ID             string `json:"id"`                       // given by the service
	RegistrationID string `json:"registrationId,omitempty"` // of the device that it is for; all with neither
	GroupID        string `json:"enrollmentGroupId,omitempty"`
	Kind           Kind   `json:"kind"`
	Times          int    `json:"times"`                    // how many registrations it is still for; at least 1
	Seconds        int    `json:"seconds,omitempty"`        // of delay, or of the advice when to come back
	HubHostName    string `json:"iotHubHostName,omitempty"` // the wrong hub
}

// Intact implements store.Checkable.
func (f *Fault) Intact() error {
	if f.ID == "" || f.Kind == "" || f.Times < 1 {
		return errors.New("it has no id, no kind, or no number of times")
	}
	return nil
}

// Kind is what happens to a registration.
type Kind string

const (
	Delay    Kind = "delay"    // the answer comes late
	Fail     Kind = "fail"     // 500001
	Throttle Kind = "throttle" // 429001, with a time to come back at
	Drop     Kind = "drop"     // the connection ends without an answer
	WrongHub Kind = "wrongHub" // the answer names another hub than the one that has the device
)

// ErrDropped is in the error of a registration whose connection is to end without
// an answer.
var ErrDropped = errors.New("the connection is dropped, as an injected fault asks for")

const (
	maxFaults = 1000
	maxDelay  = 600 // seconds
	maxTimes  = 1_000_000
)

// Config says where the faults are kept.
type Config struct {
	Documents store.Documents
	Audit     *audit.Log // nil keeps none

	// CheckID returns what is wrong with the id of a device or a group, as a fault.
	CheckID func(id string) error
}

// Injector keeps the faults that are to be injected.
type Injector struct {
	config Config
	table  store.Table[Fault]
	count  *store.Cache[int] // of faults, so that a service without any does not look
}

// Open returns the faults that are to be injected, those of earlier runs and of other
// nodes among them.
func Open(ctx context.Context, config Config) (*Injector, error) {
	i := &Injector{config: config, table: store.NewTable[Fault](config.Documents, "provisioning/misbehaviours")}
	i.count = store.NewCache(config.Documents, i.table.Count, i.table.Collection)
	_, err := i.count.Get(ctx)
	return i, err
}

// Add has a fault be injected and returns it with its id. It returns fault 400004 for
// what is wrong in it.
func (i *Injector) Add(ctx context.Context, wanted Fault) (Fault, error) {
	if wanted.Times == 0 {
		wanted.Times = 1
	}
	if err := i.check(wanted); err != nil {
		return Fault{}, err
	}
	// Who adds at the same moment is not counted: the limit keeps lists short, and may be
	// exceeded by as many as do.
	if count, err := i.count.Get(ctx); err != nil {
		return Fault{}, err
	} else if count >= maxFaults {
		return Fault{}, fault.New(fault.ArgumentInvalid, "There are %d injected faults already. Remove some", maxFaults)
	}
	wanted.ID = fault.NewTrackingID()
	name := string(wanted.Kind) + " " + wanted.ID
	changes := i.config.Audit.Change(ctx, audit.Created, audit.Misbehaviour, name, nil, nil)
	changes = append(changes, i.table.Put(wanted.ID, store.Absent, wanted))
	if _, err := i.config.Documents.Commit(ctx, changes...); err != nil {
		return Fault{}, err
	}
	return wanted, nil
}

func (i *Injector) check(wanted Fault) error {
	switch {
	case wanted.Times < 1 || wanted.Times > maxTimes:
		return fault.New(fault.ArgumentInvalid, "times must be from 1 to %d, not %d", maxTimes, wanted.Times)
	case wanted.Seconds < 0 || wanted.Seconds > maxDelay:
		return fault.New(fault.ArgumentInvalid, "seconds must be from 0 to %d, not %d", maxDelay, wanted.Seconds)
	case wanted.RegistrationID != "" && wanted.GroupID != "":
		return fault.New(fault.ArgumentInvalid, "An injected fault is for a device or for a group, not for both")
	}
	for _, id := range []string{wanted.RegistrationID, wanted.GroupID} {
		if err := i.config.CheckID(id); id != "" && err != nil {
			return err
		}
	}
	switch wanted.Kind {
	case Fail, Throttle, Drop:
	case Delay:
		if wanted.Seconds == 0 {
			return fault.New(fault.ArgumentInvalid, "A delay needs seconds")
		}
	case WrongHub:
		if wanted.HubHostName == "" {
			return fault.New(fault.ArgumentInvalid, "wrongHub needs iotHubHostName, the hub that the device is told")
		}
	default:
		return fault.New(fault.ArgumentInvalid, "kind must be delay, fail, throttle, drop or wrongHub, not %.32q",
			string(wanted.Kind))
	}
	return nil
}

// List returns the faults that are still to be injected.
func (i *Injector) List(ctx context.Context) ([]Fault, error) {
	entries, err := i.table.List(ctx, "", "", maxFaults)
	faults := make([]Fault, len(entries))
	for n, entry := range entries {
		faults[n] = entry.Value
	}
	return faults, err
}

// Remove removes a fault, or all with id "". It returns fault 404000 when
// there is none of this id.
func (i *Injector) Remove(ctx context.Context, id string) error {
	faults, err := i.List(ctx)
	if err != nil {
		return err
	}
	found := id == ""
	for _, one := range faults {
		if id != "" && one.ID != id {
			continue
		}
		found = true
		if err := i.remove(ctx, one.ID); err != nil {
			return err
		}
	}
	if !found {
		return fault.New(fault.NotFound, "There is no injected fault %.64q", id)
	}
	return nil
}

func (i *Injector) remove(ctx context.Context, id string) error {
	changes := i.config.Audit.Change(ctx, audit.Deleted, audit.Misbehaviour, id, nil, nil)
	_, err := i.config.Documents.Commit(ctx, append(changes, i.table.Delete(id, store.Present))...)
	if _, gone := store.IsConflict(err); gone {
		return nil
	}
	return err
}

// Apply injects the first fault that is for an attested device. It returns the hub to name
// in the answer, or "", and what the device gets instead of an answer.
func (i *Injector) Apply(
	ctx context.Context, trace *attest.Trace, registrationID, group string,
) (wrongHub string, err error) {
	if count, err := i.count.Get(ctx); err != nil || count == 0 {
		return "", err
	}
	injected, err := i.consume(ctx, registrationID, group)
	if err != nil || injected.Kind == "" {
		return "", err
	}
	fail := func(err error) (string, error) {
		trace.Fail("injected fault", fault.Say("%s", injected.Kind), fault.Say("none"),
			fault.Say("Somebody asked for this to test devices: berth inject list shows what is left of it"))
		return "", err
	}
	switch injected.Kind {
	case Fail:
		return fail(fault.New(fault.Internal, "The service fails, as an injected fault asks for"))
	case Throttle:
		problem := fault.New(fault.Throttled, "Too many requests, as an injected fault asks for. Come back later")
		problem.RetryAfter = time.Duration(max(1, injected.Seconds)) * time.Second
		return fail(problem)
	case Drop:
		return fail(fault.New(fault.Internal,
			"The connection is dropped, as an injected fault asks for").Because(ErrDropped))
	case Delay:
		timer := time.NewTimer(time.Duration(injected.Seconds) * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fail(ctx.Err())
		}
		trace.Pass("injected fault", "delayed by %d seconds", injected.Seconds)
	case WrongHub:
		trace.Pass("injected fault", "the device is told the hub %s", injected.HubHostName)
		return injected.HubHostName, nil
	}
	return "", nil
}

// consume takes one time off the first fault that is for the device.
func (i *Injector) consume(ctx context.Context, registrationID, group string) (Fault, error) {
	// Another device may take one at the same moment.
	return store.RetryOnConflict(ctx, func() (Fault, error) {
		entries, err := i.table.List(ctx, "", "", maxFaults)
		if err != nil {
			return Fault{}, err
		}
		for _, entry := range entries {
			one := entry.Value
			if one.RegistrationID != "" && !strings.EqualFold(one.RegistrationID, registrationID) ||
				one.GroupID != "" && !strings.EqualFold(one.GroupID, group) {
				continue
			}
			one.Times--
			change := i.table.Put(entry.Key, store.IfMatch(entry.ETag), one)
			if one.Times == 0 {
				change = i.table.Delete(entry.Key, store.IfMatch(entry.ETag))
			}
			_, err := i.config.Documents.Commit(ctx, change)
			return one, err
		}
		return Fault{}, nil
	})
}
