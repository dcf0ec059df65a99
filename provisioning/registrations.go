package provisioning

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// storedRegistration is a registration as it is stored.
type storedRegistration struct {
	Registration
	OperationID string                          `json:"operationId"` // the last one
	Certificate *credential.X509CertificateInfo `json:"certificate,omitempty"`
	Signer      *credential.X509CertificateInfo `json:"signer,omitempty"`  // of a device that came by a group
	GroupID     string                          `json:"groupId,omitempty"` // of a device that came by a group
	Mechanism   string                          `json:"mechanism,omitempty"`
	IssuedChain []string                        `json:"issuedChain,omitempty"` // what the last registration answered
	// thumbprints of the latest operational certificates, two at most
	Issued []string `json:"issued,omitempty"`
	// where there may be identities that the device no longer uses
	Stale []deviceRef `json:"left,omitempty"`

	unfinished   bool           // it said assigning before this assignment began
	ownerChanges []store.Change // of owners, for the commit that writes the record
}

// hubDeviceID is the id that the device has in its hub when it comes by this enrollment.
// Registration ids have no case and device ids have: one that registers in another case,
// and whose enrollment names no device id, keeps the one that it has.
func (r storedRegistration) hubDeviceID(enrollment enroll.Enrollment) string {
	switch {
	case enrollment.DeviceID != "":
		return enrollment.DeviceID
	case key(r.DeviceID) == key(enrollment.RegistrationID):
		return r.DeviceID
	}
	return cmp.Or(r.RegistrationID, enrollment.RegistrationID)
}

// admission is what the device of the registration brings to its hub by this enrollment.
func (r storedRegistration) admission(enrollment enroll.Enrollment) linkedhub.Admission {
	admission := enrollment.Admission()
	admission.DeviceID = r.hubDeviceID(enrollment)
	return admission
}

// withoutETag is the record as it is written.
func (r storedRegistration) withoutETag() storedRegistration {
	r.ETag = ""
	return r
}

// Registrations are the registration records of a service: where its devices went.
type Registrations struct{ service *Service }

// Registrations returns the registration records.
func (s *Service) Registrations() Registrations { return Registrations{s} }

// RegistrationFilter chooses registration records.
type RegistrationFilter struct {
	Prefix string // of the registration id; all when empty
	Status Status // all when empty
}

// registrationsSearched bounds the records that one call of Find reads.
const registrationsSearched = 10_000

// Get returns the registration record of a device. It returns fault
// 404202 when it never registered.
func (r Registrations) Get(ctx context.Context, registrationID string) (Registration, error) {
	record, err := r.service.loadRegistration(ctx, registrationID)
	return record.Registration, err
}

// List returns at most limit registration records whose ids start with
// prefix, in their order; after and next are as in Enrollments.List.
func (r Registrations) List(ctx context.Context, prefix, after string, limit int) (registrations []Registration,
	next string, err error) {
	entries, err := r.service.registrations.List(ctx, key(prefix), after, limit)
	if err != nil {
		return nil, "", err
	}
	registrations = make([]Registration, len(entries))
	for i, entry := range entries {
		registrations[i] = entry.Value.Registration
		registrations[i].ETag = registrationETag(entry.ETag)
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return registrations, next, nil
}

// Find returns at most limit registration records that the filter
// wants, as List does. It reads no more than 10,000 and may then return
// fewer than there are, with a next to go on from.
func (r Registrations) Find(ctx context.Context, filter RegistrationFilter, after string,
	limit int) (found []Registration, next string, err error) {
	if filter.Status == "" {
		return r.List(ctx, filter.Prefix, after, limit)
	}
	const stride = 500
	found = []Registration{}
	for read := 0; read < registrationsSearched; read += stride {
		some, following, err := r.List(ctx, filter.Prefix, after, stride)
		if err != nil {
			return nil, "", err
		}
		for _, registration := range some {
			if registration.Status != filter.Status {
				continue
			}
			if len(found) == limit {
				return found, key(found[limit-1].RegistrationID), nil
			}
			found = append(found, registration)
		}
		if after = following; after == "" {
			break
		}
	}
	return found, after, nil
}

// Delete removes a registration record under the condition ifMatch,
// as in enroll.Enrollments.Put. The device stays in its hub with its twin; when it registers
// again it is assigned as if for the first time, and keeps the twin in that hub.
func (r Registrations) Delete(ctx context.Context, registrationID, ifMatch string) error {
	var tidied Registration // as it was when the condition held, before what the device left was removed
	for {
		record, err := r.service.loadRegistration(ctx, registrationID)
		if err != nil && !store.IsUnreadable(err) {
			return err
		}
		if tidied.ETag == "" || !record.LastUpdatedDateTimeUTC.Equal(tidied.LastUpdatedDateTimeUTC.Time) {
			if err := fault.PreconditionOf("registration", ifMatch, record.ETag, true); err != nil {
				return err
			}
		}
		if len(record.Stale) > 0 && tidied.ETag == "" {
			// Without the record nobody would know what is left of the device.
			tidied = record.Registration
			select {
			case <-r.service.resume(ctx, registrationID).finished:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		changes := []store.Change{r.service.registrations.Delete(key(registrationID), match(record.ETag))}
		if record.GroupID != "" {
			changes = append(changes, r.service.members.Delete(memberKey(record.GroupID, registrationID), store.Always))
		}
		changes = append(changes, r.service.config.Audit.Change(ctx, audit.Deleted, audit.Registration,
			cmp.Or(record.RegistrationID, registrationID), nil, nil)...)
		_, err = r.service.config.Documents.Commit(ctx, changes...)
		if _, conflict := store.IsConflict(err); !conflict {
			return err
		}
	}
}

// CountOfHub counts the registrations that name a hub. It reads them all.
func (r Registrations) CountOfHub(ctx context.Context, host string) (devices int, err error) {
	for after := ""; ; {
		const stride = 1000
		entries, err := r.service.registrations.List(ctx, "", after, stride)
		if err != nil {
			return 0, err
		}
		for _, entry := range entries {
			if strings.EqualFold(entry.Value.AssignedHub, host) {
				devices++
			}
		}
		if len(entries) < stride {
			return devices, nil
		}
		after = entries[stride-1].Key
	}
}

// ListOfGroup returns at most limit registration records of a group's
// devices, in the order of their ids; after and next are as in Enrollments.List. It
// returns fault 404204 when there is no such group.
func (r Registrations) ListOfGroup(ctx context.Context, id, after string, limit int) (registrations []Registration,
	next string, err error) {
	if _, err := r.service.groups.Load(ctx, id); err != nil && !store.IsUnreadable(err) {
		return nil, "", err
	}
	prefix := key(id) + "/"
	entries, err := r.service.members.List(ctx, prefix, after, limit)
	if err != nil {
		return nil, "", err
	}
	registrations = []Registration{}
	for _, entry := range entries {
		record, err := r.service.loadRegistration(ctx, entry.Value)
		switch {
		case err == nil && key(record.GroupID) == key(id):
			registrations = append(registrations, record.Registration)
		case err != nil && !errors.Is(err, fault.RegistrationNotFound) && !store.IsUnreadable(err):
			return nil, "", err
		}
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return registrations, next, nil
}

func (s *Service) loadRegistration(ctx context.Context, registrationID string) (storedRegistration, error) {
	if err := enroll.CheckRegistrationID(registrationID); err != nil {
		return storedRegistration{}, err
	}
	found, etag, err := s.registrations.Get(ctx, key(registrationID))
	if errors.Is(err, store.ErrNotFound) {
		return storedRegistration{}, fault.New(fault.RegistrationNotFound, "The device %q has not registered",
			registrationID)
	}
	found.ETag = registrationETag(etag)
	return found, err
}

// A registration's ETag is base64 of the quoted one, as Azure shows it.
func registrationETag(etag string) string {
	return base64.StdEncoding.EncodeToString([]byte(store.QuoteETag(etag)))
}

// match is the store's condition for a registration's ETag.
func match(etag string) store.Match {
	decoded, err := base64.StdEncoding.DecodeString(etag)
	if err != nil || len(decoded) == 0 {
		return store.Absent
	}
	return store.IfMatch(store.UnquoteETag(string(decoded)))
}

// memberKey is where it is kept that a device registered by way of a group.
func memberKey(groupID, registrationID string) string {
	return key(groupID) + "/" + key(registrationID)
}

// registrationState is the registration that an enrollment shows, nil for none.
func (s *Service) registrationState(ctx context.Context, registrationID string) (*Registration, error) {
	registration, err := s.Registrations().Get(ctx, registrationID)
	switch {
	case err == nil:
		return &registration, nil
	case errors.Is(err, fault.RegistrationNotFound), store.IsUnreadable(err):
		return nil, nil
	}
	return nil, err
}
