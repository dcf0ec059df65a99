//go:build torture

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/telemetry"
)

const (
	honestDevices = 50
	sendEvery     = 100 * time.Millisecond // of each device
	reportEvery   = 5 * time.Second        // reported properties, of each device
	arriveEvery   = 2 * time.Second        // a new device is enrolled, registers and is gone

	// restartTime after a restart belongs to the kill: all come back at once.
	restartTime = 5 * time.Second
)

// honestWork is what honest devices ask of the server and get.
type honestWork struct {
	devices map[string]tls.Certificate

	dying atomic.Bool // the server is about to be killed

	mutex    sync.Mutex
	life     int // of the server; part of what messages are called
	since    time.Time
	sent     map[string]*progress // of this life, by connection: messages
	reported map[string]*progress // by device
	arrived  int                  // registrations of new devices, of all lives

	acknowledged, doubted int // messages of all lives: acknowledged; asked for and never answered
	reports               int
	connects, lost        int // connections that came about; that ended while nobody killed the server
	latency               map[string][]float64

	cancel  context.CancelFunc
	running sync.WaitGroup
	marker  tls.Certificate
}

func newHonestWork(t *testing.T, p *process) *honestWork {
	t.Helper()
	w := &honestWork{devices: make(map[string]tls.Certificate), reported: make(map[string]*progress),
		latency: make(map[string][]float64)}
	ctx := within(t, time.Minute)
	for i := range honestDevices + 1 {
		id := fmt.Sprintf("honest-%d", i)
		certificate, err := w.enroll(ctx, p, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.register(ctx, id, certificate); err != nil {
			t.Fatal(err)
		}
		if i == honestDevices {
			w.marker = certificate
			break
		}
		w.devices[id] = certificate
		w.reported[id] = new(progress)
	}
	return w
}

func (w *honestWork) enroll(ctx context.Context, p *process, id string) (tls.Certificate, error) {
	certificate, enrollment, err := newDevice(id)
	if err != nil {
		return certificate, err
	}
	_, err = p.provisioning.CreateEnrollment(ctx, enrollment)
	return certificate, err
}

// begin starts the devices on a server that has just started.
func (w *honestWork) begin(t *testing.T, p *process) {
	t.Helper()
	ctx, cancel := untilEnd(t)
	w.mutex.Lock()
	w.life++
	w.dying.Store(false)
	w.since, w.sent, w.cancel = time.Now(), make(map[string]*progress), cancel
	life, begun := w.life, time.Now()
	w.mutex.Unlock()
	for id, certificate := range w.devices {
		w.running.Go(func() { w.serve(ctx, t, p, begun, fmt.Sprintf("%s/%d", id, life), id, certificate) })
	}
	w.running.Go(func() { w.arrivals(ctx, t, p, begun, life) })
}

// expectKill says that the server is about to be killed: what fails from now on is
// not its fault.
func (w *honestWork) expectKill() { w.dying.Store(true) }

// stop has the devices end in good order, and waits for that.
func (w *honestWork) stop() {
	w.cancel()
	w.running.Wait()
}

// faultless reports whether nothing should fail now.
func (w *honestWork) faultless(ctx context.Context) bool { return ctx.Err() == nil && !w.dying.Load() }

// observe notes how long something took, unless it began when all were coming back.
func (w *honestWork) observe(kind string, begun, from time.Time) {
	took := time.Since(from)
	if from.Sub(begun) < restartTime {
		return
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.latency[kind] = append(w.latency[kind], took.Seconds()*1000)
}

func (w *honestWork) change(do func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	do()
}

// serve is a device's life during one of the server's: it connects, works, and
// connects again when it is cut off.
func (w *honestWork) serve(ctx context.Context, t *testing.T, p *process, begun time.Time, name, id string,
	certificate tls.Certificate) {
	for connection := 0; ctx.Err() == nil; connection++ {
		from := time.Now()
		client, err := p.dial(ctx, id, certificate)
		if err != nil {
			if w.faultless(ctx) {
				w.change(func() { w.lost++ })
				t.Logf("%s does not get in: %v", id, err)
			}
			pauseFor(ctx, time.Second)
			continue
		}
		w.observe("connect", begun, from)
		w.change(func() { w.connects++ })
		w.work(ctx, p, begun, fmt.Sprintf("%s.%d", name, connection), id, client)
		if w.faultless(ctx) {
			w.change(func() { w.lost++ })
			t.Logf("%s was cut off: %v", id, client.Err())
		}
		client.Close()
	}
}

// work sends a message every moment and now and then reports a property, until the
// connection or the context ends. It waits for what is still to be acknowledged.
func (w *honestWork) work(ctx context.Context, p *process, begun time.Time, name, id string, client *device.Client) {
	mine := new(progress)
	w.change(func() { w.sent[name] = mine })
	ticker := time.NewTicker(sendEvery)
	defer ticker.Stop()
	var waiting sync.WaitGroup
	defer func() {
		waiting.Wait() // acknowledged, or told that the connection has ended
	}()
	reporting := time.Now()
	for number := 1; ; number++ {
		select {
		case <-ctx.Done():
			// A kill follows, or an orderly end: what is under way is seen through.
			go func() {
				select {
				case <-client.Ended():
				case <-time.After(5 * time.Second):
					client.Close()
				}
			}()
			return
		case <-client.Ended():
			return
		case <-ticker.C:
		}
		w.change(func() { mine.asked = number })
		from := time.Now()
		waiting.Add(1)
		err := client.SendAsync(device.Message{Payload: fmt.Appendf(nil, "honest/%s/%d", name, number)},
			func(err error) {
				defer waiting.Done()
				if err == nil {
					w.change(func() { mine.acknowledged++ })
					w.observe("telemetry", begun, from)
				}
			})
		if err != nil {
			waiting.Done()
			return
		}
		if time.Since(reporting) > reportEvery {
			reporting = time.Now()
			w.report(ctx, begun, id, client)
		}
	}
}

func (w *honestWork) report(ctx context.Context, begun time.Time, id string, client *device.Client) {
	var number int
	w.change(func() { w.reported[id].asked++; number = w.reported[id].asked })
	from := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if _, err := client.Report(ctx, fmt.Appendf(nil, `{"number":%d}`, number)); err == nil {
		w.change(func() { w.reported[id].acknowledged = number; w.reports++ })
		w.observe("reported properties", begun, from)
	}
}

// arrivals enrolls new devices, which register.
func (w *honestWork) arrivals(ctx context.Context, t *testing.T, p *process, begun time.Time, life int) {
	for number := 0; ctx.Err() == nil; number++ {
		id := fmt.Sprintf("arrival-%d-%d", life, number)
		from := time.Now()
		certificate, err := w.enroll(ctx, p, id)
		if err == nil {
			w.observe("enrollment", begun, from)
			from = time.Now()
			err = p.register(ctx, id, certificate)
		}
		switch {
		case err == nil:
			w.observe("registration", begun, from)
			w.change(func() { w.arrived++ })
		case w.faultless(ctx):
			w.change(func() { w.lost++ })
			t.Logf("%s does not get its hub: %v", id, err)
		}
		pauseFor(ctx, arriveEvery)
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// verify holds what the server has of the life that has just ended against what it
// acknowledged: each connection's messages without a gap, each once, at least up to
// the last one acknowledged; and the reported properties.
func (w *honestWork) verify(t *testing.T, p *process) {
	t.Helper()
	ctx := within(t, 10*time.Minute)
	client, err := p.dial(ctx, fmt.Sprintf("honest-%d", honestDevices), w.marker)
	if err != nil {
		t.Fatal(err)
	}
	end := "marker/" + fault.NewTrackingID()
	if err := client.Send(ctx, device.Message{Payload: []byte(end)}); err != nil {
		t.Fatal(err)
	}
	client.Close()
	found, next := make(map[string]int), make(map[int]int64)
	err = p.hub.Telemetry(ctx, telemetry.Position{Time: w.since.Add(-time.Second)}, "", 0,
		func(m telemetry.Message) error {
			if want, seen := next[m.Partition]; seen && m.SequenceNumber != want {
				return fmt.Errorf("partition %d: sequence number %d follows %d", m.Partition, m.SequenceNumber, want-1)
			}
			next[m.Partition] = m.SequenceNumber + 1
			payload, _ := m.Body.(string)
			if payload == end {
				return telemetry.ErrStop
			}
			text, ours := strings.CutPrefix(payload, "honest/")
			if !ours {
				return nil // of the attackers
			}
			name, numeral, _ := cutLast(text, "/")
			if _, ours := w.sent[name]; !ours {
				return nil // of the life before, in the second that is read twice
			}
			number, err := strconv.Atoi(numeral)
			if err != nil || number != found[name]+1 || !strings.HasPrefix(name, m.DeviceID+"/") {
				return fmt.Errorf("%s: message %q of %s follows message %d", name, numeral, m.DeviceID, found[name])
			}
			found[name] = number
			return nil
		})
	if err != nil {
		t.Fatalf("telemetry after the kill: %v", err)
	}
	for name, sent := range w.sent {
		if found[name] < sent.acknowledged || found[name] > sent.asked {
			t.Errorf("%s: %d messages are there, %d were acknowledged, %d were sent", name, found[name],
				sent.acknowledged, sent.asked)
		}
		w.acknowledged += sent.acknowledged
		w.doubted += sent.asked - sent.acknowledged
	}
	for id, expected := range w.reported {
		twin, err := p.hub.Twin(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(twin.Properties.Reported.Get("number").String())
		if expected.acknowledged > 0 && (err != nil || number < expected.acknowledged || number > expected.asked) {
			t.Errorf("%s reports number %d, acknowledged was %d, asked %d", id, number, expected.acknowledged,
				expected.asked)
		}
	}
	if statistics, err := p.hub.RegistryStatistics(ctx); err != nil {
		t.Error(err)
	} else if least := honestDevices + 1 + w.arrived; statistics.TotalDeviceCount < least {
		t.Errorf("the hub has %d devices, at least %d were told that they are there", statistics.TotalDeviceCount,
			least)
	}
}

func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// judge fails the test when the honest did not work, or waited too long where a
// limit is given.
func (w *honestWork) judge(t *testing.T, length time.Duration, limit time.Duration) {
	t.Helper()
	// A fifth of what they send when nothing hinders them: a machine may be slow.
	if least := int(length / sendEvery * honestDevices / 5); w.acknowledged < least {
		t.Errorf("%d messages were acknowledged, at least %d should have been", w.acknowledged, least)
	}
	if w.reports < honestDevices || w.arrived < int(length/arriveEvery/10) {
		t.Errorf("%d reported properties and %d new devices: the test proves little", w.reports, w.arrived)
	}
	if limit == 0 {
		return
	}
	for _, kind := range []string{"telemetry", "reported properties"} {
		if p99 := quantileOf(w.latency[kind], 0.99); p99 > limit.Seconds()*1000 {
			t.Errorf("the 99th percentile of %s is %.0f ms, more than %v", kind, p99, limit)
		}
	}
}

func quantileOf(sample []float64, q float64) float64 {
	if len(sample) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(sample))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (w *honestWork) rows(row func(what, format string, args ...any)) {
	row("messages acknowledged, lost, doubled", "%d, 0, 0 (%d more were under way at a kill)", w.acknowledged,
		w.doubted)
	row("reported properties, new devices registered", "%d, %d", w.reports, w.arrived)
	row("connections of honest devices; cut off or refused outside kills", "%d; %d", w.connects, w.lost)
	for _, kind := range []string{"telemetry", "reported properties", "connect", "enrollment", "registration"} {
		sample := w.latency[kind]
		if len(sample) == 0 {
			continue
		}
		row(kind+" outside kills: p50, p99, p99.9, longest", "%.1f, %.1f, %.1f, %.0f ms (%d)", quantileOf(sample, 0.5),
			quantileOf(sample, 0.99), quantileOf(sample, 0.999), quantileOf(sample, 1), len(sample))
	}
}
