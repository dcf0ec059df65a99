package provisioning

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"sync"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
)

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
	Snapshot       json.RawMessage                 `json:"case,omitempty"`    // see attest.Attempt
	Payload        json.RawMessage                 `json:"payload,omitempty"` // the device's, for custom allocation
	CSR            string                          `json:"csr,omitempty"`     // that the device sent, checked
	// hash of what the device was judged by; "" in what earlier versions wrote
	Attestation string `json:"attestation,omitempty"`
	Node        string `json:"node,omitempty"` // that began it, as in Config
}

// job is an assignment that this process works on.
type job struct {
	intent    intent
	known     chan struct{} // closed after intent is set
	finished  chan struct{} // closed after operation and err are set
	operation Operation
	err       error
}

// isOfGroup reports whether the job is that of a device of this group, "" for an
// individual enrollment. It waits until that is known, which is soon.
func (j *job) isOfGroup(group string) bool {
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
	found = &job{intent: intent{RegistrationID: registrationID, OperationID: newOperationID()},
		known: make(chan struct{}), finished: make(chan struct{})}
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

// newOperationID returns an operation id of Azure's form. Clients put it into
// topics and addresses as it is, so it has no character that needs encoding.
func newOperationID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return "4." + hex.EncodeToString(b[:]) + "." + fault.NewTrackingID()
}
