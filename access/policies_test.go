package access

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
	"github.com/berth-iot/berth/store/storetest"
)

const (
	read, write, configure = "Read", "Write", "Configure"
	ownerPolicy            = "owner"
)

var allRights = []string{configure, read, write}

// fixture are the policies of a service, with what reads of them are counted.
type fixture struct {
	*Policies
	t         *testing.T
	documents *counted
}

// counted counts how often a list of documents is read.
type counted struct {
	store.Documents
	lists atomic.Int64
}

func (c *counted) List(ctx context.Context, collection, prefix, after string, limit int) ([]store.Document, error) {
	c.lists.Add(1)
	return c.Documents.List(ctx, collection, prefix, after, limit)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	engine := memory.New().Open()
	t.Cleanup(func() { engine.Close() })
	f := &fixture{t: t, documents: &counted{Documents: engine}}
	f.open(f.documents)
	return f
}

func (f *fixture) open(documents store.Documents) {
	f.t.Helper()
	f.Policies = Open(Config{Documents: documents, Collection: "policies", Host: "dps.local", Rights: allRights,
		Owner: ownerPolicy, Now: func() time.Time { return noon }})
	if ensured, err := f.EnsureOwner(context.Background()); err != nil || !ensured {
		f.t.Fatalf("an owner is there: %v, %v", ensured, err)
	}
}

// authorizes reports whether the service takes a token made with this key.
func (f *fixture) authorizes(policy Policy, key, right string) bool {
	f.t.Helper()
	token, err := credential.NewToken("dps.local", policy.Name, key, noon.Add(time.Hour))
	if err != nil {
		f.t.Fatal(err)
	}
	_, err = f.Authorize(context.Background(), token, right)
	if err != nil && !errors.Is(err, fault.UnauthorizedAccess) {
		f.t.Fatal(err)
	}
	return err == nil
}

func TestPolicies(t *testing.T) {
	h, ctx := newFixture(t), context.Background()
	made, err := h.Create(ctx, "Dashboard", []string{"configure", read, read})
	if err != nil || !slices.Equal(made.Rights, []string{configure, read}) || made.ETag == "" {
		t.Fatalf("made %+v, %v", made, err)
	}
	if !h.authorizes(made, made.PrimaryKey, read) || !h.authorizes(made, made.SecondaryKey, read) ||
		h.authorizes(made, made.PrimaryKey, write) {
		t.Error("the keys don't do what the rights say")
	}

	fresh, err := h.RegenerateKey(ctx, "dashboard", PrimaryKey, made.ETag)
	if err != nil || fresh.PrimaryKey == made.PrimaryKey || fresh.SecondaryKey != made.SecondaryKey ||
		fresh.ETag == made.ETag {
		t.Fatalf("%+v became %+v, %v", made, fresh, err)
	}
	if h.authorizes(made, made.PrimaryKey, read) || !h.authorizes(made, fresh.PrimaryKey, read) ||
		!h.authorizes(made, made.SecondaryKey, read) {
		t.Error("the old key is still good, or the others are not")
	}
	wider, err := h.SetRights(ctx, "Dashboard", []string{write}, "")
	if err != nil || !h.authorizes(made, fresh.PrimaryKey, write) || h.authorizes(made, fresh.PrimaryKey, read) {
		t.Errorf("with other rights %+v, %v", wider, err)
	}
	if all, err := h.List(ctx); err != nil || len(all) != 2 || all[0].ETag != wider.ETag || all[1].Name != ownerPolicy {
		t.Errorf("the policies are %+v, %v", all, err)
	}

	for name, refusal := range map[string]struct {
		err  error
		code fault.Code
		says string
	}{
		"twice":     {second(h.Create(ctx, "DASHBOARD", []string{read})), fault.Conflict, "already"},
		"no name":   {second(h.Create(ctx, "a b", []string{read})), fault.ArgumentInvalid, "letters"},
		"no rights": {second(h.Create(ctx, "none", nil)), fault.ArgumentInvalid, configure},
		"unknown right": {second(h.SetRights(ctx, "Dashboard", []string{"RegistryRead"}, "")), fault.ArgumentInvalid,
			`"RegistryRead"`},
		"old ETag": {second(h.RegenerateKey(ctx, "Dashboard", PrimaryKey, made.ETag)), fault.PreconditionFailed,
			"Read it again"},
		"third key": {second(h.RegenerateKey(ctx, "Dashboard", "third", "")), fault.ArgumentInvalid,
			"primary or secondary"},
		"unknown":     {second(h.Get(ctx, "unknown")), fault.NotFound, "unknown"},
		"delete, old": {h.Delete(ctx, "Dashboard", made.ETag), fault.PreconditionFailed, "Read it again"},
	} {
		if !errors.Is(refusal.err, refusal.code) || !strings.Contains(refusal.err.Error(), refusal.says) {
			t.Errorf("%s: %v, want %v with %q", name, refusal.err, refusal.code, refusal.says)
		}
	}
	if err := h.Delete(ctx, "dashboard", wider.ETag); err != nil || h.authorizes(made, fresh.PrimaryKey, write) {
		t.Errorf("after its end the policy is good for something, %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestDeleteLastOwner has owners removed in every way, also at once.
func TestDeleteLastOwner(t *testing.T) {
	h, ctx := newFixture(t), context.Background()
	refused := func(err error) {
		t.Helper()
		if !errors.Is(err, fault.Conflict) {
			t.Errorf("the last owner: %v, want fault %d", err, fault.Conflict)
		}
	}
	refused(h.Delete(ctx, ownerPolicy, ""))
	refused(second(h.SetRights(ctx, ownerPolicy, allRights[:2], "")))
	if _, err := h.SetRights(ctx, ownerPolicy, allRights, ""); err != nil {
		t.Errorf("the rights that it has: %v", err)
	}

	for range 20 {
		if _, err := h.Create(ctx, "heir", allRights); err != nil {
			t.Fatal(err)
		}
		policies, err := h.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var removals sync.WaitGroup
		errs := make([]error, len(policies))
		for i, policy := range policies {
			removals.Go(func() { errs[i] = h.Delete(ctx, policy.Name, "") })
		}
		removals.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("two owners removed at once: %v", errs)
		}
		refused(errors.Join(errs...))
		if errs[0] == nil { // the heir is the first by name
			continue
		}
		if _, err := h.Create(ctx, ownerPolicy, allRights); err != nil {
			t.Fatal(err)
		}
		if err := h.Delete(ctx, "heir", ""); err != nil {
			t.Fatal(err)
		}
	}

	// What was deleted does not come back with the next start.
	if _, err := h.Create(ctx, "heir", allRights); err != nil {
		t.Fatal(err)
	}
	if err := h.Delete(ctx, ownerPolicy, ""); err != nil {
		t.Fatal(err)
	}
	h.open(h.documents)
	if policies, err := h.List(ctx); err != nil || len(policies) != 1 || policies[0].Name != "heir" {
		t.Errorf("after a restart the policies are %+v, %v", policies, err)
	}
}

// Policies are read once, and again when one has changed, by whomever.
func TestPoliciesAreReadOnce(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	owner, err := f.Owner(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f.authorizes(owner, owner.PrimaryKey, read)
	before := f.documents.lists.Load()
	for range 10 {
		if !f.authorizes(owner, owner.PrimaryKey, read) {
			t.Fatal("the owner is refused")
		}
	}
	if f.documents.lists.Load() != before {
		t.Errorf("ten requests read the policies %d times", f.documents.lists.Load()-before)
	}
	fresh, err := f.RegenerateKey(ctx, ownerPolicy, PrimaryKey, "")
	if err != nil {
		t.Fatal(err)
	}
	if f.authorizes(owner, owner.PrimaryKey, read) || !f.authorizes(owner, fresh.PrimaryKey, read) {
		t.Error("a key that was made anew does not count at once")
	}
	// Those of another node are policies on the same documents.
	elsewhere := Open(f.config)
	if !f.authorizes(owner, fresh.PrimaryKey, read) {
		t.Error("the owner is refused")
	}
	again, err := elsewhere.RegenerateKey(ctx, ownerPolicy, PrimaryKey, "")
	if err != nil {
		t.Fatal(err)
	}
	if f.authorizes(owner, fresh.PrimaryKey, read) || !f.authorizes(owner, again.PrimaryKey, read) {
		t.Error("a key that was made anew elsewhere does not count at once")
	}
}

// A policy that can't be read gives nobody a right, is replaced when it was the last of
// all rights, and one of an earlier version keeps its name's case.
func TestPoliciesThatAreOdd(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	damage := store.Change{Collection: "policies", Key: ownerPolicy, Value: []byte("{damaged")}
	if _, err := f.documents.Commit(ctx, damage); err != nil {
		t.Fatal(err)
	}
	f.Policies = Open(f.config)
	if ensured, err := f.EnsureOwner(ctx); err != nil || ensured {
		t.Errorf("in place of a policy that can't be read: %v, %v", ensured, err)
	}
	if _, err := f.Get(ctx, ownerPolicy); !store.IsUnreadable(err) {
		t.Errorf("it is read: %v", err)
	}
	if err := f.Delete(ctx, ownerPolicy, ""); err != nil {
		t.Fatal(err)
	}
	if owner, err := f.Owner(ctx); err != nil || owner.Name != ownerPolicy {
		t.Errorf("after its end the owner is %+v, %v", owner, err)
	}

	old := NewPolicy("registryRead", read)
	if _, err := f.config.Documents.Commit(ctx, f.table.Put(old.Name, store.Absent, old)); err != nil {
		t.Fatal(err)
	}
	if added, err := f.Add(ctx, NewPolicy("registryRead", read)); err != nil || added {
		t.Errorf("it is added again: %v, %v", added, err)
	}
	if !errors.Is(second(f.Create(ctx, "REGISTRYREAD", []string{read})), fault.Conflict) {
		t.Error("another of the same name is created")
	}
	if changed, err := f.SetRights(ctx, "registryread", []string{write}, ""); err != nil || changed.Name != old.Name {
		t.Errorf("it becomes %+v, %v", changed, err)
	}
	if all, err := f.List(ctx); err != nil || len(all) != 2 {
		t.Errorf("there are %+v, %v", all, err)
	}
}

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[Policy](t) }
