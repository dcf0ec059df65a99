package provisioning

import (
	"cmp"
	"context"
	"errors"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Enrollment returns an individual enrollment with the state of its device's
// registration. It returns fault 404201 when there is none.
func (s *Service) Enrollment(ctx context.Context, registrationID string) (Enrollment, error) {
	enrollment, err := s.enrollment(ctx, registrationID)
	if err != nil {
		return Enrollment{}, err
	}
	return s.shown(ctx, enrollment)
}

// AttestationMechanism returns how the device of an enrollment proves itself,
// keys included. It returns fault 404201 when there is no such enrollment.
func (s *Service) AttestationMechanism(ctx context.Context, registrationID string) (AttestationMechanism, error) {
	enrollment, err := s.enrollment(ctx, registrationID)
	return enrollment.Attestation, err
}

// CreateEnrollment adds an enrollment. It returns fault 409202 when the
// registration id is taken, and the faults of PutEnrollment.
// An enrollment that can't be read is replaced.
func (s *Service) CreateEnrollment(ctx context.Context, enrollment Enrollment) (Enrollment, error) {
	match := store.Absent
	prior, err := s.enrollment(ctx, enrollment.RegistrationID)
	switch {
	case err == nil:
		return Enrollment{}, alreadyEnrolled(enrollment.RegistrationID)
	case store.IsUnreadable(err):
		match = store.ETag(store.UnquoteETag(prior.ETag))
	case !errors.Is(err, fault.EnrollmentNotFound):
		return Enrollment{}, fault.About("registrationId", err)
	}
	written, err := s.writeEnrollment(ctx, enrollment, nil, match)
	if _, conflict := store.IsConflict(err); conflict {
		return Enrollment{}, alreadyEnrolled(enrollment.RegistrationID)
	}
	return written, err
}

func alreadyEnrolled(registrationID string) error {
	return fault.New(fault.EnrollmentConflict, "There is an enrollment %q already. Update it, or delete it first", registrationID)
}

// PutEnrollment creates an enrollment or replaces it, under the condition
// ifMatch: "" for any state, "*" for an existing one, or the ETag it must have,
// as it stands in Enrollment.ETag. It returns fault 400004 and the like for
// what is wrong in it, with the place in Info["field"] and Info["path"] for
// forms, and 412001 when the condition does not hold.
func (s *Service) PutEnrollment(ctx context.Context, enrollment Enrollment, ifMatch string) (Enrollment, error) {
	return s.PutEnrollmentKeeping(ctx, enrollment, Kept{}, ifMatch)
}

// PutEnrollmentKeeping is PutEnrollment by a client that does not know all properties.
func (s *Service) PutEnrollmentKeeping(ctx context.Context, enrollment Enrollment, kept Kept,
	ifMatch string) (Enrollment, error) {
	return store.RetryOnConflict(ctx, func() (Enrollment, error) {
		prior, err := s.enrollment(ctx, enrollment.RegistrationID)
		exists, unreadable := err == nil, store.IsUnreadable(err)
		if err != nil && !unreadable && !errors.Is(err, fault.EnrollmentNotFound) {
			return Enrollment{}, fault.About("registrationId", err)
		}
		if err := fault.PreconditionOf("enrollment", ifMatch, prior.ETag, exists || unreadable); err != nil {
			return Enrollment{}, err
		}
		var written Enrollment
		switch match := store.ETag(store.UnquoteETag(prior.ETag)); {
		case exists:
			kept.restore(&enrollment.EnrollmentSettings, prior.EnrollmentSettings)
			written, err = s.writeEnrollment(ctx, enrollment, &prior, match)
		case unreadable:
			written, err = s.writeEnrollment(ctx, enrollment, nil, match)
		default:
			written, err = s.writeEnrollment(ctx, enrollment, nil, store.Absent)
		}
		return written, err
	})
}

// DeleteEnrollment removes an enrollment under the condition ifMatch, as in
// PutEnrollment. The registration and the device in its hub stay, as in Azure:
// the device is only kept from registering again.
func (s *Service) DeleteEnrollment(ctx context.Context, registrationID, ifMatch string) error {
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		prior, err := s.enrollment(ctx, registrationID)
		if err != nil && !store.IsUnreadable(err) {
			return nil, err
		}
		if err := fault.PreconditionOf("enrollment", ifMatch, prior.ETag, true); err != nil {
			return nil, err
		}
		if dryRunOf(ctx) != nil {
			return nil, nil
		}
		audited := s.config.Audit.Change(ctx, audit.Deleted, audit.Enrollment,
			cmp.Or(prior.RegistrationID, registrationID), nil, nil)
		return s.config.Documents.Commit(ctx,
			append(audited, s.enrollments.Delete(key(registrationID), store.ETag(store.UnquoteETag(prior.ETag))))...)
	})
	return err
}

// Enrollments returns at most limit enrollments whose registration ids start
// with prefix, in the order of their ids, and where to go on: next is the
// after of the next call, or "" at the end.
func (s *Service) Enrollments(ctx context.Context, prefix, after string, limit int) (enrollments []Enrollment, next string, err error) {
	entries, err := s.enrollments.List(ctx, key(prefix), after, limit)
	if err != nil {
		return nil, "", err
	}
	enrollments = make([]Enrollment, len(entries))
	for i, entry := range entries {
		entry.Value.ETag = store.QuoteETag(entry.ETag)
		if enrollments[i], err = s.shown(ctx, entry.Value); err != nil {
			return nil, "", err
		}
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return enrollments, next, nil
}

func (s *Service) enrollment(ctx context.Context, registrationID string) (Enrollment, error) {
	if err := checkRegistrationID(registrationID); err != nil {
		return Enrollment{}, err
	}
	enrollment, etag, err := s.enrollments.Get(ctx, key(registrationID))
	if errors.Is(err, store.ErrNotFound) {
		return Enrollment{}, fault.New(fault.EnrollmentNotFound, "There is no enrollment %q", registrationID)
	}
	enrollment.ETag = store.QuoteETag(etag)
	return enrollment, err
}

// shown leaves out the keys and adds the registration.
func (s *Service) shown(ctx context.Context, enrollment Enrollment) (Enrollment, error) {
	enrollment.Attestation = enrollment.Attestation.withoutKeys()
	return s.withState(ctx, enrollment)
}

// withState adds the registration, which is kept apart because devices write it.
func (s *Service) withState(ctx context.Context, enrollment Enrollment) (Enrollment, error) {
	registration, err := s.Registrations().Get(ctx, enrollment.RegistrationID)
	switch {
	case err == nil:
		enrollment.RegistrationState = &registration
	case errors.Is(err, fault.RegistrationNotFound), store.IsUnreadable(err):
		enrollment.RegistrationState = nil
	default:
		return Enrollment{}, err
	}
	return enrollment, nil
}

// writeEnrollment checks and stores an enrollment; prior is the one it replaces.
func (s *Service) writeEnrollment(ctx context.Context, enrollment Enrollment, prior *Enrollment,
	match store.Match) (Enrollment, error) {
	if err := s.complete(&enrollment, prior); err != nil {
		return Enrollment{}, err
	}
	now := Time{Time: s.config.Now().UTC()}
	enrollment.CreatedDateTimeUTC, enrollment.LastUpdatedDateTimeUTC = now, now
	if prior != nil {
		enrollment.CreatedDateTimeUTC = prior.CreatedDateTimeUTC
	}
	enrollment.ETag, enrollment.RegistrationState = "", nil // the store's, and the registration's own
	changes := []store.Change{s.enrollments.Put(key(enrollment.RegistrationID), match, enrollment)}
	if prior != nil {
		changes = append(changes, s.config.Audit.Change(ctx, audit.Updated, audit.Enrollment, enrollment.RegistrationID, *prior, enrollment)...)
	} else {
		limit := s.config.Limits.Enrollments
		if match != store.Absent {
			limit = 0 // it takes the place of one
		}
		if limit > 0 { // a bulk operation makes several at once
			s.limited.Lock()
			defer s.limited.Unlock()
		}
		count := func(ctx context.Context) (int, error) {
			count, err := s.enrollments.Count(ctx)
			return count + dryRunOf(ctx).count(""), err
		}
		if full, err := isFull(ctx, limit, count); err != nil {
			return Enrollment{}, err
		} else if full {
			return Enrollment{}, fault.New(fault.QuotaExceeded, "There are %d individual enrollments, which is the limit of the service", s.config.Limits.Enrollments)
		}
		changes = append(changes, s.config.Audit.Change(ctx, audit.Created, audit.Enrollment, enrollment.RegistrationID, nil, nil)...)
	}
	if dry := dryRunOf(ctx); dry != nil {
		dry.create(enrollment.Attestation.Type, match != store.Absent)
		return s.withState(ctx, enrollment)
	}
	etags, err := s.config.Documents.Commit(ctx, changes...)
	if err != nil {
		return Enrollment{}, err
	}
	enrollment.ETag = store.QuoteETag(etags[0])
	return s.withState(ctx, enrollment)
}
