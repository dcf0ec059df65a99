package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/store"
)

// keyCache holds the keys of all groups with symmetric keys, decoded: a device's
// token does not name its group, so that a device which comes for the first time is
// tried with each. A document changes with every change of a group, in the same
// commit, so that any process sees by one read whether what it holds still is so.
type keyCache struct {
	documents store.Documents
	logger    *slog.Logger

	mutex   sync.Mutex // held to read the groups again
	current atomic.Pointer[KeyGroups]
	tried   atomic.Uint64 // groups so far
}

// KeyGroups are the groups with symmetric keys of one moment, each with the keys that no
// group before it has.
type KeyGroups struct {
	generation string
	groups     []keyGroup     // in the order of their ids
	byID       map[string]int // their index there
	read       map[string]readGroup
	tried      *atomic.Uint64
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

// generationChange is the change that goes with every change of a group.
func (g *Groups) generationChange() store.Change {
	return store.Change{Collection: generations, Key: groupGeneration, Value: []byte("{}")}
}

// LoadKeys returns the groups with symmetric keys as they are now.
func (g *Groups) LoadKeys(ctx context.Context) (*KeyGroups, error) { return g.keys.table(ctx) }

// KeysTried is how often the keys of a group were tried on a token since the service opened.
func (g *Groups) KeysTried() uint64 { return g.keys.tried.Load() }

// table returns the groups as they are now.
func (k *keyCache) table(ctx context.Context) (*KeyGroups, error) {
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

func (k *keyCache) generation(ctx context.Context) (string, error) {
	document, err := k.documents.Get(ctx, generations, groupGeneration)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil // no group was changed since this is kept
	}
	return document.ETag, err
}

// read reads the groups, of those that have changed since before their content too.
func (k *keyCache) read(ctx context.Context, generation string, before *KeyGroups) (*KeyGroups, error) {
	table := &KeyGroups{tried: &k.tried, generation: generation, byID: make(map[string]int),
		read: make(map[string]readGroup)}
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
func (k *keyCache) decode(document store.Document) readGroup {
	group := readGroup{etag: document.ETag}
	var stored struct {
		Attestation struct {
			Type         string                  `json:"type"`
			SymmetricKey SymmetricKeyAttestation `json:"symmetricKey"`
		} `json:"attestation"`
	}
	if err := json.Unmarshal(document.Value, &stored); err != nil {
		if k.logger != nil {
			k.logger.Error("an enrollment group can't be read, and its devices are refused", "group", document.Key,
				"error", err)
		}
		return group
	}
	if stored.Attestation.Type != SymmetricKey {
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

// Len is how many groups there are.
func (k *KeyGroups) Len() int { return len(k.groups) }

// Find returns the index of a group, and whether it is there.
func (k *KeyGroups) Find(groupID string) (index int, ok bool) {
	index, ok = k.byID[key(groupID)]
	return index, ok
}

// ID is that of the group at an index, in lower case.
func (k *KeyGroups) ID(index int) string { return k.groups[index].id }

// Try reports whether the device's key is derived from one of those of the group at an
// index.
func (k *KeyGroups) Try(search *attest.DerivedSearch, index int) (found bool) {
	k.tried.Add(1)
	for _, key := range k.groups[index].keys {
		found = search.Try(key) || found // all, so that the time does not tell which it was
	}
	return found
}
