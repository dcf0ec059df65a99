package method

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// ErrNoReceiver is what a device's connection says to a call when the device has not
// subscribed to methods.
var ErrNoReceiver = errors.New("the device has not subscribed to methods")

// Received are the calls that one session of a device was handed and has not answered. Its
// methods may be called at once from many goroutines.
type Received struct {
	of       *Methods
	deviceID string

	mutex  sync.Mutex
	lastID uint32
	ended  bool
	calls  map[string]handed // by the request id that the device answers with
	bytes  int               // of their payloads
}

type handed struct {
	request Request // without its payload
	bytes   int
	expires time.Time // the caller has gone by then
}

// NewReceived returns the calls of a new session of a device.
func (m *Methods) NewReceived(deviceID string) *Received {
	// Ids go on from anywhere, so that a late answer to a call of an earlier session finds none.
	return &Received{of: m, deviceID: deviceID, lastID: rand.Uint32()}
}

// Receive takes a request for the device. deliver hands it over under an id that the
// device answers with; it must not wait. Its error is ErrNoReceiver, or anything else when
// the device can't be handed more.
func (r *Received) Receive(
	request Request, deliver func(requestID, name string, payload []byte) error,
) Receipt {
	id, receipt := r.add(request)
	if receipt != Taken {
		return receipt
	}
	err := deliver(id, request.Name, request.Payload)
	switch {
	case err == nil:
		return Taken
	case r.take(id).request.ID == 0: // the session has ended meanwhile, and has said so to the caller
		return Taken
	case errors.Is(err, ErrNoReceiver):
		return Absent
	}
	return Full
}

func (r *Received) add(request Request) (id string, receipt Receipt) {
	size, now := len(request.Payload), time.Now()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.ended {
		return "", Absent
	}
	if !r.hasRoom(size) {
		r.dropExpired(now)
		if !r.hasRoom(size) {
			return "", Full
		}
	}
	if r.calls == nil {
		r.calls = make(map[string]handed)
	}
	for taken := true; taken; _, taken = r.calls[id] {
		r.lastID++
		id = strconv.FormatUint(uint64(r.lastID), 16)
	}
	request.Payload = nil
	r.calls[id] = handed{request, size, now.Add(request.Timeout)}
	r.bytes += size
	return id, Taken
}

// hasRoom reports whether the device may have one more call with a payload of this size.
// The mutex is held.
func (r *Received) hasRoom(size int) bool {
	return len(r.calls) == 0 || len(r.calls) < MaxCalls && r.bytes+size <= maxCallBytes
}

// dropExpired forgets the calls that nobody waits for any more. The mutex is held.
func (r *Received) dropExpired(now time.Time) {
	for id, call := range r.calls {
		if now.After(call.expires) {
			delete(r.calls, id)
			r.bytes -= call.bytes
		}
	}
}

// take removes a call and returns it, the zero value when there is none.
func (r *Received) take(id string) handed {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	call := r.calls[id]
	delete(r.calls, id)
	r.bytes -= call.bytes
	return call
}

// Answer hands what the device answers to whoever called. status is text, as the device
// wrote it. An answer that comes too late, or to no call, is dropped.
func (r *Received) Answer(ctx context.Context, requestID, status string, payload []byte) error {
	call := r.take(requestID)
	if call.request.ID == 0 {
		return nil
	}
	came := reply{ID: call.request.ID, Payload: null}
	if number, err := strconv.ParseInt(status, 10, 32); err != nil {
		came.Refusal = r.invalid(call, fault.NewReason("the status must be a whole number, not %.32q", status))
	} else if came.Status = int(number); len(payload) > 0 {
		if err := checkAnswer(payload); err != nil {
			came.Refusal = r.invalid(call, err)
		} else {
			came.Payload = payload
		}
	}
	return r.reply(ctx, call, came)
}

func checkAnswer(payload []byte) error {
	if len(payload) > MaxPayload {
		return fault.NewReason("the payload has %d bytes, and %d are allowed", len(payload), MaxPayload)
	}
	if err := checkPayload(payload); err != nil {
		return fault.NewReason("the payload must be JSON: %v", err)
	}
	return nil
}

// invalid is what a caller is told of an answer that can't be handed on.
func (r *Received) invalid(call handed, reason error) *refusal {
	return &refusal{fault.BadGateway, fault.Say("The device %.128q answered the method %q, but %v", r.deviceID,
		call.request.Name, reason)}
}

// End tells whoever still waits for the device that it has gone. It takes no calls after
// this.
func (r *Received) End(ctx context.Context) error {
	r.mutex.Lock()
	calls := r.calls
	r.ended, r.calls, r.bytes = true, nil, 0
	r.mutex.Unlock()
	var failed error
	for _, call := range calls {
		came := reply{ID: call.request.ID, Payload: null, Refusal: &refusal{fault.DeviceGone, fault.Say(
			"The connection of the device %.128q ended before it answered the method %q", r.deviceID,
			call.request.Name)}}
		failed = cmp.Or(r.reply(ctx, call, came), failed)
	}
	return failed
}

// reply tells the caller's node what came of a call.
func (r *Received) reply(ctx context.Context, call handed, came reply) error {
	encoded, err := document.Marshal(came)
	if err != nil {
		return err
	}
	_, err = r.of.bus.Request(ctx, call.request.ReplyTo, encoded)
	return err
}
