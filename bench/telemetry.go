package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	telemetryConnections = 50
	payloadSize          = 256
	warmUp               = time.Second
	ackPatience          = 30 * time.Second // for the last acknowledgements
)

// measureTelemetry measures how fast messages are acknowledged.
func measureTelemetry(ctx context.Context, s settings, r *report) error {
	return forEachTarget(ctx, s, r, s.rounds, telemetryConnections, func(t target, devices []identity) error {
		links := make([]link, len(devices))
		if err := inParallel(ctx, len(devices), len(devices), func(ctx context.Context, i int) (err error) {
			links[i], err = t.connect(ctx, devices[i], false)
			return err
		}); err != nil {
			return err
		}
		for _, inFlight := range []int{16, 1} {
			l := load{links: links, inFlight: inFlight}
			if err := l.run(ctx, t.server(), s.seconds); err != nil {
				return err
			}
			what := fmt.Sprintf("Telemetry, %d connections, %d in flight, %d bytes: ",
				len(links), inFlight, payloadSize)
			r.add(t, what+"acknowledged messages/s", l.rate)
			r.add(t, what+"p50 (ms)", milliseconds(quantile(l.latencies, 0.5)))
			r.add(t, what+"p99 (ms)", milliseconds(quantile(l.latencies, 0.99)))
			r.add(t, what+"server CPU for a million messages (s)", l.cpu/float64(len(l.latencies))*1e6)
			r.add(t, what+"server CPU (% of a core)", 100*l.busy)
		}
		for _, link := range links {
			if err := link.close(); err != nil {
				return err
			}
		}
		return nil
	})
}

// load keeps a number of messages in flight on each of its links: each
// acknowledgement sends the next.
type load struct {
	links    []link
	inFlight int

	// what came out
	rate      float64 // acknowledgements a second
	cpu       float64 // seconds of the server's CPU
	busy      float64 // CPU seconds a second
	latencies []time.Duration

	measuring, over atomic.Bool
	failure         atomic.Pointer[error]
	open            sync.WaitGroup // slots with a message under way
}

// slot is one place in flight. Only one message is in it at a time.
type slot struct {
	load      *load
	link      link
	payload   []byte
	sent      time.Time
	next      func(error) // acknowledged, made once
	latencies []time.Duration
}

func (l *load) run(ctx context.Context, server *process, duration time.Duration) error {
	slots := make([]*slot, 0, len(l.links)*l.inFlight)
	for _, link := range l.links {
		for range l.inFlight {
			x := &slot{load: l, link: link, payload: make([]byte, payloadSize)}
			x.next = x.acknowledged
			slots = append(slots, x)
		}
	}
	for _, x := range slots {
		l.open.Add(1)
		x.send()
	}
	err := l.measure(ctx, server, duration)
	l.over.Store(true)
	done := make(chan struct{})
	go func() {
		l.open.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(ackPatience):
		return fmt.Errorf("messages are not acknowledged after %s", ackPatience)
	}
	if failure := l.failure.Load(); failure != nil {
		return *failure
	}
	for _, x := range slots {
		l.latencies = append(l.latencies, x.latencies...)
	}
	if err == nil && len(l.latencies) == 0 {
		err = fmt.Errorf("no message was acknowledged in %s", duration)
	}
	l.rate = float64(len(l.latencies)) / duration.Seconds()
	return err
}

// measure counts for the duration, after the warm-up.
func (l *load) measure(ctx context.Context, server *process, duration time.Duration) error {
	if err := wait(ctx, warmUp); err != nil {
		return err
	}
	cpu, elapsed, err := server.measureCPU(func() error {
		l.measuring.Store(true)
		defer l.measuring.Store(false)
		return wait(ctx, duration)
	})
	if err != nil {
		return err
	}
	l.cpu, l.busy = cpu, cpu/elapsed.Seconds()
	return nil
}

func (x *slot) send() {
	x.sent = time.Now()
	if err := x.link.send(x.payload, x.next); err != nil {
		x.load.failure.CompareAndSwap(nil, &err)
		x.load.open.Done()
	}
}

func (x *slot) acknowledged(err error) {
	if err != nil {
		x.load.failure.CompareAndSwap(nil, &err)
	}
	if err != nil || x.load.over.Load() {
		x.load.open.Done()
		return
	}
	if x.load.measuring.Load() {
		x.latencies = append(x.latencies, time.Since(x.sent))
	}
	x.send()
}

// wait waits for a time, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
