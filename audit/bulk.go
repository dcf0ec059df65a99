package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/berth-iot/berth/store"
)

// BulkSummary is what the entry of a bulk operation says of its items.
type BulkSummary struct {
	Name   string `json:"name"` // by which Items finds them
	Done   int    `json:"done"`
	Failed int    `json:"failed"`
	Ended  bool   `json:"ended"` // else it is under way, or broke off: its items say what was to be changed
}

// Item is one thing of a bulk operation.
type Item struct {
	ID      string  `json:"id"`
	Failed  string  `json:"failed,omitempty"`  // why it was not changed
	Changes []Field `json:"changes,omitempty"` // of an update
}

// itemsPart is what is stored of the items: some of them.
type itemsPart struct {
	Items []Item `json:"items"`
}

// Bulk is one operation on many things, which has one entry. The things are written
// down before they are changed, so that there is no change that the audit does not
// know of. A nil Bulk keeps nothing.
type Bulk struct {
	log *Log
	key string

	mutex    sync.Mutex
	entry    Entry
	parts    int
	outcomes []store.Change // what came of parts, to be written with the next commit
}

// Begin begins a bulk operation. Its entry is made with its first part: where nothing is
// to be changed there is none.
func (l *Log) Begin(ctx context.Context, action Action, kind Kind) *Bulk {
	if l == nil {
		return nil
	}
	actor, now := actorOf(ctx), l.now().UTC()
	b := &Bulk{log: l, key: l.key(ctx, now)}
	b.entry = Entry{
		Time:   now,
		Actor:  actor.Name,
		Remote: actor.Remote,
		Action: action,
		Kind:   kind,
		Bulk:   &BulkSummary{Name: b.key},
	}
	return b
}

// Part writes down the next things of the operation, before they are changed. In the
// context that it returns their changes make no entries of their own.
func (b *Bulk) Part(ctx context.Context, ids []string) (context.Context, *Part, error) {
	if b == nil {
		return ctx, nil, nil
	}
	p := &Part{bulk: b, items: make([]Item, len(ids)), index: make(map[string]int, len(ids))}
	for i, id := range ids {
		p.items[i].ID = shorten(id)
		p.index[strings.ToLower(id)] = i
	}
	// The mutex is held while the first part is written: no other one may be there before
	// the entry is.
	b.mutex.Lock()
	p.key = fmt.Sprintf("%s-%06d", b.key, b.parts)
	changes := append(b.outcomes, p.put(store.Absent))
	b.outcomes = nil
	first := b.parts == 0
	b.parts++
	if first {
		changes = append(changes, b.log.entries.Put(b.key, store.Absent, b.entry))
	} else {
		b.mutex.Unlock()
	}
	err := b.log.put(ctx, changes...)
	if first {
		b.mutex.Unlock()
	}
	return context.WithValue(ctx, partKey{}, p), p, err
}

// End says in the entry that the operation is over.
func (b *Bulk) End(ctx context.Context) error {
	if b == nil {
		return nil
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.parts == 0 {
		return nil
	}
	b.entry.Bulk.Ended = true
	changes := append(b.outcomes, b.log.entries.Put(b.key, store.Always, b.entry))
	b.outcomes = nil
	return b.log.put(context.WithoutCancel(ctx), changes...)
}

// Part is some of the things of a bulk operation. A nil Part keeps nothing.
type Part struct {
	bulk  *Bulk
	key   string
	mutex sync.Mutex
	items []Item
	index map[string]int // by ids in lower case
}

type partKey struct{}

// partOf returns the part of a bulk operation that tells of a change, or nil.
func partOf(ctx context.Context, kind Kind, id string) *Part {
	p, ok := ctx.Value(partKey{}).(*Part)
	if !ok || p.bulk.entry.Kind != kind {
		return nil
	}
	if _, ok := p.index[strings.ToLower(id)]; !ok {
		return nil
	}
	return p
}

// setChanges takes what is changed of a thing.
func (p *Part) setChanges(id string, changes []Field) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.items[p.index[strings.ToLower(id)]].Changes = changes
}

// End notes what came of the things, which is written with what comes next. why says of
// the i-th why it was not changed, "" when it was.
func (p *Part) End(why func(i int) string) {
	if p == nil {
		return
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	failed, more := 0, false
	for i := range p.items {
		item := &p.items[i]
		if item.Failed = shorten(why(i)); item.Failed != "" {
			failed++
			item.Changes = nil
		}
		more = more || item.Failed != "" || len(item.Changes) > 0
	}
	change := p.put(store.Always)
	p.bulk.mutex.Lock()
	defer p.bulk.mutex.Unlock()
	p.bulk.entry.Bulk.Done += len(p.items) - failed
	p.bulk.entry.Bulk.Failed += failed
	if more { // else what was written before says it all
		p.bulk.outcomes = append(p.bulk.outcomes, change)
	}
}

// put is the change that writes the items down. What makes them too many bytes is left
// out: first what was changed of each, then the ends of ids and reasons, of which each
// character may take six.
func (p *Part) put(match store.Match) store.Change {
	change := p.bulk.log.items.Put(p.key, match, itemsPart{p.items})
	for _, reduce := range []func(*Item){
		func(item *Item) { item.Changes = nil },
		func(item *Item) { item.ID, item.Failed = cut(item.ID, maxCut), cut(item.Failed, maxCut) },
	} {
		if len(change.Value) <= maxItems {
			break
		}
		for i := range p.items {
			reduce(&p.items[i])
		}
		change = p.bulk.log.items.Put(p.key, match, itemsPart{p.items})
	}
	return change
}

const (
	maxItems = 512 << 10 // bytes of the items of a part, what changed included
	maxCut   = 32        // bytes of an id, or of a reason, where they are too many
)

// Items returns some of the things of a bulk operation, and the after of the next call,
// "" at the end. There are none of an operation that is not known, or no longer.
func (l *Log) Items(ctx context.Context, name, after string) (items []Item, next string, err error) {
	items = []Item{}
	if l == nil || name == "" {
		return items, "", nil
	}
	parts, err := l.items.List(ctx, name+"-", after, 1)
	if err != nil || len(parts) == 0 {
		return items, "", err
	}
	for _, item := range parts[0].Value.Items {
		item.Changes = reshown(item.Changes)
		items = append(items, item)
	}
	return items, parts[0].Key, nil
}

// hasItem reports whether an operation is about the thing with this id, and how many
// parts were read for that.
func (l *Log) hasItem(ctx context.Context, bulk *BulkSummary, id string) (found bool, read int, err error) {
	if bulk == nil {
		return false, 0, nil
	}
	for after := ""; ; {
		parts, err := l.items.List(ctx, bulk.Name+"-", after, 1)
		if err != nil || len(parts) == 0 {
			return false, read, err
		}
		read++
		for _, item := range parts[0].Value.Items {
			if strings.EqualFold(item.ID, id) {
				return true, read, nil
			}
		}
		after = parts[0].Key
	}
}

// put commits changes of the audit's own.
func (l *Log) put(ctx context.Context, changes ...store.Change) error {
	for _, change := range changes {
		l.grew(change)
	}
	_, err := l.documents.Commit(ctx, changes...)
	return err
}

var errNoItems = errors.New("it has no items")

// Intact implements store.Checkable.
func (p *itemsPart) Intact() error {
	if p.Items == nil {
		return errNoItems
	}
	return nil
}
