package provisioning

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Group returns an enrollment group. It returns fault 404204 when there is none.
func (s *Service) Group(ctx context.Context, id string) (EnrollmentGroup, error) {
	group, err := s.group(ctx, id)
	group.Attestation = group.Attestation.withoutKeys()
	return group.EnrollmentGroup, err
}

// GroupAttestationMechanism returns how the devices of a group prove themselves, with
// its keys, or the certificates that sign them in base64 of DER. It returns fault
// 404204 when there is no such group.
func (s *Service) GroupAttestationMechanism(ctx context.Context, id string) (AttestationMechanism, error) {
	group, err := s.group(ctx, id)
	if x := group.Attestation.X509; x != nil && x.SigningCertificates != nil {
		for i, certificate := range []*X509Certificate{x.SigningCertificates.Primary, x.SigningCertificates.Secondary} {
			if certificate != nil {
				certificate.Certificate = base64.StdEncoding.EncodeToString(group.Signing[i])
			}
		}
	}
	return group.Attestation, err
}

// CreateGroup adds a group. It returns fault 409202 when the id is taken, and the
// faults of PutGroup. A group that can't be read is replaced.
func (s *Service) CreateGroup(ctx context.Context, group EnrollmentGroup) (EnrollmentGroup, error) {
	// Somebody else may make it meanwhile, or change an authority that it names.
	return store.RetryOnConflict(ctx, func() (EnrollmentGroup, error) {
		match := store.Absent
		prior, err := s.group(ctx, group.EnrollmentGroupID)
		switch {
		case err == nil:
			return EnrollmentGroup{}, groupExists(group.EnrollmentGroupID)
		case store.IsUnreadable(err):
			match = store.ETag(store.UnquoteETag(prior.ETag))
		case !errors.Is(err, fault.GroupNotFound):
			return EnrollmentGroup{}, err
		}
		return s.writeGroup(ctx, group, nil, match)
	})
}

func groupExists(id string) error {
	return fault.New(fault.EnrollmentConflict, "There is an enrollment group %q already. Update it, or delete it first", id)
}

// PutGroup creates a group or replaces it, under the condition ifMatch as in
// PutEnrollment. It returns fault 400004 and the like for what is wrong in it, and
// 412001 when the condition does not hold.
func (s *Service) PutGroup(ctx context.Context, group EnrollmentGroup, ifMatch string) (EnrollmentGroup, error) {
	return s.PutGroupKeeping(ctx, group, Kept{}, ifMatch)
}

// PutGroupKeeping is PutGroup by a client that does not know all properties.
func (s *Service) PutGroupKeeping(ctx context.Context, group EnrollmentGroup, kept Kept,
	ifMatch string) (EnrollmentGroup, error) {
	return store.RetryOnConflict(ctx, func() (EnrollmentGroup, error) {
		prior, err := s.group(ctx, group.EnrollmentGroupID)
		exists, unreadable := err == nil, store.IsUnreadable(err)
		if err != nil && !unreadable && !errors.Is(err, fault.GroupNotFound) {
			return EnrollmentGroup{}, err
		}
		if err := fault.PreconditionOf("enrollment group", ifMatch, prior.ETag, exists || unreadable); err != nil {
			return EnrollmentGroup{}, err
		}
		var written EnrollmentGroup
		switch match := store.ETag(store.UnquoteETag(prior.ETag)); {
		case exists:
			kept.restore(&group.EnrollmentSettings, prior.EnrollmentSettings)
			written, err = s.writeGroup(ctx, group, &prior, match)
		case unreadable:
			written, err = s.writeGroup(ctx, group, nil, match)
		default:
			written, err = s.writeGroup(ctx, group, nil, store.Absent)
		}
		return written, err
	})
}

// DeleteGroup removes a group under the condition ifMatch, as in PutEnrollment.
// Its devices stay in their hubs, and are only kept from registering again.
func (s *Service) DeleteGroup(ctx context.Context, id, ifMatch string) error {
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		prior, err := s.group(ctx, id)
		if err != nil && !store.IsUnreadable(err) {
			return nil, err
		}
		if err := fault.PreconditionOf("enrollment group", ifMatch, prior.ETag, true); err != nil {
			return nil, err
		}
		if dryRunOf(ctx) != nil {
			return nil, nil
		}
		former := s.withoutSigners(prior, nil)
		if err != nil {
			if former, err = s.withoutSignersOf(ctx, id, nil); err != nil {
				return nil, err
			}
		}
		changes := []store.Change{s.groups.Delete(key(id), store.ETag(store.UnquoteETag(prior.ETag)))}
		changes = append(append(changes, former...), s.keyGroups.changed())
		changes = append(changes, s.config.Audit.Change(ctx, audit.Deleted, audit.Group, cmp.Or(prior.EnrollmentGroupID, id), nil, nil)...)
		return s.config.Documents.Commit(ctx, changes...)
	})
	return err
}

// Groups returns at most limit groups whose ids start with prefix, in the order of
// their ids; after and next are as in Enrollments.
func (s *Service) Groups(ctx context.Context, prefix, after string, limit int) (groups []EnrollmentGroup, next string, err error) {
	entries, err := s.groups.List(ctx, key(prefix), after, limit)
	if err != nil {
		return nil, "", err
	}
	groups = make([]EnrollmentGroup, len(entries))
	for i, entry := range entries {
		groups[i] = entry.Value.EnrollmentGroup
		groups[i].ETag = store.QuoteETag(entry.ETag)
		groups[i].Attestation = groups[i].Attestation.withoutKeys()
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return groups, next, nil
}

// memberKey is where it is kept that a device registered by way of a group.
func memberKey(groupID, registrationID string) string {
	return key(groupID) + "/" + key(registrationID)
}

// storedGroup is a group with what it does not show: the certificates that sign
// its devices.
type storedGroup struct {
	EnrollmentGroup
	Signing [2][]byte `json:"signing"` // primary and secondary, DER; empty for none
}

func checkGroupID(id string) error {
	if checkRegistrationID(id) != nil {
		return fault.New(fault.ArgumentInvalid, "The enrollment group id %.128q is none: up to 128 letters, digits and - . _ : are allowed, with a letter, a digit or a dash at the end", id)
	}
	return nil
}

func (s *Service) group(ctx context.Context, id string) (storedGroup, error) {
	if err := checkGroupID(id); err != nil {
		return storedGroup{}, err
	}
	group, etag, err := s.groups.Get(ctx, key(id))
	if errors.Is(err, store.ErrNotFound) {
		return storedGroup{}, fault.New(fault.GroupNotFound, "There is no enrollment group %q", id)
	}
	group.ETag = store.QuoteETag(etag)
	return group, err
}

// writeGroup checks and stores a group; prior is the one it replaces.
func (s *Service) writeGroup(ctx context.Context, group EnrollmentGroup, prior *storedGroup, match store.Match) (EnrollmentGroup, error) {
	stored, changes, err := s.completeGroup(ctx, group, prior)
	if err != nil {
		return EnrollmentGroup{}, err
	}
	now := Time{Time: s.config.Now().UTC()}
	stored.CreatedDateTimeUTC, stored.LastUpdatedDateTimeUTC, stored.ETag = now, now, ""
	kept := make(map[string]bool)
	for i, der := range stored.Signing {
		if len(der) == 0 {
			continue
		}
		name, _ := signerKey(der, stored.EnrollmentGroupID, i)
		if kept[name] = true; name == "" {
			continue
		}
		changes = append(changes, s.signers.Put(name, store.Always, signer{stored.EnrollmentGroupID, der, stored.reference(i)}))
	}
	if prior != nil {
		stored.CreatedDateTimeUTC = prior.CreatedDateTimeUTC
		changes = append(changes, s.withoutSigners(*prior, kept)...)
	} else if match != store.Absent { // in place of one that can't be read
		former, err := s.withoutSignersOf(ctx, stored.EnrollmentGroupID, kept)
		if err != nil {
			return EnrollmentGroup{}, err
		}
		changes = append(changes, former...)
	}
	changes = append(changes, s.keyGroups.changed())
	if prior != nil {
		changes = append(changes, s.config.Audit.Change(ctx, audit.Updated, audit.Group, stored.EnrollmentGroupID, prior.EnrollmentGroup, stored.EnrollmentGroup)...)
	} else {
		if s.config.Limits.X509Groups > 0 || s.config.Limits.KeyGroups > 0 {
			s.limited.Lock()
			defer s.limited.Unlock()
		}
		if match == store.Absent {
			if err := s.roomForGroup(ctx, stored.Attestation.Type); err != nil {
				return EnrollmentGroup{}, err
			}
		}
		changes = append(changes, s.config.Audit.Change(ctx, audit.Created, audit.Group, stored.EnrollmentGroupID, nil, nil)...)
	}
	if dry := dryRunOf(ctx); dry != nil {
		dry.create(stored.Attestation.Type, match != store.Absent)
		return stored.EnrollmentGroup, nil
	}
	etags, err := s.config.Documents.Commit(ctx, append([]store.Change{s.groups.Put(key(stored.EnrollmentGroupID), match, stored)}, changes...)...)
	if err != nil {
		return EnrollmentGroup{}, err
	}
	stored.ETag = store.QuoteETag(etags[0])
	return stored.EnrollmentGroup, nil
}

// roomForGroup says whether there may be one more group with this mechanism.
func (s *Service) roomForGroup(ctx context.Context, mechanism string) error {
	limit := s.config.Limits.X509Groups
	if mechanism == bySymmetricKey {
		limit = s.config.Limits.KeyGroups
	}
	full, err := isFull(ctx, limit, func(ctx context.Context) (count int, _ error) {
		entries, err := s.groups.List(ctx, "", "", s.config.Limits.X509Groups+s.config.Limits.KeyGroups+1)
		for _, entry := range entries {
			if entry.Value.Attestation.Type == mechanism {
				count++
			}
		}
		return count + dryRunOf(ctx).count(mechanism), err
	})
	if err != nil || !full {
		return err
	}
	return fault.New(fault.QuotaExceeded, "There are %d enrollment groups of this kind, which is the limit of the service", limit)
}

// completeGroup checks a group that is to be written and fills in what its writer
// may leave out. What is as it was in prior is not judged anew. The checks are for the
// commit that writes it.
func (s *Service) completeGroup(ctx context.Context, group EnrollmentGroup, prior *storedGroup) (stored storedGroup,
	checks []store.Change, err error) {
	stored = storedGroup{EnrollmentGroup: group}
	stored.Attestation = group.Attestation.clone()
	var before storedGroup
	if prior != nil {
		before = *prior
		stored.EnrollmentGroupID = prior.EnrollmentGroupID // the case of the first writing stays
	}
	if stored.ReplaceExistingDevices == nil {
		stored.ReplaceExistingDevices = before.ReplaceExistingDevices
	}
	if !stored.replaces() {
		stored.ReplaceExistingDevices = nil
	}
	if err := checkType(&stored.Attestation.Type); err != nil {
		return stored, nil, err
	}
	if stored.Attestation.Type == byTPM {
		return stored, nil, fault.About("attestation", fault.New(fault.ArgumentInvalid,
			"A group can't have attestation.type tpm, as each TPM has a key of its own. Enroll the devices one by one"))
	}
	stored.Attestation.TPM = nil
	var sample Enrollment // as one of the group's devices will be
	if stored.Attestation.Type == bySymmetricKey {
		stored.Attestation.X509 = nil
		if err := completeKeys(&stored.Attestation, before.Attestation); err != nil {
			return stored, nil, err
		}
		sample = stored.withKeys("device")
	} else {
		stored.Attestation.SymmetricKey = nil
		if checks, err = s.completeSigners(ctx, &stored, before); err != nil {
			return stored, nil, err
		}
		certificate, err := x509.ParseCertificate(stored.Signing[0])
		if err != nil {
			return stored, nil, err // it was parsed when it came in
		}
		sample = stored.withCertificate("device", credential.Describe(certificate))
	}
	if group.InitialTwin != nil {
		twin := *group.InitialTwin
		sample.InitialTwin = &twin
	}
	var earlier *Enrollment // the device as it was, but for its credentials, which are right as they are made
	if prior != nil {
		member := prior.member("device")
		member.Attestation = sample.Attestation
		earlier = &member
	}
	if err := s.completeSettings(&sample, earlier); err != nil {
		return stored, nil, err
	}
	stored.ProvisioningStatus, stored.ReprovisionPolicy, stored.InitialTwin = sample.ProvisioningStatus, sample.ReprovisionPolicy, sample.InitialTwin
	stored.AllocationPolicy = sample.AllocationPolicy
	return stored, checks, nil
}
