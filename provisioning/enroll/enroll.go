// Package enroll keeps who may register: individual enrollments, and groups of devices
// that one authority signed or that have keys derived from one. It checks what is
// written, and finds the groups that a device may belong to.
package enroll

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// The collections of records that are listed page by page, as an Inspector knows them.
const (
	EnrollmentRecords = "provisioning/enrollments"
	GroupRecords      = "provisioning/groups"
)

// Config is what enrollments and groups are made of.
type Config struct {
	Documents   store.Documents
	Limits      Limits
	Authorities *authority.Authorities // that groups may name
	Links       *linkedhub.Links
	Allocator   *allocation.Allocator

	// CheckPolicy returns the fault of a credential policy that can't be named.
	CheckPolicy func(ctx context.Context, name string) error
	// State returns the registration of a device, nil when it has none.
	State func(ctx context.Context, registrationID string) (*contract.Registration, error)

	Audit  *audit.Log // of changes by operators; nil keeps none
	Now    func() time.Time
	Logger *slog.Logger
}

// Limits are how many there may be; zero means unlimited.
type Limits struct {
	Enrollments int // individual
	X509Groups  int
	KeyGroups   int // groups with symmetric keys
}

// Enrollments are the individual enrollments of a service. Their methods may be called at
// once from many goroutines; their errors are *fault.Error unless storage fails.
type Enrollments struct {
	rules
	table   store.Table[Enrollment]
	limited sync.Mutex // held from the count to the commit, as there may be only so many
}

// Groups are the enrollment groups of a service, to be used as Enrollments.
type Groups struct {
	rules
	table   store.Table[StoredGroup]
	signers store.Table[Signer] // signing certificates by their names
	keys    keyCache
	limited sync.Mutex // as of Enrollments
}

// rules are what an enrollment and a group are held against.
type rules struct{ config Config }

// New returns the enrollments and groups of a service.
func New(config Config) (*Enrollments, *Groups) {
	enrollments := &Enrollments{rules: rules{config},
		table: store.NewTable[Enrollment](config.Documents, EnrollmentRecords)}
	groups := &Groups{
		rules:   rules{config},
		table:   store.NewTable[StoredGroup](config.Documents, GroupRecords),
		signers: store.NewTable[Signer](config.Documents, "provisioning/signers"),
		keys:    keyCache{documents: config.Documents, logger: config.Logger},
	}
	return enrollments, groups
}

// Unchanged returns the checks that a commit makes to assign a device by an enrollment:
// that, or the group, has the ETag that it had when the device was judged, and a member of
// a group has no enrollment of its own, which would decide alone. groupID is "" for an
// individual enrollment.
func Unchanged(registrationID, groupID, etag string) []store.Change {
	match := store.IfMatch(store.UnquoteETag(etag))
	own := store.Change{Collection: EnrollmentRecords, Key: key(registrationID), Match: match, Check: true}
	if groupID == "" {
		return []store.Change{own}
	}
	own.Match = store.Absent
	return []store.Change{own, {Collection: GroupRecords, Key: key(groupID), Match: match, Check: true}}
}

// key is what an id is stored under: ids have no case.
func key(id string) string { return strings.ToLower(id) }

// findFirst is the first record of a table that is wanted, nil for none.
func findFirst[T any](ctx context.Context, table store.Table[T], wanted func(T) bool) (*T, error) {
	const stride = 1000
	for after := ""; ; {
		entries, err := table.List(ctx, "", after, stride)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if wanted(entry.Value) {
				return &entry.Value, nil
			}
		}
		if len(entries) < stride {
			return nil, nil
		}
		after = entries[stride-1].Key
	}
}
