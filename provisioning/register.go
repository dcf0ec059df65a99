package provisioning

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// A device that goes to a hub of this process, and comes from nowhere, is assigned
// in one commit: its identity there and its record here. Any other assignment is
// durable steps, each safe to repeat: the intent is written together with a record
// that says assigning; the hub admits the device; the record says assigned; the
// identities that the device leaves behind are removed, and the intent goes. Before
// a hub is asked to admit a device, the record says that there may be something of
// it to remove. Whoever finds an intent without a job (a poll, the device
// registering again, the sweep) takes it up where it is.

// assignmentTimeout bounds one assignment, hub calls included.
const assignmentTimeout = time.Minute

// assign begins the assignment of an attested device and returns the job that
// does it. When it returns without an error, the assignment will be finished
// whatever happens to the process.
func (s *Service) assign(ctx context.Context, evidence attest.Evidence, device principal, asked request,
	trace attest.Trace) (*job, error) {
	job, isNew := s.jobs.begin(evidence.RegistrationID)
	for !isNew {
		if job.isOfGroup(device.group) {
			return job, nil
		}
		// Another device with the same registration id: what it is told is not for this one.
		select {
		case <-job.finished:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		job, isNew = s.jobs.begin(evidence.RegistrationID)
	}
	defer s.jobs.endIfPanicking(job)
	job.intent.Protocol, job.intent.RemoteAddr = evidence.Protocol, evidence.RemoteAddr
	job.intent.IDScope = evidence.IDScope
	if job.intent.Mechanism = device.enrollment.Attestation.Type; job.intent.Mechanism == enroll.X509 {
		job.intent.Certificate = credential.Describe(evidence.Certificates[0])
	}
	job.intent.ToldAgain = evidence.APIVersion >= sinceReprovisioned
	job.intent.GroupID, job.intent.Signer, job.intent.Payload = device.group, device.signer, asked.Payload
	job.intent.CSR, job.intent.Trace = asked.CSR, trace
	if taken, err := s.snapshots.Take(ctx, evidence, device.group, device.enrollment); err == nil {
		job.intent.Snapshot = taken.Encoded() // without one the attempt is less, and not wrong
	}
	close(job.known)
	done, err := s.assignAtOnce(ctx, job, device.enrollment)
	if done {
		return job, nil
	}
	var pending storedRegistration
	if err == nil {
		job.intent.Attestation, err = s.attestationHash(ctx, device.group, device.enrollment)
	}
	if err == nil {
		pending, err = s.writeIntent(ctx, job.intent, device.enrollment)
	}
	if err != nil {
		s.jobs.end(job, Operation{}, err)
		return nil, err
	}
	s.run(job, pending)
	return job, nil
}

// assignAtOnce does the whole assignment in one commit if it can be done so, and
// reports whether it was.
func (s *Service) assignAtOnce(ctx context.Context, job *job, enrollment enroll.Enrollment) (done bool, _ error) {
	if enrollment.AllocationPolicy.Asks() {
		return false, nil
	}
	if enrollment.Attestation.Type == enroll.TPM {
		var err error
		if enrollment, err = s.challenges.WithHubKeys(ctx, enrollment); err != nil {
			return false, err
		}
	}
	return store.RetryOnConflict(ctx, func() (bool, error) {
		pending, before, changes, err := s.startAssignment(ctx, job.intent, enrollment)
		if err != nil {
			return false, err
		}
		chosen, err := s.allocate(ctx, enrollment, job.intent, pending)
		if err != nil || chosen.Hub == nil {
			return false, err
		}
		hub, ok := chosen.Hub.Hub.(linkedhub.CommittingHub)
		admission := pending.admission(enrollment)
		moves := pending.AssignedHub != "" &&
			pending.assignedRef() != (deviceRef{chosen.Hub.Host(), admission.DeviceID})
		if !ok || len(pending.Stale) > 0 || moves {
			return false, nil
		}
		issuing, err := s.issue(ctx, enrollment, job.intent, &pending, &admission)
		if err != nil {
			return false, nil // the job says how it failed
		}
		again, err := s.isReturning(ctx, job.intent, pending, hub, admission.DeviceID)
		if err != nil {
			return false, nil // the job says how it failed
		}
		prepared, err := hub.PrepareDevice(ctx, admission)
		if err != nil {
			return false, nil // the job says how it failed
		}
		target := deviceRef{hub.Host(), admission.DeviceID}
		claimed, err := s.claim(ctx, job.intent, before, target, prepared.Present)
		if err != nil {
			return false, err
		}
		trace := slices.Clone(job.intent.Trace)
		trace.Pass("allocation", "%s: %s", hub.Host(), chosen.Reason)
		if len(issuing) > 0 {
			trace.Pass("certificate", "issued by the policy %s", enrollment.CredentialPolicyName)
		}
		claimed.addTo(&trace, target, job.intent)
		trace.Pass("hub admission", "device %s", admission.DeviceID)
		result := s.assignedRecord(pending, enrollment, chosen, again)
		if pending.unfinished {
			changes = append(changes, s.intents.Delete(key(result.RegistrationID), store.Always))
		}
		judged := s.unchangedChecks(job.intent, enrollment)
		put := len(judged) + len(changes)
		changes = append(slices.Concat(judged, changes),
			s.registrations.Put(key(result.RegistrationID), match(pending.ETag), result.withoutETag()),
			s.putOwner(job.intent, target, prepared.Generation, claimed))
		etags, err := s.config.Documents.Commit(ctx, slices.Concat(changes, issuing, prepared.Changes)...)
		if index, conflict := store.IsConflict(err); conflict && index < len(judged) {
			return false, enrollmentChanged()
		} else if conflict {
			return false, err
		}
		prepared.Committed(ctx) // also after an error: it may be there all the same
		if err != nil {
			return false, err
		}
		result.ETag = registrationETag(etags[put])
		s.jobs.end(job, s.recordOutcome(job.intent, result, trace), nil)
		return true, nil
	})
}

// startAssignment returns the device's record as an assignment that begins now finds
// it, as it was before, and the changes that keep it as a member of its group. It
// returns a failure with fault 409001 when it is another's, whom this device may not
// replace.
func (s *Service) startAssignment(ctx context.Context, intent intent, enrollment enroll.Enrollment,
) (pending, before storedRegistration, changes []store.Change, err error) {
	pending, err = s.loadRegistration(ctx, intent.RegistrationID)
	now := Time{Time: s.config.Now().UTC()}
	switch {
	case errors.Is(err, fault.RegistrationNotFound):
		pending = storedRegistration{
			Registration: Registration{RegistrationID: enrollment.RegistrationID, CreatedDateTimeUTC: now}}
	case err != nil:
		return storedRegistration{}, storedRegistration{}, nil, err
	}
	before = pending
	if err := s.claimRecord(ctx, intent, before); err != nil {
		return storedRegistration{}, storedRegistration{}, nil, err
	}
	pending.unfinished = pending.Status == StatusAssigning
	pending.Status, pending.OperationID, pending.LastUpdatedDateTimeUTC = StatusAssigning, intent.OperationID, now
	former := pending.GroupID
	pending.Certificate, pending.Signer = intent.Certificate, intent.Signer
	pending.GroupID, pending.Mechanism = intent.GroupID, intent.Mechanism
	if key(former) == key(intent.GroupID) && err == nil {
		return pending, before, nil, nil
	}
	if former != "" && key(former) != key(intent.GroupID) {
		changes = append(changes, s.members.Delete(memberKey(former, intent.RegistrationID), store.Always))
	}
	if intent.GroupID != "" {
		changes = append(changes,
			s.members.Put(memberKey(intent.GroupID, intent.RegistrationID), store.Always, intent.RegistrationID))
	}
	return pending, before, changes, nil
}

// writeIntent writes the intent, and the record that says so.
func (s *Service) writeIntent(ctx context.Context, intent intent,
	enrollment enroll.Enrollment) (storedRegistration, error) {
	intent.Node = s.config.Node
	return store.RetryOnConflict(ctx, func() (storedRegistration, error) {
		pending, _, changes, err := s.startAssignment(ctx, intent, enrollment)
		if err != nil {
			return storedRegistration{}, err
		}
		judged := s.unchangedChecks(intent, enrollment)
		put := len(judged) + len(changes)
		etags, err := s.config.Documents.Commit(ctx, append(slices.Concat(judged, changes),
			s.registrations.Put(key(intent.RegistrationID), match(pending.ETag), pending.withoutETag()),
			s.intents.Put(key(intent.RegistrationID), store.Always, intent))...)
		if index, conflict := store.IsConflict(err); conflict && index < len(judged) {
			return storedRegistration{}, enrollmentChanged()
		}
		if err != nil {
			return storedRegistration{}, err
		}
		pending.ETag = registrationETag(etags[put])
		return pending, nil
	})
}

// run finishes the job on a goroutine of the service.
func (s *Service) run(job *job, pending storedRegistration) {
	s.active.Go(func() {
		ctx, cancel := context.WithTimeout(s.work, assignmentTimeout)
		defer cancel()
		var operation Operation
		err := s.config.Panics.Do(panics.Background, func() (err error) {
			operation, err = s.finish(ctx, job.intent, pending)
			return err
		})
		s.jobs.end(job, operation, err)
	})
}
