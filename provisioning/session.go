package provisioning

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/provisioning/tpm"
)

// Session is one device that talks to the service, whatever protocol it came
// by: evidence in, session out. It is not for use by several goroutines at once.
type Session struct {
	service       *Service
	evidence      attest.Evidence
	authenticated bool // the evidence was judged on this connection and passed
	tpm           *tpm.Device
	found         principal // what the last judgement came to

	// Proven is called when the evidence has passed, before anything is done for the
	// device; nil is not.
	Proven func()

	// Failures are those of its connection, where that has one session after the other;
	// nil before the first.
	Failures *Failures
}

// Failures are the judgements that failed on a connection. They are not for use by
// several goroutines at once.
type Failures struct {
	limiter *rate.Limiter // nil before the first
}

type failuresKey struct{}

// WithFailures is the context of a connection whose requests are a session each.
func WithFailures(ctx context.Context) context.Context {
	return context.WithValue(ctx, failuresKey{}, new(Failures))
}

// FailuresOf returns those of the connection of a request, whose context this is; nil
// when it is of none.
func FailuresOf(ctx context.Context) *Failures {
	failures, _ := ctx.Value(failuresKey{}).(*Failures)
	return failures
}

// A connection may fail so many judgements at once, and again one every second.
const failuresOfConnection = 20

// checkLockout returns fault 429001 if the device's source is locked out, or if too
// much was judged in vain on this connection. It is not on record: what led to it is.
func (x *Session) checkLockout() error {
	if err := x.service.lockouts.Check(x.evidence.RemoteAddr); err != nil {
		return err
	}
	if x.Failures == nil || x.Failures.limiter == nil || x.Failures.limiter.TokensAt(x.service.config.Now()) >= 1 {
		return nil
	}
	return guard.Throttled(time.Second, fault.New(fault.Throttled,
		"Too many registrations were refused on this connection. Come back later"))
}

// judge judges the evidence, and counts when that was in vain.
func (x *Session) judge(ctx context.Context, trace *attest.Trace) (principal, error) {
	found, err := x.authenticate(ctx, trace)
	if err != nil {
		if x.Failures == nil {
			x.Failures = new(Failures)
		}
		if x.Failures.limiter == nil {
			x.Failures.limiter = rate.NewLimiter(1, failuresOfConnection)
		}
		x.Failures.limiter.AllowN(x.service.config.Now(), 1)
	}
	return found, err
}

// Operation is the state of a registration's assignment.
type Operation = contract.Operation

// DeviceRegistration is a registration as its device is told of it.
type DeviceRegistration = contract.DeviceRegistration

// OpenSession begins with what a device claims and shows. What is wrong with it
// is told when the device asks for something, where the protocol can carry the
// reason.
func (s *Service) OpenSession(idScope, registrationID string, evidence credential.Evidence) *Session {
	shown := attest.Evidence{IDScope: idScope, RegistrationID: registrationID, Evidence: evidence}
	return &Session{service: s, evidence: shown}
}

// Register assigns the device to a hub. body is the register request in JSON
// and may be empty. A refused device gets fault 401002, a wrong request 400004;
// every refusal is kept as an attempt with its trace. A device with a TPM that has
// yet to prove itself gets a *TPMChallenge.
func (x *Session) Register(ctx context.Context, body []byte) (Operation, error) {
	var trace attest.Trace
	if err := x.checkLockout(); err != nil {
		return Operation{}, err
	}
	if err := x.service.rates.Registration(x.evidence.RegistrationID); err != nil {
		trace.Fail("throttle", fault.From(err).Text(), fault.Say("fewer registrations"),
			fault.Say("The device must wait for as long as the answer's retry-after says. "+
				"The limits are those of berth up: --fidelity, --registrations-per-minute"))
		return Operation{}, x.service.recordRefusal(ctx, x.evidence, x.found, trace, err)
	}
	job, wrongHub, err := x.assign(ctx, body, enrollmentChanges)
	if err != nil {
		return Operation{}, err
	}
	if (x.service.config.Pace == Instant || wrongHub != "") && job.wait(ctx, instantTimeout) {
		if job.err != nil {
			return Operation{}, job.err
		}
		return x.withHubKey(ctx, withAssignedHub(job.operation, wrongHub))
	}
	return assigningOperation(job.intent.OperationID), nil
}

// assign judges the evidence and begins the assignment, up to so many times if the
// enrollment changes in between. wrongHub is the one that the device is to be told in
// place of its own.
func (x *Session) assign(ctx context.Context, body []byte, times int) (job *job, wrongHub string, err error) {
	var trace attest.Trace
	x.evidence.TPM, x.evidence.Returning = readTPM(body), false
	admitted, err := x.judge(ctx, &trace)
	if _, failed := trace.Failed(); failed && errors.Is(err, fault.UnauthorizedAccess) {
		x.service.lockouts.CountFailure(ctx, x.evidence.RemoteAddr)
	}
	var asked request
	if err == nil {
		asked, err = x.service.checkRequest(ctx, &trace, body, x.evidence.RegistrationID, admitted.enrollment)
	}
	if err == nil {
		err = x.service.roomForRegistration(ctx, &trace, x.evidence.RegistrationID)
	}
	if err == nil {
		wrongHub, err = x.service.injector.Apply(ctx, &trace, x.evidence.RegistrationID, admitted.group)
	}
	if err != nil {
		return nil, "", x.refuse(ctx, trace, err)
	}
	job, err = x.service.assign(ctx, x.evidence, admitted, asked, trace)
	if errors.Is(err, errEnrollmentChanged) && times > 1 {
		return x.assign(ctx, body, times-1) // is the device still entitled?
	}
	if err != nil {
		var why attest.Failure
		if errors.As(err, &why) {
			why.AddTo(&trace)
		}
		err = x.service.recordRefusal(ctx, x.evidence, x.found, trace, err)
	}
	return job, wrongHub, err
}

// withAssignedHub returns the operation with another hub in it, unless that is "".
func withAssignedHub(operation Operation, hub string) Operation {
	if state := operation.RegistrationState; hub != "" && state != nil && state.AssignedHub != "" {
		answer := *state
		answer.AssignedHub = hub
		operation.RegistrationState = &answer
	}
	return operation
}

// Operation returns the state of an operation that Register began, on this
// connection or an earlier one. It returns fault 404203 for one that is not the
// device's last.
func (x *Session) Operation(ctx context.Context, operationID string) (Operation, error) {
	record, err := x.state(ctx)
	switch {
	case errors.Is(err, fault.RegistrationNotFound), err == nil && record.OperationID != operationID:
		return Operation{}, fault.New(fault.OperationNotFound,
			"There is no operation %.64q of this device. Register again", operationID)
	case err != nil:
		return Operation{}, err
	case record.Status == StatusAssigning:
		x.service.resume(ctx, x.evidence.RegistrationID)
		return assigningOperation(operationID), nil
	}
	return x.withHubKey(ctx, record.operation())
}

// Lookup returns the device's registration, without a chain of certificates. body is
// as of a register request, without csr. It returns fault 404202 when the device never
// registered, and 400004 for a request that can't be taken.
func (x *Session) Lookup(ctx context.Context, body []byte) (DeviceRegistration, error) {
	record, err := x.state(ctx)
	if err != nil {
		return DeviceRegistration{}, err
	}
	asked, problem := readRequest(body, x.evidence.RegistrationID)
	if problem != nil {
		return DeviceRegistration{}, problem
	}
	if asked.CSR != "" {
		return DeviceRegistration{},
			fault.New(fault.ArgumentInvalid,
				"A look-up takes no csr, as it issues no certificate. Send it with a registration")
	}
	state := record.forDevice()
	state.IssuedCertificateChain = nil
	return state, nil
}

// Broken keeps it as an attempt that the device broke its protocol, where that
// can't be answered.
func (x *Session) Broken(ctx context.Context, reason error) {
	trace := attest.Trace{}
	trace.Fail("protocol", fault.TextOf(reason), fault.Say("the packets and topics of device provisioning"),
		fault.Say("The device's program sends this; an unmodified device SDK does not"))
	x.service.recordRefusal(ctx, x.evidence, x.found, trace, fault.New(fault.BadRequest, "%v", reason))
}

// state returns the device's record once its evidence has passed.
func (x *Session) state(ctx context.Context) (storedRegistration, error) {
	if err := errors.Join(x.checkLockout(), x.service.rates.Poll(x.evidence.RegistrationID)); err != nil {
		return storedRegistration{}, err
	}
	if !x.authenticated {
		var trace attest.Trace
		x.evidence.TPM, x.evidence.Returning = nil, true
		if _, err := x.judge(ctx, &trace); err != nil {
			if errors.Is(err, fault.UnauthorizedAccess) {
				x.service.lockouts.CountFailure(ctx, x.evidence.RemoteAddr)
			}
			return storedRegistration{}, x.service.recordRefusal(ctx, x.evidence, x.found, trace, err)
		}
	}
	found, err := x.service.loadRegistration(ctx, x.evidence.RegistrationID)
	if err == nil {
		err = x.service.mayRead(ctx, x.found, found)
	}
	if err != nil {
		return storedRegistration{}, err
	}
	return found, nil
}

// authenticate judges the evidence: the phases of an attestation, in their order. What
// the device shows is judged by itself first, then against its enrollment, and
// only then may it learn that the enrollment is disabled.
func (x *Session) authenticate(ctx context.Context, trace *attest.Trace) (principal, error) {
	s, id := x.service, x.evidence.RegistrationID
	x.found = principal{}
	if !strings.EqualFold(x.evidence.IDScope, s.config.IDScope) {
		trace.Fail("ID scope", fault.Say("%.64q", x.evidence.IDScope), fault.Say("%s", s.config.IDScope),
			fault.Say("Set the device's ID scope (PROVISIONING_IDSCOPE) to the one that berth info shows"))
		return principal{}, fault.New(fault.UnauthorizedAccess,
			"There is no provisioning service with the ID scope %.64q here", x.evidence.IDScope)
	}
	trace.Pass("ID scope", "%s", x.evidence.IDScope)

	if err := enroll.CheckRegistrationID(id); err != nil {
		trace.Fail("registration id", fault.Say("%.130q", id), fault.Say("letters, digits and - . _ :, at most 128"),
			fault.Say("Correct the device's registration id"))
		return principal{}, err
	}
	trace.Pass("registration id", "%s", id)

	if refusal, ok := attest.Sound(trace, x.evidence, s.config.Now()); !ok {
		return principal{}, unauthorized(refusal)
	}
	found, refusal, err := s.findPrincipal(ctx, trace, x.evidence)
	x.found = found
	if err != nil {
		return principal{}, err
	}
	if refusal != "" {
		return principal{}, unauthorized(refusal)
	}
	if found.enrollment.ProvisioningStatus == enroll.Disabled {
		advice := fault.Say("Enable the enrollment if the device may come in: "+
			"berth enrollment update %s --provisioning-status enabled", id)
		if found.group != "" {
			advice = fault.Say("Enable the group if the device may come in: "+
				"berth group update %s --provisioning-status enabled", found.group)
		}
		trace.Fail("provisioning status", fault.Say("disabled"), fault.Say("enabled"), advice)
		return principal{}, unauthorized("The enrollment of this device is disabled")
	}
	trace.Pass("provisioning status", "enabled")
	x.authenticated, x.tpm = true, found.tpm
	if x.Proven != nil {
		x.Proven()
	}
	return found, nil
}

func unauthorized(refusal attest.Refusal) error {
	return fault.New(fault.UnauthorizedAccess, "%s", refusal)
}

func assigningOperation(operationID string) Operation {
	return Operation{OperationID: operationID, Status: StatusAssigning, RetryAfter: retryAfter}
}

func (r storedRegistration) operation() Operation {
	state := r.forDevice()
	return Operation{OperationID: r.OperationID, Status: r.Status, RegistrationState: &state}
}

func (r storedRegistration) forDevice() DeviceRegistration {
	device := DeviceRegistration{Registration: r.Registration, IssuedCertificateChain: r.IssuedChain}
	switch {
	case r.Mechanism == enroll.SymmetricKey:
		if r.GroupID != "" {
			device.SymmetricKey = &contract.SymmetricKeyResult{EnrollmentGroupID: r.GroupID}
		}
	case r.Certificate != nil:
		device.X509 = &contract.X509Result{CertificateInfo: r.Certificate, SigningCertificateInfo: r.Signer,
			EnrollmentGroupID: r.GroupID}
	}
	return device
}
