package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// fleet is two real processes and three hubs: the first process has the
// provisioning service and two hubs, the second one a hub that the first is linked
// to by its connection string. Its devices have keys derived from their group's.
type fleet struct {
	t              *testing.T
	binary         string
	first, second  *process
	firstData      string
	secondData     string
	secondAddress  string // of its service API: the same after each start
	hosts          []string
	hubs           map[string]*backend.Hub
	group          enroll.Group
	groupKeys      enroll.SymmetricKeyAttestation
	starting       sync.Mutex
	kills, retries atomic.Int64
}

const secondHost = "127.0.0.9"

func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, binary: buildBinary(t), firstData: t.TempDir(), secondData: t.TempDir()}
	f.second = startProcess(t, f.binary, f.secondData, "--hub-host", secondHost)
	f.secondAddress = cli.Loopback(f.second.info.Ports.HTTPS)
	f.first = startProcess(t, f.binary, f.firstData)
	ctx := within(t, time.Minute)

	f.run("hub", "create", "east")
	file := t.TempDir() + "/second.txt"
	if err := os.WriteFile(file, []byte(f.second.info.Hubs[0].ConnectionString+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.run("hub", "link", "@"+file, "--hub-address", f.secondAddress, "--hub-ca-file", f.second.info.CAFile,
		"--location", "north")
	f.run("hub", "link", "east", "--location", "east")
	f.run("hub", "link", "berth", "--location", "west")

	var err error
	f.group, err = f.first.provisioning.PutGroup(ctx, enroll.Group{EnrollmentGroupID: "meters",
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"},
			InitialTwin: &linkedhub.InitialTwin{Tags: json.RawMessage(`{"made":"by the group"}`)}}}, "")
	if err != nil {
		t.Fatal(err)
	}
	f.groupKeys = *f.group.Attestation.SymmetricKey
	f.reach()
	return f
}

// run runs a command on the first process and returns what it prints.
func (f *fleet) run(args ...string) string {
	f.t.Helper()
	var output, errors strings.Builder
	if code := run(f.t.Context(), append(args, "--data", f.firstData), &output, &errors); code != 0 {
		f.t.Fatalf("berth %s: exit code %d: %s", strings.Join(args, " "), code, &errors)
	}
	return output.String()
}

// reach makes clients of all hubs where they are now.
func (f *fleet) reach() {
	f.t.Helper()
	f.hubs, f.hosts = map[string]*backend.Hub{}, nil
	for _, p := range []*process{f.first, f.second} {
		p.connect(f.t, map[*process]string{f.first: f.firstData, f.second: f.secondData}[p])
		for _, info := range p.info.Hubs {
			client, err := backend.NewHub(info.ConnectionString,
				backend.Options{RootCAs: p.roots, Address: cli.Loopback(p.info.Ports.HTTPS)})
			if err != nil {
				f.t.Fatal(err)
			}
			f.hubs[info.Host] = client
			f.hosts = append(f.hosts, info.Host)
		}
	}
}

// allocate changes how the group's devices are assigned.
func (f *fleet) allocate(change func(*enroll.Group)) {
	f.t.Helper()
	wanted := f.group
	change(&wanted)
	if _, err := f.first.provisioning.PutGroup(within(f.t, time.Minute), wanted, "*"); err != nil {
		f.t.Fatal(err)
	}
}

// weigh gives the hubs other weights.
func (f *fleet) weigh(ctx context.Context, weights ...int) {
	f.t.Helper()
	for i, weight := range weights {
		link, err := f.first.provisioning.HubLink(ctx, f.hosts[i], false)
		if err == nil {
			link.AllocationWeight = &weight
			_, err = f.first.provisioning.LinkHub(ctx, link, "")
		}
		if err != nil {
			f.t.Fatalf("the weight of %s: %v", f.hosts[i], err)
		}
	}
}

func (f *fleet) options(id string) device.ProvisioningOptions {
	f.starting.Lock()
	defer f.starting.Unlock()
	return device.ProvisioningOptions{Host: f.first.mqttHost("localhost"), IDScope: f.first.info.IDScope,
		RegistrationID: id, SASKey: attest.DeriveKey(f.groupKeys.PrimaryKey, id), RootCAs: f.first.roots}
}

// register registers a device once.
func (f *fleet) register(id string) device.RegistrationState {
	f.t.Helper()
	registration, err := device.Provision(within(f.t, time.Minute), f.options(id))
	if err != nil {
		f.t.Fatalf("%s: %v", id, err)
	}
	return *registration.RegistrationState
}

// insist registers a device until it succeeds. A process that is gone or has just
// come back is the only thing that it takes for an answer: any other refusal ends it.
func (f *fleet) insist(ctx context.Context, id string) (device.RegistrationState, error) {
	for {
		trying, cancel := context.WithTimeout(ctx, 30*time.Second)
		registration, err := device.Provision(trying, f.options(id))
		cancel()
		if err == nil {
			return *registration.RegistrationState, nil
		}
		var refusal *fault.Error
		if ctx.Err() != nil || errors.As(err, &refusal) && refusal.Code.Status() < 500 {
			return device.RegistrationState{}, err
		}
		f.retries.Add(1)
		time.Sleep(20 * time.Millisecond) // as a device does that could not register
	}
}

// places says in which hubs each device is.
func (f *fleet) places() map[string][]string {
	f.t.Helper()
	found := map[string][]string{}
	for host, client := range f.hubs {
		for after := ""; ; {
			devices, next, err := client.Devices(within(f.t, time.Minute), "", after, 1000)
			if err != nil {
				f.t.Fatalf("the devices of %s: %v", host, err)
			}
			for _, d := range devices {
				found[d.DeviceID] = append(found[d.DeviceID], host)
			}
			if after = next; after == "" {
				break
			}
		}
	}
	return found
}

func deviceNames(n int) (names []string) {
	for i := range n {
		names = append(names, "meter-"+strconv.Itoa(i))
	}
	return names
}

// TestAllocationAmongThreeHubs shows every allocation policy with three hubs, one of
// them of another process, and that a preview says beforehand what happens.
func TestAllocationAmongThreeHubs(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := within(t, 2*time.Minute)
	asked := atomic.Pointer[map[string]any]{}
	webhook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request map[string]any
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &request) != nil {
			t.Errorf("the webhook is sent %s, error %v", body, err)
		}
		asked.Store(&request)
		fmt.Fprintf(w, `{"iotHubHostName":%q,"payload":{"from":"webhook"}}`, secondHost)
	}))
	defer webhook.Close()
	for _, network := range []allocation.Network{
		{Prefix: "127.0.0.0/8", Latencies: map[string]float64{"west": 80, "East": 12.5, "north": 40}},
		{Prefix: "10.0.0.0/8", Latencies: map[string]float64{"north": 3, "west": 200}},
	} {
		if _, err := f.first.provisioning.PutNetwork(ctx, network, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		weights []int // berth, east, second
		change  func(*enroll.Group)
		want    map[string]bool // hubs that get devices: all of these, and no other
		reason  string
	}{
		{"evenly", []int{1, 1, 1}, func(g *enroll.Group) { g.AllocationPolicy = allocation.Hashed },
			map[string]bool{"127.0.0.1": true, "127.0.0.2": true, secondHost: true}, "evenly weighted, of 3"},
		{"by weights", []int{0, 1, 1}, func(g *enroll.Group) {}, map[string]bool{"127.0.0.2": true, secondHost: true},
			"evenly weighted, of 3"},
		{"among chosen hubs", []int{1, 1, 1}, func(g *enroll.Group) { g.Hubs = []string{"127.0.0.1", secondHost} },
			map[string]bool{"127.0.0.1": true, secondHost: true}, "evenly weighted, of 2"},
		{"static", []int{1, 1, 1}, func(g *enroll.Group) {
			g.AllocationPolicy, g.Hubs = allocation.Static, []string{"127.0.0.2"}
		}, map[string]bool{"127.0.0.2": true}, "static, of 1"},
		{"lowest latency", []int{1, 1, 1}, func(g *enroll.Group) { g.AllocationPolicy = allocation.GeoLatency },
			map[string]bool{"127.0.0.2": true}, "lowest latency, 12.5ms, of 3"},
		{"custom", []int{1, 1, 1}, func(g *enroll.Group) {
			g.AllocationPolicy = allocation.Custom
			g.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: webhook.URL}
		}, map[string]bool{secondHost: true}, "as the webhook says, of 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.allocate(c.change)
			f.weigh(ctx, c.weights...)
			got := map[string]int{}
			prefix := strings.ReplaceAll(c.name, " ", "-")
			for _, name := range deviceNames(24) {
				id := prefix + "-" + name
				preview, err := f.first.provisioning.PreviewAllocation(ctx,
					provisioning.PreviewRequest{RegistrationID: id, GroupID: "meters", RemoteAddress: "127.0.0.1"})
				if err != nil || preview.Reason != c.reason || preview.Substatus != provisioning.InitialAssignment {
					t.Fatalf("the preview is %+v, error %v; want %q", preview, err, c.reason)
				}
				state := f.register(id)
				if state.AssignedHub != preview.HubHostName || state.Substatus != "initialAssignment" {
					t.Errorf("%s: foretold %s, but it is %+v", id, preview.HubHostName, state)
				}
				if c.name == "custom" && string(state.Payload) != `{"from":"webhook"}` {
					t.Errorf("%s is told %s by the webhook", id, state.Payload)
				}
				twin, err := f.hubs[state.AssignedHub].Twin(ctx, id)
				if err != nil || twin.Tags.Get("made").Text() != "by the group" || twin.Status != "enabled" {
					t.Errorf("%s: its twin is %+v, error %v", id, twin, err)
				}
				got[state.AssignedHub]++
			}
			for _, host := range f.hosts {
				if (got[host] > 0) != c.want[host] {
					t.Errorf("the devices went %v, want to each of %v and to no other", got, c.want)
				}
			}
		})
	}
	if request := asked.Load(); request == nil || len((*request)["linkedHubs"].([]any)) != 3 {
		t.Errorf("the webhook was sent %v", request)
	}
	// From another network the same device would go elsewhere.
	f.allocate(func(g *enroll.Group) { g.AllocationPolicy = allocation.GeoLatency })
	for from, want := range map[string]string{"127.9.9.9": "127.0.0.2", "10.1.1.1": secondHost} {
		var preview provisioning.Preview
		if err := json.Unmarshal([]byte(f.run("allocate", "traveller", "--dry-run", "--group", "meters", "--from", from,
			"-o", "json")), &preview); err != nil || preview.HubHostName != want {
			t.Errorf("from %s it would go to %s (%s), error %v; want %s", from, preview.HubHostName, preview.Reason,
				err, want)
		}
	}
	if out := f.run("allocate", "traveller", "--dry-run", "--group", "meters", "--from",
		"192.0.2.1"); !strings.Contains(out, "nothing is known of the device's network") {
		t.Errorf("from nowhere: %s", out)
	}
}

const (
	workers          = 4  // that register devices at once
	minRegistrations = 20 // in each round, before the crash
)

// TestMigrationSurvivesCrashes moves devices between three hubs of two processes
// while both are killed at random moments, and proves that in the end each device is
// in exactly one hub, the one it was told, with the twin it had.
func TestMigrationSurvivesCrashes(t *testing.T) {
	t.Parallel()
	rounds := migrationRounds
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f := newFleet(t)
	ids := deviceNames(40)
	ctx := within(t, 4*time.Minute)
	for _, id := range ids {
		state := f.register(id)
		if _, err := f.hubs[state.AssignedHub].PatchTwin(ctx, id,
			json.RawMessage(fmt.Sprintf(`{"tags":{"owner":"of %s"},"properties":{"desired":{"n":1}}}`, id)),
			"*"); err != nil {
			t.Fatal(err)
		}
	}

	loading, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	defer func() { stop(); load.Wait() }()
	var moved, registered atomic.Int64
	for worker := range workers {
		load.Go(func() {
			last := map[string]string{}
			for i := worker; ; i += workers {
				id := ids[i%len(ids)]
				state, err := f.insist(loading, id)
				if loading.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("%s: %v", id, err)
					stop()
					return
				}
				if last[id] != "" && last[id] != state.AssignedHub {
					moved.Add(1)
					if state.Substatus != "deviceDataMigrated" {
						t.Errorf("%s moved from %s to %s, and is told %s", id, last[id], state.AssignedHub,
							state.Substatus)
					}
				}
				last[id] = state.AssignedHub
				registered.Add(1)
			}
		})
	}
	for round := range rounds {
		weights := []int{random.IntN(2), random.IntN(2), random.IntN(2)}
		weights[round%3] = 3
		f.weigh(ctx, weights...)
		// Killed in the middle of some registration, after a number of others.
		enough := registered.Load() + minRegistrations + random.Int64N(int64(len(ids)))
		for deadline := time.Now().Add(time.Minute); registered.Load() < enough && loading.Err() == nil; {
			if time.Now().After(deadline) {
				t.Fatalf("the load stands still in round %d\n%s", round, &f.first.log)
			}
			time.Sleep(time.Millisecond)
		}
		f.crash(random.IntN(2) == 0)
		if t.Failed() {
			break
		}
	}
	stop()
	load.Wait()
	if n := moved.Load(); n < int64(rounds) {
		t.Errorf("%d devices moved in %d rounds: the test proves little", n, rounds)
	}
	f.reach()
	told := map[string]string{}
	for _, id := range ids {
		state, err := f.insist(ctx, id)
		if err != nil {
			t.Fatalf("%s at last: %v\n%s", id, err, &f.first.log)
		}
		told[id] = state.AssignedHub
	}
	// What was left behind while a hub was gone is removed when it is back.
	var where map[string][]string
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		where = f.places()
		settled := len(where) == len(ids)
		for _, id := range ids {
			settled = settled && len(where[id]) == 1
		}
		if settled || time.Now().After(deadline) {
			break
		}
	}
	for _, id := range ids {
		if len(where[id]) != 1 || where[id][0] != told[id] {
			t.Errorf("%s was told %s, and is in %v", id, told[id], where[id])
			continue
		}
		twin, err := f.hubs[told[id]].Twin(ctx, id)
		if err != nil || twin.Tags.Get("owner").Text() != "of "+id || twin.Tags.Get("made").Text() != "by the group" ||
			twin.Properties.Desired.Get("n").String() != "1" || twin.Status != "enabled" {
			t.Errorf("%s: its twin is %+v, error %v", id, twin, err)
		}
	}
	if len(where) != len(ids) {
		t.Errorf("the hubs have %d devices, of %d that were enrolled", len(where), len(ids))
	}
	t.Logf("%d rounds, %d kills, %d moves, %d registrations repeated", rounds, f.kills.Load(), moved.Load(),
		f.retries.Load())
}

// crash kills one of the processes and starts it again.
func (f *fleet) crash(first bool) {
	f.t.Helper()
	f.kills.Add(1)
	if first {
		f.first.kill()
		started := startProcess(f.t, f.binary, f.firstData)
		f.starting.Lock()
		f.first = started
		f.starting.Unlock()
		return
	}
	f.second.kill()
	_, port, _ := strings.Cut(f.secondAddress, ":")
	f.second = startProcess(f.t, f.binary, f.secondData, "--hub-host", secondHost, "--https-port", port)
}

// TestUnlinkingAHub: one with devices only by force, and a change of the policy
// decides what becomes of them.
func TestUnlinkingAHub(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := within(t, time.Minute)
	f.weigh(ctx, 0, 0, 1)
	if state := f.register("stays"); state.AssignedHub != secondHost {
		t.Fatalf("it went to %s", state.AssignedHub)
	}
	err := f.first.provisioning.UnlinkHub(ctx, secondHost, "", false)
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "(1 assigned to") {
		t.Errorf("unlinking a hub with a device is answered %v", err)
	}
	f.run("hub", "unlink", secondHost, "--force")
	if list := f.run("hub", "list"); strings.Contains(list, secondHost) {
		t.Errorf("it is still linked:\n%s", list)
	}
	state := f.register("stays")
	if state.AssignedHub == secondHost || state.Substatus != "deviceDataReset" {
		t.Errorf("afterwards it is %+v", state)
	}
	if _, err := f.hubs[secondHost].Device(ctx, "stays"); err != nil {
		t.Errorf("a hub that is not linked has lost the device: %v", err)
	}
	// A hub of the process stays unlinked over a restart, and can be linked again.
	f.run("hub", "unlink", "east", "--force")
	f.crash(true)
	if list := f.run("hub", "list"); strings.Contains(list, "127.0.0.2") {
		t.Errorf("it is linked again after a restart:\n%s", list)
	}
	f.run("hub", "link", "east")
	if list := f.run("hub", "list"); !strings.Contains(list, "127.0.0.2") {
		t.Errorf("it can't be linked again:\n%s", list)
	}
}

// TestChangingALink: what a command does not mention stays as it is.
func TestChangingALink(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.run("hub", "link", secondHost, "--measure-latency", "--only-by-name")
	f.run("hub", "link", secondHost, "--weight", "7")
	link, err := f.first.provisioning.HubLink(within(t, time.Minute), secondHost, false)
	if err != nil || *link.AllocationWeight != 7 || *link.ApplyAllocationPolicy || !link.MeasureLatency ||
		link.Location != "north" || link.Address != f.secondAddress || link.CACertificates == "" {
		t.Errorf("the link is %+v, error %v", link, err)
	}
	f.run("hub", "link", secondHost, "--location", "", "--measure-latency=false", "--only-by-name=false")
	link, err = f.first.provisioning.HubLink(within(t, time.Minute), secondHost, false)
	if err != nil || *link.AllocationWeight != 7 || !*link.ApplyAllocationPolicy || link.MeasureLatency ||
		link.Location != "" {
		t.Errorf("afterwards the link is %+v, error %v", link, err)
	}
}

// TestLinksThatAreRefused: what is wrong with a hub is said when it is linked.
func TestLinksThatAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := within(t, time.Minute)
	good := f.second.info.Hubs[0].ConnectionString
	wrongKey := good[:strings.Index(good, "SharedAccessKey=")] + "SharedAccessKey=" + "c2VjcmV0c2VjcmV0c2VjcmV0"
	roots, err := os.ReadFile(f.second.info.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	tooMuch := 1001
	for _, c := range []struct {
		name, says string
		link       linkedhub.Link
	}{
		{"no connection string", "connection string", linkedhub.Link{HostName: "hub.example.com"}},
		{"no dot", "full stop", linkedhub.Link{HostName: "hub"}},
		{"another host", "is of the hub 127.0.0.9",
			linkedhub.Link{HostName: "hub.example.com", ConnectionString: good}},
		{"wrong key", "refuses the connection string",
			linkedhub.Link{HostName: secondHost, ConnectionString: wrongKey, Address: f.secondAddress,
				CACertificates: string(roots)}},
		{"nobody there", "does not answer",
			linkedhub.Link{HostName: secondHost, ConnectionString: good, Address: "127.0.0.1:1",
				CACertificates: string(roots)}},
		{"no certificates", "no certificate in PEM",
			linkedhub.Link{HostName: secondHost, ConnectionString: good, CACertificates: "hello"}},
		{"too heavy", "allocationWeight", linkedhub.Link{HostName: "127.0.0.2", AllocationWeight: &tooMuch}},
		{"string for an own hub", "needs no connection string",
			linkedhub.Link{HostName: "127.0.0.2", ConnectionString: good}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "wrong key" || c.name == "nobody there" || c.name == "no certificates" {
				f.first.provisioning.UnlinkHub(ctx, secondHost, "", true) // so that nothing stays of the good link
			}
			_, err := f.first.provisioning.LinkHub(ctx, c.link, "")
			if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("answered %v, want a fault 400004 that says %q", err, c.says)
			}
			if err != nil && (strings.Contains(err.Error(), "c2Vjcm") || strings.Contains(err.Error(), good)) {
				t.Errorf("the error holds a key: %v", err)
			}
		})
	}
	for _, bad := range [][2]string{{"East", ""}, {"", "hub.example.com"}, {"other", "nodot"}, {"other", "127.0.0.1"},
		{"east", "hub.example.com"}} {
		if link, err := f.first.provisioning.CreateHub(ctx, bad[0], bad[1]); err == nil {
			t.Errorf("a hub %q at %q is created: %+v", bad[0], bad[1], link)
		}
	}
	links, err := f.first.provisioning.HubLinks(ctx)
	if err != nil || strings.Contains(fmt.Sprint(links), "SharedAccessKey") {
		t.Errorf("the links are %+v, error %v", links, err)
	}
	if _, err := f.hubs["127.0.0.2"].CreateDevice(ctx, identity.Device{DeviceID: "d1"}); err != nil {
		t.Errorf("the hub that was created does not serve: %v", err)
	}
}
