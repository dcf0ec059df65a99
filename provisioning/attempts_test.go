package provisioning

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func sequences(attempts []attest.Attempt) []int64 {
	found := []int64{}
	for _, attempt := range attempts {
		found = append(found, attempt.Sequence)
	}
	return found
}

func TestAttemptsByOutcomeAndInPages(t *testing.T) {
	h := newFixture(t, "hub.local")
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
		filter attempts.Filter
		want   []int64
	}{
		{attempts.Filter{}, []int64{8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{attempts.Filter{Max: 4}, []int64{8, 7, 6, 5}},
		{attempts.Filter{Max: 4, Before: 5}, []int64{4, 3, 2, 1}},
		{attempts.Filter{Max: 4, Before: 1}, []int64{0}},
		{attempts.Filter{Before: 100}, []int64{8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{attempts.Filter{Outcome: attest.Assigned}, []int64{6, 3, 0}},
		{attempts.Filter{Outcome: attest.Refused}, []int64{7, 4, 1}},
		{attempts.Filter{Outcome: attest.Failed, Before: 8}, []int64{5, 2}},
		{attempts.Filter{Refused: true}, []int64{8, 7, 5, 4, 2, 1}},
		{attempts.Filter{Refused: true, Outcome: attest.Assigned}, []int64{}},
		{attempts.Filter{RegistrationID: "D1", Outcome: attest.Failed, Max: 2}, []int64{8, 5}},
		{attempts.Filter{RegistrationID: "d1", Before: 6}, []int64{5, 3, 2, 0}},
		{attempts.Filter{RegistrationID: "stranger", Before: 7}, []int64{4, 1}},
	} {
		t.Run(fmt.Sprintf("%+v", c.filter), func(t *testing.T) {
			attempts, err := h.Attempts().Find(context.Background(), c.filter)
			if got := sequences(attempts); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("found %v, error %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestAttemptBySequence(t *testing.T) {
	h := newFixture(t, "hub.local")
	device := valid(t, "d1")
	h.enroll(device.enrollment())
	h.mustRegister(device)
	_, refusal := h.register(valid(t, "stranger"))
	for range 2 {
		listed, err := h.Attempts().Find(context.Background(), attempts.Filter{})
		if err != nil || len(listed) != 2 {
			t.Fatalf("%d attempts, error %v", len(listed), err)
		}
		for _, want := range listed {
			got, err := h.Attempts().Get(context.Background(), want.Sequence)
			if err != nil || got.TrackingID != want.TrackingID || got.Sequence != want.Sequence ||
				len(got.Checks) != len(want.Checks) {
				t.Errorf("attempt %d is %+v, error %v; listed it was %+v", want.Sequence, got, err, want)
			}
		}
		if listed[0].TrackingID != fault.From(refusal).TrackingID {
			t.Errorf("the newest is %+v", listed[0])
		}
		for _, sequence := range []int64{-1, 2, 1 << 62} {
			if got, err := h.Attempts().Get(context.Background(), sequence); !errors.Is(err, fault.NotFound) {
				t.Errorf("attempt %d is %+v, error %v", sequence, got, err)
			}
		}
		h.reopen()
	}
}

// What a group's device is refused after it was assigned is among its attempts, though no
// group was found for it: whoever asks for the device's attempts sees why it fails now. What
// strangers try is kept in no index, as before.
func TestAttemptsOfAGroupsDeviceThatIsRefusedLater(t *testing.T) {
	root := certify(t, "root", nil, true)
	intermediate := certify(t, "intermediate", root, true)
	leaf := certify(t, "pump-1", intermediate, false)
	certificate := func(chain ...*issued) func(*fixture) credential.Evidence {
		return func(*fixture) credential.Evidence { return evidenceOf(chain...) }
	}
	group := enroll.Group{EnrollmentGroupID: "g", Settings: enroll.Settings{Attestation: keys()}}
	token := func(key string) func(*fixture) credential.Evidence {
		return func(h *fixture) credential.Evidence {
			return credential.Evidence{Token: h.token("pump-1", key), Protocol: "mqtt", RemoteAddr: "127.0.0.1:1"}
		}
	}
	for _, c := range []struct {
		name        string
		group       enroll.Group
		good, wrong func(*fixture) credential.Evidence
	}{
		{"without its intermediate", signedGroup("g", &enroll.X509Certificate{Certificate: root.pem}, nil),
			certificate(leaf, intermediate), certificate(leaf)},
		{"another certificate", signedGroup("g", &enroll.X509Certificate{Certificate: root.pem}, nil),
			certificate(leaf, intermediate), certificate(certify(t, "pump-1", nil, false))},
		{"a wrong key", group, token(attest.DeriveKey(group.Attestation.SymmetricKey.PrimaryKey, "pump-1")),
			token(credential.NewKey(32))},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, ctx := newFixture(t, "hub.local"), context.Background()
			if _, err := h.Groups().Put(ctx, c.group, ""); err != nil {
				t.Fatal(err)
			}
			register := func(id string, evidence credential.Evidence) error {
				_, err := h.OpenSession(scope, id, evidence).Register(ctx, nil)
				return err
			}
			if err := register("pump-1", c.good(h)); err != nil {
				t.Fatal(err)
			}
			refusal := fault.From(register("pump-1", c.wrong(h)))
			if refusal.Code != fault.UnauthorizedAccess {
				t.Fatalf("the device is told %v", refusal)
			}
			for _, when := range []string{"at once", "after a restart"} {
				found, err := h.Attempts().Find(ctx, attempts.Filter{RegistrationID: "pump-1"})
				if err != nil || len(found) != 2 || found[0].TrackingID != refusal.TrackingID || !found[0].Enrolled ||
					found[1].Outcome != attest.Assigned {
					t.Errorf("%s the attempts are %+v, error %v", when, found, err)
				}
				h.reopen()
			}
			if err := register("stranger", valid(t, "stranger").evidence); !errors.Is(err, fault.UnauthorizedAccess) {
				t.Fatal(err)
			}
			if stranger := h.lastAttempt("stranger"); stranger.Enrolled {
				t.Errorf("a stranger's attempt is %+v", stranger)
			}
		})
	}
}

// A search that is repeated finds what a new one finds, whatever came in between.
func TestAttemptSearchFindsWhatANewOneFinds(t *testing.T) {
	h := newFixture(t, "hub.local")
	filters := []attempts.Filter{{}, {Max: 3}, {Refused: true}, {Outcome: attest.Failed, Max: 2}, {Before: 40},
		{Before: 40, Outcome: attest.Refused},
		{RegistrationID: "d1"}, {RegistrationID: "D2", Outcome: attest.Refused}, {RegistrationID: "D2", Max: 1},
		{RegistrationID: "stranger"}, {RegistrationID: "later", Max: 4}}
	searches := make([]*attempts.Search, len(filters))
	for i, filter := range filters {
		searches[i] = h.Attempts().Search(filter)
	}
	random := rand.New(rand.NewPCG(1, 2))
	outcomes := []attest.Outcome{attest.Assigned, attest.Refused, attest.Failed}
	for round := range 60 {
		for range random.IntN(8) {
			id := []string{"d1", "d2", "stranger", "later"}[random.IntN(4)]
			h.attempts.Record(attest.Attempt{Time: h.clock.Now(), RegistrationID: id, Outcome: outcomes[random.IntN(3)],
				Enrolled: id != "stranger" && (id != "later" || round > 30)})
		}
		for i, filter := range filters {
			want, err := h.Attempts().Find(context.Background(), filter)
			if err != nil {
				t.Fatal(err)
			}
			got, err := searches[i].Look(context.Background())
			if err != nil || !slices.Equal(sequences(got), sequences(want)) {
				t.Fatalf("round %d, %+v: found %v, error %v; a new search finds %v", round, filter, sequences(got), err,
					sequences(want))
			}
		}
	}
}

func TestOutcomesOverTime(t *testing.T) {
	h := newFixture(t, "hub.local")
	device := valid(t, "d1")
	h.enroll(device.enrollment())
	h.clock.Set(noon.Add(4 * time.Minute))
	h.mustRegister(device)
	h.mustRegister(device)
	h.clock.Set(noon.Add(6 * time.Minute))
	if _, err := h.register(valid(t, "stranger")); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Fatal(err)
	}
	h.hub(0).refuse = fault.New(fault.BadRequest, "The hub is full")
	h.clock.Set(noon.Add(time.Hour))
	if operation, err := h.register(device); err != nil || operation.Status != StatusFailed {
		t.Fatalf("registering answers %+v, error %v", operation, err)
	}
	want := []attempts.Count{
		{Time: noon, Assigned: 2},
		{Time: noon.Add(5 * time.Minute), Refused: 1},
		{Time: noon.Add(time.Hour), Failed: 1},
	}
	check := func(when string) {
		t.Helper()
		for skipped, since := range []time.Time{noon.Add(2 * time.Minute), noon.Add(5 * time.Minute),
			noon.Add(10 * time.Minute)} {
			if got, err := h.Attempts().Outcomes(context.Background(), since); err != nil ||
				!slices.Equal(got, want[skipped:]) {
				t.Errorf("%s, since %s: %v, error %v; want %v", when, since, got, err, want[skipped:])
			}
		}
	}
	check("at once")
	h.reopen()
	check("after a restart")

	// What comes later adds to what is stored of the same five minutes.
	h.hub(0).refuse = nil
	h.mustRegister(device)
	want[2].Assigned++
	check("after one more")
}
