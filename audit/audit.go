// Package audit keeps who changed what, when and from where. An entry is committed
// together with the change it tells of, so that neither is there without the other.
package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/store"
)

// Actor is who asks for a change.
type Actor struct {
	Name   string // such as policy provisioningserviceowner, or portal operator
	Remote string // host:port that the request came from, "" for this process
}

type actorKey struct{}

// WithActor notes in a context who asks.
func WithActor(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// Server is the actor of what nobody asked for.
var Server = Actor{Name: "server"}

func actorOf(ctx context.Context) Actor {
	if actor, ok := ctx.Value(actorKey{}).(Actor); ok {
		return actor
	}
	return Server
}

// Action is what was done to a thing.
type Action string

const (
	Created Action = "created"
	Updated Action = "updated"
	Deleted Action = "deleted"
	Revoked Action = "revoked"
	Refused Action = "refused" // to somebody who may not, or did not show the secret
)

// Kind is what sort of thing was changed.
type Kind string

const (
	Enrollment       Kind = "enrollment"
	Group            Kind = "enrollmentGroup"
	Registration     Kind = "registration"
	Authority        Kind = "certificate" // a certificate authority of the service
	HubLink          Kind = "linkedHub"
	Network          Kind = "network"
	Misbehaviour     Kind = "misbehaviour" // an injected fault; the word is in the entries of earlier versions
	Lockout          Kind = "lockout"
	AccessPolicy     Kind = "accessPolicy"
	CredentialPolicy Kind = "credentialPolicy"
	Issuer           Kind = "issuingAuthority"
	Issued           Kind = "issuedCertificate"
	Portal           Kind = "portal" // ways in, and pages; refusals only
	Record           Kind = "record" // one that could not be read
)

// Kinds are all of them.
var Kinds = []Kind{Enrollment, Group, Registration, Authority, HubLink, Network, Misbehaviour, Lockout, AccessPolicy,
	CredentialPolicy, Issuer, Issued, Portal, Record}

// Entry is one change.
type Entry struct {
	Time    time.Time    `json:"time"`
	Actor   string       `json:"actor"`
	Remote  string       `json:"remoteAddress,omitempty"`
	Action  Action       `json:"action"`
	Kind    Kind         `json:"kind"`
	ID      string       `json:"id"`                // of the thing; "" of a bulk operation
	Bulk    *BulkSummary `json:"bulk,omitempty"`    // of an operation on many things
	Reason  string       `json:"reason,omitempty"`  // of a refusal
	Changes []Field      `json:"changes,omitempty"` // of an update, or of one that was refused
}

// Intact implements store.Checkable.
func (e *Entry) Intact() error {
	if e.Kind == "" || e.Time.IsZero() {
		return errors.New("it has no kind, or no time")
	}
	return nil
}

// Field is one field that differs. Values are shown when they are known to hold no
// secret; of others it is told that they changed.
type Field struct {
	Path   string `json:"path"` // such as iotHubs or initialTwin.tags.floor
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

const (
	maxFields    = 50
	maxValue     = 200 // bytes of a value, or of a name, that is shown
	keep         = 400 * 24 * time.Hour
	pruneAtOnce  = 500
	hidden       = "(hidden)"
	searchStride = 500
	mostSearched = 10_000
)

// noise are the fields of a thing that change with each write.
var noise = []string{"etag", "lastUpdatedDateTimeUtc", "createdDateTimeUtc", "registrationState", "updated"}

// Log is the audit. A nil Log keeps nothing.
type Log struct {
	documents store.Documents
	entries   store.Table[Entry]
	items     store.Table[itemsPart] // of bulk operations; they follow the order of their entries
	bounds    map[string]*bound      // by collection
	now       func() time.Time
	last      atomic.Int64 // nanoseconds since 1970 by which the latest entry is ordered
	begun     sync.Once    // last is that of the entries stored
	refusals  refusals
	pruning   sync.Mutex // held by who forgets what is old
}

// Open returns the audit on its documents.
func Open(documents store.Documents, now func() time.Time) *Log {
	l := &Log{
		documents: documents,
		entries:   store.NewTable[Entry](documents, "audit/entries"),
		items:     store.NewTable[itemsPart](documents, "audit/items"),
		now:       now,
	}
	l.bounds = map[string]*bound{l.entries.Collection: newBound(mostEntries), l.items.Collection: newBound(mostItems)}
	return l
}

// Change is the entry of a change, to be committed with it, none of one that is part of
// a bulk operation. before and after are the thing as JSON shows it, nil where there is
// none.
func (l *Log) Change(ctx context.Context, action Action, kind Kind, id string, before, after any) []store.Change {
	if l == nil {
		return nil
	}
	var changes []Field
	if before != nil && after != nil {
		changes = differences(flat(before), flat(after))
	}
	if part := partOf(ctx, kind, id); part != nil {
		part.setChanges(id, changes)
		return nil
	}
	actor, now := actorOf(ctx), l.now().UTC()
	entry := Entry{
		Time:    now,
		Actor:   actor.Name,
		Remote:  actor.Remote,
		Action:  action,
		Kind:    kind,
		ID:      id,
		Changes: changes,
	}
	change := l.entries.Put(l.key(ctx, now), store.Absent, entry)
	l.grew(change)
	return []store.Change{change}
}

// key orders entries as they came, the latest first: by their times, unless the clock
// was ahead for a while. Each node orders what it writes itself, so that a change does not
// wait for the order of others: of two nodes' entries the order is as good as their clocks.
func (l *Log) key(ctx context.Context, at time.Time) string {
	l.begin(ctx)
	moment := at.UnixNano()
	for {
		last := l.last.Load()
		moment = max(moment, last+1)
		if l.last.CompareAndSwap(last, moment) {
			break
		}
	}
	var unique [8]byte
	rand.Read(unique[:]) // never fails, see crypto/rand
	return fmt.Sprintf("%016x%s", uint64(math.MaxInt64-moment), hex.EncodeToString(unique[:]))
}

// begin finds out where the order of the entries stored ends.
func (l *Log) begin(ctx context.Context) {
	l.begun.Do(func() {
		// Without that entry the order is only that of the clock.
		if latest, err := l.entries.List(ctx, "", "", 1); err == nil && len(latest) > 0 {
			l.last.Store(momentOf(latest[0].Key))
		}
	})
}

// ahead reports whether the latest entries are ordered by a clock that was ahead.
func (l *Log) ahead(ctx context.Context) bool {
	l.begin(ctx)
	return l.last.Load() > l.now().UnixNano()
}

// momentOf is what an entry's key orders it by, in nanoseconds since 1970.
func momentOf(key string) int64 {
	left, err := strconv.ParseUint(key[:min(16, len(key))], 16, 64)
	if err != nil {
		return 0
	}
	return math.MaxInt64 - int64(left)
}

// flat is a thing as its fields by their paths.
func flat(thing any) map[string]string {
	fields := make(map[string]string)
	text, err := json.Marshal(thing)
	if err != nil {
		return fields
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // 1.10 is written so, and is another value than 1.1
	if decoder.Decode(&value) == nil {
		flatten(fields, "", value)
	}
	return fields
}

func flatten(fields map[string]string, path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, value := range value {
			below := name
			if path != "" {
				below = path + "." + name
			} else if slices.Contains(noise, name) {
				continue
			}
			flatten(fields, below, value)
		}
		return
	case []any:
		if slices.ContainsFunc(value, holdsFields) {
			for i, value := range value {
				flatten(fields, fmt.Sprintf("%s[%d]", path, i), value)
			}
			return
		}
	}
	if text, err := json.Marshal(value); err == nil {
		fields[path] = string(text)
	}
}

// holdsFields reports whether an element of an array has fields of its own, some of
// which may be secret.
func holdsFields(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

func differences(before, after map[string]string) (fields []Field) {
	paths := slices.Sorted(maps.Keys(before))
	for path := range after {
		if _, ok := before[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		if before[path] == after[path] || len(fields) == maxFields {
			continue
		}
		fields = append(fields, Field{shorten(path), shown(path, before[path]), shown(path, after[path])})
	}
	return fields
}

func shorten(text string) string { return cut(text, maxValue) }

// cut returns a text with at most so many bytes, and a few more that say that it had more.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// Filter chooses entries. What is empty is not asked for.
type Filter struct {
	Kind         Kind
	ID           string // without case
	Actor        string // a part of the name
	Since, Until time.Time
	Max          int    // 100 when 0
	After        string // where an earlier call ended
}

// Entries returns the entries that the filter wants, the latest first, and the
// After of the next call, "" at the end. It reads no more than 10,000 and may then
// return fewer than there are, or none, with an After to go on from.
func (l *Log) Entries(ctx context.Context, filter Filter) (found []Entry, next string, err error) {
	found = []Entry{}
	if l == nil {
		return found, "", nil
	}
	most := filter.Max
	if most <= 0 {
		most = 100
	}
	after := filter.After
	if after == "" && !filter.Until.IsZero() && !l.ahead(ctx) {
		after = fmt.Sprintf("%016x", uint64(math.MaxInt64-store.UnixNano(filter.Until)))
	}
	wanted := filter
	wanted.ID = "" // is looked for in bulk operations too
	for read := 0; read < mostSearched; read += searchStride {
		entries, err := l.entries.List(ctx, "", after, searchStride)
		if err != nil {
			return nil, "", err
		}
		for _, entry := range entries {
			if !filter.Since.IsZero() && momentOf(entry.Key) < store.UnixNano(filter.Since) {
				return found, "", nil // no later one can be of that time
			}
			if !wanted.wants(entry.Value) {
				continue
			}
			if filter.ID != "" && !strings.EqualFold(filter.ID, entry.Value.ID) {
				there, parts, err := l.hasItem(ctx, entry.Value.Bulk, filter.ID)
				if err != nil {
					return nil, "", err
				}
				read += parts
				if !there && read >= mostSearched {
					return found, entry.Key, nil
				}
				if !there {
					continue
				}
			}
			if len(found) == most {
				return found, after, nil
			}
			entry.Value.Changes = reshown(entry.Value.Changes)
			found, after = append(found, entry.Value), entry.Key
		}
		if len(entries) < searchStride {
			return found, "", nil
		}
		if len(found) < most {
			after = entries[len(entries)-1].Key
		}
	}
	return found, after, nil
}

func (f Filter) wants(entry Entry) bool {
	return (f.Since.IsZero() || !entry.Time.Before(f.Since)) && (f.Until.IsZero() || !entry.Time.After(f.Until)) &&
		(f.Kind == "" || f.Kind == entry.Kind) && (f.ID == "" || strings.EqualFold(f.ID, entry.ID)) &&
		strings.Contains(strings.ToLower(entry.Actor), strings.ToLower(f.Actor))
}
