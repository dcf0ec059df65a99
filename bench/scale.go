package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// others are how many enrollments there are beside those of the devices that
// register.
var others = []int{1000, 1_000_000}

// measureScale measures what a first registration costs among few enrollments and
// among many. Servers with each number take turns in every round: what else the
// machine does meanwhile is then the same for both.
func measureScale(ctx context.Context, s settings, r *report) (err error) {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	var among []*berth
	defer func() {
		for _, b := range among {
			err = errors.Join(err, b.stop())
		}
	}()
	for _, n := range others {
		b, err := startBerth(s)
		if err != nil {
			return err
		}
		among = append(among, b)
		began := time.Now()
		if err := b.enrollOthers(ctx, authority, n); err != nil {
			return err
		}
		fmt.Printf("%d enrollments made in %s\n", n, time.Since(began).Round(time.Millisecond))
	}
	for round := range s.rounds {
		devices, err := newIdentities(authority, fmt.Sprintf("round-%d", round), s.devices)
		if err != nil {
			return err
		}
		for i, b := range among {
			if err := b.enroll(ctx, devices); err != nil {
				return err
			}
			if err := b.awaitIdle(ctx); err != nil {
				return err
			}
			if err := registerAmong(ctx, b, devices, r, others[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func registerAmong(ctx context.Context, b *berth, devices []identity, r *report, n int) error {
	cpu, _, err := b.registerAll(ctx, devices)
	if err != nil {
		return err
	}
	r.add(b, fmt.Sprintf("First registration among %d enrollments: server CPU (ms)", n), 1000*cpu/float64(len(devices)))
	return nil
}

// enrollOthers makes n enrollments, for the same certificate: nobody comes with it.
func (b *berth) enrollOthers(ctx context.Context, authority *credential.Authority, n int) error {
	of, err := newIdentity(authority, "other")
	if err != nil {
		return err
	}
	certificates := &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: of.pem}}
	return inParallel(ctx, (n+backend.MaxBulk-1)/backend.MaxBulk, 4, func(ctx context.Context, i int) error {
		var enrollments []enroll.Enrollment
		for id := i * backend.MaxBulk; id < min(n, (i+1)*backend.MaxBulk); id++ {
			enrollments = append(enrollments, newEnrollment(fmt.Sprintf("other-%07d", id), certificates))
		}
		failed, err := b.service.BulkEnrollments(ctx, backend.BulkCreate, enrollments)
		if err == nil && len(failed) > 0 {
			err = errors.New(failed[0].Message)
		}
		return err
	})
}

// awaitIdle waits until the server has nothing left to do: its storage puts in order
// what it was given.
func (b *berth) awaitIdle(ctx context.Context) error {
	for quiet := 0; quiet < 3; {
		cpu, _, err := b.process.measureCPU(func() error { return wait(ctx, time.Second) })
		if err != nil {
			return err
		}
		if quiet++; cpu > 0.05 {
			quiet = 0
		}
	}
	return nil
}
