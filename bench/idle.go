package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settle is how long connections are idle before memory is read: what the
// handshakes took must have time to go.
const settle = 15 * time.Second

// measureIdle measures the memory of connections that do nothing, each of a
// device of its own with a certificate and a subscription. Servers are fresh in
// every round.
func measureIdle(ctx context.Context, s settings, r *report) error {
	for range s.rounds {
		if err := forEachTarget(ctx, s, r, 1, s.idle, func(t target, devices []identity) error {
			return idle(ctx, t, devices, r)
		}); err != nil {
			return err
		}
	}
	return nil
}

func idle(ctx context.Context, t target, devices []identity, r *report) (err error) {
	if err := wait(ctx, settle); err != nil {
		return err
	}
	before, err := t.server().memory()
	if err != nil {
		return err
	}
	links := make([]link, len(devices))
	defer func() {
		for _, link := range links {
			if link != nil {
				err = errors.Join(err, link.close())
			}
		}
	}()
	if err := inParallel(ctx, len(devices), storm, func(ctx context.Context, i int) error {
		link, err := t.connect(ctx, devices[i], true)
		if err == nil {
			links[i] = link
		}
		return err
	}); err != nil {
		return err
	}
	if err := wait(ctx, settle); err != nil {
		return err
	}
	after, err := t.server().memory()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d idle connections, mutual TLS, subscribed: ", len(devices))
	r.add(t, what+"memory a connection (KiB)", (after-before)/1024/float64(len(devices)))
	r.add(t, what+"memory of the server (MiB)", after/(1<<20))
	return nil
}
