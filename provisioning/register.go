package provisioning

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/store"
)

// An assignment is three durable steps, each safe to repeat: the intent is
// written together with a record that says assigning; the hub admits the
// device; the record says assigned and the intent goes. The hub may be remote,
// so the steps can't be one; whoever finds an intent without a job (a poll, the
// device registering again, the sweep after a crash) takes it up where it is.

// assignmentTimeout bounds one assignment, hub calls included.
const assignmentTimeout = time.Minute

// intent is an assignment that has been promised. It holds what was known of
// the device when it was attested.
type intent struct {
	OperationID    string               `json:"operationId"`
	RegistrationID string               `json:"registrationId"`
	Certificate    *X509CertificateInfo `json:"certificate,omitempty"`
	Signer         *X509CertificateInfo `json:"signer,omitempty"`
	GroupID        string               `json:"groupId,omitempty"`
	Mechanism      string               `json:"mechanism,omitempty"`
	Protocol       string               `json:"protocol,omitempty"`
	RemoteAddr     string               `json:"remoteAddress,omitempty"`
	IDScope        string               `json:"idScope,omitempty"`
	Trace          attest.Trace         `json:"trace,omitempty"`
	Payload        json.RawMessage      `json:"payload,omitempty"` // the device's, for custom allocation
}

// job is an assignment that this process works on.
type job struct {
	intent    intent
	finished  chan struct{} // closed after operation and err are set
	operation Operation
	err       error
}

// wait waits for the job's end, at most for the time given.
func (j *job) wait(ctx context.Context, patience time.Duration) bool {
	timer := time.NewTimer(patience)
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
// device: who registers again meanwhile waits for the same.
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
	found = &job{intent: intent{RegistrationID: registrationID, OperationID: newOperationID()}, finished: make(chan struct{})}
	j.byKey[key(registrationID)] = found
	return found, true
}

// end publishes the job's result and forgets it.
func (j *jobs) end(done *job, operation Operation, err error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	done.operation, done.err = operation, err
	delete(j.byKey, key(done.intent.RegistrationID))
	close(done.finished)
}

// assign begins the assignment of an attested device and returns the job that
// does it. When it returns without an error, the assignment will be finished
// whatever happens to the process.
func (s *Service) assign(ctx context.Context, evidence attest.Evidence, device admitted, payload json.RawMessage, trace attest.Trace) (*job, error) {
	job, isNew := s.jobs.begin(evidence.RegistrationID)
	if !isNew {
		return job, nil
	}
	job.intent.Protocol, job.intent.RemoteAddr, job.intent.IDScope = evidence.Protocol, evidence.RemoteAddr, evidence.IDScope
	if job.intent.Mechanism = device.enrollment.Attestation.Type; job.intent.Mechanism == byX509 {
		job.intent.Certificate = describe(evidence.Certificates[0])
	}
	job.intent.GroupID, job.intent.Signer, job.intent.Payload = device.group, device.signer, payload
	job.intent.Trace = trace
	pending, err := s.promise(ctx, job.intent, device.enrollment)
	if err != nil {
		s.jobs.end(job, Operation{}, err)
		return nil, err
	}
	s.run(job, pending)
	return job, nil
}

// promise writes the intent, and the record that says so.
func (s *Service) promise(ctx context.Context, intent intent, enrollment Enrollment) (record, error) {
	for {
		prior, err := s.record(ctx, intent.RegistrationID)
		if err != nil && !errors.Is(err, fault.RegistrationNotFound) {
			return record{}, err
		}
		now := Time{s.config.Now().UTC()}
		pending := prior
		if err != nil {
			pending = record{Registration: Registration{RegistrationID: enrollment.RegistrationID, CreatedDateTimeUTC: now}}
		}
		pending.Status, pending.OperationID, pending.LastUpdatedDateTimeUTC = StatusAssigning, intent.OperationID, now
		former := pending.GroupID
		pending.Certificate, pending.Signer, pending.GroupID, pending.Mechanism = intent.Certificate, intent.Signer, intent.GroupID, intent.Mechanism
		pending.ETag = ""
		changes := append(s.join(intent),
			s.registrations.Put(key(intent.RegistrationID), match(prior.ETag), pending),
			s.intents.Put(key(intent.RegistrationID), store.Always, intent))
		if former != "" && key(former) != key(intent.GroupID) {
			changes = append(changes, s.members.Delete(memberKey(former, intent.RegistrationID), store.Always))
		}
		etags, err := s.config.Documents.Commit(ctx, changes...)
		if _, conflict := store.IsConflict(err); conflict {
			continue
		}
		if err != nil {
			return record{}, err
		}
		pending.ETag = registrationETag(etags[len(s.join(intent))])
		return pending, nil
	}
}

// run finishes the job on a goroutine of the service.
func (s *Service) run(job *job, pending record) {
	s.active.Go(func() {
		ctx, cancel := context.WithTimeout(s.work, assignmentTimeout)
		defer cancel()
		operation, err := s.finish(ctx, job.intent, pending)
		s.jobs.end(job, operation, err)
	})
}

// resume takes up the assignment of a device whose record says assigning, when
// nobody in this process works on it.
func (s *Service) resume(ctx context.Context, registrationID string) {
	job, isNew := s.jobs.begin(registrationID)
	if !isNew {
		return
	}
	intent, _, err := s.intents.Get(ctx, key(registrationID))
	var pending record
	if err == nil {
		pending, err = s.record(ctx, registrationID)
	}
	if err == nil && pending.OperationID == intent.OperationID && pending.Status == StatusAssigning {
		job.intent = intent
		s.run(job, pending)
		return
	}
	if err == nil {
		// The record was deleted and made anew since: the intent is void.
		_, err = s.config.Documents.Commit(ctx, s.intents.Delete(key(registrationID), store.Always))
	}
	s.jobs.end(job, Operation{}, err)
}

// sweep takes up what a crash left unfinished and no device may come back for.
func (s *Service) sweep() {
	after := ""
	for {
		entries, err := s.intents.List(s.work, "", after, 100)
		if err != nil {
			if s.work.Err() == nil {
				s.config.Logger.Error("unfinished registrations can't be read", "error", err)
			}
			return
		}
		if len(entries) == 0 {
			return
		}
		for _, entry := range entries {
			after = entry.Key
			s.voidOrResume(entry.Value)
		}
	}
}

// voidOrResume takes up one intent. An intent whose record is gone is void: the
// operator deleted the registration meanwhile.
func (s *Service) voidOrResume(intent intent) {
	_, err := s.record(s.work, intent.RegistrationID)
	if errors.Is(err, fault.RegistrationNotFound) {
		_, err = s.config.Documents.Commit(s.work, s.intents.Delete(key(intent.RegistrationID), store.Always))
	} else if err == nil {
		s.resume(s.work, intent.RegistrationID)
	}
	if err != nil && s.work.Err() == nil {
		s.config.Logger.Error("an unfinished registration can't be taken up", "registrationId", intent.RegistrationID, "error", err)
	}
}

// finish carries out an intent and returns what the device is told. An error
// means that storage failed; the intent then stays for later.
func (s *Service) finish(ctx context.Context, intent intent, pending record) (Operation, error) {
	result, trace, left := s.place(ctx, intent, pending)
	result.LastUpdatedDateTimeUTC = Time{s.config.Now().UTC()}
	expected := match(result.ETag)
	result.ETag = ""
	etags, err := s.config.Documents.Commit(ctx,
		s.registrations.Put(key(intent.RegistrationID), expected, result),
		s.intents.Delete(key(intent.RegistrationID), store.Always))
	if _, conflict := store.IsConflict(err); conflict {
		return Operation{}, fault.New(fault.RegistrationConflict, "The registration was changed or deleted while the device was being assigned. Register again")
	}
	if err != nil {
		problem := fault.From(err)
		s.config.Logger.Error("registration", "registrationId", intent.RegistrationID, "trackingId", problem.TrackingID, "error", err)
		return Operation{}, problem
	}
	result.ETag = registrationETag(etags[0])
	if left.hub != nil {
		// Last, so that the device is gone from its former place only when it is
		// on record in the new one. What a crash leaves here is an identity that
		// no device uses.
		if err := left.hub.Remove(ctx, left.deviceID); err != nil {
			s.config.Logger.Error("the device is still in its former hub", "registrationId", intent.RegistrationID, "hub", left.hub.Host(), "error", err)
		}
	}
	attempt := intent.attempt(result, trace, s.config.Now())
	s.attempts.record(attempt)
	s.tally.count(attempt.Outcome)
	s.config.Logger.Info("registration", "registrationId", intent.RegistrationID, "outcome", attempt.Outcome,
		"device", result.DeviceID, "hub", result.AssignedHub, "substatus", result.Substatus, "protocol", intent.Protocol)
	return result.operation(), nil
}

// identity is a device in a hub.
type identity struct {
	hub      Hub
	deviceID string
}

// place chooses the hub and has it admit the device. The result says assigned
// or failed; left is the identity that the device had before and no longer
// uses, if there is one.
func (s *Service) place(ctx context.Context, intent intent, pending record) (result record, trace attest.Trace, left identity) {
	result, trace = pending, intent.Trace
	failed := func(check, expected, advice string, err error) (record, attest.Trace, identity) {
		problem := fault.From(err)
		trace.Fail(check, problem.Message, expected, advice)
		result.Status, result.Substatus = StatusFailed, ""
		result.ErrorCode, result.ErrorMessage = int(problem.Code), problem.Message
		s.config.Logger.Warn("registration", "registrationId", intent.RegistrationID, "check", check, "trackingId", problem.TrackingID, "error", err)
		return result, trace, identity{}
	}

	enrollment, err := s.again(ctx, intent)
	if err != nil {
		return failed("enrollment", "an enrollment", "It was deleted while the device was being assigned. Enroll the device again if it may come in", err)
	}
	former := identity{s.linked(pending.AssignedHub), pending.DeviceID}
	candidates := s.candidates(enrollment)
	var hub Hub
	switch {
	case former.hub != nil && !enrollment.ReprovisionPolicy.UpdateHubAssignment:
		hub = former.hub
	case enrollment.AllocationPolicy == Custom:
		var answer allocationAnswer
		if hub, answer, err = s.askWebhook(ctx, enrollment, intent, pending, candidates); err != nil {
			return failed("allocation", "a hub from the webhook "+enrollment.CustomAllocationDefinition.WebhookURL,
				"Look into the webhook's log: it must answer with one of the linked hubs it is given", err)
		}
		if result.Payload = answer.Payload; answer.InitialTwin != nil {
			enrollment.InitialTwin = answer.InitialTwin
		}
	default:
		hub, result.Payload = choose(candidates, intent.RegistrationID), nil
	}
	if hub == nil {
		return failed("allocation", "a linked hub", "Link a hub, or let the enrollment name one that is linked",
			fault.New(fault.HubNotSpecified, "None of the hubs that the enrollment names is linked to this service"))
	}
	trace.Pass("allocation", fmt.Sprintf("%s, of %d", hub.Host(), len(candidates)))

	admission := enrollment.admission()
	moves := former.hub != nil && former.hub != hub
	if moves && enrollment.ReprovisionPolicy.MigrateDeviceData {
		twin, err := former.hub.Twin(ctx, former.deviceID)
		if err != nil {
			return failed("migration", "the twin from "+former.hub.Host(), "The former hub must answer before the device can move", err)
		}
		if twin != nil {
			admission.Twin = twin
		}
	}
	if err := hub.Admit(ctx, admission); err != nil {
		return failed("hub admission", "the device in "+hub.Host(), "The hub refused the device for the reason shown", err)
	}
	trace.Pass("hub admission", "device "+admission.DeviceID)

	result.Substatus = substatus(pending, enrollment, hub, moves)
	result.Status, result.AssignedHub, result.DeviceID = StatusAssigned, hub.Host(), admission.DeviceID
	result.ErrorCode, result.ErrorMessage = 0, ""
	if result.InitialHub == "" {
		result.InitialHub = hub.Host()
	}
	if moves || former.hub != nil && former.deviceID != admission.DeviceID {
		left = former
	}
	return result, trace, left
}

// substatus says how the device came to the hub (Azure,
// concepts-device-reprovision). While nothing moves, what the last move was
// still holds.
func substatus(pending record, enrollment Enrollment, hub Hub, moves bool) Substatus {
	switch {
	case !moves && pending.AssignedHub != "" && pending.Substatus != "":
		return pending.Substatus
	case !moves:
		return InitialAssignment
	case enrollment.ReprovisionPolicy.MigrateDeviceData:
		return DeviceDataMigrated
	case strings.EqualFold(hub.Host(), pending.InitialHub):
		return ReprovisionedToInitialAssignment
	}
	return DeviceDataReset
}

// attempt is the record of how the intent ended.
func (i intent) attempt(result record, trace attest.Trace, now time.Time) attest.Attempt {
	attempt := attest.Attempt{
		Time: now.UTC(), RegistrationID: i.RegistrationID, Enrolled: true, IDScope: i.IDScope,
		Protocol: i.Protocol, RemoteAddress: i.RemoteAddr,
		Outcome: attest.Assigned, Hub: result.AssignedHub, DeviceID: result.DeviceID, Checks: trace,
	}
	if result.Status != StatusAssigned {
		attempt.Outcome, attempt.Hub, attempt.DeviceID = attest.Failed, "", ""
		attempt.Code, attempt.Message = result.ErrorCode, result.ErrorMessage
	}
	return attempt
}

// refused keeps the attempt of a device that got an error and returns that
// error as the fault the device is told.
func (s *Service) refused(ctx context.Context, evidence attest.Evidence, trace attest.Trace, err error) error {
	problem := fault.From(err)
	attempt := attest.Attempt{
		Time: s.config.Now().UTC(), RegistrationID: printable(evidence.RegistrationID), IDScope: printable(evidence.IDScope),
		Protocol: evidence.Protocol, RemoteAddress: evidence.RemoteAddr,
		Outcome: attest.Refused, Code: int(problem.Code), TrackingID: problem.TrackingID, Message: problem.Message, Checks: trace,
	}
	attempt.Enrolled = s.enrolledAs(ctx, evidence.RegistrationID)
	check, _ := trace.Failed()
	s.attempts.record(attempt)
	s.tally.count(attest.Refused)
	s.config.Logger.WarnContext(ctx, "registration", "registrationId", attempt.RegistrationID, "outcome", attest.Refused,
		"check", check.Name, "saw", check.Saw, "trackingId", problem.TrackingID, "protocol", evidence.Protocol, "remote", evidence.RemoteAddr, "error", err)
	return problem
}

// printable bounds what a stranger makes the service keep: at most 128 bytes,
// and nothing that would do more than show on whatever it is shown.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text[:min(len(text), 128)])
}

// newOperationID returns an operation id of Azure's form. Clients put it into
// topics and addresses as it is, so it has no character that needs encoding.
func newOperationID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return "4." + hex.EncodeToString(b[:]) + "." + fault.NewTrackingID()
}
