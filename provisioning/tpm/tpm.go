// Package tpm challenges devices that prove themselves with a TPM. It keeps the secret
// from which the keys in challenges and the devices' keys in their hubs are derived, and
// which challenge each device answered last.
package tpm

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// Challenges are those of the devices of a service. Their methods may be called at once
// from many goroutines; their errors are *fault.Error unless storage fails.
type Challenges struct {
	documents store.Documents
	secrets   store.Table[[]byte]
	states    store.Table[state]
	now       func() time.Time
}

// New returns the challenges that are kept in the documents.
func New(documents store.Documents, now func() time.Time) *Challenges {
	return &Challenges{
		documents: documents, now: now,
		secrets: store.NewTable[[]byte](documents, "provisioning/secrets"),
		states:  store.NewTable[state](documents, "provisioning/tpm"),
	}
}

// Device is a device whose TPM was judged.
type Device struct{ endorsement, storageRoot *attest.TPMKey }

// state is what is kept of a device from one challenge to the next.
type state struct {
	Answered       int    `json:"answered"`       // challenges, since the device was first enrolled
	StorageRootKey string `json:"storageRootKey"` // when it answered last
}

// Judge judges the evidence against an individual enrollment with a TPM. It takes each
// answer to a challenge once. The device is nil when it is refused.
func (c *Challenges) Judge(ctx context.Context, trace *attest.Trace, evidence attest.Evidence,
	enrollment enroll.Enrollment) (*Device, attest.Refusal, error) {
	if evidence.Returning {
		return c.judgeReturning(ctx, trace, evidence, enrollment)
	}
	keys := enrollment.Attestation.TPM
	endorsement, storageRoot, refusal, ok := attest.EnrolledTPM(trace, evidence,
		keys.EndorsementKey, keys.StorageRootKey)
	if !ok {
		return nil, refusal, nil
	}
	if evidence.Token == "" {
		return nil, "Answer the challenge: sign a token with the key that the TPM activates", nil
	}
	secret, err := c.secret(ctx)
	if err != nil {
		return nil, "", err
	}
	device, judged := &Device{endorsement, storageRoot}, len(*trace)
	_, err = store.RetryOnConflict(ctx, func() (etags []string, _ error) {
		*trace = (*trace)[:judged] // the same answer may come twice at once: only one of them counts
		last, match, err := c.lastAnswer(ctx, enrollment.RegistrationID)
		if err != nil {
			return nil, err
		}
		var before *attest.TPMKey
		if last.StorageRootKey != "" {
			if before, err = attest.ParseTPMKey(last.StorageRootKey); err != nil {
				return nil, err
			}
		}
		challenge := device.challenge(secret, enrollment.RegistrationID, last.Answered)
		if refusal, ok = attest.Answers(trace, evidence, c.now(), challenge, before); !ok {
			return nil, nil
		}
		now := state{last.Answered + 1, evidence.TPM.StorageRootKey}
		return c.documents.Commit(ctx, c.states.Put(key(enrollment.RegistrationID), match, now))
	})
	if err != nil || !ok {
		return nil, refusal, err
	}
	return device, "", nil
}

// judgeReturning judges a device that asks how its registration goes.
func (c *Challenges) judgeReturning(ctx context.Context, trace *attest.Trace, evidence attest.Evidence,
	enrollment enroll.Enrollment) (*Device, attest.Refusal, error) {
	last, _, err := c.lastAnswer(ctx, enrollment.RegistrationID)
	if err != nil {
		return nil, "", err
	}
	if last.Answered == 0 {
		trace.Fail("challenge", fault.Say("none was answered yet"), fault.Say("a device that has registered"),
			fault.Say("Let the device register first"))
		return nil, attest.NotAdmitted, nil
	}
	endorsement, err := attest.ParseTPMKey(enrollment.Attestation.TPM.EndorsementKey)
	if err != nil {
		return nil, "", err
	}
	storageRoot, err := attest.ParseTPMKey(last.StorageRootKey)
	if err != nil {
		return nil, "", err
	}
	secret, err := c.secret(ctx)
	if err != nil {
		return nil, "", err
	}
	device := &Device{endorsement, storageRoot}
	challenge := device.challenge(secret, enrollment.RegistrationID, last.Answered-1)
	if refusal, ok := attest.Answered(trace, evidence, c.now(), challenge); !ok {
		return nil, refusal, nil
	}
	return device, "", nil
}

// Activation returns what a device opens with its TPM to answer its next challenge, if the
// device shows the enrolled TPM; nil for any other.
func (c *Challenges) Activation(ctx context.Context, evidence attest.Evidence,
	enrollment enroll.Enrollment) ([]byte, error) {
	keys := enrollment.Attestation.TPM
	endorsement, storageRoot, _, ok := attest.EnrolledTPM(new(attest.Trace), evidence, keys.EndorsementKey,
		keys.StorageRootKey)
	if !ok {
		return nil, nil
	}
	secret, err := c.secret(ctx)
	if err != nil {
		return nil, err
	}
	last, _, err := c.lastAnswer(ctx, enrollment.RegistrationID)
	if err != nil {
		return nil, err
	}
	device := &Device{endorsement, storageRoot}
	challenge := device.challenge(secret, enrollment.RegistrationID, last.Answered)
	return attest.Activation(endorsement, storageRoot, challenge.Key(c.now()))
}

// HubKey returns the device's key in its hub, enclosed so that only its TPM opens it.
func (c *Challenges) HubKey(ctx context.Context, registrationID string, device *Device) ([]byte, error) {
	secret, err := c.secret(ctx)
	if err != nil {
		return nil, err
	}
	hubKey, _ := attest.HubKeys(secret, registrationID, device.endorsement)
	return attest.Activation(device.endorsement, device.storageRoot, hubKey)
}

// WithHubKeys is the enrollment with the keys that its device has in its hub.
func (c *Challenges) WithHubKeys(ctx context.Context, enrollment enroll.Enrollment) (enroll.Enrollment, error) {
	secret, err := c.secret(ctx)
	if err != nil {
		return enroll.Enrollment{}, err
	}
	endorsement, err := attest.ParseTPMKey(enrollment.Attestation.TPM.EndorsementKey)
	if err != nil {
		return enroll.Enrollment{}, err
	}
	return enrollment.WithHubKeys(attest.HubKeys(secret, enrollment.RegistrationID, endorsement)), nil
}

func (d *Device) challenge(secret []byte, registrationID string, answered int) attest.Challenge {
	return attest.Challenge{Secret: secret, RegistrationID: registrationID,
		Endorsement: d.endorsement, StorageRoot: d.storageRoot, Answered: answered}
}

// secret returns what the keys of challenges and of devices are derived from. It is made
// when it is first needed and then stays.
func (c *Challenges) secret(ctx context.Context) ([]byte, error) {
	const name = "tpm"
	return store.RetryOnConflict(ctx, func() ([]byte, error) {
		secret, _, err := c.secrets.Get(ctx, name)
		if !errors.Is(err, store.ErrNotFound) {
			return secret, err
		}
		secret = make([]byte, 32)
		rand.Read(secret) // never fails, see crypto/rand
		_, err = c.documents.Commit(ctx, c.secrets.Put(name, store.Absent, secret))
		return secret, err
	})
}

// lastAnswer returns what is kept of a device, with the condition under which that holds.
func (c *Challenges) lastAnswer(ctx context.Context, registrationID string) (state, store.Match, error) {
	last, etag, err := c.states.Get(ctx, key(registrationID))
	if errors.Is(err, store.ErrNotFound) {
		return state{}, store.Absent, nil
	}
	return last, store.IfMatch(etag), err
}

// key is what a registration id is stored under: ids have no case.
func key(registrationID string) string { return strings.ToLower(registrationID) }
