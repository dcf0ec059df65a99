package server

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// restart starts the server again with this --hub-host, "" for none.
func (h *fixture) restart(hubHost string) {
	h.t.Helper()
	h.stop()
	h.config.HubHost = hubHost
	h.start()
}

// refusesHubHost reports what a start with this --hub-host is refused for, and starts the
// server as it was.
func (h *fixture) refusesHubHost(hubHost string, says ...string) {
	h.t.Helper()
	h.stop()
	config := h.config
	config.HubHost = hubHost
	s, err := Start(h.t.Context(), config)
	var refused *HostError
	if err == nil {
		err = errors.Join(errors.New("it starts"), s.Shutdown(h.t.Context()))
	}
	for _, part := range says {
		if !errors.As(err, &refused) || !strings.Contains(refused.Error()+" "+refused.Advice(), part) {
			h.t.Errorf("a start with --hub-host %s: %v, want a refusal that says %q", hubHost, err, part)
		}
	}
	h.start()
}

func (h *fixture) wantHubHost(want string) {
	h.t.Helper()
	if got := h.Info().Hubs[0].Host; got != want {
		h.t.Errorf("the hub has the host %s, want %s", got, want)
	}
	var local []string
	for _, link := range h.Server.provisioning.Links().List() {
		if link.Local {
			local = append(local, link.HostName)
		}
	}
	if !slices.Equal(local, []string{want}) {
		h.t.Errorf("linked are %q, want %s", local, want)
	}
	hosts, err := linkedhub.LocalHosts(h.t.Context(), h.documents)
	if err != nil || !slices.Equal(hosts, []string{want}) {
		h.t.Errorf("on record are the links of %q, error %v, want %s", hosts, err, want)
	}
}

// forgetHubHost makes the data folder one of a version that did not record the host name.
func (h *fixture) forgetHubHost() {
	h.t.Helper()
	if _, err := h.documents.Commit(h.t.Context(), store.Change{Collection: settingsRecords, Key: hubHostRecord,
		Match: store.Always, Delete: true}); err != nil {
		h.t.Fatal(err)
	}
}

// A hub keeps the host name under which devices were assigned to it.
func TestHubHostOfDevices(t *testing.T) {
	h := newElsewhere(t, "hub.berth.example")
	assign(h, "meter")
	for _, hubHost := range []string{"", "HUB.berth.example", "hub.berth.example"} {
		h.restart(hubHost)
		h.wantHubHost("hub.berth.example")
	}
	refused := []string{"hub.berth.example", "other.berth.example", "the device meter is assigned",
		"--hub-host hub.berth.example, or without"}
	h.refusesHubHost("other.berth.example", refused...)
	h.refusesHubHost("127.0.0.1", refused[0])
	h.forgetHubHost()
	h.refusesHubHost("other.berth.example", refused...)
	h.forgetHubHost()
	h.restart("")
	h.wantHubHost("hub.berth.example")
	if again := assign(h, "gauge"); again == nil {
		t.Error("no device is assigned after that")
	}
}

// A hub keeps the host name by which an enrollment or a group names it.
func TestHubHostOfEnrollments(t *testing.T) {
	h := newElsewhere(t, "hub.berth.example")
	keys := validKeys(t, "bound")
	h.enroll(keys, func(e *enroll.Enrollment) { e.Hubs = []string{"HUB.berth.example"} })
	h.refusesHubHost("other.berth.example", "the enrollment bound names it")
	if err := h.provisioning.DeleteEnrollment(t.Context(), "bound", ""); err != nil {
		t.Fatal(err)
	}
	f := &fleet{h, t, h.hub, "hub.berth.example"}
	f.group("plant")
	h.refusesHubHost("other.berth.example", "the group plant names it")
}

// A hub that nothing refers to may have another host name, and its link goes with it.
func TestHubHostOfNobody(t *testing.T) {
	h := newElsewhere(t, "hub.berth.example")
	keys := assign(h, "meter")
	weight := 7
	if _, err := h.Server.provisioning.Links().Put(t.Context(), linkedhub.Link{HostName: "hub.berth.example",
		AllocationWeight: &weight}, ""); err != nil {
		t.Fatal(err)
	}
	if err := h.Server.provisioning.Registrations().Delete(t.Context(), "meter", ""); err != nil {
		t.Fatal(err)
	}
	h.restart("other.berth.example")
	h.wantHubHost("other.berth.example")
	link, err := h.Server.provisioning.Links().Get("other.berth.example")
	if err != nil || *link.AllocationWeight != weight {
		t.Errorf("its link is %+v, error %v", link, err)
	}
	if _, err := h.documents.Get(t.Context(), "provisioning/owners", "other.berth.example/meter"); err != nil {
		t.Errorf("whose the device is, is not known: %v", err)
	}
	body := `{"registrationId":"meter"}`
	answer := h.provision(keys, h.Info().IDScope, "meter").ask(registerTopic, body)
	if answer.body["status"] != "assigned" {
		t.Errorf("the device that was there is answered %+v", answer)
	}
}

// No two hubs have the same host name.
func TestHubHostOfAnother(t *testing.T) {
	h, elsewhere := newFixture(t), newElsewhere(t, "hub.elsewhere.example")
	h.link(elsewhere)
	if _, err := h.CreateHub(t.Context(), "east", "east.berth.example"); err != nil {
		t.Fatal(err)
	}
	if link, err := h.CreateHub(t.Context(), "west", "HUB.elsewhere.example"); !errors.Is(err, fault.Conflict) ||
		!strings.Contains(err.Error(), "which is elsewhere, is linked") || h.hubs.ByName("west") != nil {
		t.Errorf("a hub with the host name of one elsewhere is %+v, error %v", link, err)
	}
	host := h.config.Host
	h.config.Host = "east.berth.example"
	h.stop()
	var misnamed *HostError
	if s, err := Start(t.Context(), h.config); !errors.As(err, &misnamed) ||
		!strings.Contains(err.Error(), "--host gives") {
		t.Errorf("a service with the host of a hub starts: %v, error %v", s, err)
	}
	h.config.Host = host
	h.start()
	h.refusesHubHost("hub.elsewhere.example", "linked", "hub.elsewhere.example")
	h.refusesHubHost("EAST.berth.example", "east", "--hub-host")
}
