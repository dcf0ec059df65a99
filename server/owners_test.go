package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// fleet is a server with groups with symmetric keys, whose key is made of the
// group's name, and the hub that its devices go to.
type fleet struct {
	*fixture
	t    *testing.T
	hub  *backend.Hub
	host string // of that hub
}

// groupKey is a group's key.
func groupKey(group string) string {
	return attest.DeriveKey("YW55IGtleSBvZiB0aGUgdGVzdHMsIDMyIGJ5dGVzIQ==", group)
}

// group makes a group, or changes it.
func (f *fleet) group(id string, change ...func(*enroll.Group)) {
	f.t.Helper()
	group := enroll.Group{EnrollmentGroupID: id,
		Settings: enroll.Settings{HubHostName: f.host, Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
			SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: groupKey(id),
				SecondaryKey: groupKey(id + " secondary")}}}}
	group.AllocationPolicy = allocation.Static
	ifMatch := ""
	if stored, err := f.provisioning.Group(f.t.Context(), id); err == nil {
		ifMatch = stored.ETag
	}
	for _, change := range change {
		change(&group)
	}
	if _, err := f.provisioning.PutGroup(f.t.Context(), group, ifMatch); err != nil {
		f.t.Fatal(err)
	}
}

func disabledGroup(g *enroll.Group) { g.ProvisioningStatus = enroll.Disabled }

func replacing(may bool) func(*enroll.Group) {
	return func(g *enroll.Group) { g.ReplaceExistingDevices = &may }
}

// register lets a device with this key register over HTTPS, and returns how that
// ended.
func (f *fleet) register(id, key string) reply {
	f.t.Helper()
	token, err := credential.NewToken(f.Info().IDScope+"/registrations/"+id, "registration", key,
		time.Now().Add(time.Hour))
	if err != nil {
		f.t.Fatal(err)
	}
	path := "/" + f.Info().IDScope + "/registrations/" + id
	got := f.send(nil, token, "PUT", path+"/register", fmt.Sprintf(`{"registrationId": %q}`, id))
	for deadline := time.Now().Add(30 * time.Second); got.status == http.StatusAccepted; {
		if time.Now().After(deadline) {
			f.t.Fatalf("the registration has no end: %+v", got)
		}
		got = f.send(nil, token, "GET", fmt.Sprintf("%s/operations/%v", path, got.body["operationId"]), "")
	}
	return got
}

// member lets a device of a group register.
func (f *fleet) member(group, id string) reply {
	return f.register(id, attest.DeriveKey(groupKey(group), id))
}

// assigned checks that a registration was assigned.
func (f *fleet) assigned(got reply) {
	f.t.Helper()
	if got.status != 200 || got.body["status"] != "assigned" {
		f.t.Errorf("it is answered %+v, want assigned", got)
	}
}

// taken checks that a registration was refused because the device id is another's,
// and that its attempt says whose, and what to do.
func (f *fleet) taken(got reply, id, whose string) {
	f.t.Helper()
	state, _ := got.body["registrationState"].(map[string]any)
	if got.body["errorCode"] != 409001.0 && (got.body["status"] != "failed" || state["errorCode"] != 409001.0) {
		f.t.Errorf("it is answered %+v, want 409001", got)
		return
	}
	if text := fmt.Sprint(got.body); strings.Contains(text, "group") || strings.Contains(text, "by hand") {
		f.t.Errorf("the device is told whose the id is: %s", text)
	}
	attempts, err := f.Server.provisioning.Attempts().Find(f.t.Context(), attempts.Filter{RegistrationID: id, Max: 1})
	if err != nil || len(attempts) == 0 {
		f.t.Fatalf("the attempts: %v, %v", attempts, err)
	}
	check, _ := attempts[0].Checks.Failed()
	if check.Name != "device identity" || !strings.Contains(check.Saw, whose) ||
		!strings.Contains(check.Advice, "--replace-existing-devices") {
		f.t.Errorf("the attempt says %+v, want %q", check, whose)
	}
}

// has checks with which key a device proves itself to its hub.
func (f *fleet) has(id, key string) {
	f.t.Helper()
	device, err := f.hub.Device(f.t.Context(), id)
	if err != nil {
		f.t.Error(err)
	} else if device.Authentication.SymmetricKey.PrimaryKey == nil ||
		*device.Authentication.SymmetricKey.PrimaryKey != key {
		f.t.Errorf("%s has another key in the hub than it should", id)
	}
}

func (f *fleet) hasOf(group, id string) {
	f.t.Helper()
	f.has(id, attest.DeriveKey(groupKey(group), id))
}

// byHand makes a device in the hub.
func (f *fleet) byHand(id string) (key string) {
	f.t.Helper()
	key = credential.NewKey(32)
	if _, err := f.hub.CreateDevice(f.t.Context(), identity.Device{DeviceID: id, Status: "enabled",
		Authentication: &identity.Authentication{Type: identity.SAS,
			SymmetricKey: identity.KeyPair{PrimaryKey: &key, SecondaryKey: &key}}}); err != nil {
		f.t.Fatal(err)
	}
	return key
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// ownerCases are who may take a device id from whom, each with groups and device ids
// of its own.
var ownerCases = map[string]func(f *fleet, a, b, id string){
	"of another group": func(f *fleet, a, b, id string) {
		f.assigned(f.member(a, id))
		f.taken(f.member(b, id), id, "the group "+a)
		f.hasOf(a, id)
		f.assigned(f.member(a, id))
	},
	"of another group, in another case": func(f *fleet, a, b, id string) {
		f.assigned(f.member(a, id))
		f.taken(f.member(b, strings.ToUpper(id)), id, "the group "+a)
		f.hasOf(a, id)
	},
	"of another group, whose record was deleted": func(f *fleet, a, b, id string) {
		f.assigned(f.member(a, id))
		f.must(f.provisioning.DeleteRegistration(f.t.Context(), id, ""))
		f.taken(f.member(b, id), id, "the group "+a)
		f.hasOf(a, id)
		f.assigned(f.member(a, id))
	},
	"made by hand": func(f *fleet, _, b, id string) {
		key := f.byHand(id)
		f.taken(f.member(b, id), id, "made by hand")
		f.has(id, key)
	},
	"made by hand since": func(f *fleet, a, _, id string) {
		f.assigned(f.member(a, id))
		f.must(f.hub.DeleteDevice(f.t.Context(), id, "*"))
		key := f.byHand(id)
		f.taken(f.member(a, id), id, "made by hand")
		f.has(id, key)
	},
	"made by hand with the device's own key": func(f *fleet, a, _, id string) {
		key, other := attest.DeriveKey(groupKey(a), id), attest.DeriveKey(groupKey(a+" secondary"), id)
		_, err := f.hub.CreateDevice(f.t.Context(), identity.Device{DeviceID: id, Status: "enabled",
			Authentication: &identity.Authentication{Type: identity.SAS,
				SymmetricKey: identity.KeyPair{PrimaryKey: &key, SecondaryKey: &other}}})
		f.must(err)
		f.assigned(f.member(a, id))
	},
	"deleted in the hub": func(f *fleet, a, b, id string) {
		f.assigned(f.member(a, id))
		f.must(f.hub.DeleteDevice(f.t.Context(), id, "*"))
		f.assigned(f.member(b, id))
		f.hasOf(b, id)
		f.taken(f.member(a, id), id, "the group "+b)
	},
	"of a group that is disabled": func(f *fleet, a, b, id string) {
		f.assigned(f.member(a, id))
		f.group(a, disabledGroup)
		f.assigned(f.member(b, id))
		f.hasOf(b, id)
	},
	"of a group that was deleted": func(f *fleet, a, b, id string) {
		f.assigned(f.member(a, id))
		f.must(f.provisioning.DeleteGroup(f.t.Context(), a, ""))
		f.assigned(f.member(b, id))
		f.hasOf(b, id)
	},
	"of a group that was made anew": func(f *fleet, a, _, id string) {
		f.assigned(f.member(a, id))
		f.must(f.provisioning.DeleteGroup(f.t.Context(), a, ""))
		f.group(a, func(g *enroll.Group) { g.Attestation.SymmetricKey.PrimaryKey = groupKey("new") })
		f.assigned(f.member("new", id))
		f.hasOf("new", id)
	},
	"of the device itself, with another key": func(f *fleet, a, _, id string) {
		f.assigned(f.member(a, id))
		f.must(f.provisioning.DeleteRegistration(f.t.Context(), id, ""))
		f.group(a, func(g *enroll.Group) { g.Attestation.SymmetricKey.PrimaryKey = groupKey("rolled") })
		f.assigned(f.member("rolled", id))
		f.hasOf("rolled", id)
	},
	"by a group that may, until it may not": func(f *fleet, a, b, id string) {
		f.assigned(f.member(a, id))
		key := f.byHand(id + "-hand")
		f.group(b, replacing(true))
		f.group(b) // as a client writes it that does not know the setting
		f.assigned(f.member(b, id))
		f.hasOf(b, id)
		f.group(b, replacing(false))
		f.taken(f.member(b, id+"-hand"), id+"-hand", "made by hand")
		f.has(id+"-hand", key)
	},
	"by an individual enrollment": func(f *fleet, a, _, id string) {
		f.assigned(f.member(a, id))
		f.byHand(id + "-hand")
		for _, id := range []string{id, id + "-hand"} {
			own := credential.NewKey(32)
			_, err := f.provisioning.PutEnrollment(f.t.Context(),
				enroll.Enrollment{RegistrationID: id,
					Settings: enroll.Settings{HubHostName: f.host, AllocationPolicy: allocation.Static,
						Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
							SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: own}}}}, "")
			f.must(err)
			f.assigned(f.register(id, own))
			f.has(id, own)
		}
	},
	"of an individual enrollment that names the device id": func(f *fleet, a, _, id string) {
		own, enrollment := credential.NewKey(32), id+"-serial"
		_, err := f.provisioning.PutEnrollment(f.t.Context(),
			enroll.Enrollment{RegistrationID: enrollment, DeviceID: id,
				Settings: enroll.Settings{HubHostName: f.host, AllocationPolicy: allocation.Static,
					Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
						SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: own}}}}, "")
		f.must(err)
		f.assigned(f.register(enrollment, own))
		f.taken(f.member(a, id), id, "the individual enrollment "+enrollment)
		f.has(id, own)
		f.must(f.provisioning.DeleteEnrollment(f.t.Context(), enrollment, ""))
		f.assigned(f.member(a, id))
		f.hasOf(a, id)
	},
	"made by hand where the device was before": func(f *fleet, a, _, id string) {
		f.assigned(f.member(a, id))
		f.must(f.hub.DeleteDevice(f.t.Context(), id, "*"))
		key := f.byHand(id)
		another := f.Info().Hubs[len(f.Info().Hubs)-1].Host
		f.group(a, func(g *enroll.Group) { g.HubHostName = another })
		f.assigned(f.member(a, id))
		f.has(id, key)
	},
	"two groups at once": func(f *fleet, a, b, id string) {
		for i := range 10 {
			id := fmt.Sprint(id, "-", i)
			var answers [2]reply
			var both sync.WaitGroup
			for which, group := range []string{a, b} {
				both.Go(func() { answers[which] = f.member(group, id) })
			}
			both.Wait()
			winner, loser := a, answers[1]
			if answers[0].body["status"] != "assigned" {
				winner, loser = b, answers[0]
			}
			f.taken(loser, id, "the group "+winner)
			f.hasOf(winner, id)
		}
	},
}

// TestDeviceIDsOfOthers registers devices of groups whose id is another's, in a hub
// of the same process.
func TestDeviceIDsOfOthers(t *testing.T) {
	h := newFixture(t)
	if _, err := h.CreateHub(context.Background(), "another", ""); err != nil {
		t.Fatal(err)
	}
	eachOwnerCase(t, h, h.hub, "127.0.0.1")
}

// TestDeviceIDsOfOthersElsewhere does the same with a hub that is linked by its
// service API.
func TestDeviceIDsOfOthersElsewhere(t *testing.T) {
	h, elsewhere := newFixture(t), newElsewhere(t, "127.0.0.7")
	h.link(elsewhere)
	eachOwnerCase(t, h, elsewhere.hub, "127.0.0.7")
}

func eachOwnerCase(t *testing.T, h *fixture, iot *backend.Hub, host string) {
	n := 0
	for name, run := range ownerCases {
		n++
		t.Run(name, func(t *testing.T) {
			f := &fleet{h, t, iot, host}
			a, b := fmt.Sprintf("a%02d", n), fmt.Sprintf("b%02d", n)
			f.group(a)
			f.group(b)
			run(f, a, b, fmt.Sprintf("meter%02d", n))
		})
	}
}

// newElsewhere is another server, whose hub has this host name.
func newElsewhere(t *testing.T, host string) *fixture {
	t.Helper()
	h := &fixture{t: t, config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: host, Listen: "127.0.0.1"}}
	h.start()
	t.Cleanup(h.stop)
	return h
}

// link links the hub of another server.
func (h *fixture) link(elsewhere *fixture) {
	h.t.Helper()
	authority, err := os.ReadFile(elsewhere.Info().CAFile)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.Server.provisioning.Links().Put(context.Background(),
		linkedhub.Link{HostName: elsewhere.Info().Hubs[0].Host, CACertificates: string(authority),
			ConnectionString: elsewhere.Info().Hubs[0].ConnectionString,
			Address:          fmt.Sprintf("127.0.0.1:%d", elsewhere.Info().Ports.HTTPS)}, ""); err != nil {
		h.t.Fatal(err)
	}
}

// TestDeviceIDsAsInAzure lets whoever registers last have the device id.
func TestDeviceIDsAsInAzure(t *testing.T) {
	h := &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
			Replace: true}}
	h.start()
	t.Cleanup(h.stop)
	f := &fleet{h, t, h.hub, "127.0.0.1"}
	f.group("a")
	f.group("b")
	f.byHand("meter")
	for _, group := range []string{"a", "b", "a"} {
		f.assigned(f.member(group, "meter"))
		f.hasOf(group, "meter")
	}
}

// TestFailureKeepsWhatWasThere: when an assignment goes wrong, what it leaves behind
// is removed, and not the device that was there before.
func TestFailureKeepsWhatWasThere(t *testing.T) {
	h, elsewhere := newFixture(t), newElsewhere(t, "127.0.0.7")
	h.link(elsewhere)
	f := &fleet{h, t, elsewhere.hub, "127.0.0.7"}
	key := f.byHand("meter")
	f.group("a", replacing(true), func(g *enroll.Group) { g.ParentDeviceID = "nobody" })
	if got := f.member("a", "meter"); got.body["status"] != "failed" {
		t.Errorf("with a parent that is not there: %+v", got)
	}
	f.has("meter", key)
	if _, err := f.hub.Device(t.Context(), "nobody"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("the parent: %v", err)
	}
}

// TestRegistrationsOfOthers lets a device of one group look for the registration of
// another's: it learns neither that there is one nor whose it is.
func TestRegistrationsOfOthers(t *testing.T) {
	h := newFixture(t)
	f := &fleet{h, t, h.hub, "127.0.0.1"}
	f.group("a")
	f.group("b")
	registered := f.member("a", "meter")
	f.assigned(registered)
	ask := func(group, method, path string) reply {
		t.Helper()
		key := attest.DeriveKey(groupKey(group), "meter")
		token, err := credential.NewToken(h.Info().IDScope+"/registrations/meter", "registration", key,
			time.Now().Add(time.Hour))
		f.must(err)
		return f.send(nil, token, method, "/"+h.Info().IDScope+"/registrations/meter"+path, "")
	}
	operation := fmt.Sprintf("/operations/%v", registered.body["operationId"])
	for _, group := range []string{"b", "a"} {
		status := map[string]int{"a": 200, "b": 404}[group]
		if got := ask(group, "POST", ""); got.status != status {
			t.Errorf("a device of %s that looks up its registration is answered %+v, want %d", group, got, status)
		}
		if got := ask(group, "GET", operation); got.status != status {
			t.Errorf("a device of %s that asks for the operation is answered %+v, want %d", group, got, status)
		}
	}
	f.group("a", disabledGroup)
	if got := ask("b", "POST", ""); got.status != 200 {
		t.Errorf("where the other group is disabled, the device is answered %+v", got)
	}
}
