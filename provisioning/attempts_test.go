package provisioning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/segment"
)

func sequences(attempts []attest.Attempt) []int64 {
	found := []int64{}
	for _, attempt := range attempts {
		found = append(found, attempt.Sequence)
	}
	return found
}

func TestAttemptsByOutcomeAndInPages(t *testing.T) {
	h := newHouse(t, "hub.local")
	device, stranger := valid(t, "d1"), valid(t, "stranger")
	h.enroll(device.enrollment())
	for range 3 { // 0 assigned, 1 refused, 2 failed, 3 assigned …
		h.mustRegister(device)
		if _, err := h.register(stranger); !errors.Is(err, fault.UnauthorizedAccess) {
			t.Fatal(err)
		}
		h.hub(0).refuse = fault.New(fault.BadRequest, "The hub is full")
		if operation, err := h.register(device); err != nil || operation.Status != StatusFailed {
			t.Fatalf("registering answers %+v, error %v", operation, err)
		}
		h.hub(0).refuse = nil
	}
	for _, c := range []struct {
		filter AttemptFilter
		want   []int64
	}{
		{AttemptFilter{}, []int64{8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{AttemptFilter{Max: 4}, []int64{8, 7, 6, 5}},
		{AttemptFilter{Max: 4, Before: 5}, []int64{4, 3, 2, 1}},
		{AttemptFilter{Max: 4, Before: 1}, []int64{0}},
		{AttemptFilter{Before: 100}, []int64{8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{AttemptFilter{Outcome: attest.Assigned}, []int64{6, 3, 0}},
		{AttemptFilter{Outcome: attest.Refused}, []int64{7, 4, 1}},
		{AttemptFilter{Outcome: attest.Failed, Before: 8}, []int64{5, 2}},
		{AttemptFilter{Refused: true}, []int64{8, 7, 5, 4, 2, 1}},
		{AttemptFilter{Refused: true, Outcome: attest.Assigned}, []int64{}},
		{AttemptFilter{RegistrationID: "D1", Outcome: attest.Failed, Max: 2}, []int64{8, 5}},
		{AttemptFilter{RegistrationID: "d1", Before: 6}, []int64{5, 3, 2, 0}},
		{AttemptFilter{RegistrationID: "stranger", Before: 7}, []int64{4, 1}},
	} {
		t.Run(fmt.Sprintf("%+v", c.filter), func(t *testing.T) {
			attempts, err := h.Attempts(context.Background(), c.filter)
			if got := sequences(attempts); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("found %v, error %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestAttemptBySequence(t *testing.T) {
	h := newHouse(t, "hub.local")
	device := valid(t, "d1")
	h.enroll(device.enrollment())
	h.mustRegister(device)
	_, refusal := h.register(valid(t, "stranger"))
	for range 2 {
		listed, err := h.Attempts(context.Background(), AttemptFilter{})
		if err != nil || len(listed) != 2 {
			t.Fatalf("%d attempts, error %v", len(listed), err)
		}
		for _, want := range listed {
			got, err := h.Attempt(context.Background(), want.Sequence)
			if err != nil || got.TrackingID != want.TrackingID || got.Sequence != want.Sequence || len(got.Checks) != len(want.Checks) {
				t.Errorf("attempt %d is %+v, error %v; listed it was %+v", want.Sequence, got, err, want)
			}
		}
		if listed[0].TrackingID != fault.From(refusal).TrackingID {
			t.Errorf("the newest is %+v", listed[0])
		}
		for _, sequence := range []int64{-1, 2, 1 << 62} {
			if got, err := h.Attempt(context.Background(), sequence); !errors.Is(err, fault.NotFound) {
				t.Errorf("attempt %d is %+v, error %v", sequence, got, err)
			}
		}
		h.reopen()
	}
}

// Retention takes attempts away from the front. Asking for one must not answer
// with the next that is there.
func TestAttemptThatHasLeftTheLog(t *testing.T) {
	var hours atomic.Int64 // the log asks for the time in its own goroutines
	clock := func() time.Time { return noon.Add(time.Duration(hours.Load()) * time.Hour) }
	logs, err := segment.Open(t.TempDir(), segment.Options{SegmentSize: 4 << 10, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	log, err := logs.Open("attempts", store.LogOptions{Partitions: 1, Retention: store.Retention{Bytes: 8 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	j := newJournal(t)
	j.log = log
	for log.Bounds(0).First == 0 {
		if hours.Add(1) > 10_000 {
			t.Fatal("nothing leaves the log")
		}
		j.append(attest.Attempt{Time: clock(), RegistrationID: "d1", Enrolled: true, Outcome: attest.Refused})
	}
	a, err := openAttempts(context.Background(), Config{Documents: j.documents, Attempts: log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	service := &Service{attempts: a}
	if got, err := service.Attempt(context.Background(), 0); !errors.Is(err, fault.NotFound) {
		t.Errorf("the first attempt is %+v, error %v", got, err)
	}
	first := log.Bounds(0).First
	if got, err := service.Attempt(context.Background(), first); err != nil || got.Sequence != first {
		t.Errorf("attempt %d is %+v, error %v", first, got, err)
	}
	if err := errors.Join(a.close(), logs.Close()); err != nil {
		t.Error(err)
	}
}

// A search that is repeated finds what a new one finds, whatever came in between.
func TestAttemptSearchFindsWhatANewOneFinds(t *testing.T) {
	h := newHouse(t, "hub.local")
	filters := []AttemptFilter{{}, {Max: 3}, {Refused: true}, {Outcome: attest.Failed, Max: 2}, {Before: 40}, {Before: 40, Outcome: attest.Refused},
		{RegistrationID: "d1"}, {RegistrationID: "D2", Outcome: attest.Refused}, {RegistrationID: "D2", Max: 1}, {RegistrationID: "stranger"}, {RegistrationID: "later", Max: 4}}
	searches := make([]*AttemptSearch, len(filters))
	for i, filter := range filters {
		searches[i] = h.SearchAttempts(filter)
	}
	random := rand.New(rand.NewPCG(1, 2))
	outcomes := []attest.Outcome{attest.Assigned, attest.Refused, attest.Failed}
	for round := range 60 {
		for range random.IntN(8) {
			id := []string{"d1", "d2", "stranger", "later"}[random.IntN(4)]
			h.attempts.record(attest.Attempt{Time: h.now, RegistrationID: id, Outcome: outcomes[random.IntN(3)], Enrolled: id != "stranger" && (id != "later" || round > 30)})
		}
		for i, filter := range filters {
			want, err := h.Attempts(context.Background(), filter)
			if err != nil {
				t.Fatal(err)
			}
			got, err := searches[i].Look(context.Background())
			if err != nil || !slices.Equal(sequences(got), sequences(want)) {
				t.Fatalf("round %d, %+v: found %v, error %v; a new search finds %v", round, filter, sequences(got), err, sequences(want))
			}
		}
	}
}
