package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/device"
)

// listeners is how many devices are sent messages at once.
const listeners = 50

// measureMessages measures messages to devices, from a back end's request until the device
// has it: each is durable before the back end is answered, and gone from its queue, durably,
// once the device has acknowledged it. A back end sends the next when it is answered.
func measureMessages(ctx context.Context, s settings, r *report) (err error) {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	devices, err := newIdentities(authority, "listener", listeners)
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
	for range s.rounds {
		if err := sendToAll(ctx, b, devices, s.seconds, r); err != nil {
			return err
		}
	}
	return nil
}

func sendToAll(ctx context.Context, b *berth, devices []identity, lasting time.Duration, r *report) error {
	var received atomic.Int64
	var mutex sync.Mutex
	var latencies []time.Duration
	took := func(m device.Message) {
		sent, _ := strconv.ParseInt(string(m.Payload[:19]), 10, 64) // nanoseconds since 1970 have 19 digits
		received.Add(1)
		mutex.Lock()
		defer mutex.Unlock()
		latencies = append(latencies, time.Duration(time.Now().UnixNano()-sent))
	}
	for _, who := range devices {
		client, err := device.Connect(ctx, device.HubOptions{Host: b.address(), DeviceID: who.id,
			Certificate: who.certificate, RootCAs: b.roots, CleanSession: true, OnMessage: took})
		if err != nil {
			return err
		}
		defer client.Close()
	}
	cpu, elapsed, err := b.process.measureCPU(func() error {
		began := time.Now()
		return inParallel(ctx, len(devices), len(devices), func(ctx context.Context, i int) error {
			for time.Since(began) < lasting {
				payload := fmt.Sprintf("%-*d", payloadSize, time.Now().UnixNano())
				if _, err := b.hub.SendMessage(ctx, devices[i].id, contract.DeviceMessage{Payload: payload}); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	n := float64(received.Load())
	mutex.Lock()
	defer mutex.Unlock()
	what := fmt.Sprintf("Messages to %d devices, %d bytes, one in flight each: ", len(devices), payloadSize)
	r.add(b, what+"received messages/s", n/elapsed.Seconds())
	r.add(b, what+"p50 (ms)", milliseconds(quantile(latencies, 0.5)))
	r.add(b, what+"p99 (ms)", milliseconds(quantile(latencies, 0.99)))
	r.add(b, what+"server CPU a message (ms)", 1000*cpu/n)
	return nil
}
