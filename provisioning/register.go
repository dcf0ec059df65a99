package provisioning

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/attest"
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

// intent is an assignment that has been promised. It holds what was known of
// the device when it was attested.
type intent struct {
	OperationID    string                          `json:"operationId"`
	RegistrationID string                          `json:"registrationId"`
	Certificate    *credential.X509CertificateInfo `json:"certificate,omitempty"`
	Signer         *credential.X509CertificateInfo `json:"signer,omitempty"`
	GroupID        string                          `json:"groupId,omitempty"`
	Mechanism      string                          `json:"mechanism,omitempty"`
	Protocol       string                          `json:"protocol,omitempty"`
	RemoteAddr     string                          `json:"remoteAddress,omitempty"`
	IDScope        string                          `json:"idScope,omitempty"`
	ToldAgain      bool                            `json:"toldAgain,omitempty"` // see sinceReprovisioned
	Trace          attest.Trace                    `json:"trace,omitempty"`
	Case           json.RawMessage                 `json:"case,omitempty"`        // see attest.Attempt
	Payload        json.RawMessage                 `json:"payload,omitempty"`     // the device's, for custom allocation
	CSR            string                          `json:"csr,omitempty"`         // that the device sent, checked
	Attestation    string                          `json:"attestation,omitempty"` // hash of what the device was judged by; "" in what earlier versions wrote
	Node           string                          `json:"node,omitempty"`        // that began it, as in Config
}

// job is an assignment that this process works on.
type job struct {
	intent    intent
	known     chan struct{} // closed after intent is set
	finished  chan struct{} // closed after operation and err are set
	operation Operation
	err       error
}

// of reports whether the job is that of a device of this group, "" for an
// individual enrollment. It waits until that is known, which is soon.
func (j *job) of(group string) bool {
	<-j.known
	return key(j.intent.GroupID) == key(group)
}

// wait waits for the job's end, at most for the time given.
func (j *job) wait(ctx context.Context, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-j.finished:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// jobs holds the jobs under way by registration key. There is at most one for a
// device: who registers again meanwhile waits for the same. It is of this node, since only
// who works can be waited for: who polls another node has that one work on the intent too.
// Hub and custom allocation may be asked twice then, and what is committed first counts.
type jobs struct {
	mutex sync.Mutex
	byKey map[string]*job
}

// begin returns the device's job, and whether it is new and therefore the
// caller's to run.
func (j *jobs) begin(registrationID string) (found *job, isNew bool) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if found, ok := j.byKey[key(registrationID)]; ok {
		return found, false
	}
	if j.byKey == nil {
		j.byKey = make(map[string]*job)
	}
	found = &job{intent: intent{RegistrationID: registrationID, OperationID: newOperationID()}, known: make(chan struct{}), finished: make(chan struct{})}
	j.byKey[key(registrationID)] = found
	return found, true
}

// end publishes the job's result and forgets it.
func (j *jobs) end(done *job, operation Operation, err error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	select {
	case <-done.finished:
		return // it panicked afterwards
	default:
	}
	done.operation, done.err = operation, err
	select {
	case <-done.known:
	default:
		close(done.known) // nothing was to be done
	}
	delete(j.byKey, key(done.intent.RegistrationID))
	close(done.finished)
}

// endIfPanicking ends a job whose beginning panics, for who waits for it and for the
// next one of the device. It is for the one who begins the job to defer.
func (j *jobs) endIfPanicking(begun *job) {
	if value := recover(); value != nil {
		j.end(begun, Operation{}, panics.ErrPanic)
		panic(value)
	}
}

// assign begins the assignment of an attested device and returns the job that
// does it. When it returns without an error, the assignment will be finished
// whatever happens to the process.
func (s *Service) assign(ctx context.Context, evidence attest.Evidence, device principal, asked request,
	trace attest.Trace) (*job, error) {
	job, isNew := s.jobs.begin(evidence.RegistrationID)
	for !isNew {
		if job.of(device.group) {
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
	job.intent.Protocol, job.intent.RemoteAddr, job.intent.IDScope = evidence.Protocol, evidence.RemoteAddr, evidence.IDScope
	if job.intent.Mechanism = device.enrollment.Attestation.Type; job.intent.Mechanism == byX509 {
		job.intent.Certificate = credential.Describe(evidence.Certificates[0])
	}
	job.intent.ToldAgain = evidence.APIVersion >= sinceReprovisioned
	job.intent.GroupID, job.intent.Signer, job.intent.Payload = device.group, device.signer, asked.Payload
	job.intent.CSR, job.intent.Trace = asked.CSR, trace
	if c, err := s.caseOf(ctx, evidence, device); err == nil { // without one the attempt is less, and not wrong
		job.intent.Case = c.encoded()
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
func (s *Service) assignAtOnce(ctx context.Context, job *job, enrollment Enrollment) (done bool, _ error) {
	if enrollment.AllocationPolicy.Asks() {
		return false, nil
	}
	if enrollment.Attestation.Type == byTPM {
		var err error
		if enrollment, err = s.withTPMKeys(ctx, enrollment); err != nil {
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
		admission := enrollment.admission()
		moves := pending.AssignedHub != "" && pending.placed() != (deviceRef{chosen.Hub.Host(), admission.DeviceID})
		if !ok || len(pending.Stale) > 0 || moves {
			return false, nil
		}
		issuing, err := s.issue(ctx, enrollment, job.intent, &pending, &admission)
		if err != nil {
			return false, nil // the job says how it failed
		}
		again, err := s.comesAgain(ctx, job.intent, pending, hub, admission.DeviceID)
		if err != nil {
			return false, nil // the job says how it failed
		}
		prepared, err := hub.PrepareAdmission(ctx, admission)
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
		result := s.assigned(pending, enrollment, chosen, again)
		if pending.unfinished {
			changes = append(changes, s.intents.Delete(key(result.RegistrationID), store.Always))
		}
		judged := s.judgedBy(job.intent, enrollment)
		put := len(judged) + len(changes)
		changes = append(slices.Concat(judged, changes),
			s.registrations.Put(key(result.RegistrationID), match(pending.ETag), result.stored()),
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
func (s *Service) startAssignment(ctx context.Context, intent intent, enrollment Enrollment,
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
	pending.Certificate, pending.Signer, pending.GroupID, pending.Mechanism = intent.Certificate, intent.Signer, intent.GroupID, intent.Mechanism
	if key(former) == key(intent.GroupID) && err == nil {
		return pending, before, nil, nil
	}
	if former != "" && key(former) != key(intent.GroupID) {
		changes = append(changes, s.members.Delete(memberKey(former, intent.RegistrationID), store.Always))
	}
	if intent.GroupID != "" {
		changes = append(changes, s.members.Put(memberKey(intent.GroupID, intent.RegistrationID), store.Always, intent.RegistrationID))
	}
	return pending, before, changes, nil
}

// writeIntent writes the intent, and the record that says so.
func (s *Service) writeIntent(ctx context.Context, intent intent, enrollment Enrollment) (storedRegistration, error) {
	intent.Node = s.config.Node
	return store.RetryOnConflict(ctx, func() (storedRegistration, error) {
		pending, _, changes, err := s.startAssignment(ctx, intent, enrollment)
		if err != nil {
			return storedRegistration{}, err
		}
		judged := s.judgedBy(intent, enrollment)
		put := len(judged) + len(changes)
		etags, err := s.config.Documents.Commit(ctx, append(slices.Concat(judged, changes),
			s.registrations.Put(key(intent.RegistrationID), match(pending.ETag), pending.stored()),
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

// resume takes up what is unfinished of a device, when nobody in this process
// works on it: its assignment, or the identities it left behind.
func (s *Service) resume(ctx context.Context, registrationID string) *job {
	job, isNew := s.jobs.begin(registrationID)
	if !isNew {
		return job
	}
	defer s.jobs.endIfPanicking(job)
	intent, _, err := s.intents.Get(ctx, key(registrationID))
	var pending storedRegistration
	if err == nil {
		pending, err = s.loadRegistration(ctx, registrationID)
	}
	switch {
	case err == nil && pending.Status == StatusAssigning && pending.OperationID == intent.OperationID:
		job.intent = intent
		close(job.known)
		s.run(job, pending)
		return job
	case err == nil && pending.Status != StatusAssigning && len(pending.Stale) > 0:
		job.intent.GroupID, job.intent.OperationID = pending.GroupID, pending.OperationID
		close(job.known)
		s.active.Go(func() {
			ctx, cancel := context.WithTimeout(s.work, assignmentTimeout)
			defer cancel()
			err := s.config.Panics.Do(panics.Background, func() error { s.removeStale(ctx, pending); return nil })
			s.jobs.end(job, pending.operation(), err)
		})
		return job
	case err == nil, errors.Is(err, fault.RegistrationNotFound):
		// The record was deleted, and perhaps made anew, since: the intent is void.
		_, err = s.config.Documents.Commit(ctx, s.intents.Delete(key(registrationID), store.Always))
	case errors.Is(err, store.ErrNotFound):
		err = nil // it was finished this moment
	}
	s.jobs.end(job, Operation{}, err)
	return job
}

const (
	sweepEvery  = 15 * time.Second
	sweepAtOnce = 16 // unfinished registrations that the sweep works on

	// othersTimeout is how long the node that has begun an assignment is left alone with it.
	othersTimeout = time.Minute + assignmentTimeout
)

// keepSweeping takes up what is unfinished, at the start and from time to time:
// what a crash interrupted and no device may come back for, and what a hub that
// did not answer kept from being finished.
//
// One node of several does it, by a lease. What it commits is compare-and-swap on what it
// has read, so that a node that has lost the lease meanwhile does no harm.
func (s *Service) keepSweeping() {
	ctx, cancel := context.WithCancel(s.work)
	defer cancel()
	s.always.Go(func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	lease := store.NewLease(s.config.Documents, "provisioning/sweep", s.config.Node, s.config.Logger)
	lease.Hold(ctx, func(ctx context.Context, _ store.Term) error { // it ends with the service
		s.sweepWhile(ctx)
		return nil
	})
}

// sweepWhile sweeps until the context ends.
func (s *Service) sweepWhile(ctx context.Context) {
	others := make(map[string]time.Time)
	for ctx.Err() == nil {
		s.background("unfinished registrations can't be read", func() error { return s.sweep(ctx, others) })
		if s.config.trusted() {
			s.background("the audit can't be pruned", func() error { return s.config.Audit.Prune(s.work) })
		}
		s.background("past lock-outs can't be removed", func() error { _, err := s.lockouts.List(s.work); return err })
		timer := time.NewTimer(sweepEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// background does a part of what has to be done again and again. One that fails, or
// panics, is in the log and keeps nothing else from being done.
func (s *Service) background(failure string, do func() error) {
	if err := s.config.Panics.Do(panics.Background, do); err != nil && s.work.Err() == nil {
		s.config.Logger.Error(failure, "error", err)
	}
}

// sweep takes up all that is unfinished. What other nodes have begun it leaves to them for
// othersTimeout, so that hub and webhook are not asked by both; others says since when it
// has been seen, by the operation, and is kept from sweep to sweep. It is measured here, so
// that no two clocks are compared. What one of them fails by is its own.
func (s *Service) sweep(ctx context.Context, others map[string]time.Time) error {
	seen := make(map[string]time.Time)
	defer func() { clear(others); maps.Copy(others, seen) }()
	free := make(chan struct{}, sweepAtOnce)
	for after := ""; ; {
		entries, err := s.intents.List(s.work, "", after, 100)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
		for _, entry := range entries {
			after = entry.Key
			if intent := entry.Value; intent.Node != s.config.Node {
				now := time.Now()
				since, known := others[intent.OperationID]
				if !known {
					since = now
				}
				seen[intent.OperationID] = since
				if now.Sub(since) < othersTimeout {
					continue
				}
			}
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			var job *job
			if s.config.Panics.Do(panics.Background, func() error {
				job = s.resume(s.work, entry.Value.RegistrationID)
				return nil
			}) != nil {
				<-free
				continue
			}
			s.active.Go(func() {
				<-job.finished
				<-free
				if job.err != nil && s.work.Err() == nil {
					s.config.Logger.Error("an unfinished registration can't be taken up", "registrationId", entry.Value.RegistrationID, "error", job.err)
				}
			})
		}
	}
}

// finish carries out an intent and returns what the device is told. An error
// means that storage failed, or that the record was changed by somebody else; the
// intent then stays for later.
func (s *Service) finish(ctx context.Context, intent intent, pending storedRegistration) (Operation, error) {
	result, trace, err := s.assignAndSave(ctx, intent, pending)
	if err != nil {
		problem := fault.From(err)
		s.config.Logger.Error("registration", "registrationId", intent.RegistrationID, "trackingId", problem.TrackingID, "error", err)
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

func errRegistrationChanged() error {
	return fault.New(fault.RegistrationConflict,
		"The registration was changed or deleted while the device was being assigned. Register again")
}

// saveRegistration writes the record, unless one of the checks fails, and drops the intent when
// nothing is left to be done.
func (s *Service) saveRegistration(ctx context.Context, result *storedRegistration, checks ...store.Change) error {
	put := len(checks)
	changes := append([]store.Change{s.registrations.Put(key(result.RegistrationID), match(result.ETag), result.stored())}, result.owning...)
	if result.Status != StatusAssigning && len(result.Stale) == 0 {
		changes = append(changes, s.intents.Delete(key(result.RegistrationID), store.Always))
	}
	etags, err := s.config.Documents.Commit(ctx, append(checks, changes...)...)
	if index, conflict := store.IsConflict(err); conflict && index < put {
		return enrollmentChanged()
	} else if conflict {
		return errRegistrationChanged()
	}
	if err != nil {
		return err
	}
	result.ETag, result.owning = registrationETag(etags[put]), nil
	return nil
}

// recordOutcome counts, logs and keeps how an assignment ended.
func (s *Service) recordOutcome(intent intent, result storedRegistration, trace attest.Trace) Operation {
	attempt := intent.attempt(result, trace, s.config.Now())
	s.attempts.Record(attempt)
	s.tally.count(attempt.Outcome)
	s.config.Logger.Info("registration", "registrationId", intent.RegistrationID, "outcome", attempt.Outcome,
		"device", result.DeviceID, "hub", result.AssignedHub, "substatus", result.Substatus, "protocol", intent.Protocol)
	return result.operation()
}

// deviceRef is an identity in a hub.
type deviceRef struct {
	Hub      string `json:"hub"` // host name
	DeviceID string `json:"deviceId"`
}

// placed is where the device was assigned last.
func (r storedRegistration) placed() deviceRef { return deviceRef{r.AssignedHub, r.DeviceID} }

// withoutRef is the identities but for one.
func withoutRef(refs []deviceRef, one deviceRef) []deviceRef {
	return slices.DeleteFunc(slices.Clone(refs), func(p deviceRef) bool { return p == one })
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
		s.config.Logger.Warn("registration", "registrationId", intent.RegistrationID, "check", why.Check, "trackingId", problem.TrackingID, "error", why.Err)
		return result, trace, nil, nil
	}

	enrollment, err := s.stillEntitled(ctx, intent)
	if err != nil {
		why := attest.NewFailure("enrollment", fault.Say("an enrollment"),
			fault.Say("It was deleted while the device was being assigned. "+
				"Enroll the device again if it may come in"), err)
		errors.As(err, &why)
		return end(why)
	}
	judged = s.judgedBy(intent, enrollment)
	chosen, err := s.allocate(ctx, enrollment, intent, pending)
	if err != nil {
		why := attest.NewFailure("allocation", fault.Say("a hub from the webhook"),
			fault.Say("The server could not ask the webhook. Its log says why"), err)
		errors.As(err, &why)
		return end(why)
	}
	hub := chosen.Hub
	if hub == nil && enrollment.allocation().Unplaced() {
		return end(attest.NewFailure("allocation", fault.Say("a hub in the enrollment"),
			fault.Say("Name the hub in the enrollment or group, with --hub, or choose another allocation policy"),
			fault.New(fault.HubNotSpecified, "The enrollment has the allocation policy static and names no hub")))
	}
	if hub == nil {
		return end(attest.NewFailure("allocation", fault.Say("a linked hub"),
			fault.Say("Link a hub, or let the enrollment name one that is linked"),
			fault.New(fault.HubNotSpecified, "None of the hubs that the enrollment names is linked to this service")))
	}
	enrollment = enrollment.beginning(chosen.InitialTwin)
	trace.Pass("allocation", "%s: %s", hub.Host(), chosen.Reason)

	admission := enrollment.admission()
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
	former, target := pending.placed(), deviceRef{hub.Host(), admission.DeviceID}
	returns := target != former && slices.Contains(pending.Stale, target)
	if returns {
		// What the device once left there is no longer its own.
		if err := s.persist(ctx, func() error { return s.remove(ctx, hub, intent.RegistrationID, target) }); err != nil {
			return end(attest.NewFailure("hub admission", fault.Say("that the hub removes the former device %s", target.DeviceID),
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
	if target != former && !returns && claimed.own { // else it was another's before, and is not removed when this goes wrong
		result.Stale = append(slices.Clone(result.Stale), target)
		if err := s.saveRegistration(ctx, &result); err != nil {
			return result, trace, nil, err
		}
	}
	if left := s.links.Find(former.Hub); left != nil && target.Hub != former.Hub && enrollment.ReprovisionPolicy.MigrateDeviceData {
		var twin *linkedhub.InitialTwin
		err := s.persist(ctx, func() error {
			own, err := s.stillOwn(ctx, intent.RegistrationID, former)
			if err == nil && own {
				twin, err = left.Twin(ctx, former.DeviceID)
			}
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
		again, err = s.comesAgain(ctx, intent, pending, hub, target.DeviceID)
		return err
	})
	generation := ""
	if err == nil {
		err = s.persist(ctx, func() (err error) { generation, err = hub.Admit(ctx, admission); return err })
	}
	if err != nil {
		return end(attest.NewFailure("hub admission", fault.Say("the device in %s", hub.Host()),
			fault.Say("The hub refused the device for the reason shown"), err))
	}
	trace.Pass("hub admission", "device %s", admission.DeviceID)
	result.Stale = withoutRef(result.Stale, target)
	if target != former && s.links.Find(former.Hub) != nil {
		result.Stale = append(result.Stale, former)
	}
	result = s.assigned(result, enrollment, chosen, again)
	result.owning = []store.Change{s.putOwner(intent, target, generation, claimed)}
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

// assigned is the record of a device that has a hub now.
func (s *Service) assigned(pending storedRegistration, enrollment Enrollment, chosen allocation.Decision,
	again bool) storedRegistration {
	result := pending
	result.Substatus = s.substatus(pending, enrollment, chosen.Hub, again)
	result.Status, result.AssignedHub, result.DeviceID = StatusAssigned, chosen.Hub.Host(), enrollment.deviceID()
	result.ErrorCode, result.ErrorMessage, result.Payload = 0, "", chosen.Payload
	return result
}

// removeStale removes the identities that the device left behind. What a hub does not
// remove now, the sweep tries again.
func (s *Service) removeStale(ctx context.Context, result storedRegistration) {
	for _, left := range slices.Clone(result.Stale) {
		// One that is no longer linked can't be asked, and its devices are no
		// longer this service's.
		if hub := s.links.Find(left.Hub); hub != nil {
			removing, cancel := context.WithTimeout(ctx, removalTimeout)
			err := s.remove(removing, hub, result.RegistrationID, left)
			cancel()
			if err != nil {
				s.config.Logger.Warn("the device is still in its former hub", "registrationId", result.RegistrationID, "hub", left.Hub, "error", err)
				continue
			}
		}
		result.Stale = withoutRef(result.Stale, left)
		if recorded, etag, err := s.owners.Get(ctx, ownerKey(left)); err == nil && key(recorded.RegistrationID) == key(result.RegistrationID) {
			result.owning = append(result.owning, s.owners.Delete(ownerKey(left), store.ETag(etag)))
		}
	}
	if err := s.saveRegistration(ctx, &result); err != nil && s.work.Err() == nil {
		s.config.Logger.Warn("what the device left is removed, but not on record", "registrationId", result.RegistrationID, "error", err)
	}
}

// remove removes an identity that a registration left in a hub, if it still is its.
func (s *Service) remove(ctx context.Context, hub linkedhub.Hub, registrationID string, left deviceRef) error {
	own, err := s.stillOwn(ctx, registrationID, left)
	if err != nil || !own {
		return err
	}
	return hub.Remove(ctx, left.DeviceID)
}

// removalTimeout bounds how long a hub may take to remove a device that has left
// it: the device may be waiting.
const removalTimeout = 10 * time.Second

// sinceReprovisioned is the first api-version whose clients are told that they come
// again to a hub that had them already. Earlier ones are told initialAssignment.
const sinceReprovisioned = "2019-04-15"

// comesAgain reports whether a device that may be told so comes to a hub that has it
// already: by its record, or because it was there before that was deleted.
func (s *Service) comesAgain(ctx context.Context, intent intent, pending storedRegistration, hub linkedhub.Hub,
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
func (s *Service) substatus(pending storedRegistration, enrollment Enrollment, hub *linkedhub.Linked,
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

// attempt is the record of how the intent ended.
func (i intent) attempt(result storedRegistration, trace attest.Trace, now time.Time) attest.Attempt {
	attempt := attest.Attempt{
		Time: now.UTC(), RegistrationID: i.RegistrationID, Enrolled: true, IDScope: i.IDScope,
		Protocol: i.Protocol, RemoteAddress: i.RemoteAddr,
		Outcome: attest.Assigned, Hub: result.AssignedHub, DeviceID: result.DeviceID, Checks: trace, Case: i.Case,
	}
	if result.Status != StatusAssigned {
		attempt.Outcome, attempt.Hub, attempt.DeviceID = attest.Failed, "", ""
		attempt.Code, attempt.Message = result.ErrorCode, result.ErrorMessage
	}
	return attempt
}

// refused keeps the attempt of a device that got an error and returns that
// error as the fault the device is told.
func (s *Service) refused(ctx context.Context, evidence attest.Evidence, found principal, trace attest.Trace,
	err error) error {
	problem := fault.From(err)
	attempt := attest.Attempt{
		Time: s.config.Now().UTC(), RegistrationID: attempts.Printable(evidence.RegistrationID), IDScope: attempts.Printable(evidence.IDScope),
		Protocol: evidence.Protocol, RemoteAddress: evidence.RemoteAddr,
		Outcome: attest.Refused, Code: int(problem.Code), TrackingID: problem.TrackingID, Message: problem.Message, Checks: trace,
	}
	attempt.Enrolled = found.group != "" || s.enrolledAs(ctx, evidence.RegistrationID)
	if c, err := s.caseOf(ctx, evidence, found); err == nil {
		attempt.Case = c.encoded()
	}
	s.tally.count(attest.Refused)
	s.keepRefusal(ctx, attempt, err)
	return problem
}

// keepRefusal keeps and logs an attempt that was refused.
func (s *Service) keepRefusal(ctx context.Context, attempt attest.Attempt, err error) {
	check, _ := attempt.Checks.Failed()
	s.attempts.Record(attempt)
	s.config.Logger.WarnContext(ctx, "registration", "registrationId", attempt.RegistrationID, "outcome", attest.Refused,
		"check", check.Name, "saw", check.Saw, "trackingId", attempt.TrackingID, "protocol", attempt.Protocol, "remote", attempt.RemoteAddress, "error", err)
}

// newOperationID returns an operation id of Azure's form. Clients put it into
// topics and addresses as it is, so it has no character that needs encoding.
func newOperationID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return "4." + hex.EncodeToString(b[:]) + "." + fault.NewTrackingID()
}
