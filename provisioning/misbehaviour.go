package provisioning

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/store"
)

// Misbehaviour makes the service be nasty to the next devices that register, for
// people who test what their devices do then. There is none unless somebody asks
// for it, and the attempts say when it struck.
type Misbehaviour struct {
	ID             string           `json:"id"`                       // given by the service
	RegistrationID string           `json:"registrationId,omitempty"` // strikes this device; all with neither
	GroupID        string           `json:"enrollmentGroupId,omitempty"`
	Kind           MisbehaviourKind `json:"kind"`
	Times          int              `json:"times"`                    // how many registrations it still strikes; at least 1
	Seconds        int              `json:"seconds,omitempty"`        // of delay, or of the advice when to come back
	HubHostName    string           `json:"iotHubHostName,omitempty"` // the wrong hub
}

// MisbehaviourKind is what happens to a registration.
type MisbehaviourKind string

const (
	Delay    MisbehaviourKind = "delay"    // the answer comes late
	Fail     MisbehaviourKind = "fail"     // 500001
	Throttle MisbehaviourKind = "throttle" // 429001, with a time to come back at
	Drop     MisbehaviourKind = "drop"     // the connection ends without an answer
	WrongHub MisbehaviourKind = "wrongHub" // the answer names another hub than the one that has the device
)

// ErrDropped is in the error of a registration whose connection is to end without
// an answer.
var ErrDropped = errors.New("the connection is dropped, as a misbehaviour asks for")

const (
	maxMisbehaviours = 1000
	maxDelay         = 600 // seconds
	maxTimes         = 1_000_000
)

// misbehaviours keeps them. armed says how many there are, so that a service
// without any does not look.
type misbehaviours struct {
	store.Table[Misbehaviour]
	armed atomic.Int64
}

// Misbehave arms a misbehaviour and returns it with its id. It returns fault 400004
// for what is wrong in it.
func (s *Service) Misbehave(ctx context.Context, wanted Misbehaviour) (Misbehaviour, error) {
	if wanted.Times == 0 {
		wanted.Times = 1
	}
	if err := s.checkMisbehaviour(wanted); err != nil {
		return Misbehaviour{}, err
	}
	if s.misbehaviours.armed.Add(1) > maxMisbehaviours {
		s.misbehaviours.armed.Add(-1)
		return Misbehaviour{}, fault.New(fault.ArgumentInvalid, "There are %d misbehaviours already. Remove some", maxMisbehaviours)
	}
	wanted.ID = fault.NewTrackingID()
	if _, err := s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Created, audit.Misbehaviour, string(wanted.Kind)+" "+wanted.ID, nil, nil),
		s.misbehaviours.Put(wanted.ID, store.Absent, wanted))...); err != nil {
		s.misbehaviours.armed.Add(-1)
		return Misbehaviour{}, err
	}
	return wanted, nil
}

func (s *Service) checkMisbehaviour(wanted Misbehaviour) error {
	switch {
	case wanted.Times < 1 || wanted.Times > maxTimes:
		return fault.New(fault.ArgumentInvalid, "times is %d. It is 1 to %d", wanted.Times, maxTimes)
	case wanted.Seconds < 0 || wanted.Seconds > maxDelay:
		return fault.New(fault.ArgumentInvalid, "seconds is %d. It is 0 to %d", wanted.Seconds, maxDelay)
	case wanted.RegistrationID != "" && wanted.GroupID != "":
		return fault.New(fault.ArgumentInvalid, "A misbehaviour is for a device or for a group, not for both")
	}
	for _, id := range []string{wanted.RegistrationID, wanted.GroupID} {
		if err := checkRegistrationID(id); id != "" && err != nil {
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
		return fault.New(fault.ArgumentInvalid, "kind is %.32q. It is delay, fail, throttle, drop or wrongHub", string(wanted.Kind))
	}
	return nil
}

// Misbehaviours returns those that are armed.
func (s *Service) Misbehaviours(ctx context.Context) ([]Misbehaviour, error) {
	entries, err := s.misbehaviours.List(ctx, "", "", maxMisbehaviours)
	armed := make([]Misbehaviour, len(entries))
	for i, entry := range entries {
		armed[i] = entry.Value
	}
	return armed, err
}

// Behave removes a misbehaviour, or all with id "". It returns fault 404000 when
// there is none of this id.
func (s *Service) Behave(ctx context.Context, id string) error {
	armed, err := s.Misbehaviours(ctx)
	if err != nil {
		return err
	}
	found := id == ""
	for _, one := range armed {
		if id != "" && one.ID != id {
			continue
		}
		found = true
		if err := s.disarm(ctx, one.ID); err != nil {
			return err
		}
	}
	if !found {
		return fault.New(fault.NotFound, "There is no misbehaviour %.64q", id)
	}
	return nil
}

func (s *Service) disarm(ctx context.Context, id string) error {
	_, err := s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Deleted, audit.Misbehaviour, id, nil, nil), s.misbehaviours.Delete(id, store.Present))...)
	if _, gone := store.IsConflict(err); gone {
		return nil
	}
	if err == nil {
		s.misbehaviours.armed.Add(-1)
	}
	return err
}

// openMisbehaviours counts those that an earlier run left armed.
func (s *Service) openMisbehaviours(ctx context.Context) error {
	armed, err := s.Misbehaviours(ctx)
	s.misbehaviours.armed.Store(int64(len(armed)))
	return err
}

// misbehave lets the first misbehaviour strike that is for an attested device. It
// returns the hub to name in the answer, or "", and what the device gets instead
// of an answer.
func (s *Service) misbehave(ctx context.Context, trace *attest.Trace, registrationID, group string) (wrongHub string, err error) {
	if s.misbehaviours.armed.Load() == 0 {
		return "", nil
	}
	struck, err := s.strike(ctx, registrationID, group)
	if err != nil || struck.Kind == "" {
		return "", err
	}
	fail := func(err error) (string, error) {
		trace.Fail("misbehaviour", fault.Say("%s", struck.Kind), fault.Say("none"),
			fault.Say("Somebody asked for this to test devices: berth misbehave list shows what is left of it"))
		return "", err
	}
	switch struck.Kind {
	case Fail:
		return fail(fault.New(fault.Internal, "The service fails, as a misbehaviour asks for"))
	case Throttle:
		problem := fault.New(fault.Throttled, "Too many requests, as a misbehaviour asks for. Come back later")
		problem.RetryAfter = time.Duration(max(1, struck.Seconds)) * time.Second
		return fail(problem)
	case Drop:
		return fail(fault.New(fault.Internal, "The connection is dropped, as a misbehaviour asks for").Because(ErrDropped))
	case Delay:
		timer := time.NewTimer(time.Duration(struck.Seconds) * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fail(ctx.Err())
		}
		trace.Pass("misbehaviour", "delayed by %d seconds", struck.Seconds)
	case WrongHub:
		trace.Pass("misbehaviour", "the device is told the hub %s", struck.HubHostName)
		return struck.HubHostName, nil
	}
	return "", nil
}

// strike takes one time off the first misbehaviour that is for the device.
func (s *Service) strike(ctx context.Context, registrationID, group string) (Misbehaviour, error) {
	// Another device may be struck at the same moment.
	return store.RetryOnConflict(ctx, func() (Misbehaviour, error) {
		entries, err := s.misbehaviours.List(ctx, "", "", maxMisbehaviours)
		if err != nil {
			return Misbehaviour{}, err
		}
		for _, entry := range entries {
			one := entry.Value
			if one.RegistrationID != "" && !strings.EqualFold(one.RegistrationID, registrationID) || one.GroupID != "" && !strings.EqualFold(one.GroupID, group) {
				continue
			}
			one.Times--
			change := s.misbehaviours.Put(entry.Key, store.ETag(entry.ETag), one)
			if one.Times == 0 {
				change = s.misbehaviours.Delete(entry.Key, store.ETag(entry.ETag))
			}
			_, err := s.config.Documents.Commit(ctx, change)
			if err == nil && one.Times == 0 {
				s.misbehaviours.armed.Add(-1)
			}
			return one, err
		}
		return Misbehaviour{}, nil
	})
}
