package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// alone is how many devices register one after the other, for the time that one
// takes.
const alone = 50

// arriving is how many devices register at once: enough to keep the server's core
// busy while others wait for the disk.
const arriving = 64

// measureRegistrations measures first registrations: a full mutual handshake,
// attestation, and a new identity and twin in the hub, all durable.
func measureRegistrations(ctx context.Context, s settings, r *report) (err error) {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	b, err := startBerth(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	for round := range s.rounds {
		devices, err := newIdentities(authority, fmt.Sprintf("round-%d", round), s.devices+alone)
		if err != nil {
			return err
		}
		if err := b.enroll(ctx, devices); err != nil {
			return err
		}
		if err := registerMany(ctx, b, devices[:s.devices], r); err != nil {
			return err
		}
		if err := registerAlone(ctx, b, devices[s.devices:], r); err != nil {
			return err
		}
	}
	return nil
}

// registerAll registers devices that arrive together, and returns the CPU time in
// seconds that the server used, and how long it took.
func (b *berth) registerAll(ctx context.Context, devices []identity) (cpu float64, elapsed time.Duration, err error) {
	return b.process.measureCPU(func() error {
		return inParallel(ctx, len(devices), arriving, func(ctx context.Context, i int) error {
			return b.register(ctx, devices[i])
		})
	})
}

func registerMany(ctx context.Context, b *berth, devices []identity, r *report) error {
	cpu, elapsed, err := b.registerAll(ctx, devices)
	if err != nil {
		return err
	}
	r.add(b, "First registrations, mutual TLS: registrations/s", float64(len(devices))/elapsed.Seconds())
	r.add(b, "First registrations, mutual TLS: server CPU a registration (ms)", 1000*cpu/float64(len(devices)))
	r.add(b, "First registrations, mutual TLS: server CPU (% of a core)", 100*cpu/elapsed.Seconds())
	return nil
}

func registerAlone(ctx context.Context, b *berth, devices []identity, r *report) error {
	times := make([]time.Duration, len(devices))
	for i, device := range devices {
		began := time.Now()
		if err := b.register(ctx, device); err != nil {
			return err
		}
		times[i] = time.Since(began)
	}
	r.add(b, "One device, connect to assigned: p50 (ms)", milliseconds(quantile(times, 0.5)))
	r.add(b, "One device, connect to assigned: p99 (ms)", milliseconds(quantile(times, 0.99)))
	return nil
}
