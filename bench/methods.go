package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/device"
)

const (
	methodDevices = 16
	methodWarmUp  = 50 // calls that are not measured
)

// measureMethods measures direct methods from the back end to the device and back: one
// HTTPS request after the other on a connection that is kept, and several at once.
func measureMethods(ctx context.Context, s settings, r *report) (err error) {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	devices, err := newIdentities(authority, "methods", methodDevices)
	if err != nil {
		return err
	}
	b, err := startBerth(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.createDevices(ctx, devices); err != nil {
		return err
	}
	for _, who := range devices {
		client, err := device.Connect(ctx, device.HubOptions{Host: b.address(), DeviceID: who.id,
			Certificate: who.certificate, RootCAs: b.roots, CleanSession: true,
			OnMethod: func(_ string, payload json.RawMessage) (int, json.RawMessage) { return 200, payload }})
		if err != nil {
			return err
		}
		defer client.Close()
	}
	for range s.rounds {
		for _, atOnce := range []int{1, methodDevices} {
			if err := measureCalls(ctx, s, b, devices[:atOnce], r); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureCalls calls each device, again as soon as it has answered.
func measureCalls(ctx context.Context, s settings, b *berth, devices []identity, r *report) error {
	took := make([][]time.Duration, len(devices))
	var counted time.Duration
	cpu, _, err := b.process.measureCPU(func() error {
		began := time.Now()
		defer func() { counted = time.Since(began) }()
		return inParallel(ctx, len(devices), len(devices), func(ctx context.Context, i int) error {
			for n := -methodWarmUp; n <= 0 || time.Since(began) < s.seconds; n++ {
				payload := json.RawMessage(strconv.Itoa(n))
				sent := time.Now()
				answer, err := b.hub.InvokeMethod(ctx, devices[i].id,
					contract.MethodCall{MethodName: "echo", Payload: payload})
				if err != nil {
					return err
				}
				if string(answer.Payload) != string(payload) {
					return fmt.Errorf("the method was answered %s, want %s", answer.Payload, payload)
				}
				if n >= 0 {
					took[i] = append(took[i], time.Since(sent))
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	all := slices.Concat(took...)
	calls := float64(len(all) + methodWarmUp*len(devices))
	what := fmt.Sprintf("Direct methods, %d at once: ", len(devices))
	r.add(b, what+"calls/s", calls/counted.Seconds())
	r.add(b, what+"p50 (ms)", milliseconds(quantile(all, 0.5)))
	r.add(b, what+"p99 (ms)", milliseconds(quantile(all, 0.99)))
	r.add(b, what+"server CPU for a thousand calls (s)", cpu/calls*1e3)
	return nil
}
