package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/berth-iot/berth/credential"
)

// target is a running server that can take the load.
type target interface {
	name() string
	server() *process
	// createDevices makes devices known to the server.
	createDevices(context.Context, []identity) error
	// connect connects a device with a full mutual handshake. One that listens
	// has a subscription.
	connect(ctx context.Context, device identity, listens bool) (link, error)
	stop() error
}

// link is a connected device.
type link interface {
	// send publishes telemetry with QoS 1; done is called when it is
	// acknowledged or never will be.
	send(payload []byte, done func(error)) error
	close() error
}

// forEachTarget starts the servers that are installed, fresh, creates the
// devices, and calls measure for each of them in every round, in turn: what else
// the machine does hits all of them.
func forEachTarget(
	ctx context.Context, s settings, r *report, rounds int, devices int, measure func(target, []identity) error,
) (err error) {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	identities, err := newIdentities(authority, "device", devices)
	if err != nil {
		return err
	}
	targets, err := startTargets(s, r, authority)
	defer func() {
		for _, target := range targets {
			err = errors.Join(err, target.stop())
		}
	}()
	if err != nil {
		return err
	}
	for _, target := range targets {
		if err := target.createDevices(ctx, identities); err != nil {
			return fmt.Errorf("make devices known to %s: %w", target.name(), err)
		}
	}
	for range rounds {
		for _, target := range targets {
			if err := measure(target, identities); err != nil {
				return fmt.Errorf("measure %s: %w", target.name(), err)
			}
		}
	}
	return nil
}

func startTargets(s settings, r *report, authority *credential.Authority) ([]target, error) {
	first, err := startBerth(s)
	if err != nil {
		return nil, err
	}
	targets := []target{first}
	peer, err := startMosquitto(s, authority)
	if errors.Is(err, errNotInstalled) {
		r.addNote("mosquitto is not installed: Berth is measured alone.")
		return targets, nil
	}
	if err != nil {
		return targets, err
	}
	return append(targets, peer), nil
}

// inParallel calls do for all numbers below n, at most width at once, and returns
// the first error.
func inParallel(ctx context.Context, n, width int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	numbers := make(chan int)
	for range min(n, width) {
		workers.Go(func() {
			for i := range numbers {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for i := range n {
		select {
		case numbers <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(numbers)
	workers.Wait()
	return context.Cause(ctx)
}
