package enroll

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/store"
)

// Get returns an enrollment group. It returns fault 404204 when there is none.
func (g *Groups) Get(ctx context.Context, id string) (Group, error) {
	group, err := g.Load(ctx, id)
	group.Attestation = group.Attestation.WithoutKeys()
	return group.Group, err
}

// AttestationMechanism returns how the devices of a group prove themselves, with
// its keys, or the certificates that sign them in base64 of DER. It returns fault
// 404204 when there is no such group.
func (g *Groups) AttestationMechanism(ctx context.Context, id string) (AttestationMechanism, error) {
	group, err := g.Load(ctx, id)
	if x := group.Attestation.X509; x != nil && x.SigningCertificates != nil {
		for i, certificate := range []*X509Certificate{x.SigningCertificates.Primary, x.SigningCertificates.Secondary} {
			if certificate != nil {
				certificate.Certificate = base64.StdEncoding.EncodeToString(group.Signing[i])
			}
		}
	}
	return group.Attestation, err
}

// Create adds a group. It returns fault 409202 when the id is taken, and the
// faults of Put. A group that can't be read is replaced.
func (g *Groups) Create(ctx context.Context, group Group) (Group, error) {
	// Somebody else may make it meanwhile, or change an authority that it names.
	return store.RetryOnConflict(ctx, func() (Group, error) {
		match := store.Absent
		prior, err := g.Load(ctx, group.EnrollmentGroupID)
		switch {
		case err == nil:
			return Group{}, groupExists(group.EnrollmentGroupID)
		case store.IsUnreadable(err):
			match = store.IfMatch(store.UnquoteETag(prior.ETag))
		case !errors.Is(err, fault.GroupNotFound):
			return Group{}, err
		}
		return g.write(ctx, group, nil, match)
	})
}

func groupExists(id string) error {
	return fault.New(fault.EnrollmentConflict,
		"There is an enrollment group %q already. Update it, or delete it first", id)
}

// Put creates a group or replaces it, under the condition ifMatch as in
// Enrollments.Put. It returns fault 400004 and the like for what is wrong in it, and
// 412001 when the condition does not hold.
func (g *Groups) Put(ctx context.Context, group Group, ifMatch string) (Group, error) {
	return g.PutKeeping(ctx, group, Kept{}, ifMatch)
}

// PutKeeping is Put by a client that does not know all properties.
func (g *Groups) PutKeeping(ctx context.Context, group Group, kept Kept,
	ifMatch string) (Group, error) {
	return store.RetryOnConflict(ctx, func() (Group, error) {
		prior, err := g.Load(ctx, group.EnrollmentGroupID)
		exists, unreadable := err == nil, store.IsUnreadable(err)
		if err != nil && !unreadable && !errors.Is(err, fault.GroupNotFound) {
			return Group{}, err
		}
		if err := fault.PreconditionOf("enrollment group", ifMatch, prior.ETag, exists || unreadable); err != nil {
			return Group{}, err
		}
		var written Group
		switch match := store.IfMatch(store.UnquoteETag(prior.ETag)); {
		case exists:
			kept.restore(&group.Settings, prior.Settings)
			written, err = g.write(ctx, group, &prior, match)
		case unreadable:
			written, err = g.write(ctx, group, nil, match)
		default:
			written, err = g.write(ctx, group, nil, store.Absent)
		}
		return written, err
	})
}

// Delete removes a group under the condition ifMatch, as in Enrollments.Put.
// Its devices stay in their hubs, and are only kept from registering again.
func (g *Groups) Delete(ctx context.Context, id, ifMatch string) error {
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		prior, err := g.Load(ctx, id)
		if err != nil && !store.IsUnreadable(err) {
			return nil, err
		}
		if err := fault.PreconditionOf("enrollment group", ifMatch, prior.ETag, true); err != nil {
			return nil, err
		}
		if dryRunOf(ctx) != nil {
			return nil, nil
		}
		former := g.deleteSigners(prior, nil)
		if err != nil {
			if former, err = g.deleteSignersOf(ctx, id, nil); err != nil {
				return nil, err
			}
		}
		changes := []store.Change{g.table.Delete(key(id), store.IfMatch(store.UnquoteETag(prior.ETag)))}
		changes = append(append(changes, former...), g.generationChange())
		changes = append(changes, g.config.Audit.Change(ctx, audit.Deleted, audit.Group,
			cmp.Or(prior.EnrollmentGroupID, id), nil, nil)...)
		return g.config.Documents.Commit(ctx, changes...)
	})
	return err
}

// List returns at most limit groups whose ids start with prefix, in the order of
// their ids; after and next are as in Enrollments.List.
func (g *Groups) List(ctx context.Context, prefix, after string, limit int) (groups []Group, next string, err error) {
	entries, err := g.table.List(ctx, key(prefix), after, limit)
	if err != nil {
		return nil, "", err
	}
	groups = make([]Group, len(entries))
	for i, entry := range entries {
		groups[i] = entry.Value.Group
		groups[i].ETag = store.QuoteETag(entry.ETag)
		groups[i].Attestation = groups[i].Attestation.WithoutKeys()
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return groups, next, nil
}

// StoredGroup is a group with what it does not show: the certificates that sign
// its devices.
type StoredGroup struct {
	Group
	Signing [2][]byte `json:"signing"` // primary and secondary, DER; empty for none
}

func checkGroupID(id string) error {
	if CheckRegistrationID(id) != nil {
		return fault.New(fault.ArgumentInvalid,
			"The enrollment group id %.128q is not valid: up to 128 letters, digits and - . _ : are allowed, with a "+
				"letter, a digit or a dash at the end", id)
	}
	return nil
}

// Load returns a group as it is stored, with its keys and signing certificates. The error
// is that of the store for one that can't be read; it then has its ETag.
func (g *Groups) Load(ctx context.Context, id string) (StoredGroup, error) {
	if err := checkGroupID(id); err != nil {
		return StoredGroup{}, err
	}
	group, etag, err := g.table.Get(ctx, key(id))
	if errors.Is(err, store.ErrNotFound) {
		return StoredGroup{}, fault.New(fault.GroupNotFound, "There is no enrollment group %q", id)
	}
	group.ETag = store.QuoteETag(etag)
	return group, err
}

// write checks and stores a group; prior is the one it replaces.
func (g *Groups) write(ctx context.Context, group Group, prior *StoredGroup, match store.Match) (Group, error) {
	stored, changes, err := g.complete(ctx, group, prior)
	if err != nil {
		return Group{}, err
	}
	now := document.Time{Time: g.config.Now().UTC()}
	stored.CreatedDateTimeUTC, stored.LastUpdatedDateTimeUTC, stored.ETag = now, now, ""
	kept := make(map[string]bool)
	for _, change := range g.putSigners(stored) {
		kept[change.Key] = true
		changes = append(changes, change)
	}
	if prior != nil {
		stored.CreatedDateTimeUTC = prior.CreatedDateTimeUTC
		changes = append(changes, g.deleteSigners(*prior, kept)...)
	} else if match != store.Absent { // in place of one that can't be read
		former, err := g.deleteSignersOf(ctx, stored.EnrollmentGroupID, kept)
		if err != nil {
			return Group{}, err
		}
		changes = append(changes, former...)
	}
	changes = append(changes, g.generationChange())
	if prior != nil {
		changes = append(changes, g.config.Audit.Change(ctx, audit.Updated, audit.Group, stored.EnrollmentGroupID,
			prior.Group, stored.Group)...)
	} else {
		if g.config.Limits.X509Groups > 0 || g.config.Limits.KeyGroups > 0 {
			g.limited.Lock()
			defer g.limited.Unlock()
		}
		if match == store.Absent {
			if err := g.checkRoom(ctx, stored.Attestation.Type); err != nil {
				return Group{}, err
			}
		}
		changes = append(changes, g.config.Audit.Change(ctx, audit.Created, audit.Group, stored.EnrollmentGroupID,
			nil, nil)...)
	}
	if dry := dryRunOf(ctx); dry != nil {
		dry.create(stored.Attestation.Type, match != store.Absent)
		return stored.Group, nil
	}
	etags, err := g.config.Documents.Commit(ctx, append([]store.Change{g.table.Put(key(stored.EnrollmentGroupID),
		match, stored)}, changes...)...)
	if err != nil {
		return Group{}, err
	}
	stored.ETag = store.QuoteETag(etags[0])
	return stored.Group, nil
}

// checkRoom says whether there may be one more group with this mechanism.
func (g *Groups) checkRoom(ctx context.Context, mechanism string) error {
	limit := g.config.Limits.X509Groups
	if mechanism == SymmetricKey {
		limit = g.config.Limits.KeyGroups
	}
	full, err := guard.IsFull(ctx, limit, func(ctx context.Context) (count int, _ error) {
		entries, err := g.table.List(ctx, "", "", g.config.Limits.X509Groups+g.config.Limits.KeyGroups+1)
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
	return fault.New(fault.QuotaExceeded,
		"There are %d enrollment groups of this kind, which is the limit of the service", limit)
}

// complete checks a group that is to be written and fills in what its writer
// may leave out. What is as it was in prior is not judged anew. The checks are for the
// commit that writes it.
func (g *Groups) complete(ctx context.Context, group Group, prior *StoredGroup) (stored StoredGroup,
	checks []store.Change, err error) {
	stored = StoredGroup{Group: group}
	stored.Attestation = group.Attestation.clone()
	var before StoredGroup
	if prior != nil {
		before = *prior
		stored.EnrollmentGroupID = prior.EnrollmentGroupID // the case of the first writing stays
	}
	if stored.ReplaceExistingDevices == nil {
		stored.ReplaceExistingDevices = before.ReplaceExistingDevices
	}
	if !stored.Replaces() {
		stored.ReplaceExistingDevices = nil
	}
	if err := checkType(&stored.Attestation.Type); err != nil {
		return stored, nil, err
	}
	if stored.Attestation.Type == TPM {
		return stored, nil, fault.About("attestation", fault.New(fault.ArgumentInvalid,
			"A group can't have attestation.type tpm, as each TPM has a key of its own. Enroll the devices one by one"))
	}
	stored.Attestation.TPM = nil
	var sample Enrollment // as one of the group's devices will be
	if stored.Attestation.Type == SymmetricKey {
		stored.Attestation.X509 = nil
		if err := completeKeys(&stored.Attestation, before.Attestation); err != nil {
			return stored, nil, err
		}
		sample = stored.WithKeys("device")
	} else {
		stored.Attestation.SymmetricKey = nil
		if checks, err = g.completeSigners(ctx, &stored, before); err != nil {
			return stored, nil, err
		}
		certificate, err := x509.ParseCertificate(stored.Signing[0])
		if err != nil {
			return stored, nil, err // it was parsed when it came in
		}
		sample = stored.WithCertificate("device", credential.Describe(certificate))
	}
	if group.InitialTwin != nil {
		twin := *group.InitialTwin
		sample.InitialTwin = &twin
	}
	var earlier *Enrollment // the device as it was, but for its credentials, which are right as they are made
	if prior != nil {
		member := prior.Member("device")
		member.Attestation = sample.Attestation
		earlier = &member
	}
	if err := g.completeSettings(&sample, earlier); err != nil {
		return stored, nil, err
	}
	stored.ProvisioningStatus, stored.ReprovisionPolicy, stored.InitialTwin = sample.ProvisioningStatus,
		sample.ReprovisionPolicy, sample.InitialTwin
	stored.AllocationPolicy = sample.AllocationPolicy
	return stored, checks, nil
}

// Restore returns the changes that store a group as it is, with its signing certificates
// and without a check, where no groups with keys were looked for yet.
func (g *Groups) Restore(stored StoredGroup) []store.Change {
	stored.ETag = ""
	return append(g.putSigners(stored), g.table.Put(key(stored.EnrollmentGroupID), store.Always, stored))
}

// UserOfPolicy returns the id of a group that names a credential policy, "" for none. It
// reads the groups until one is found.
func (g *Groups) UserOfPolicy(ctx context.Context, policy string) (id string, err error) {
	found, err := findFirst(ctx, g.table,
		func(g StoredGroup) bool { return strings.EqualFold(g.CredentialPolicyName, policy) })
	if err != nil || found == nil {
		return "", err
	}
	return found.EnrollmentGroupID, nil
}
