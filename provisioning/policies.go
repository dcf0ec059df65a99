package provisioning

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// ownerPolicy is the policy that a new service has.
const ownerPolicy = "provisioningserviceowner"

// allRights are those of an owner.
var allRights = []string{ServiceConfig, EnrollmentRead, EnrollmentWrite, RegistrationStatusRead, RegistrationStatusWrite}

// maxPolicies bounds the policies of a service: each request of a back end reads
// all of them.
const maxPolicies = 100

// policyNames are those that a policy can have.
var policyNames = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// SharedAccessPolicy is a policy as its owner manages it.
type SharedAccessPolicy struct {
	credential.Policy
	ETag string `json:"etag,omitempty"` // with its quotes: "\"…\""
}

// Which of the keys of a policy.
const (
	PrimaryKey   = "primary"
	SecondaryKey = "secondary"
)

// Owner returns the policy of all rights by which a server and its operator reach
// the service: the one it began with, or another when that has gone. There always
// is one.
func Owner(policies []credential.Policy) credential.Policy {
	var owner credential.Policy
	for _, policy := range policies {
		if isOwner(policy) && (owner.Name == "" || policy.Name == ownerPolicy) {
			owner = policy
		}
	}
	return owner
}

func isOwner(policy credential.Policy) bool {
	return !slices.ContainsFunc(allRights, func(right string) bool { return !policy.Allows(right) })
}

// SharedAccessPolicies returns the policies with their keys, in the order of their
// names.
func (s *Service) SharedAccessPolicies(ctx context.Context) ([]SharedAccessPolicy, error) {
	entries, err := s.policies.List(ctx, "", "", maxPolicies)
	policies := make([]SharedAccessPolicy, len(entries))
	for i, entry := range entries {
		policies[i] = SharedAccessPolicy{entry.Value, quote(entry.ETag)}
	}
	return policies, err
}

// SharedAccessPolicy returns a policy with its keys. It returns fault 404000 when
// there is none of this name.
func (s *Service) SharedAccessPolicy(ctx context.Context, name string) (SharedAccessPolicy, error) {
	policy, etag, err := s.policies.Get(ctx, key(name))
	if errors.Is(err, store.ErrNotFound) {
		return SharedAccessPolicy{}, fault.New(fault.NotFound, "There is no shared access policy %.64q", name)
	}
	return SharedAccessPolicy{policy, quote(etag)}, err
}

// CreateSharedAccessPolicy makes a policy with these rights and two fresh keys. It
// returns fault 409000 when there is one of this name.
func (s *Service) CreateSharedAccessPolicy(ctx context.Context, name string, rights []string) (SharedAccessPolicy, error) {
	if !policyNames.MatchString(name) {
		return SharedAccessPolicy{}, about("keyName", fault.New(fault.ArgumentInvalid, "The name %.64q is no name of a shared access policy: up to 64 letters, digits, dashes, full stops and underscores are allowed", name))
	}
	rights, err := checkRights(rights)
	if err != nil {
		return SharedAccessPolicy{}, err
	}
	count, err := s.policies.Count(ctx)
	if err != nil {
		return SharedAccessPolicy{}, err
	}
	if count >= maxPolicies {
		return SharedAccessPolicy{}, fault.New(fault.Conflict, "The service has %d shared access policies, which is the limit. Delete one that nobody uses", maxPolicies)
	}
	policy := credential.NewPolicy(name, rights...)
	etags, err := s.config.Documents.Commit(ctx, append([]store.Change{s.policies.Put(key(name), store.Absent, policy)},
		s.config.Audit.Change(ctx, audit.Created, audit.AccessPolicy, name, nil, nil)...)...)
	if _, exists := store.IsConflict(err); exists {
		return SharedAccessPolicy{}, fault.New(fault.Conflict, "There is a shared access policy %q already. Change its rights, or choose another name", name)
	}
	if err != nil {
		return SharedAccessPolicy{}, err
	}
	return SharedAccessPolicy{policy, quote(etags[0])}, nil
}

// SetPolicyRights gives a policy these rights in place of those it has, under the
// condition ifMatch as in PutEnrollment. It returns fault 409000 when nobody would
// be left who has all rights.
func (s *Service) SetPolicyRights(ctx context.Context, name string, rights []string, ifMatch string) (SharedAccessPolicy, error) {
	rights, err := checkRights(rights)
	if err != nil {
		return SharedAccessPolicy{}, err
	}
	return s.changePolicy(ctx, name, ifMatch, func(policy *credential.Policy) { policy.Rights = rights })
}

// RegeneratePolicyKey makes a key (PrimaryKey or SecondaryKey) of a policy anew,
// under the condition ifMatch. Tokens of the old one are refused from then on.
func (s *Service) RegeneratePolicyKey(ctx context.Context, name, which, ifMatch string) (SharedAccessPolicy, error) {
	fresh := credential.NewPolicy(name)
	switch which {
	case PrimaryKey:
		return s.changePolicy(ctx, name, ifMatch, func(policy *credential.Policy) { policy.PrimaryKey = fresh.PrimaryKey })
	case SecondaryKey:
		return s.changePolicy(ctx, name, ifMatch, func(policy *credential.Policy) { policy.SecondaryKey = fresh.SecondaryKey })
	}
	return SharedAccessPolicy{}, about("key", fault.New(fault.ArgumentInvalid, "key is %.64q. It is primary or secondary", which))
}

// DeleteSharedAccessPolicy removes a policy under the condition ifMatch. It returns
// fault 409000 when nobody would be left who has all rights.
func (s *Service) DeleteSharedAccessPolicy(ctx context.Context, name, ifMatch string) error {
	_, err := s.changePolicy(ctx, name, ifMatch, nil)
	return err
}

// changePolicy changes a policy by compare-and-swap, or deletes it when change is
// nil. What takes all rights from one policy happens only while another still has
// them: the commit checks that too.
func (s *Service) changePolicy(ctx context.Context, name, ifMatch string, change func(*credential.Policy)) (SharedAccessPolicy, error) {
	return store.RetryOnConflict(ctx, func() (SharedAccessPolicy, error) {
		prior, err := s.SharedAccessPolicy(ctx, name)
		if store.IsUnreadable(err) && change == nil { // it gives nobody any right
			err := s.deleteRecord(ctx, audit.AccessPolicy, s.policies.Collection, key(name))
			return SharedAccessPolicy{}, errors.Join(err, s.createPolicies(ctx))
		}
		if err != nil {
			return SharedAccessPolicy{}, err
		}
		if err := precondition("shared access policy", ifMatch, prior.ETag, true); err != nil {
			return SharedAccessPolicy{}, err
		}
		match, changed := store.ETag(unquote(prior.ETag)), prior.Policy
		steps := append([]store.Change{s.policies.Delete(key(name), match)}, s.config.Audit.Change(ctx, audit.Deleted, audit.AccessPolicy, prior.Name, nil, nil)...)
		if change != nil {
			change(&changed)
			steps = append([]store.Change{s.policies.Put(key(name), match, changed)}, s.config.Audit.Change(ctx, audit.Updated, audit.AccessPolicy, prior.Name, prior.Policy, changed)...)
		}
		if isOwner(prior.Policy) && (change == nil || !isOwner(changed)) {
			heir, err := s.anotherOwner(ctx, prior.Name)
			if err != nil {
				return SharedAccessPolicy{}, err
			}
			steps = append(steps, heir)
		}
		etags, err := s.config.Documents.Commit(ctx, steps...)
		if err != nil {
			return SharedAccessPolicy{}, err
		}
		return SharedAccessPolicy{changed, quote(etags[0])}, nil
	})
}

// anotherOwner is the check that a policy of all rights other than this one stays
// as it is.
func (s *Service) anotherOwner(ctx context.Context, name string) (store.Change, error) {
	entries, err := s.policies.List(ctx, "", "", maxPolicies)
	if err != nil {
		return store.Change{}, err
	}
	for _, entry := range entries {
		if entry.Key != key(name) && isOwner(entry.Value) {
			return store.Change{Collection: s.policies.Collection, Key: entry.Key, Match: store.ETag(entry.ETag), Check: true}, nil
		}
	}
	return store.Change{}, fault.New(fault.Conflict, "The policy %q is the last one that has all rights, and without it nobody could manage the service. Create another one with all rights before", name)
}

// checkRights returns the rights in Azure's spelling and order, each once.
func checkRights(wanted []string) ([]string, error) {
	for _, right := range wanted {
		if !slices.ContainsFunc(allRights, func(known string) bool { return strings.EqualFold(right, known) }) {
			return nil, about("rights", fault.New(fault.ArgumentInvalid, "The provisioning service has no right %.64q. There are %s", right, strings.Join(allRights, ", ")))
		}
	}
	if len(wanted) == 0 {
		return nil, about("rights", fault.New(fault.ArgumentInvalid, "The policy has no right. Give it one or more of %s", strings.Join(allRights, ", ")))
	}
	return slices.DeleteFunc(slices.Clone(allRights), func(known string) bool {
		return !slices.ContainsFunc(wanted, func(right string) bool { return strings.EqualFold(right, known) })
	}), nil
}
