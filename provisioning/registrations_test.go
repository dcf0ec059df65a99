package provisioning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// put stores registration records as they are.
func (h *fixture) put(registrations ...Registration) {
	h.t.Helper()
	for some := range slices.Chunk(registrations, 1000) {
		var changes []store.Change
		for _, registration := range some {
			changes = append(changes,
				h.registrations.Put(key(registration.RegistrationID), store.Always,
					storedRegistration{Registration: registration}))
		}
		if _, err := h.config.Documents.Commit(context.Background(), changes...); err != nil {
			h.t.Fatal(err)
		}
	}
}

// find goes through all pages.
func (h *fixture) find(filter RegistrationFilter, limit int) (ids []string, pages int) {
	h.t.Helper()
	for after := ""; ; {
		found, next, err := h.Registrations().Find(context.Background(), filter, after, limit)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(found) > limit {
			h.t.Errorf("a page of %d, the limit is %d", len(found), limit)
		}
		for _, registration := range found {
			ids = append(ids, registration.RegistrationID)
		}
		if pages++; next == "" {
			return ids, pages
		}
		if next <= after {
			h.t.Fatalf("after %q comes %q", after, next)
		}
		after = next
	}
}

func TestRegistrationsAreFound(t *testing.T) {
	h := newFixture(t, "hub.local")
	var all []Registration
	want := map[RegistrationFilter][]string{}
	for i := range 60 {
		registration := Registration{RegistrationID: fmt.Sprintf("A-%02d", i), Status: StatusAssigned}
		if i%2 == 1 {
			registration.RegistrationID = fmt.Sprintf("B-%02d", i)
		}
		if i%3 == 0 {
			registration.Status = StatusFailed
		}
		all = append(all, registration)
	}
	h.put(all...)
	slices.SortFunc(all,
		func(a, b Registration) int { return strings.Compare(key(a.RegistrationID), key(b.RegistrationID)) })
	for _, registration := range all {
		for _, prefix := range []string{"", registration.RegistrationID[:2]} {
			for _, status := range []Status{"", registration.Status} {
				filter := RegistrationFilter{prefix, status}
				want[filter] = append(want[filter], registration.RegistrationID)
			}
		}
	}
	want[RegistrationFilter{Status: StatusAssigning}] = nil
	want[RegistrationFilter{Prefix: "c"}] = nil
	for filter, ids := range want {
		for _, limit := range []int{1, 7, 10, 100} {
			if got, _ := h.find(filter, limit); !slices.Equal(got, ids) {
				t.Errorf("%+v by %d finds %v, want %v", filter, limit, got, ids)
			}
		}
	}
}

// A rare status must not make one call read all there is.
func TestFindingRegistrationsReadsSoMany(t *testing.T) {
	h := newFixture(t, "hub.local")
	all := make([]Registration, registrationsSearched+10)
	for i := range all {
		all[i] = Registration{RegistrationID: fmt.Sprintf("d%06d", i), Status: StatusAssigned}
	}
	last := &all[len(all)-1]
	last.Status = StatusFailed
	h.put(all...)
	filter := RegistrationFilter{Status: StatusFailed}
	found, next, err := h.Registrations().Find(context.Background(), filter, "", 10)
	if err != nil || len(found) != 0 || next != all[registrationsSearched-1].RegistrationID {
		t.Errorf("the first call finds %v, next %q, error %v", found, next, err)
	}
	if ids, pages := h.find(filter, 10); pages != 2 || !slices.Equal(ids, []string{last.RegistrationID}) {
		t.Errorf("%d pages find %v", pages, ids)
	}
}

// What a device left behind is removed before its record is, and that does not
// break the condition of who deletes the record.
func TestDeletingARegistrationThatLeftSomething(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	device := valid(t, "d1")
	h.enroll(device.enrollment())
	h.mustRegister(device)
	kept, err := h.loadRegistration(ctx, "d1")
	if err != nil {
		t.Fatal(err)
	}
	kept.Stale = []deviceRef{{"hub.local", "former"}}
	h.hub(0).devices["former"] = linkedhub.Admission{DeviceID: "former"}
	_, err = h.config.Documents.Commit(ctx, h.registrations.Put("d1", store.Present, kept.withoutETag()),
		h.intents.Put("d1", store.Always, intent{RegistrationID: "d1"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Registrations().Delete(ctx, "d1", kept.ETag); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("with an old ETag: %v", err)
	}
	if _, there := h.hub(0).device("former"); !there {
		t.Error("a deletion that was refused has removed something")
	}
	read, err := h.Registrations().Get(ctx, "d1")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Registrations().Delete(ctx, "d1", read.ETag); err != nil {
		t.Errorf("with the ETag that was read: %v", err)
	}
	if _, there := h.hub(0).device("former"); there {
		t.Error("what the device left is still there")
	}
}
