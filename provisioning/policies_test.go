package provisioning

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// authorizes reports whether the service takes a token made with this key.
func (h *house) authorizes(policy SharedAccessPolicy, key, right string) bool {
	h.t.Helper()
	token, err := credential.NewToken(h.Host(), policy.Name, key, noon.Add(24*365*time.Hour))
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = h.Authorize(context.Background(), token, right)
	if err != nil && !errors.Is(err, fault.UnauthorizedAccess) {
		h.t.Fatal(err)
	}
	return err == nil
}

func TestPolicies(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	made, err := h.CreateSharedAccessPolicy(ctx, "Dashboard", []string{"registrationstatusread", EnrollmentRead, EnrollmentRead})
	if err != nil || !slices.Equal(made.Rights, []string{EnrollmentRead, RegistrationStatusRead}) || made.ETag == "" {
		t.Fatalf("made %+v, %v", made, err)
	}
	if !h.authorizes(made, made.PrimaryKey, EnrollmentRead) || !h.authorizes(made, made.SecondaryKey, EnrollmentRead) || h.authorizes(made, made.PrimaryKey, EnrollmentWrite) {
		t.Error("the keys don't do what the rights say")
	}

	fresh, err := h.RegeneratePolicyKey(ctx, "dashboard", PrimaryKey, made.ETag)
	if err != nil || fresh.PrimaryKey == made.PrimaryKey || fresh.SecondaryKey != made.SecondaryKey || fresh.ETag == made.ETag {
		t.Fatalf("%+v became %+v, %v", made, fresh, err)
	}
	if h.authorizes(made, made.PrimaryKey, EnrollmentRead) || !h.authorizes(made, fresh.PrimaryKey, EnrollmentRead) || !h.authorizes(made, made.SecondaryKey, EnrollmentRead) {
		t.Error("the old key is still good, or the others are not")
	}
	wider, err := h.SetPolicyRights(ctx, "Dashboard", []string{EnrollmentWrite}, "")
	if err != nil || !h.authorizes(made, fresh.PrimaryKey, EnrollmentWrite) || h.authorizes(made, fresh.PrimaryKey, EnrollmentRead) {
		t.Errorf("with other rights %+v, %v", wider, err)
	}
	if all, err := h.SharedAccessPolicies(ctx); err != nil || len(all) != 2 || all[0].ETag != wider.ETag || all[1].Name != ownerPolicy {
		t.Errorf("the policies are %+v, %v", all, err)
	}

	for name, refusal := range map[string]struct {
		err  error
		code fault.Code
		says string
	}{
		"twice":         {second(h.CreateSharedAccessPolicy(ctx, "DASHBOARD", []string{EnrollmentRead})), fault.Conflict, "already"},
		"no name":       {second(h.CreateSharedAccessPolicy(ctx, "a b", []string{EnrollmentRead})), fault.ArgumentInvalid, "letters"},
		"no rights":     {second(h.CreateSharedAccessPolicy(ctx, "none", nil)), fault.ArgumentInvalid, ServiceConfig},
		"unknown right": {second(h.SetPolicyRights(ctx, "Dashboard", []string{"RegistryRead"}, "")), fault.ArgumentInvalid, `"RegistryRead"`},
		"old ETag":      {second(h.RegeneratePolicyKey(ctx, "Dashboard", PrimaryKey, made.ETag)), fault.PreconditionFailed, "Read it again"},
		"third key":     {second(h.RegeneratePolicyKey(ctx, "Dashboard", "third", "")), fault.ArgumentInvalid, "primary or secondary"},
		"unknown":       {second(h.SharedAccessPolicy(ctx, "unknown")), fault.NotFound, "unknown"},
		"delete, old":   {h.DeleteSharedAccessPolicy(ctx, "Dashboard", made.ETag), fault.PreconditionFailed, "Read it again"},
	} {
		if !errors.Is(refusal.err, refusal.code) || !strings.Contains(refusal.err.Error(), refusal.says) {
			t.Errorf("%s: %v, want %v with %q", name, refusal.err, refusal.code, refusal.says)
		}
	}
	if err := h.DeleteSharedAccessPolicy(ctx, "dashboard", wider.ETag); err != nil || h.authorizes(made, fresh.PrimaryKey, EnrollmentWrite) {
		t.Errorf("after its end the policy is good for something, %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestTheLastOwnerStays has owners removed in every way, also at once.
func TestTheLastOwnerStays(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	refused := func(err error) {
		t.Helper()
		if !errors.Is(err, fault.Conflict) {
			t.Errorf("the last owner: %v, want fault %d", err, fault.Conflict)
		}
	}
	refused(h.DeleteSharedAccessPolicy(ctx, ownerPolicy, ""))
	refused(second(h.SetPolicyRights(ctx, ownerPolicy, allRights[:4], "")))
	if _, err := h.SetPolicyRights(ctx, ownerPolicy, allRights, ""); err != nil {
		t.Errorf("the rights that it has: %v", err)
	}

	for range 20 {
		if _, err := h.CreateSharedAccessPolicy(ctx, "heir", allRights); err != nil {
			t.Fatal(err)
		}
		policies, err := h.Policies(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var removals sync.WaitGroup
		errs := make([]error, len(policies))
		for i, policy := range policies {
			removals.Go(func() { errs[i] = h.DeleteSharedAccessPolicy(ctx, policy.Name, "") })
		}
		removals.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("two owners removed at once: %v", errs)
		}
		refused(errors.Join(errs...))
		if errs[0] == nil { // the heir is the first by name
			continue
		}
		if _, err := h.CreateSharedAccessPolicy(ctx, ownerPolicy, allRights); err != nil {
			t.Fatal(err)
		}
		if err := h.DeleteSharedAccessPolicy(ctx, "heir", ""); err != nil {
			t.Fatal(err)
		}
	}

	// What was deleted does not come back with the next start.
	if _, err := h.CreateSharedAccessPolicy(ctx, "heir", allRights); err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteSharedAccessPolicy(ctx, ownerPolicy, ""); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	if policies, err := h.Policies(ctx); err != nil || len(policies) != 1 || Owner(policies).Name != "heir" {
		t.Errorf("after a restart the policies are %+v, %v", policies, err)
	}
}
