package enroll

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/store"
)

// Get returns an individual enrollment with the state of its device's
// registration. It returns fault 404201 when there is none.
func (e *Enrollments) Get(ctx context.Context, registrationID string) (Enrollment, error) {
	enrollment, err := e.Load(ctx, registrationID)
	if err != nil {
		return Enrollment{}, err
	}
	return e.view(ctx, enrollment)
}

// AttestationMechanism returns how the device of an enrollment proves itself,
// keys included. It returns fault 404201 when there is no such enrollment.
func (e *Enrollments) AttestationMechanism(ctx context.Context, registrationID string) (AttestationMechanism, error) {
	enrollment, err := e.Load(ctx, registrationID)
	return enrollment.Attestation, err
}

// Create adds an enrollment. It returns fault 409202 when the
// registration id is taken, and the faults of Put. An enrollment that can't be read is replaced.
func (e *Enrollments) Create(ctx context.Context, enrollment Enrollment) (Enrollment, error) {
	match := store.Absent
	prior, err := e.Load(ctx, enrollment.RegistrationID)
	switch {
	case err == nil:
		return Enrollment{}, alreadyEnrolled(enrollment.RegistrationID)
	case store.IsUnreadable(err):
		match = store.IfMatch(store.UnquoteETag(prior.ETag))
	case !errors.Is(err, fault.EnrollmentNotFound):
		return Enrollment{}, fault.About("registrationId", err)
	}
	written, err := e.write(ctx, enrollment, nil, match)
	if _, conflict := store.IsConflict(err); conflict {
		return Enrollment{}, alreadyEnrolled(enrollment.RegistrationID)
	}
	return written, err
}

func alreadyEnrolled(registrationID string) error {
	return fault.New(fault.EnrollmentConflict, "There is an enrollment %q already. Update it, or delete it first",
		registrationID)
}

// Put creates an enrollment or replaces it, under the condition
// ifMatch: "" for any state, "*" for an existing one, or the ETag it must have,
// as it stands in Enrollment.ETag. It returns fault 400004 and the like for
// what is wrong in it, with the place in Info["field"] and Info["path"] for
// forms, and 412001 when the condition does not hold.
func (e *Enrollments) Put(ctx context.Context, enrollment Enrollment, ifMatch string) (Enrollment, error) {
	return e.PutKeeping(ctx, enrollment, Kept{}, ifMatch)
}

// PutKeeping is Put by a client that does not know all properties.
func (e *Enrollments) PutKeeping(ctx context.Context, enrollment Enrollment, kept Kept,
	ifMatch string) (Enrollment, error) {
	return store.RetryOnConflict(ctx, func() (Enrollment, error) {
		prior, err := e.Load(ctx, enrollment.RegistrationID)
		exists, unreadable := err == nil, store.IsUnreadable(err)
		if err != nil && !unreadable && !errors.Is(err, fault.EnrollmentNotFound) {
			return Enrollment{}, fault.About("registrationId", err)
		}
		if err := fault.PreconditionOf("enrollment", ifMatch, prior.ETag, exists || unreadable); err != nil {
			return Enrollment{}, err
		}
		var written Enrollment
		switch match := store.IfMatch(store.UnquoteETag(prior.ETag)); {
		case exists:
			kept.restore(&enrollment.Settings, prior.Settings)
			written, err = e.write(ctx, enrollment, &prior, match)
		case unreadable:
			written, err = e.write(ctx, enrollment, nil, match)
		default:
			written, err = e.write(ctx, enrollment, nil, store.Absent)
		}
		return written, err
	})
}

// Delete removes an enrollment under the condition ifMatch, as in
// Put. The registration and the device in its hub stay, as in Azure:
// the device is only kept from registering again.
func (e *Enrollments) Delete(ctx context.Context, registrationID, ifMatch string) error {
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		prior, err := e.Load(ctx, registrationID)
		if err != nil && !store.IsUnreadable(err) {
			return nil, err
		}
		if err := fault.PreconditionOf("enrollment", ifMatch, prior.ETag, true); err != nil {
			return nil, err
		}
		if dryRunOf(ctx) != nil {
			return nil, nil
		}
		audited := e.config.Audit.Change(ctx, audit.Deleted, audit.Enrollment,
			cmp.Or(prior.RegistrationID, registrationID), nil, nil)
		return e.config.Documents.Commit(ctx,
			append(audited, e.table.Delete(key(registrationID), store.IfMatch(store.UnquoteETag(prior.ETag))))...)
	})
	return err
}

// List returns at most limit enrollments whose registration ids start
// with prefix, in the order of their ids, and where to go on: next is the
// after of the next call, or "" at the end.
func (e *Enrollments) List(ctx context.Context, prefix, after string, limit int) (enrollments []Enrollment,
	next string, err error) {
	entries, err := e.table.List(ctx, key(prefix), after, limit)
	if err != nil {
		return nil, "", err
	}
	enrollments = make([]Enrollment, len(entries))
	for i, entry := range entries {
		entry.Value.ETag = store.QuoteETag(entry.ETag)
		if enrollments[i], err = e.view(ctx, entry.Value); err != nil {
			return nil, "", err
		}
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return enrollments, next, nil
}

// Load returns an individual enrollment as it is stored, with its keys. The error is that
// of the store for one that can't be read; it then has its ETag.
func (e *Enrollments) Load(ctx context.Context, registrationID string) (Enrollment, error) {
	if err := CheckRegistrationID(registrationID); err != nil {
		return Enrollment{}, err
	}
	enrollment, etag, err := e.table.Get(ctx, key(registrationID))
	if errors.Is(err, store.ErrNotFound) {
		return Enrollment{}, fault.New(fault.EnrollmentNotFound, "There is no enrollment %q", registrationID)
	}
	enrollment.ETag = store.QuoteETag(etag)
	return enrollment, err
}

// view leaves out the keys and adds the registration.
func (e *Enrollments) view(ctx context.Context, enrollment Enrollment) (Enrollment, error) {
	enrollment.Attestation = enrollment.Attestation.WithoutKeys()
	return e.withState(ctx, enrollment)
}

// withState adds the registration, which is kept apart because devices write it.
func (e *Enrollments) withState(ctx context.Context, enrollment Enrollment) (Enrollment, error) {
	registration, err := e.config.State(ctx, enrollment.RegistrationID)
	if err != nil {
		return Enrollment{}, err
	}
	enrollment.RegistrationState = registration
	return enrollment, nil
}

// write checks and stores an enrollment; prior is the one it replaces.
func (e *Enrollments) write(ctx context.Context, enrollment Enrollment, prior *Enrollment,
	match store.Match) (Enrollment, error) {
	if err := e.complete(&enrollment, prior); err != nil {
		return Enrollment{}, err
	}
	now := document.Time{Time: e.config.Now().UTC()}
	enrollment.CreatedDateTimeUTC, enrollment.LastUpdatedDateTimeUTC = now, now
	if prior != nil {
		enrollment.CreatedDateTimeUTC = prior.CreatedDateTimeUTC
	}
	enrollment.ETag, enrollment.RegistrationState = "", nil // the store's, and the registration's own
	changes := []store.Change{e.table.Put(key(enrollment.RegistrationID), match, enrollment)}
	if prior != nil {
		changes = append(changes, e.config.Audit.Change(ctx, audit.Updated, audit.Enrollment,
			enrollment.RegistrationID, *prior, enrollment)...)
	} else {
		limit := e.config.Limits.Enrollments
		if match != store.Absent {
			limit = 0 // it takes the place of one
		}
		if limit > 0 { // a bulk operation makes several at once
			e.limited.Lock()
			defer e.limited.Unlock()
		}
		count := func(ctx context.Context) (int, error) {
			count, err := e.table.Count(ctx)
			return count + dryRunOf(ctx).count(""), err
		}
		if full, err := guard.IsFull(ctx, limit, count); err != nil {
			return Enrollment{}, err
		} else if full {
			return Enrollment{}, fault.New(fault.QuotaExceeded,
				"There are %d individual enrollments, which is the limit of the service", e.config.Limits.Enrollments)
		}
		changes = append(changes, e.config.Audit.Change(ctx, audit.Created, audit.Enrollment,
			enrollment.RegistrationID, nil, nil)...)
	}
	if dry := dryRunOf(ctx); dry != nil {
		dry.create(enrollment.Attestation.Type, match != store.Absent)
		return e.withState(ctx, enrollment)
	}
	etags, err := e.config.Documents.Commit(ctx, changes...)
	if err != nil {
		return Enrollment{}, err
	}
	enrollment.ETag = store.QuoteETag(etags[0])
	return e.withState(ctx, enrollment)
}

// Count counts the enrollments; that may cost a read of their keys the first time.
func (e *Enrollments) Count(ctx context.Context) (int, error) { return e.table.Count(ctx) }

// Restore returns the change that stores an enrollment as it is, without a check.
func (e *Enrollments) Restore(enrollment Enrollment) store.Change {
	enrollment.ETag = ""
	return e.table.Put(key(enrollment.RegistrationID), store.Always, enrollment)
}

// UserOfPolicy returns the registration id of an enrollment that names a credential
// policy, "" for none. It reads the enrollments until one is found.
func (e *Enrollments) UserOfPolicy(ctx context.Context, policy string) (registrationID string, err error) {
	found, err := findFirst(ctx, e.table,
		func(e Enrollment) bool { return strings.EqualFold(e.CredentialPolicyName, policy) })
	if err != nil || found == nil {
		return "", err
	}
	return found.RegistrationID, nil
}
