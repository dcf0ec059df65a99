package provisioning

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// finish carries out an intent and returns what the device is told. An error
// means that storage failed, or that the record was changed by somebody else; the
// intent then stays for later.
func (s *Service) finish(ctx context.Context, intent intent, pending storedRegistration) (Operation, error) {
	result, trace, err := s.assignAndSave(ctx, intent, pending)
	if err != nil {
		problem := fault.From(err)
		s.config.Logger.Error("registration", "registrationId", intent.RegistrationID,
			"trackingId", problem.TrackingID, "error", err)
		return Operation{}, problem
	}
	operation := s.recordOutcome(intent, result, trace)
	if len(result.Stale) > 0 {
		// Last, so that the device is gone from its former place only when it is
		// on record in the new one.
		s.removeStale(ctx, result)
	}
	return operation, nil
}

// assignAndSave assigns the device and writes how that ended. A device is assigned only
// if its enrollment is then still as it was when the hub was chosen; else that begins
// again, and finds out whether the device may still come in.
func (s *Service) assignAndSave(ctx context.Context, intent intent,
	pending storedRegistration) (result storedRegistration, trace attest.Trace,
	err error) {
	for range enrollmentChanges {
		var judged []store.Change
		if result, trace, judged, err = s.assignToHub(ctx, intent, pending); err != nil {
			return result, trace, err
		}
		result.LastUpdatedDateTimeUTC = Time{Time: s.config.Now().UTC()}
		if err = s.saveRegistration(ctx, &result, judged...); !errors.Is(err, errEnrollmentChanged) {
			return result, trace, err
		}
		if pending, err = s.loadRegistration(ctx, intent.RegistrationID); err != nil {
			return result, trace, err
		}
		if pending.Status != StatusAssigning || pending.OperationID != intent.OperationID {
			return result, trace, errRegistrationChanged()
		}
	}
	return result, trace, enrollmentChanged()
}

// assignToHub chooses the hub and has it admit the device. The result says assigned
// or failed; judged are the checks under which it may say assigned. An error means
// that the record could not be written.
func (s *Service) assignToHub(ctx context.Context, intent intent,
	pending storedRegistration) (result storedRegistration, trace attest.Trace,
	judged []store.Change, err error) {
	result, trace = pending, intent.Trace
	end := func(why attest.Failure) (storedRegistration, attest.Trace, []store.Change, error) {
		problem := fault.From(why.Err)
		if s.isClosing() && problem.Code.Status() >= 500 {
			return result, trace, nil, why.Err // after the next start it goes on
		}
		why.AddTo(&trace)
		result.Status, result.Substatus = StatusFailed, ""
		result.ErrorCode, result.ErrorMessage = int(problem.Code), problem.Message
		s.config.Logger.Warn("registration", "registrationId", intent.RegistrationID, "check", why.Check,
			"trackingId", problem.TrackingID, "error", why.Err)
		return result, trace, nil, nil
	}

	enrollment, err := s.recheckEnrollment(ctx, intent)
	if err != nil {
		why := attest.NewFailure("enrollment", fault.Say("an enrollment"),
			fault.Say("It was deleted while the device was being assigned. "+
				"Enroll the device again if it may come in"), err)
		errors.As(err, &why)
		return end(why)
	}
	judged = s.unchangedChecks(intent, enrollment)
	chosen, err := s.allocate(ctx, enrollment, intent, pending)
	if err != nil {
		why := attest.NewFailure("allocation", fault.Say("a hub from the webhook"),
			fault.Say("The server could not ask the webhook. Its log says why"), err)
		errors.As(err, &why)
		return end(why)
	}
	hub := chosen.Hub
	if hub == nil && enrollment.Allocation().Unplaced() {
		return end(attest.NewFailure("allocation", fault.Say("a hub in the enrollment"),
			fault.Say("Name the hub in the enrollment or group, with --hub, or choose another allocation policy"),
			fault.New(fault.HubNotSpecified, "The enrollment has the allocation policy static and names no hub")))
	}
	if hub == nil {
		return end(attest.NewFailure("allocation", fault.Say("a linked hub"),
			fault.Say("Link a hub, or let the enrollment name one that is linked"),
			fault.New(fault.HubNotSpecified, "None of the hubs that the enrollment names is linked to this service")))
	}
	migrates := enrollment.ReprovisionPolicy.MigrateDeviceData // but for the twin, if the webhook gives another
	enrollment = withTwin(enrollment, chosen.InitialTwin)
	trace.Pass("allocation", "%s: %s", hub.Host(), chosen.Reason)

	admission := pending.admission(enrollment)
	issuing, err := s.issue(ctx, enrollment, intent, &result, &admission)
	if err != nil {
		return end(attest.NewFailure("certificate", fault.Say("an operational certificate"),
			fault.Say("Look at the credential policy and its issuing authority: berth credential policy list"), err))
	}
	if len(issuing) > 0 {
		if _, err := s.config.Documents.Commit(ctx, issuing...); err != nil {
			return result, trace, nil, err
		}
		trace.Pass("certificate", "issued by the policy %s", enrollment.CredentialPolicyName)
	}
	former, target := pending.assignedRef(), deviceRef{hub.Host(), admission.DeviceID}
	returns := target != former && slices.Contains(pending.Stale, target)
	if returns {
		// What the device once left there is no longer its own.
		err := s.persist(ctx, func() error { return s.remove(ctx, hub, intent.RegistrationID, target) })
		if err != nil {
			return end(attest.NewFailure("hub admission",
				fault.Say("that the hub removes the former device %s", target.DeviceID),
				fault.Say("The hub must answer before the device can return to it"), err))
		}
	}
	var present linkedhub.Identity
	err = s.persist(ctx, func() (err error) { present, err = hub.Identity(ctx, admission); return err })
	if err != nil {
		return end(attest.NewFailure("hub admission", fault.Say("that the hub tells of the device %s", target.DeviceID),
			fault.Say("The hub must answer before the device can come to it"), err))
	}
	claimed, err := s.claim(ctx, intent, pending, target, present)
	if err != nil {
		var why attest.Failure
		if !errors.As(err, &why) {
			return result, trace, nil, err
		}
		return end(why)
	}
	claimed.addTo(&trace, target, intent)
	admission.IfGeneration = &present.Generation
	// Else it was another's before, and is not removed when this goes wrong.
	if target != former && !returns && claimed.own {
		result.Stale = append(slices.Clone(result.Stale), target)
		if err := s.saveRegistration(ctx, &result); err != nil {
			return result, trace, nil, err
		}
	}
	if left := s.links.Find(former.Hub); left != nil && target.Hub != former.Hub && migrates {
		var twin *linkedhub.InitialTwin
		err := s.persist(ctx, func() error {
			own, err := s.ownsIdentity(ctx, intent.RegistrationID, former)
			if err != nil || !own {
				return err
			}
			if enrollment.ReprovisionPolicy.MigrateDeviceData {
				if twin, err = left.Twin(ctx, former.DeviceID); err != nil {
					return err
				}
			}
			// An operator may have disabled the device there, which it can't undo by moving.
			identity, err := left.Identity(ctx, identityQuery(former.DeviceID))
			admission.Status = identity.Status
			return err
		})
		if err != nil {
			return end(attest.NewFailure("migration", fault.Say("the twin from %s", former.Hub),
				fault.Say("The former hub must answer before the device can move"), err))
		}
		if twin != nil {
			admission.Twin = twin
		}
	}
	again := false
	err = s.persist(ctx, func() (err error) {
		again, err = s.isReturning(ctx, intent, pending, hub, target.DeviceID)
		return err
	})
	generation := ""
	if err == nil {
		err = s.persist(ctx, func() (err error) { generation, err = hub.EnsureDevice(ctx, admission); return err })
	}
	if err != nil {
		return end(attest.NewFailure("hub admission", fault.Say("the device in %s", hub.Host()),
			fault.Say("The hub refused the device for the reason shown"), err))
	}
	if admission.Status.Disabled && present.Generation == "" {
		trace.Pass("hub admission", "device %s, disabled as it was in %s", admission.DeviceID, former.Hub)
	} else {
		trace.Pass("hub admission", "device %s", admission.DeviceID)
	}
	result.Stale = withoutRef(result.Stale, target)
	if target != former && s.links.Find(former.Hub) != nil {
		result.Stale = append(result.Stale, former)
	}
	result = s.assignedRecord(result, enrollment, chosen, again)
	result.ownerChanges = []store.Change{s.putOwner(intent, target, generation, claimed)}
	return result, trace, judged, nil
}

// A hub that does not answer is asked again for so long, with pauses that grow
// from the first to the last.
const (
	hubTimeout    = 20 * time.Second
	hubFirstPause = 200 * time.Millisecond
	hubLastPause  = 2 * time.Second
)

// persist asks a hub until it answers; a fault is an answer.
func (s *Service) persist(ctx context.Context, ask func() error) error {
	var problem *fault.Error
	pause := hubFirstPause
	for waited := time.Duration(0); ; waited += pause {
		err := ask()
		if err == nil || errors.As(err, &problem) && problem.Code.Status() < 500 || waited >= hubTimeout {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.closing: // after the next start there is time again
			timer.Stop()
			return err
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause = min(2*pause, hubLastPause)
	}
}

func (s *Service) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// assignedRecord is the record of a device that has a hub now.
func (s *Service) assignedRecord(pending storedRegistration, enrollment enroll.Enrollment, chosen allocation.Decision,
	again bool) storedRegistration {
	result := pending
	result.Substatus = s.substatus(pending, enrollment, chosen.Hub, again)
	result.Status, result.AssignedHub = StatusAssigned, chosen.Hub.Host()
	result.DeviceID = pending.hubDeviceID(enrollment)
	result.ErrorCode, result.ErrorMessage, result.Payload = 0, "", chosen.Payload
	return result
}

// sinceReprovisioned is the first api-version whose clients are told that they come
// again to a hub that had them already. Earlier ones are told initialAssignment.
const sinceReprovisioned = "2019-04-15"

// isReturning reports whether a device that may be told so comes to a hub that has it
// already: by its record, or because it was there before that was deleted.
func (s *Service) isReturning(ctx context.Context, intent intent, pending storedRegistration, hub linkedhub.Hub,
	deviceID string) (bool, error) {
	if !intent.ToldAgain || pending.AssignedHub != "" {
		return intent.ToldAgain, nil
	}
	twin, err := hub.Twin(ctx, deviceID)
	return twin != nil, err
}

// substatus says how the device comes to the hub (Azure,
// concepts-device-reprovision). While nothing moves, what the last move was
// still holds.
func (s *Service) substatus(pending storedRegistration, enrollment enroll.Enrollment, hub *linkedhub.Linked,
	again bool) Substatus {
	moves := pending.AssignedHub != "" && !hub.Is(pending.AssignedHub)
	switch {
	case !moves && (pending.Substatus == DeviceDataMigrated || pending.Substatus == DeviceDataReset):
		return pending.Substatus
	case !moves && again:
		return ReprovisionedToInitialAssignment
	case !moves:
		return InitialAssignment
	case enrollment.ReprovisionPolicy.MigrateDeviceData && s.links.Find(pending.AssignedHub) != nil:
		return DeviceDataMigrated
	}
	return DeviceDataReset
}
