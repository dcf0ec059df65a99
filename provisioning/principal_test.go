package provisioning

import (
	"context"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// meddledHub is a hub that has something happen, once, when a device has been judged
// and is about to be admitted.
type meddledHub struct {
	*memoryHub
	meddle func()
}

func (m *meddledHub) EnsureDevice(ctx context.Context, a linkedhub.Admission) (generation string, err error) {
	m.happen()
	return m.memoryHub.EnsureDevice(ctx, a)
}

func (m *meddledHub) happen() {
	if meddle := m.meddle; meddle != nil {
		m.meddle = nil
		meddle()
	}
}

// committingMeddledHub is one whose devices are committed with their registration.
type committingMeddledHub struct {
	*meddledHub
	t       *testing.T
	fixture *fixture
}

func (m committingMeddledHub) PrepareDevice(_ context.Context,
	a linkedhub.Admission) (linkedhub.PreparedDevice, error) {
	m.happen()
	change := store.Table[string]{Collection: "test/devices"}.Put(a.DeviceID, store.Always, a.DeviceID)
	return linkedhub.PreparedDevice{Changes: []store.Change{change}, Committed: func(ctx context.Context) {
		documents, err := m.fixture.config.Documents.List(ctx, "test/devices", "", "", 10)
		if err != nil {
			m.t.Error(err)
		}
		for _, document := range documents {
			m.devices[document.Key] = linkedhub.Admission{}
		}
	}}, nil
}

// What happens to an enrollment while its device registers counts: a device is
// assigned only by an enrollment that is there, enabled, and the one that the device
// was judged by.
func TestEnrollmentsThatChangeWhileADeviceRegisters(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name    string
		group   bool
		happens func(h *fixture) error
		comesIn bool
	}{
		{"deleted", false, func(h *fixture) error { return h.Enrollments().Delete(ctx, "d", "") }, false},
		{"disabled", false, func(h *fixture) error {
			return h.change("d",
				func(e *enroll.Enrollment) { e.ProvisioningStatus = enroll.Disabled })
		}, false},
		{"another credential", false, func(h *fixture) error {
			return h.change("d",
				func(e *enroll.Enrollment) { e.Attestation = keys() })
		}, false},
		{"deleted and made anew with another credential", false, func(h *fixture) error {
			if err := h.Enrollments().Delete(ctx, "d", ""); err != nil {
				return err
			}
			_, err := h.Enrollments().Put(ctx,
				enroll.Enrollment{RegistrationID: "d", Settings: enroll.Settings{Attestation: keys()}}, "")
			return err
		}, false},
		{"another twin", false, func(h *fixture) error {
			return h.change("d",
				func(e *enroll.Enrollment) { e.InitialTwin = &linkedhub.InitialTwin{Tags: []byte(`{"a":1}`)} })
		}, true},
		{"group deleted", true, func(h *fixture) error { return h.Groups().Delete(ctx, "g", "") }, false},
		{"group disabled", true, func(h *fixture) error {
			return h.changeGroup(func(g *enroll.Group) { g.ProvisioningStatus = enroll.Disabled })
		}, false},
		{"another key of the group", true,
			func(h *fixture) error { return h.changeGroup(func(g *enroll.Group) { g.Attestation = keys() }) }, false},
		{"an enrollment of its own", true, func(h *fixture) error {
			_, err := h.Enrollments().Put(ctx,
				enroll.Enrollment{RegistrationID: "d",
					Settings: enroll.Settings{Attestation: keys(), ProvisioningStatus: enroll.Disabled}},
				"")
			return err
		}, false},
		{"another twin of the group", true, func(h *fixture) error {
			return h.changeGroup(
				func(g *enroll.Group) { g.InitialTwin = &linkedhub.InitialTwin{Tags: []byte(`{"a":1}`)} })
		}, true},
	} {
		for _, inOneCommit := range []bool{true, false} {
			name := c.name + ", in steps"
			if inOneCommit {
				name = c.name + ", in one commit"
			}
			t.Run(name, func(t *testing.T) {
				h := newFixture(t)
				hub := &meddledHub{memoryHub: &memoryHub{host: "hub.local", devices: map[string]linkedhub.Admission{}}}
				h.hubs = []linkedhub.Hub{hub}
				if inOneCommit {
					h.hubs = []linkedhub.Hub{committingMeddledHub{hub, t, h}}
				}
				h.reopen()
				mechanism := keys()
				key := mechanism.SymmetricKey.PrimaryKey
				var err error
				if c.group {
					_, err = h.Groups().Put(ctx,
						enroll.Group{EnrollmentGroupID: "g", Settings: enroll.Settings{Attestation: mechanism}}, "")
					key = attest.DeriveKey(key, "d")
				} else {
					_, err = h.Enrollments().Put(ctx,
						enroll.Enrollment{RegistrationID: "d", Settings: enroll.Settings{Attestation: mechanism}}, "")
				}
				if err != nil {
					t.Fatal(err)
				}
				token, err := credential.NewToken(scope+"/registrations/d", "registration", key, noon.Add(time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				hub.meddle = func() {
					if err := c.happens(h); err != nil {
						t.Error(err)
					}
				}
				operation, err := h.OpenSession(scope, "d", credential.Evidence{Token: token,
					RemoteAddr: "127.0.0.1:4711"}).Register(ctx, nil)
				if hub.meddle != nil {
					t.Fatal("nothing happened")
				}
				registration, _ := h.Registrations().Get(ctx, "d")
				_, there := hub.device("d")
				assigned := err == nil && operation.Status == StatusAssigned
				if assigned != c.comesIn || there != c.comesIn || (registration.Status == StatusAssigned) != c.comesIn {
					t.Errorf("registering answers %+v, %v; the record says %q, and that the device is in the hub is %t",
						operation, err, registration.Status, there)
				}
				if attempt := h.lastAttempt("d"); (attempt.Outcome == attest.Assigned) != c.comesIn {
					t.Errorf("the attempt is %+v", attempt)
				}
				if intents, err := h.intents.List(ctx, "", "", 1); err != nil || len(intents) != 0 {
					t.Errorf("%v is still to be done, error %v", intents, err)
				}
			})
		}
	}
}

// keys are an attestation with keys that nobody had before.
func keys() enroll.AttestationMechanism {
	return enroll.AttestationMechanism{Type: enroll.SymmetricKey,
		SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: credential.NewKey(64),
			SecondaryKey: credential.NewKey(64)}}
}

// change rewrites an enrollment as it is stored, with its keys.
func (h *fixture) change(id string, change func(*enroll.Enrollment)) error {
	enrollment, err := h.enrollments.Load(context.Background(), id)
	if err == nil {
		change(&enrollment)
		_, err = h.Enrollments().Put(context.Background(), enrollment, enrollment.ETag)
	}
	return err
}

func (h *fixture) changeGroup(change func(*enroll.Group)) error {
	group, err := h.groups.Load(context.Background(), "g")
	if err == nil {
		change(&group.Group)
		_, err = h.Groups().Put(context.Background(), group.Group, group.ETag)
	}
	return err
}
