package provisioning

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// issue gives the device the operational certificate that it asked for, and makes
// the admission that of a device that has one. What it returns is to be committed.
// Certificates that the device never learns of, because the process died, do no
// harm: only the device has their key.
func (s *Service) issue(ctx context.Context, enrollment enroll.Enrollment, intent intent, result *storedRegistration,
	admission *linkedhub.Admission) (changes []store.Change, err error) {
	result.IssuedChain = nil
	if enrollment.CredentialPolicyName == "" {
		result.Issued = nil // the enrollment's own credential counts again
		return nil, nil
	}
	if intent.CSR != "" {
		request, err := s.config.Issuer.Check(ctx, enrollment.CredentialPolicyName, enrollment.RegistrationID,
			intent.CSR)
		if err != nil {
			return nil, err
		}
		var chain [][]byte
		if chain, changes, err = s.config.Issuer.Issue(ctx, request); err != nil {
			return nil, err
		}
		for _, der := range chain {
			result.IssuedChain = append(result.IssuedChain, base64.StdEncoding.EncodeToString(der))
		}
		sum := sha256.Sum256(chain[0])
		result.Issued = slices.Insert(slices.Clone(result.Issued), 0, strings.ToUpper(hex.EncodeToString(sum[:])))
		result.Issued = result.Issued[:min(2, len(result.Issued))]
	}
	result.Issued = s.dropRevoked(ctx, result.Issued, len(changes) > 0)
	result.applyIssued(enrollment.CredentialPolicyName, enrollment.RegistrationID, admission)
	return changes, nil
}

// dropRevoked is what is good of the certificates issued to a device, of which the
// first may not be stored yet. Where nothing is, one that nobody has takes their
// place: the device may not come in with its enrollment's credential instead.
func (s *Service) dropRevoked(ctx context.Context, issued []string, isNew bool) []string {
	if len(issued) == 0 {
		return nil
	}
	good := []string{}
	for i, thumbprint := range issued {
		if i == 0 && isNew || s.config.Issuer.Good(ctx, thumbprint) {
			good = append(good, thumbprint)
		}
	}
	if len(good) == 0 {
		return []string{noThumbprint}
	}
	return good
}

// applyIssued makes the admission that of a device with operational certificates,
// if it has any.
func (r *storedRegistration) applyIssued(policy, registrationID string, admission *linkedhub.Admission) {
	if len(r.Issued) == 0 {
		return
	}
	admission.PrimaryKey, admission.SecondaryKey = "", ""
	admission.PrimaryThumbprint, admission.SecondaryThumbprint = r.Issued[0], ""
	if len(r.Issued) > 1 {
		admission.SecondaryThumbprint = r.Issued[1]
	}
	admission.CredentialPolicy, admission.RegistrationID = policy, registrationID
}

// noThumbprint is one that no certificate has: the SHA-256 of nothing.
const noThumbprint = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"

// Revoked takes certificates that were revoked from hubs elsewhere, which know
// certificates by their thumbprints alone. Hubs of this process ask the issuer
// themselves. What fails for one device, or at one hub, keeps no other from being told.
func (s *Service) Revoked(ctx context.Context, revoked issuance.Revocation) error {
	if revoked.RegistrationID != "" {
		return s.withdraw(ctx, revoked.RegistrationID)
	}
	if revoked.Thumbprint != "" {
		certificate, err := s.config.Issuer.Certificate(ctx, revoked.Thumbprint)
		if err != nil {
			return err
		}
		return s.withdraw(ctx, certificate.RegistrationID)
	}
	w := withdrawals{silent: make(map[string]bool), free: make(chan struct{}, withdrawAtOnce)}
	defer w.all.Wait()
	for after := ""; ; {
		const stride = 1000
		entries, err := s.registrations.List(ctx, "", after, stride)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			hub := s.links.Find(entry.Value.AssignedHub)
			if hub == nil || hub.Link.Local || len(entry.Value.Issued) == 0 {
				continue
			}
			select {
			case w.free <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			w.all.Go(func() {
				defer func() { <-w.free }()
				w.begin(hub, entry.Value.RegistrationID, func() error {
					return s.config.Panics.Do(panics.Background, func() error {
						return s.withdraw(ctx, entry.Value.RegistrationID)
					})
				})
			})
		}
		if len(entries) < stride {
			w.all.Wait()
			return w.failed
		}
		after = entries[stride-1].Key
	}
}

// withdrawAtOnce is how many devices hubs elsewhere are told of at once.
const withdrawAtOnce = 16

// withdrawals are those of one revocation.
type withdrawals struct {
	all  sync.WaitGroup
	free chan struct{} // as many as are under way

	mutex  sync.Mutex
	silent map[string]bool // hubs that did not answer: they are not asked again for each of their devices
	count  int             // of those that failed
	failed error           // that some did, with the first
}

// begin does one, and notes how it failed.
func (w *withdrawals) begin(hub *linkedhub.Linked, registrationID string, withdraw func() error) {
	w.mutex.Lock()
	silent := w.silent[hub.Host()]
	w.mutex.Unlock()
	err := errSilent
	if !silent {
		err = withdraw()
	}
	if err == nil {
		return
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if errors.Is(err, errSilent) {
		w.silent[hub.Host()] = true
	}
	if w.count++; w.failed == nil {
		w.failed = &withdrawError{w, registrationID, hub.Host(), err}
	}
}

// errSilent is in the error of what a hub did not answer.
var errSilent = errors.New("the hub does not answer")

// withdrawError says that devices have kept certificates that were revoked.
type withdrawError struct {
	of                  *withdrawals
	registrationID, hub string // of the first
	err                 error
}

func (e *withdrawError) Error() string {
	return fmt.Sprintf("%d devices may still come in at hubs elsewhere, the first of them %s at %s: %v",
		e.of.count, e.registrationID, e.hub, e.err)
}

func (e *withdrawError) Unwrap() error { return e.err }

// withdraw leaves a device at its hub elsewhere only the certificates that are
// still good. Whose enrollment is gone has none of its own there.
func (s *Service) withdraw(ctx context.Context, registrationID string) error {
	record, err := s.loadRegistration(ctx, registrationID)
	if errors.Is(err, fault.RegistrationNotFound) {
		return nil // it is in no hub by this service
	}
	if err != nil {
		return err
	}
	hub := s.links.Find(record.AssignedHub)
	if hub == nil || hub.Link.Local || len(record.Issued) == 0 {
		return nil
	}
	admission := linkedhub.Admission{DeviceID: record.DeviceID}
	enrollment, err := s.reloadEnrollment(ctx,
		intent{RegistrationID: registrationID, GroupID: record.GroupID, Certificate: record.Certificate})
	switch {
	case err == nil:
		admission = enrollment.Admission()
		admission.DeviceID = record.DeviceID // where it is, whatever the enrollment says by now
	case !errors.Is(err, fault.EnrollmentNotFound) && !errors.Is(err, fault.GroupNotFound) && !store.IsUnreadable(err):
		return err
	}
	record.Issued = s.dropRevoked(ctx, record.Issued, false)
	record.applyIssued(enrollment.CredentialPolicyName, registrationID, &admission)
	err = s.persist(ctx, func() error {
		own, err := s.ownsIdentity(ctx, registrationID, record.assignedRef())
		if err != nil || !own {
			return err // somebody else has it now
		}
		present, err := hub.Identity(ctx, admission)
		if err != nil || present.Generation == "" || !present.Differs {
			return err
		}
		_, err = hub.EnsureDevice(ctx, admission)
		return err
	})
	if problem := (*fault.Error)(nil); err != nil && (!errors.As(err, &problem) || problem.Code.Status() >= 500) {
		err = fmt.Errorf("%w: %w", errSilent, err)
	}
	return err
}
