package access

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Limit is how many policies a service has at most: each request is held against all
// of them.
const Limit = 100

// Which of the keys of a policy.
const (
	PrimaryKey   = "primary"
	SecondaryKey = "secondary"
)

// Config says whose policies these are.
type Config struct {
	Documents  store.Documents
	Collection string           // of the documents that hold them
	Host       string           // of the service, which tokens are for
	Rights     []string         // all that there are, in Azure's spelling and order
	Owner      string           // name of the policy of all rights that a new service has
	Audit      *audit.Log       // of changes; nil keeps none
	Now        func() time.Time // time.Now when nil
}

// Policies are those of one service.
type Policies struct {
	config  Config
	table   store.Table[Policy]
	current *store.Cache[[]Policy] // each request is held against all of them
}

// Open returns the policies of a service.
func Open(config Config) *Policies {
	if config.Now == nil {
		config.Now = time.Now
	}
	p := &Policies{config: config, table: store.NewTable[Policy](config.Documents, config.Collection)}
	p.current = store.NewCache(config.Documents, p.List, config.Collection)
	return p
}

// Collection is that of the documents, as an Inspector knows it.
func (p *Policies) Collection() string { return p.table.Collection }

// Authorize checks that a back end's token has the right and is good for the path
// below the service that is asked for, and returns the token's policy. It returns a
// fault 401 that says what is wrong with it; where only path or right are wrong, the
// policy comes with it.
func (p *Policies) Authorize(ctx context.Context, token, right string, path ...credential.Segment) (Policy, error) {
	policies, err := p.current.Get(ctx)
	if err != nil {
		return Policy{}, err
	}
	return authorize(policies, token, credential.Resource{Host: p.config.Host, Path: path}, right, p.config.Now())
}

// List returns the policies with their keys, in the order of their names.
func (p *Policies) List(ctx context.Context) ([]Policy, error) {
	entries, err := p.table.List(ctx, "", "", Limit)
	policies := make([]Policy, len(entries))
	for i, entry := range entries {
		policies[i] = shown(entry.Value, entry.ETag)
	}
	return policies, err
}

// shown is a policy with its ETag.
func shown(policy Policy, etag string) Policy {
	policy.ETag = store.QuoteETag(etag)
	return policy
}

// Get returns a policy with its keys. It returns fault 404000 when there is none of
// this name.
func (p *Policies) Get(ctx context.Context, name string) (Policy, error) {
	entry, err := p.entry(ctx, name)
	return shown(entry.Value, entry.ETag), err
}

// entry returns a policy by its name, which has no case.
func (p *Policies) entry(ctx context.Context, name string) (store.Entry[Policy], error) {
	entries, err := p.table.List(ctx, "", "", Limit)
	if err != nil {
		return store.Entry[Policy]{}, err
	}
	for _, entry := range entries {
		if strings.EqualFold(entry.Value.Name, name) {
			return entry, nil
		}
	}
	// One that can't be read is not in the list.
	for _, key := range []string{key(name), name} {
		if _, etag, err := p.table.Get(ctx, key); store.IsUnreadable(err) {
			return store.Entry[Policy]{Key: key, ETag: etag}, err
		}
	}
	return store.Entry[Policy]{}, fault.New(fault.NotFound, "There is no shared access policy %.64q", name)
}

// key is what a policy is stored under. Earlier versions kept the case of some names.
func key(name string) string { return strings.ToLower(name) }

// Add stores a policy of this name unless there is one, and reports whether there was
// none. It is for the policies that a new service has.
func (p *Policies) Add(ctx context.Context, policy Policy) (added bool, err error) {
	_, err = p.entry(ctx, policy.Name)
	if !errors.Is(err, fault.NotFound) {
		if store.IsUnreadable(err) {
			err = nil
		}
		return false, err
	}
	_, err = p.config.Documents.Commit(ctx, p.table.Put(key(policy.Name), store.Absent, policy))
	if _, exists := store.IsConflict(err); exists {
		return false, nil
	}
	return err == nil, err
}

// EnsureOwner gives a service that has no policy of all rights one. It reports false
// when it can't, as a record that can't be read has the name.
func (p *Policies) EnsureOwner(ctx context.Context) (ensured bool, err error) {
	if owner, err := p.Owner(ctx); err != nil || owner.Name != "" {
		return err == nil, err
	}
	return p.Add(ctx, NewPolicy(p.config.Owner, p.config.Rights...))
}

// Owner returns the policy of all rights by which a server and its operator reach
// the service: the one it began with, or another when that has gone. Its name is ""
// when there is none.
func (p *Policies) Owner(ctx context.Context) (owner Policy, err error) {
	policies, err := p.List(ctx)
	for _, policy := range policies {
		if p.isOwner(policy) && (owner.Name == "" || policy.Name == p.config.Owner) {
			owner = policy
		}
	}
	return owner, err
}

func (p *Policies) isOwner(policy Policy) bool {
	return !slices.ContainsFunc(p.config.Rights, func(right string) bool { return !policy.Allows(right) })
}

// names are those that a policy can have.
var names = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Create makes a policy with these rights and two fresh keys. It returns fault 409000
// when there is one of this name, and 400004 for what is wrong, with the place in
// Info["field"]: keyName or rights.
func (p *Policies) Create(ctx context.Context, name string, rights []string) (Policy, error) {
	if !names.MatchString(name) {
		return Policy{}, fault.About("keyName", fault.New(fault.ArgumentInvalid,
			"The name %.64q is not valid for a shared access policy: "+
				"up to 64 letters, digits, dashes, full stops and underscores are allowed", name))
	}
	rights, err := p.checkRights(rights)
	if err != nil {
		return Policy{}, err
	}
	count, err := p.table.Count(ctx)
	if err != nil {
		return Policy{}, err
	}
	if count >= Limit {
		return Policy{}, fault.New(fault.Conflict,
			"The service has %d shared access policies, which is the limit. Delete one that nobody uses", Limit)
	}
	taken := fault.New(fault.Conflict,
		"There is a shared access policy %q already. Change its rights, or choose another name", name)
	if _, err := p.entry(ctx, name); err == nil {
		return Policy{}, taken
	} else if !errors.Is(err, fault.NotFound) && !store.IsUnreadable(err) {
		return Policy{}, err
	}
	policy := NewPolicy(name, rights...)
	etags, err := p.config.Documents.Commit(ctx, append([]store.Change{p.table.Put(key(name), store.Absent, policy)},
		p.config.Audit.Change(ctx, audit.Created, audit.AccessPolicy, name, nil, nil)...)...)
	if _, exists := store.IsConflict(err); exists {
		return Policy{}, taken
	}
	if err != nil {
		return Policy{}, err
	}
	return shown(policy, etags[0]), nil
}

// SetRights gives a policy these rights in place of those it has, under the condition
// ifMatch: "", "*" or the ETag that it must have. It returns the faults 404000 and
// 412001, and 409000 when nobody would be left who has all rights.
func (p *Policies) SetRights(ctx context.Context, name string, rights []string, ifMatch string) (Policy, error) {
	rights, err := p.checkRights(rights)
	if err != nil {
		return Policy{}, err
	}
	return p.change(ctx, name, ifMatch, func(policy *Policy) { policy.Rights = rights })
}

// RegenerateKey makes a key (PrimaryKey or SecondaryKey) of a policy anew, under the
// condition ifMatch. Tokens of the old one are refused from then on.
func (p *Policies) RegenerateKey(ctx context.Context, name, which, ifMatch string) (Policy, error) {
	fresh := credential.NewKey(32)
	switch which {
	case PrimaryKey:
		return p.change(ctx, name, ifMatch, func(policy *Policy) { policy.PrimaryKey = fresh })
	case SecondaryKey:
		return p.change(ctx, name, ifMatch, func(policy *Policy) { policy.SecondaryKey = fresh })
	}
	return Policy{}, fault.About("key",
		fault.New(fault.ArgumentInvalid, "key must be primary or secondary, not %.64q", which))
}

// Delete removes a policy under the condition ifMatch. It returns fault 409000 when
// nobody would be left who has all rights. One that can't be read gives nobody any.
func (p *Policies) Delete(ctx context.Context, name, ifMatch string) error {
	_, err := p.change(ctx, name, ifMatch, nil)
	return err
}

// change changes a policy by compare-and-swap, or deletes it when change is nil. What
// takes all rights from one policy happens only while another still has them: the
// commit checks that too.
func (p *Policies) change(ctx context.Context, name, ifMatch string, change func(*Policy)) (Policy, error) {
	return store.RetryOnConflict(ctx, func() (Policy, error) {
		entry, err := p.entry(ctx, name)
		unreadable := store.IsUnreadable(err)
		if err != nil && !(unreadable && change == nil) {
			return Policy{}, err
		}
		prior := entry.Value
		err = fault.Precondition("shared access policy", ifMatch, store.QuoteETag(entry.ETag))
		if err != nil && !unreadable {
			return Policy{}, err
		}
		changed, match := prior, store.IfMatch(entry.ETag)
		steps := append([]store.Change{p.table.Delete(entry.Key, match)},
			p.config.Audit.Change(ctx, audit.Deleted, audit.AccessPolicy, cmp.Or(prior.Name, entry.Key), nil, nil)...)
		if change != nil {
			change(&changed)
			steps = append([]store.Change{p.table.Put(entry.Key, match, changed)},
				p.config.Audit.Change(ctx, audit.Updated, audit.AccessPolicy, prior.Name, prior, changed)...)
		}
		if !unreadable && p.isOwner(prior) && (change == nil || !p.isOwner(changed)) {
			heir, err := p.anotherOwner(ctx, entry.Key, prior.Name)
			if err != nil {
				return Policy{}, err
			}
			steps = append(steps, heir)
		}
		etags, err := p.config.Documents.Commit(ctx, steps...)
		if err == nil && unreadable { // it may have been the last of all rights
			_, err = p.EnsureOwner(ctx)
		}
		if err != nil {
			return Policy{}, err
		}
		return shown(changed, etags[0]), nil
	})
}

// anotherOwner is the check that a policy of all rights other than this one stays
// as it is.
func (p *Policies) anotherOwner(ctx context.Context, key, name string) (store.Change, error) {
	entries, err := p.table.List(ctx, "", "", Limit)
	if err != nil {
		return store.Change{}, err
	}
	for _, entry := range entries {
		if entry.Key != key && p.isOwner(entry.Value) {
			return store.Change{
				Collection: p.table.Collection,
				Key:        entry.Key,
				Match:      store.IfMatch(entry.ETag),
				Check:      true,
			}, nil
		}
	}
	return store.Change{}, fault.New(fault.Conflict,
		"The policy %q is the last one that has all rights, and without it nobody could manage the service. "+
			"Create another one with all rights before", name)
}

// checkRights returns the rights in Azure's spelling and order, each once.
func (p *Policies) checkRights(wanted []string) ([]string, error) {
	all := p.config.Rights
	for _, right := range wanted {
		if !slices.ContainsFunc(all, func(known string) bool { return strings.EqualFold(right, known) }) {
			return nil, fault.About("rights", fault.New(fault.ArgumentInvalid,
				"The service has no right %.64q. There are %s", right, strings.Join(all, ", ")))
		}
	}
	if len(wanted) == 0 {
		return nil, fault.About("rights", fault.New(fault.ArgumentInvalid,
			"The policy has no right. Give it one or more of %s", strings.Join(all, ", ")))
	}
	return slices.DeleteFunc(slices.Clone(all), func(known string) bool {
		return !slices.ContainsFunc(wanted, func(right string) bool { return strings.EqualFold(right, known) })
	}), nil
}
