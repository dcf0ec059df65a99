package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/store"
)

// keyGroups holds the keys of all groups with symmetric keys, decoded: a device's
// token does not name its group, so that a device which comes for the first time is
// tried with each. A document changes with every change of a group, in the same
// commit, so that any process sees by one read whether what it holds still is so.
type keyGroups struct {
	documents store.Documents
	logger    *slog.Logger

	mutex   sync.Mutex // held to read the groups again
	current atomic.Pointer[keyTable]
	tried   atomic.Uint64 // groups so far
}

// keyTable are the groups of one generation.
type keyTable struct {
	generation string
	groups     []keyGroup     // in the order of their ids
	byID       map[string]int // places there
	read       map[string]readGroup
}

// keyGroup is a group with the keys that no group before it has.
type keyGroup struct {
	id   string // as the key of its document
	keys []attest.GroupKey
}

// readGroup is what was read of a group.
type readGroup struct {
	etag string
	keys []attest.GroupKey // none of a group with another attestation
}

// generations is the collection of the document that changes with the groups.
const (
	generations     = "provisioning/generations"
	groupGeneration = "groups"
)

// changed is the change that goes with every change of a group.
func (k *keyGroups) changed() store.Change {
	return store.Change{Collection: generations, Key: groupGeneration, Value: []byte("{}")}
}

// table returns the groups as they are now.
func (k *keyGroups) table(ctx context.Context) (*keyTable, error) {
	generation, err := k.generation(ctx)
	if err != nil {
		return nil, err
	}
	if table := k.current.Load(); table != nil && table.generation == generation {
		return table, nil
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if generation, err = k.generation(ctx); err != nil { // before the groups, so that it is never newer than they
		return nil, err
	}
	before := k.current.Load()
	if before != nil && before.generation == generation {
		return before, nil
	}
	table, err := k.read(ctx, generation, before)
	if err == nil {
		k.current.Store(table)
	}
	return table, err
}

func (k *keyGroups) generation(ctx context.Context) (string, error) {
	document, err := k.documents.Get(ctx, generations, groupGeneration)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil // no group was changed since this is kept
	}
	return document.ETag, err
}

// read reads the groups, of those that have changed since before their content too.
func (k *keyGroups) read(ctx context.Context, generation string, before *keyTable) (*keyTable, error) {
	table := &keyTable{generation: generation, byID: make(map[string]int), read: make(map[string]readGroup)}
	taken := make(map[string]bool) // keys
	const stride = 500
	for after := ""; ; {
		documents, err := k.documents.List(ctx, GroupRecords, "", after, stride)
		if err != nil {
			return nil, err
		}
		for _, document := range documents {
			group, known := readGroup{}, false
			if before != nil {
				group, known = before.read[document.Key]
			}
			if !known || group.etag != document.ETag {
				group = k.decode(document)
			}
			table.read[document.Key] = group
			if len(group.keys) == 0 {
				continue
			}
			own := keyGroup{id: document.Key}
			for _, one := range group.keys {
				if !taken[string(one)] { // of groups with the same key the first one has the devices
					taken[string(one)] = true
					own.keys = append(own.keys, one)
				}
			}
			table.byID[own.id] = len(table.groups)
			table.groups = append(table.groups, own)
		}
		if len(documents) < stride {
			return table, nil
		}
		after = documents[stride-1].Key
	}
}

// decode takes the keys out of a group's document. One that can't be read lets
// nobody in, and keeps nobody else out.
func (k *keyGroups) decode(document store.Document) readGroup {
	group := readGroup{etag: document.ETag}
	var stored struct {
		Attestation struct {
			Type         string                  `json:"type"`
			SymmetricKey SymmetricKeyAttestation `json:"symmetricKey"`
		} `json:"attestation"`
	}
	if err := json.Unmarshal(document.Value, &stored); err != nil {
		if k.logger != nil {
			k.logger.Error("an enrollment group can't be read, and its devices are refused", "group", document.Key, "error", err)
		}
		return group
	}
	if stored.Attestation.Type != bySymmetricKey {
		return group
	}
	keys := stored.Attestation.SymmetricKey
	for _, text := range []string{keys.PrimaryKey, keys.SecondaryKey} {
		if one := attest.ParseGroupKey(text); len(one) > 0 {
			group.keys = append(group.keys, one)
		}
	}
	return group
}

// try reports whether the device's key is derived from one of the group's.
func (k *keyGroups) try(search *attest.DerivedSearch, group keyGroup) (found bool) {
	k.tried.Add(1)
	for _, key := range group.keys {
		found = search.Try(key) || found // all, so that the time does not tell which it was
	}
	return found
}

// derivedMember finds the group from whose key the device's is derived: the group
// that it came in by before, else any. What it costs to find none is bounded for
// each device, for each source and for all together.
func (s *Service) derivedMember(ctx context.Context, trace *attest.Trace,
	evidence attest.Evidence) (principal, attest.Refusal, error) {
	table, err := s.keyGroups.table(ctx)
	if err != nil {
		return principal{}, "", err
	}
	search, err := attest.NewDerivedSearch(evidence)
	if err != nil {
		return principal{}, "", err
	}
	before, err := s.loadRegistration(ctx, evidence.RegistrationID)
	if err != nil && !errors.Is(err, fault.RegistrationNotFound) {
		return principal{}, "", err
	}
	if place, ok := table.byID[key(before.GroupID)]; ok && s.keyGroups.try(search, table.groups[place]) {
		return s.derivedFrom(ctx, trace, evidence, table.groups[place])
	}
	found, err := s.searchAll(ctx, evidence, search, table)
	if err != nil {
		trace.Fail("throttle", fault.From(err).Text(), fault.Say("fewer tokens that were made with a key of no group"),
			fault.Say("Give the devices at this address the keys that are derived from their group's, "+
				"or enroll them one by one: an individual enrollment costs no search"))
		return principal{}, "", err
	}
	if found >= 0 {
		return s.derivedFrom(ctx, trace, evidence, table.groups[found])
	}
	trace.Fail("enrollment",
		fault.Say("none; the token is from none of %d groups with symmetric keys", len(table.groups)),
		fault.Say("an individual enrollment %s, or a group from whose key the device's is derived",
			evidence.RegistrationID),
		fault.Say("Enroll the device, "+
			"or give it the key that is derived from its group's for exactly this registration id: "+
			"berth group device-key GROUP %s", evidence.RegistrationID))
	return principal{}, attest.NotAdmitted, nil
}

// searchAll tries the groups one after the other, and returns the place of the one
// from whose key the device's is derived; -1 for none.
func (s *Service) searchAll(ctx context.Context, evidence attest.Evidence, search *attest.DerivedSearch,
	table *keyTable) (found int, _ error) {
	found = -1
	if len(table.groups) == 0 {
		return found, nil
	}
	end, err := s.searches.Begin(ctx, evidence.RemoteAddr, evidence.RegistrationID, len(table.groups), s.config.Now)
	if err != nil {
		return found, err
	}
	defer func() { end(found >= 0) }() // also when it panics
	for i, group := range table.groups {
		if s.keyGroups.try(search, group) {
			return i, nil
		}
	}
	return found, nil
}

// derivedFrom is the device as a member of the group that was found, as it is now.
func (s *Service) derivedFrom(ctx context.Context, trace *attest.Trace, evidence attest.Evidence,
	found keyGroup) (principal, attest.Refusal, error) {
	group, err := s.group(ctx, found.id)
	if err != nil && !errors.Is(err, fault.GroupNotFound) {
		return principal{}, "", err
	}
	var member Enrollment
	name, ok := "", false
	if err == nil && group.Attestation.Type == bySymmetricKey {
		member = group.withKeys(evidence.RegistrationID)
		keys := member.Attestation.SymmetricKey
		name, ok = attest.SigningKey(evidence, keys.PrimaryKey, keys.SecondaryKey)
	}
	if !ok { // changed or deleted this moment
		trace.Fail("enrollment", fault.Say("group %s, whose key was changed this moment", found.id),
			fault.Say("the derived key of a group"),
			fault.Say("Give the device the key that is derived from its group's now"))
		return principal{}, attest.NotAdmitted, nil
	}
	trace.Pass("enrollment", "group %s, symmetric key", group.EnrollmentGroupID)
	if name == "secondary" {
		trace.Pass("token signature", "made with the key derived from the group's secondary key")
	} else {
		trace.Pass("token signature", "made with the key derived from the group's primary key")
	}
	return principal{enrollment: member, group: group.EnrollmentGroupID}, "", nil
}
