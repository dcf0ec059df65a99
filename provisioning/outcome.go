package provisioning

import (
	"context"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/store"
)

// saveRegistration writes the record, unless one of the checks fails, and drops the intent when
// nothing is left to be done.
func (s *Service) saveRegistration(ctx context.Context, result *storedRegistration, checks ...store.Change) error {
	first := len(checks)
	put := s.registrations.Put(key(result.RegistrationID), match(result.ETag), result.withoutETag())
	changes := append([]store.Change{put}, result.ownerChanges...)
	if result.Status != StatusAssigning && len(result.Stale) == 0 {
		changes = append(changes, s.intents.Delete(key(result.RegistrationID), store.Always))
	}
	etags, err := s.config.Documents.Commit(ctx, append(checks, changes...)...)
	if index, conflict := store.IsConflict(err); conflict && index < first {
		return enrollmentChanged()
	} else if conflict {
		return errRegistrationChanged()
	}
	if err != nil {
		return err
	}
	result.ETag, result.ownerChanges = registrationETag(etags[first]), nil
	return nil
}

func errRegistrationChanged() error {
	return fault.New(fault.RegistrationConflict,
		"The registration was changed or deleted while the device was being assigned. Register again")
}

// recordOutcome counts, logs and keeps how an assignment ended.
func (s *Service) recordOutcome(intent intent, result storedRegistration, trace attest.Trace) Operation {
	attempt := intent.attempt(result, trace, s.config.Now())
	s.attempts.Record(attempt)
	s.tally.count(attempt.Outcome)
	s.config.Logger.Info("registration", "registrationId", intent.RegistrationID, "outcome", attempt.Outcome,
		"device", result.DeviceID, "hub", result.AssignedHub, "substatus", result.Substatus,
		"protocol", intent.Protocol)
	return result.operation()
}

// attempt is the record of how the intent ended.
func (i intent) attempt(result storedRegistration, trace attest.Trace, now time.Time) attest.Attempt {
	attempt := attest.Attempt{
		Time: now.UTC(), RegistrationID: i.RegistrationID, Enrolled: true, IDScope: i.IDScope,
		Protocol: i.Protocol, RemoteAddress: i.RemoteAddr,
		Outcome: attest.Assigned, Hub: result.AssignedHub, DeviceID: result.DeviceID, Checks: trace,
		Snapshot: i.Snapshot,
	}
	if result.Status != StatusAssigned {
		attempt.Outcome, attempt.Hub, attempt.DeviceID = attest.Failed, "", ""
		attempt.Code, attempt.Message = result.ErrorCode, result.ErrorMessage
	}
	return attempt
}

// recordRefusal keeps the attempt of a device that got an error and returns that
// error as the fault the device is told.
func (s *Service) recordRefusal(ctx context.Context, evidence attest.Evidence, found principal, trace attest.Trace,
	err error) error {
	problem := fault.From(err)
	attempt := attest.Attempt{
		Time: s.config.Now().UTC(), RegistrationID: attempts.Printable(evidence.RegistrationID),
		IDScope:  attempts.Printable(evidence.IDScope),
		Protocol: evidence.Protocol, RemoteAddress: evidence.RemoteAddr,
		Outcome: attest.Refused, Code: int(problem.Code), TrackingID: problem.TrackingID, Message: problem.Message,
		Checks: trace,
	}
	attempt.Enrolled = found.group != "" || s.isEnrolled(ctx, evidence.RegistrationID)
	if c, err := s.snapshots.Take(ctx, evidence, found.group, found.enrollment); err == nil {
		attempt.Snapshot = c.Encoded()
	}
	s.tally.count(attest.Refused)
	s.saveRefusal(ctx, attempt, err)
	return problem
}

// saveRefusal keeps and logs an attempt that was refused.
func (s *Service) saveRefusal(ctx context.Context, attempt attest.Attempt, err error) {
	check, _ := attempt.Checks.Failed()
	s.attempts.Record(attempt)
	s.config.Logger.WarnContext(ctx, "registration", "registrationId", attempt.RegistrationID,
		"outcome", attest.Refused, "check", check.Name, "saw", check.Saw, "trackingId", attempt.TrackingID,
		"protocol", attempt.Protocol, "remote", attempt.RemoteAddress, "error", err)
}
