package main

import (
	"context"
	"sync/atomic"
	"time"
)

// storm is how many devices connect at once, again and again.
const storm = 16

// measureConnections measures a connect storm: full mutual handshakes (no
// session is resumed), CONNECT answered, DISCONNECT.
func measureConnections(ctx context.Context, s settings, r *report) error {
	return forEachTarget(ctx, s, r, s.rounds, storm, func(t target, devices []identity) error {
		var connected atomic.Int64
		cpu, elapsed, err := t.server().measureCPU(func() error {
			began := time.Now()
			return inParallel(ctx, storm, storm, func(ctx context.Context, i int) error {
				for time.Since(began) < s.seconds {
					link, err := t.connect(ctx, devices[i], false)
					if err != nil {
						return err
					}
					connected.Add(1)
					if err := link.close(); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
		r.add(t, "Connect storm, mutual TLS: connections/s", float64(connected.Load())/elapsed.Seconds())
		r.add(t, "Connect storm, mutual TLS: server CPU a connection (ms)", 1000*cpu/float64(connected.Load()))
		return nil
	})
}
