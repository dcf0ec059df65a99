package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/wire/mqtt"
)

const (
	senders       = 6    // devices that send telemetry
	sendersWindow = 64   // unacknowledged messages of each
	sendersRound  = 1500 // messages of each in a round, at most
	newcomers     = 3    // loops that enroll and register new devices
)

// TestCrash kills the real server with SIGKILL under load, again and again, and
// proves after each restart that what was acknowledged is there, that nothing is
// there by half, and that the next round works.
func TestCrash(t *testing.T) {
	t.Parallel()
	rounds := crashRounds
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	binary, data := buildBinary(t), t.TempDir()
	history := newHistory()

	p := startProcess(t, binary, data)
	devices := provisionSenders(t, p)
	for round := range rounds {
		begun := time.Now()
		// In the first moments, whatever is done by then, as well as in full flow.
		early := round%3 == 0
		moment := history.after(random.IntN([]int{100, 5000, 30_000}[round%3]), !early)
		load := history.begin(t, p, round, devices)
		var trouble string
		select {
		case <-moment:
		case <-p.ended:
			trouble = fmt.Sprintf("the server ended by itself: %v", p.err)
		case <-time.After(time.Minute):
			trouble = "the load stands still. " + history.missing()
		}
		p.kill()
		load.Wait()
		if trouble != "" {
			t.Fatalf("round %d: %s\n%s", round, trouble, &p.log)
		}
		if t.Failed() {
			t.Fatalf("the load found something wrong in round %d; the server's log:\n%s", round, &p.log)
		}
		p = startProcess(t, binary, data)
		history.verify(t, p, devices["marker"], begun)
		if t.Failed() {
			t.Fatalf("round %d; the log of the server after its restart:\n%s", round, &p.log)
		}
	}
	history.verify(t, p, devices["marker"], time.Time{})
	p.terminate(t)
	t.Logf("%d rounds, %s", rounds, history.total())
}

// provisionSenders makes the devices that send in every round.
func provisionSenders(t *testing.T, p *process) map[string]tls.Certificate {
	t.Helper()
	ctx := within(t, time.Minute)
	devices := make(map[string]tls.Certificate)
	names := []string{"marker", "twin"}
	for i := range senders {
		names = append(names, fmt.Sprintf("sender-%d", i))
	}
	for _, id := range names {
		certificate, enrollment, err := newDevice(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.provisioning.CreateEnrollment(ctx, enrollment); err != nil {
			t.Fatal(err)
		}
		if err := p.register(ctx, id, certificate); err != nil {
			t.Fatal(err)
		}
		devices[id] = certificate
	}
	_, changed, err := newDevice("changed")
	if err != nil {
		t.Fatal(err)
	}
	changed.InitialTwin = numbered(0)
	if _, err := p.provisioning.CreateEnrollment(ctx, changed); err != nil {
		t.Fatal(err)
	}
	return devices
}

func (p *process) register(ctx context.Context, id string, certificate tls.Certificate) error {
	_, err := device.Provision(ctx, device.ProvisioningOptions{
		Host: p.mqttHost(p.info.ProvisioningHost), IDScope: p.info.IDScope, RegistrationID: id,
		Certificate: &certificate, RootCAs: p.roots})
	return err
}

func (p *process) dial(ctx context.Context, id string, certificate tls.Certificate) (*device.Client, error) {
	return device.Connect(ctx, device.HubOptions{
		Host: p.mqttHost(p.info.Hubs[0].Host), DeviceID: id, Certificate: &certificate, RootCAs: p.roots,
		CleanSession: true})
}

// history is what was asked of the server, and what it acknowledged.
type history struct {
	mutex      sync.Mutex
	sent       map[string]*progress // by sender and round: messages
	registered map[string]bool      // registration ids whose device got its hub
	enrolled   map[string]bool      // acknowledged enrollments that were not touched again
	deleted    map[string]bool      // acknowledged deletions of enrollments
	changed    progress             // writes of one enrollment
	reported   progress             // reported properties of one device

	acknowledgements [kinds]int    // of all rounds, by kind
	wanted           [kinds]int    // of the round, still to come before the crash
	left             int           // weight of acknowledgements until the crash
	moment           chan struct{} // closed then
}

// progress counts changes numbered from 1: what the server has is at least what
// it acknowledged and at most what was asked.
type progress struct{ asked, acknowledged int }

func newHistory() *history {
	return &history{sent: make(map[string]*progress), registered: make(map[string]bool),
		enrolled: make(map[string]bool), deleted: make(map[string]bool)}
}

func (h *history) note(do func()) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	do()
}

// kind is what the load does, each by a part of its own.
type kind int

const (
	messageSent kind = iota
	enrollmentCreated
	deviceRegistered
	enrollmentDeleted
	enrollmentChanged
	twinReported
	stateChanged
	kinds
)

// does says of each kind how much nearer an acknowledgement brings the crash, for
// documents change more slowly than messages are sent, and how many a round in full
// flow does not do without: a part of the load that has gone quiet fails the test.
var does = [kinds]struct {
	name            string
	weight, minimum int
}{
	messageSent:       {"messages", 1, 50},
	enrollmentCreated: {"new enrollments", 30, 3},
	deviceRegistered:  {"registrations", 30, 3},
	enrollmentDeleted: {"deleted enrollments", 30, 1},
	enrollmentChanged: {"changed enrollments", 30, 3},
	twinReported:      {"reported properties", 30, 3},
	stateChanged:      {"device states", 30, 3},
}

// acknowledged notes what the server has acknowledged.
func (h *history) acknowledged(kind kind, do func()) {
	h.note(func() {
		do()
		h.acknowledgements[kind]++
		h.wanted[kind]--
		h.left -= does[kind].weight
		if h.moment != nil && h.left <= 0 && h.missed() == "" {
			close(h.moment)
			h.moment = nil
		}
	})
}

// after returns a channel that is closed when acknowledgements of so much weight
// have come, and in full flow the minimum of each kind.
func (h *history) after(weight int, full bool) <-chan struct{} {
	moment := make(chan struct{})
	h.note(func() {
		h.left, h.moment, h.wanted = weight+1, moment, [kinds]int{}
		for kind := range h.wanted {
			if full {
				h.wanted[kind] = does[kind].minimum
			}
		}
	})
	return moment
}

// missing says what has yet to come in this round.
func (h *history) missing() (missing string) {
	h.note(func() { missing = h.missed() })
	return missing
}

func (h *history) missed() string {
	var missing []string
	for kind, n := range h.wanted {
		if n > 0 {
			missing = append(missing, fmt.Sprintf("%d %s", n, does[kind].name))
		}
	}
	return strings.Join(missing, ", ")
}

// total says how much was acknowledged in all rounds.
func (h *history) total() string {
	var parts []string
	for kind, n := range h.acknowledgements {
		parts = append(parts, fmt.Sprintf("%d %s", n, does[kind].name))
	}
	return strings.Join(parts, ", ")
}

// loadEnded takes the error that ended a part of the load. That the server was
// killed is the only one that is expected: an answer is none of those, whenever it
// comes.
func (p *process) loadEnded(t *testing.T, what string, err error) {
	t.Helper()
	var answer *fault.Error
	var refused *mqtt.RefusedError
	if !p.killed.Load() || errors.As(err, &answer) || errors.As(err, &refused) {
		t.Errorf("%s: %v", what, err)
	}
}

// begin starts the load of a round. Every part of it ends when the server does.
func (h *history) begin(t *testing.T, p *process, round int, devices map[string]tls.Certificate) *sync.WaitGroup {
	ctx := within(t, 2*time.Minute)
	load := new(sync.WaitGroup)
	for i := range senders {
		id := fmt.Sprintf("sender-%d", i)
		load.Go(func() { h.send(ctx, t, p, round, id, devices[id]) })
	}
	for i := range newcomers {
		load.Go(func() { h.arrive(ctx, t, p, fmt.Sprintf("newcomer-%d-%d", round, i)) })
	}
	load.Go(func() { h.change(ctx, t, p) })
	load.Go(func() { h.report(ctx, t, p, devices["twin"]) })
	load.Go(func() { h.toggle(ctx, t, p) })
	return load
}

// send publishes messages that say their place in the order, of many sizes.
func (h *history) send(ctx context.Context, t *testing.T, p *process, round int, id string,
	certificate tls.Certificate) {
	client, err := p.dial(ctx, id, certificate)
	if err != nil {
		p.loadEnded(t, "connect "+id, err)
		return
	}
	name := fmt.Sprintf("%s/%d", id, round)
	mine := new(progress)
	h.note(func() { h.sent[name] = mine })
	window := make(chan struct{}, sendersWindow)
	for number := 1; number <= sendersRound && err == nil; number++ {
		select {
		case window <- struct{}{}:
		case <-client.Ended():
			p.loadEnded(t, "the connection of "+id, client.Err())
			return
		}
		h.note(func() { mine.asked = number })
		payload := fmt.Sprintf("%s/%d/%s", name, number, strings.Repeat("x", rand.IntN(2000)))
		err = client.SendAsync(device.Message{Payload: []byte(payload)}, func(err error) {
			if err == nil {
				h.acknowledged(messageSent, func() { mine.acknowledged++ }) // PUBACKs come in order
			} else {
				p.loadEnded(t, "a message of "+id, err)
			}
			<-window
		})
	}
	if err == nil {
		err = client.Err() // all is sent; it waits for the end
	}
	p.loadEnded(t, "the connection of "+id, err)
}

// arrive enrolls devices and registers them; every third enrollment is deleted
// again.
func (h *history) arrive(ctx context.Context, t *testing.T, p *process, name string) {
	for number := 0; ; number++ {
		id := fmt.Sprintf("%s-%d", name, number)
		certificate, enrollment, err := newDevice(id)
		if err != nil {
			t.Error(err)
			return
		}
		enrollment.InitialTwin = numbered(number)
		if _, err := p.provisioning.CreateEnrollment(ctx, enrollment); err != nil {
			p.loadEnded(t, "enroll "+id, err)
			return
		}
		h.acknowledged(enrollmentCreated, func() { h.enrolled[id] = true })
		if err := p.register(ctx, id, certificate); err != nil {
			p.loadEnded(t, "register "+id, err)
			return
		}
		h.acknowledged(deviceRegistered, func() { h.registered[id] = true })
		if number%3 == 2 {
			h.note(func() { delete(h.enrolled, id) }) // neither kept nor gone while it is asked for
			if err := p.provisioning.DeleteEnrollment(ctx, id, ""); err != nil {
				p.loadEnded(t, "delete the enrollment "+id, err)
				return
			}
			h.acknowledged(enrollmentDeleted, func() { h.deleted[id] = true })
		}
	}
}

// numbered is a twin whose two halves must always agree.
func numbered(number int) *linkedhub.InitialTwin {
	text := json.RawMessage(fmt.Sprintf(`{"number":%d}`, number))
	return &linkedhub.InitialTwin{Tags: text, Properties: linkedhub.InitialTwinProperties{Desired: text}}
}

// change writes one enrollment over and over.
func (h *history) change(ctx context.Context, t *testing.T, p *process) {
	_, enrollment, err := newDevice("changed")
	if err != nil {
		t.Error(err)
		return
	}
	for {
		var number int
		h.note(func() { h.changed.asked++; number = h.changed.asked })
		enrollment.InitialTwin = numbered(number)
		if _, err := p.provisioning.PutEnrollment(ctx, enrollment, "*"); err != nil {
			p.loadEnded(t, "change an enrollment", err)
			return
		}
		h.acknowledged(enrollmentChanged, func() { h.changed.acknowledged = number })
	}
}

// toggled begins the ids of devices that come, go, and change their state.
const toggled = "toggled-"

// toggle creates, enables, disables and deletes devices, whichever of them a crash has
// left behind.
func (h *history) toggle(ctx context.Context, t *testing.T, p *process) {
	for number := 0; ; number++ {
		id := fmt.Sprint(toggled, number%5)
		_, err := p.hub.CreateDevice(ctx,
			identity.Device{DeviceID: id, Status: []string{"enabled", "disabled"}[number%2]})
		if err != nil && !errors.Is(err, fault.DeviceAlreadyExists) {
			p.loadEnded(t, "create "+id, err)
			return
		}
		for _, status := range []string{"disabled", "enabled", "disabled"} {
			if _, err := p.hub.UpdateDevice(ctx, identity.Device{DeviceID: id, Status: status}, ""); err != nil {
				p.loadEnded(t, "change the state of "+id, err)
				return
			}
			h.acknowledged(stateChanged, func() {})
		}
		if number%3 == 0 {
			if err := p.hub.DeleteDevice(ctx, id, "*"); err != nil {
				p.loadEnded(t, "delete "+id, err)
				return
			}
		}
	}
}

// report changes the reported properties of a connected device.
func (h *history) report(ctx context.Context, t *testing.T, p *process, certificate tls.Certificate) {
	client, err := p.dial(ctx, "twin", certificate)
	if err != nil {
		p.loadEnded(t, "connect the device that reports", err)
		return
	}
	for {
		var number int
		h.note(func() { h.reported.asked++; number = h.reported.asked })
		if _, err := client.Report(ctx, fmt.Appendf(nil, `{"number":%d,"again":%d}`, number, number)); err != nil {
			p.loadEnded(t, "report properties", err)
			return
		}
		h.acknowledged(twinReported, func() { h.reported.acknowledged = number })
	}
}
