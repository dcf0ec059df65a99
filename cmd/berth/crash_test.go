package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/provisioning"
)

const (
	crashRounds   = 30
	senders       = 6    // devices that send telemetry
	sendersWindow = 64   // unacknowledged messages of each
	sendersRound  = 1500 // messages of each in a round, at most
	newcomers     = 3    // loops that enroll and register new devices
)

// TestCrash kills the real server with SIGKILL under load, again and again, and
// proves after each restart that what was acknowledged is there, that nothing is
// there by half, and that the next round works.
func TestCrash(t *testing.T) {
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
		// In the first moments as well as in full flow.
		moment := history.after(random.IntN([]int{100, 5000, 30_000}[round%3]))
		load := history.begin(t, p, round, devices)
		select {
		case <-moment:
		case <-p.ended:
			t.Fatalf("the server ended by itself: %v\n%s", p.err, &p.log)
		case <-time.After(time.Minute):
			t.Fatalf("the load stands still\n%s", &p.log)
		}
		p.kill()
		load.Wait()
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
	t.Logf("%d rounds: %d messages, %d registrations, %d enrollments deleted, %d changed, %d reported properties were acknowledged",
		rounds, history.messages(), len(history.registered), len(history.deleted), history.changed.acknowledged, history.reported.acknowledged)
	if history.messages() == 0 || len(history.registered) == 0 || len(history.deleted) == 0 || history.changed.acknowledged == 0 || history.reported.acknowledged == 0 {
		t.Error("the load did nothing of one kind: the test proves nothing")
	}
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
	return devices
}

func (p *process) register(ctx context.Context, id string, certificate tls.Certificate) error {
	_, err := device.Provision(ctx, device.ProvisioningOptions{
		Host: p.mqttHost(p.info.ProvisioningHost), IDScope: p.info.IDScope, RegistrationID: id, Certificate: &certificate, RootCAs: p.roots})
	return err
}

func (p *process) dial(ctx context.Context, id string, certificate tls.Certificate) (*device.Client, error) {
	return device.Connect(ctx, device.HubOptions{
		Host: p.mqttHost(p.info.Hubs[0].Host), DeviceID: id, Certificate: &certificate, RootCAs: p.roots, CleanSession: true})
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

	left   int           // weight of acknowledgements until the crash
	moment chan struct{} // closed then
}

// progress counts changes numbered from 1: what the server has is at least what
// it acknowledged and at most what was asked.
type progress struct{ asked, acknowledged int }

func newHistory() *history {
	return &history{sent: make(map[string]*progress), registered: make(map[string]bool), enrolled: make(map[string]bool), deleted: make(map[string]bool)}
}

func (h *history) messages() (acknowledged int) {
	for _, p := range h.sent {
		acknowledged += p.acknowledged
	}
	return acknowledged
}

func (h *history) note(do func()) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	do()
}

// What an acknowledgement brings the crash nearer: documents change more slowly
// than messages are sent.
const (
	oneMessage = 1
	oneChange  = 30
)

// acknowledged notes what the server has acknowledged.
func (h *history) acknowledged(weight int, do func()) {
	h.note(func() {
		do()
		if h.left > 0 {
			if h.left -= weight; h.left <= 0 {
				close(h.moment)
			}
		}
	})
}

// after returns a channel that is closed when acknowledgements of so much weight
// have come.
func (h *history) after(weight int) <-chan struct{} {
	h.left, h.moment = weight+1, make(chan struct{})
	return h.moment
}

// begin starts the load of a round. Every part of it ends when the server does.
func (h *history) begin(t *testing.T, p *process, round int, devices map[string]tls.Certificate) *sync.WaitGroup {
	ctx := within(t, time.Minute)
	load := new(sync.WaitGroup)
	for i := range senders {
		id := fmt.Sprintf("sender-%d", i)
		load.Go(func() { h.send(ctx, p, round, id, devices[id]) })
	}
	for i := range newcomers {
		load.Go(func() { h.arrive(ctx, p, fmt.Sprintf("newcomer-%d-%d", round, i)) })
	}
	load.Go(func() { h.change(ctx, p) })
	load.Go(func() { h.report(ctx, p, devices["twin"]) })
	return load
}

// send publishes messages that say their place in the order, of many sizes.
func (h *history) send(ctx context.Context, p *process, round int, id string, certificate tls.Certificate) {
	client, err := p.dial(ctx, id, certificate)
	if err != nil {
		return
	}
	name := fmt.Sprintf("%s/%d", id, round)
	mine := new(progress)
	h.note(func() { h.sent[name] = mine })
	window := make(chan struct{}, sendersWindow)
	for number := 1; number <= sendersRound; number++ {
		select {
		case window <- struct{}{}:
		case <-client.Ended():
			return
		}
		h.note(func() { mine.asked = number })
		payload := fmt.Sprintf("%s/%d/%s", name, number, strings.Repeat("x", rand.IntN(2000)))
		err := client.SendAsync(device.Message{Payload: []byte(payload)}, func(err error) {
			if err == nil {
				h.acknowledged(oneMessage, func() { mine.acknowledged++ }) // PUBACKs come in order
			}
			<-window
		})
		if err != nil {
			return
		}
	}
	<-client.Ended()
}

// arrive enrolls devices and registers them; every third enrollment is deleted
// again.
func (h *history) arrive(ctx context.Context, p *process, name string) {
	for number := 0; ; number++ {
		id := fmt.Sprintf("%s-%d", name, number)
		certificate, enrollment, err := newDevice(id)
		if err != nil {
			return
		}
		enrollment.InitialTwin = numbered(number)
		if _, err := p.provisioning.CreateEnrollment(ctx, enrollment); err != nil {
			return
		}
		h.acknowledged(oneChange, func() { h.enrolled[id] = true })
		if err := p.register(ctx, id, certificate); err != nil {
			return
		}
		h.acknowledged(oneChange, func() { h.registered[id] = true })
		if number%3 == 2 {
			h.note(func() { delete(h.enrolled, id) }) // neither kept nor gone while it is asked for
			if err := p.provisioning.DeleteEnrollment(ctx, id, ""); err != nil {
				return
			}
			h.acknowledged(oneChange, func() { h.deleted[id] = true })
		}
	}
}

// numbered is a twin whose two halves must always agree.
func numbered(number int) *provisioning.InitialTwin {
	text := json.RawMessage(fmt.Sprintf(`{"number":%d}`, number))
	return &provisioning.InitialTwin{Tags: text, Properties: provisioning.InitialTwinProperties{Desired: text}}
}

// change writes one enrollment over and over.
func (h *history) change(ctx context.Context, p *process) {
	_, enrollment, err := newDevice("changed")
	if err != nil {
		return
	}
	for {
		var number int
		h.note(func() { h.changed.asked++; number = h.changed.asked })
		enrollment.InitialTwin = numbered(number)
		if _, err := p.provisioning.PutEnrollment(ctx, enrollment, ""); err != nil {
			return
		}
		h.acknowledged(oneChange, func() { h.changed.acknowledged = number })
	}
}

// report changes the reported properties of a connected device.
func (h *history) report(ctx context.Context, p *process, certificate tls.Certificate) {
	client, err := p.dial(ctx, "twin", certificate)
	if err != nil {
		return
	}
	for {
		var number int
		h.note(func() { h.reported.asked++; number = h.reported.asked })
		if _, err := client.Report(ctx, fmt.Appendf(nil, `{"number":%d,"again":%d}`, number, number)); err != nil {
			return
		}
		h.acknowledged(oneChange, func() { h.reported.acknowledged = number })
	}
}
