package connection

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// IssueTimeout is how long a request for a certificate may take, and how long its
// answer is kept for who asks the same again.
const IssueTimeout = 2 * time.Minute

// expiryLayout is how the time at which a request expires is written.
const expiryLayout = "2006-01-02T15:04:05.000000000Z"

// RenewalRequest is what a connected device sends to get a new operational
// certificate.
type RenewalRequest struct {
	RequestID string
	CSR       string // base64 of PKCS #10
	Replace   string // a request under way that this one takes the place of: its id, or * for any; "" for none
}

// Renewal is such a request under way. A device has one at a time. It is for who
// began it to end.
type Renewal struct {
	CorrelationID string // by which device, log and answers speak of it
	Expires       time.Time

	session *Session
	asked   RenewalRequest
	request string // hash of the certificate signing request
	before  []byte // what the same request was answered before; nil for a new one
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{} // closed when it is over
}

// answeredRenewal is how a device's last request was answered. The same request, sent
// again because the answer was lost, gets the same certificate.
type answeredRenewal struct {
	Generation    string    `json:"generation"`
	RequestID     string    `json:"requestId"`
	Request       string    `json:"request"` // hash of the certificate signing request
	CorrelationID string    `json:"correlationId"`
	Expires       time.Time `json:"expires"`
	Answer        []byte    `json:"answer"`
}

// renewals are the requests under way, by device.
type renewals struct {
	mutex    sync.Mutex
	byDevice map[string]*Renewal
	pruned   string // the last device whose answer was looked at, see pruneAnswered
}

// BeginRenewal takes a request. It returns fault 400004 for a device that gets no
// certificates, 401002 for one whose own has expired, 429001 when there were too many, 409005 while another request of
// the
// device is under way, and 412001 when there is none that could be replaced; those two
// say in Info of which request they speak.
func (s *Session) BeginRenewal(ctx context.Context, asked RenewalRequest) (*Renewal, error) {
	s.markActive()
	device, _, err := s.identity(ctx)
	if err != nil {
		return nil, err
	}
	issuer := s.of.config.Issuer
	if device.Issuance == nil || issuer == nil {
		return nil, fault.New(fault.ArgumentInvalid,
			"The device %q has no operational certificates. Let its enrollment name a credential policy, and the "+
				"device register with a certificate signing request", s.deviceID)
	}
	if expiry := s.proof.expiry; s.proof.byCertificate() && s.of.config.Now().After(expiry) {
		return nil, fault.New(fault.UnauthorizedAccess,
			"The certificate of the device %q expired at %s. Register again with a new request", s.deviceID,
			expiry.UTC().Format(time.RFC3339))
	}
	if err := issuer.ThrottleRenewal(device.Issuance.RegistrationID); err != nil {
		return nil, err
	}
	if err := issuer.CheckEncoding(asked.CSR); err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(asked.CSR))
	r := &Renewal{CorrelationID: fault.NewTrackingID(), Expires: s.of.config.Now().Add(IssueTimeout).UTC(),
		session: s, asked: asked, request: hex.EncodeToString(hash[:]), done: make(chan struct{})}
	r.ctx, r.cancel = context.WithTimeout(ctx, IssueTimeout)
	for {
		same, err := s.of.renewals.start(r)
		if err != nil {
			r.cancel()
			return nil, err
		}
		if same == nil {
			break
		}
		select { // it is the same request, of an earlier connection
		case <-same.done:
		case <-r.ctx.Done():
			r.cancel()
			return nil, context.Cause(r.ctx)
		}
	}
	if err := r.recallAnswer(); err != nil {
		r.End()
		return nil, err
	}
	return r, nil
}

// start makes a request the one of its device. It returns the same request when that
// is under way already.
func (all *renewals) start(r *Renewal) (same *Renewal, _ error) {
	all.mutex.Lock()
	defer all.mutex.Unlock()
	if all.byDevice == nil {
		all.byDevice = make(map[string]*Renewal)
	}
	active, replace := all.byDevice[r.session.deviceID], r.asked.Replace
	switch {
	case active != nil && active.asked.RequestID == r.asked.RequestID && active.request == r.request:
		return active, nil
	case active != nil && replace == "":
		problem := fault.New(fault.CredentialOperationActive,
			"The request %.64q of this device is under way. Wait for its answer, or send its id, or *, in replace",
			active.asked.RequestID)
		problem.Info = map[string]string{"requestId": active.asked.RequestID,
			"operationExpires": active.Expires.Format(expiryLayout), "correlationId": active.CorrelationID}
		return nil, problem
	case replace != "" && replace != "*" && (active == nil || replace != active.asked.RequestID):
		problem := fault.New(fault.PreconditionFailed,
			"There is no request %.64q under way that could be replaced. Send the request without replace, or with *",
			replace)
		problem.Info = map[string]string{"requestId": replace}
		return nil, problem
	case active != nil:
		active.cancel()
	}
	all.byDevice[r.session.deviceID] = r
	return nil, nil
}

// End is the end of the request, whatever came of it.
func (r *Renewal) End() {
	all := &r.session.of.renewals
	all.mutex.Lock()
	defer all.mutex.Unlock()
	if all.byDevice[r.session.deviceID] == r {
		delete(all.byDevice, r.session.deviceID)
	}
	r.cancel()
	close(r.done)
}

// recallAnswer finds out whether the same request was answered already.
func (r *Renewal) recallAnswer() error {
	s := r.session
	last, _, err := s.of.answered.Get(r.ctx, s.deviceID)
	switch {
	case errors.Is(err, store.ErrNotFound), store.IsUnreadable(err):
		return nil
	case err != nil:
		return err
	}
	if last.Generation == s.generation && last.RequestID == r.asked.RequestID && last.Request == r.request &&
		s.of.config.Now().Before(last.Expires) {
		r.before, r.CorrelationID, r.Expires = last.Answer, last.CorrelationID, last.Expires
	}
	return nil
}

// OperationExpires is when the request is given up, as devices are told.
func (r *Renewal) OperationExpires() string { return r.Expires.Format(expiryLayout) }

// renewalTries is how often a request is looked at anew because the enrollment was
// changed meanwhile.
const renewalTries = 3

// Issue makes the device's new certificate and the answer to its request durable, in
// one commit, and returns the answer. render makes the answer of the chain, the
// device's own certificate first and the root last, each base64 of DER. With owed the
// answer is sent again until the device has acknowledged it. The certificate with
// which the device is connected stays good.
//
// A refusal says in Info what was wrong, and carries the correlation id. Its code is
// 400040 when the fault is the request's or the enrollment's, and 5xx when it is the
// service's.
func (r *Renewal) Issue(render func(chain []string) ([]byte, error), owed *OwedAnswer) ([]byte, error) {
	if r.before != nil {
		if owed == nil {
			return r.before, nil
		}
		owed.Payload = r.before
		return r.before, r.session.Owe(r.ctx, *owed)
	}
	var err error
	for range renewalTries {
		var answer []byte
		if answer, err = r.issue(render, owed); err == nil {
			return answer, nil
		}
		if _, conflict := store.IsConflict(err); !conflict {
			break
		}
	}
	return nil, r.refusal(err)
}

func (r *Renewal) issue(render func(chain []string) ([]byte, error), owed *OwedAnswer) ([]byte, error) {
	s, issuer := r.session, r.session.of.config.Issuer
	device, _, err := s.identity(r.ctx)
	if err != nil {
		return nil, err
	}
	if device.Issuance == nil {
		return nil, fault.New(fault.ArgumentInvalid,
			"The device has no operational certificates any more. Register again")
	}
	entitled, err := issuer.MayRenew(r.ctx, device.Issuance.RegistrationID, device.Issuance.Policy)
	if err != nil {
		return nil, err
	}
	request, err := issuer.Check(r.ctx, device.Issuance.Policy, device.Issuance.RegistrationID, r.asked.CSR)
	if err != nil {
		return nil, err
	}
	made, changes, err := issuer.Issue(r.ctx, request)
	if err != nil {
		return nil, err
	}
	chain := make([]string, len(made))
	for i, der := range made {
		chain[i] = base64.StdEncoding.EncodeToString(der)
	}
	answer, err := render(chain)
	if err != nil {
		return nil, err
	}
	pruned, err := s.of.pruneAnswered(r.ctx, s.deviceID)
	if err != nil {
		return nil, err
	}
	changes = append(slices.Concat(changes, entitled, pruned),
		s.of.answered.Put(s.deviceID, store.Always, answeredRenewal{
			Generation: s.generation, RequestID: r.asked.RequestID, Request: r.request,
			CorrelationID: r.CorrelationID, Expires: r.Expires, Answer: answer}))
	owes := s.owed
	if owed != nil {
		owed.Payload = answer
		owes = appendOwed(s.owed, *owed)
		changes = append(changes, s.putSessionState(s.names, owes))
	}
	if err := r.ctx.Err(); err != nil {
		return nil, err // its time is over, or another request takes its place
	}
	if err := s.commit(r.ctx, changes...); err != nil {
		return nil, err
	}
	s.owed = owes
	return answer, nil
}

// refusal is a fault as the device is told of it once its request was taken.
func (r *Renewal) refusal(err error) error {
	problem := fault.From(err)
	code := problem.Code
	if code.Status() < 500 {
		code = fault.CredentialRequestInvalid
	}
	refused := fault.New(code, "%s", problem.Message).Because(err)
	refused.TrackingID = problem.TrackingID
	refused.Info = map[string]string{"correlationId": r.CorrelationID,
		"credentialError": strconv.Itoa(int(problem.Code)), "credentialMessage": problem.Message}
	return refused
}

// prunedAtOnce is how many answers each new one looks at, so that those whose time is
// over become fewer.
const prunedAtOnce = 4

// pruneAnswered are the changes that remove answers whose time is over, of others than
// this device.
func (c *Connections) pruneAnswered(ctx context.Context, deviceID string) (changes []store.Change, _ error) {
	c.renewals.mutex.Lock()
	after := c.renewals.pruned
	c.renewals.mutex.Unlock()
	entries, err := c.answered.List(ctx, "", after, prunedAtOnce)
	if err != nil {
		return nil, err
	}
	after = ""
	for _, entry := range entries {
		if entry.Key != deviceID && c.config.Now().After(entry.Value.Expires) {
			changes = append(changes, c.answered.Delete(entry.Key, store.Always))
		}
		after = entry.Key
	}
	c.renewals.mutex.Lock()
	c.renewals.pruned = after // "" is the beginning again
	c.renewals.mutex.Unlock()
	return changes, nil
}
