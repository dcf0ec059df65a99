package provisioning

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// refusingHub refuses to tell of the devices whose ids begin with "bad".
type refusingHub struct{ *memoryHub }

func (r refusingHub) Identity(ctx context.Context, a linkedhub.Admission) (linkedhub.Identity, error) {
	if strings.HasPrefix(a.DeviceID, "bad") {
		return linkedhub.Identity{}, fault.New(fault.ArgumentInvalid, "I don't like this one")
	}
	return r.memoryHub.Identity(ctx, a)
}

// elsewhere links a hub as one that is reached by a connection string.
func (h *fixture) elsewhere(host string) *memoryHub {
	h.t.Helper()
	hub := &memoryHub{host: host, devices: map[string]linkedhub.Admission{}}
	h.reach = func(linkedhub.Link) (linkedhub.Hub, error) { return refusingHub{hub}, nil }
	if _, err := h.Links().Put(h.t.Context(),
		linkedhub.Link{HostName: host, ConnectionString: credential.ConnectionString{HostName: host,
			SharedAccessKeyName: "iothubowner", SharedAccessKey: credential.NewKey(32)}.String()}, ""); err != nil {
		h.t.Fatal(err)
	}
	return hub
}

// TestRevocationElsewhere revokes an authority while devices with its certificates are in
// a hub elsewhere: all of them lose what they came in with, also one whose group was
// deleted since, and though the hub refuses to be told of some.
func TestRevocationElsewhere(t *testing.T) {
	h := newFixture(t)
	issuer, ctx := h.issues(), t.Context()
	hub := h.elsewhere("elsewhere.example")
	attested := keys()
	for _, group := range []string{"kept", "deleted"} {
		if _, err := h.Groups().Put(ctx, enroll.Group{EnrollmentGroupID: group, Settings: enroll.Settings{
			Attestation: enroll.AttestationMechanism{Type: enroll.SymmetricKey,
				SymmetricKey: &enroll.SymmetricKeyAttestation{
					PrimaryKey:   attest.DeriveKey(attested.SymmetricKey.PrimaryKey, group),
					SecondaryKey: attest.DeriveKey(attested.SymmetricKey.SecondaryKey, group)}},
			CredentialPolicyName: issuance.DefaultPolicy}}, ""); err != nil {
			t.Fatal(err)
		}
		id := "z-" + group // after those of the records below
		if err := h.registerForCertificate(id,
			attest.DeriveKey(attest.DeriveKey(attested.SymmetricKey.PrimaryKey, group), id)); err != nil {
			t.Fatal(err)
		}
		if there, ok := hub.device(id); !ok || there.PrimaryThumbprint == "" ||
			there.PrimaryThumbprint == noThumbprint {
			t.Fatalf("the hub has %+v", there)
		}
	}
	if err := h.Groups().Delete(ctx, "deleted", ""); err != nil {
		t.Fatal(err)
	}
	// As many as are read at once, of which the hub refuses some.
	for first := 0; first < 1000; first += 250 {
		var changes []store.Change
		for i := range 250 {
			id := fmt.Sprintf("bad-%03d", first+i)
			changes = append(changes,
				h.registrations.Put(id, store.Always, storedRegistration{Issued: []string{noThumbprint},
					Registration: Registration{RegistrationID: id, DeviceID: id, AssignedHub: hub.host,
						Status: StatusAssigned}}))
		}
		if _, err := h.config.Documents.Commit(ctx, changes...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := issuer.RevokeAuthority(ctx, issuance.DefaultAuthority, ""); err != nil {
		t.Fatal(err)
	}
	err := h.Revoked(ctx, issuance.Revocation{Authority: issuance.DefaultAuthority})
	if err == nil || !strings.Contains(err.Error(), "1000 devices may still come in at hubs elsewhere") {
		t.Errorf("the error is %.300v", err)
	}
	for _, group := range []string{"kept", "deleted"} {
		if there, _ := hub.device("z-" + group); there.PrimaryThumbprint != noThumbprint || there.PrimaryKey != "" ||
			there.SecondaryThumbprint != "" {
			t.Errorf("the device of the group that is %s still has %+v", group, there)
		}
	}
}

// TestHubsThatDoNotAnswer: of a hub that did not, nothing more is asked for the other
// devices there, and those at other hubs go on.
func TestHubsThatDoNotAnswer(t *testing.T) {
	dead, alive := &linkedhub.Linked{Hub: &memoryHub{host: "dead"}}, &linkedhub.Linked{Hub: &memoryHub{host: "alive"}}
	w := withdrawals{silent: map[string]bool{}}
	asked := map[string]int{}
	var mutex sync.Mutex
	ask := func(hub *linkedhub.Linked, err error) {
		w.begin(hub, "d", func() error {
			mutex.Lock()
			defer mutex.Unlock()
			asked[hub.Host()]++
			return err
		})
	}
	for range 10 {
		ask(dead, fmt.Errorf("%w: %w", errSilent, errors.New("connection refused")))
		ask(alive, fault.New(fault.ArgumentInvalid, "No"))
	}
	if asked["dead"] != 1 || asked["alive"] != 10 {
		t.Errorf("asked %v", asked)
	}
	if w.failed == nil || !strings.Contains(w.failed.Error(), "20 devices") ||
		!strings.Contains(w.failed.Error(), "d at dead") {
		t.Errorf("the error is %v", w.failed)
	}
}
