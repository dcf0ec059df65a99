package method

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/fault"
)

// A call is two requests on the bus, because a device may take longer than one may last.
// The first goes to the session of the device, wherever that is, and says whether the
// device was handed the call. The second comes from there to the node of the caller: the
// answer, or that the device has gone. Each node serves one subject for all of its calls.
//
// Who waits for a device is woken by a message to all nodes, which a device's session
// sends when the device begins to take calls.

// Config is what methods are called through.
type Config struct {
	Hub string // its name, which is part of subjects on the bus
	Bus cluster.Bus
}

// Methods are the calls that are under way from this node. Its methods may be called at
// once from many goroutines.
type Methods struct {
	bus     cluster.Bus
	topic   string // tells all nodes of devices that take calls now
	subject string // of the answers to this node
	leave   []func()
	lastID  atomic.Uint64

	mutex   sync.Mutex
	waiting map[uint64]chan reply      // for answers, by the id of the call
	absent  map[string][]chan struct{} // for devices that are not online
}

// Open returns the methods of a hub on this node. Close ends them.
func Open(config Config) (*Methods, error) {
	m := &Methods{
		bus:     config.Bus,
		topic:   "hub." + config.Hub + ".method.receivers",
		subject: "hub." + config.Hub + ".method.answers." + fault.NewTrackingID(),
		waiting: make(map[uint64]chan reply),
		absent:  make(map[string][]chan struct{}),
	}
	release, err := m.bus.Serve(m.subject, m)
	if err != nil {
		return nil, fmt.Errorf("serve the answers to methods: %w", err)
	}
	cancel, err := m.bus.Receive(m.topic, m.arrived)
	if err != nil {
		release()
		return nil, fmt.Errorf("learn of devices that take calls: %w", err)
	}
	m.leave = []func(){cancel, release}
	return m, nil
}

// Close takes no more answers.
func (m *Methods) Close() {
	for _, leave := range m.leave {
		leave()
	}
}

// Calls returns how many methods were called since Open, from this node.
func (m *Methods) Calls() uint64 { return m.lastID.Load() }

// Request is a call on its way to the session of its device.
type Request struct {
	ID      uint64          `json:"id"`
	ReplyTo string          `json:"replyTo"` // the subject of its caller's node
	Name    string          `json:"name"`
	Payload json.RawMessage `json:"payload,omitempty"`
	Timeout time.Duration   `json:"timeout"` // nanoseconds that the device has to answer
}

// Receipt is what a session says to a request.
type Receipt string

// The receipts.
const (
	Taken  Receipt = "taken"  // the device was handed the call
	Absent Receipt = "absent" // the device takes no calls
	Full   Receipt = "full"   // the device has as many as it may
)

// reply is what comes of a call that a device was handed.
type reply struct {
	ID      uint64          `json:"id"`
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload,omitempty"`
	Refusal *refusal        `json:"refusal,omitempty"` // in place of an answer
}

type refusal struct {
	Code fault.Code `json:"code"`
	Text fault.Text `json:"text"`
}

// Invoke calls a method of a device and waits for its answer. send is given the request
// for the device's session, once or, while the device is not online, each time that it
// comes; cluster.ErrNobody from it counts as Absent. Invoke returns the faults 400004 and
// 400005 for a call that can't be one, 413001 for a payload that is too large, 403800 when
// the device has too many calls, 404103 when it is not online, 404104 when its connection
// ends before it answers, 504101 when it does not answer in time, and 502000 when what it
// answers is no JSON or too large.
func (m *Methods) Invoke(
	ctx context.Context, deviceID string, call Call, send func(context.Context, Request) (Receipt, error),
) (Answer, error) {
	call, err := call.complete()
	if err != nil {
		return Answer{}, err
	}
	id, replies := m.await()
	defer m.forget(id)
	request := Request{ID: id, ReplyTo: m.subject, Name: call.Name, Payload: call.Payload,
		Timeout: call.ResponseTimeout}
	if err := m.handOver(ctx, deviceID, call, func() (Receipt, error) { return send(ctx, request) }); err != nil {
		return Answer{}, err
	}
	timer := time.NewTimer(call.ResponseTimeout)
	defer timer.Stop()
	select {
	case came := <-replies:
		if came.Refusal != nil {
			return Answer{}, fault.New(came.Refusal.Code, "%s", came.Refusal.Text)
		}
		return Answer{Status: came.Status, Payload: came.Payload}, nil
	case <-timer.C:
		return Answer{}, unanswered(deviceID, call)
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
}

// handOver sends a call until the device has it, or the time for it to connect is over.
func (m *Methods) handOver(ctx context.Context, deviceID string, call Call, send func() (Receipt, error)) error {
	var arrivals chan struct{}
	var over <-chan time.Time
	if call.ConnectTimeout > 0 {
		var ok bool
		if arrivals, ok = m.awaitDevice(deviceID); !ok { // from before the first try: none is missed
			return tooMany(deviceID)
		}
		defer m.forgetDevice(deviceID, arrivals)
		timer := time.NewTimer(call.ConnectTimeout)
		defer timer.Stop()
		over = timer.C
	}
	for last := call.ConnectTimeout == 0; ; {
		receipt, err := send()
		switch {
		case errors.Is(err, cluster.ErrNobody), err == nil && receipt == Absent:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded): // the node of the device does not answer, and may have it
			return unanswered(deviceID, call)
		case err != nil:
			return err
		case receipt == Taken:
			return nil
		default:
			return tooMany(deviceID)
		}
		if last {
			return notOnline(deviceID, call.ConnectTimeout)
		}
		select {
		case <-arrivals:
		case <-over:
			last = true // and try once more: a message to all nodes may be lost
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// await returns the id of a new call, and where its answer comes.
func (m *Methods) await() (id uint64, replies chan reply) {
	id, replies = m.lastID.Add(1), make(chan reply, 1)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.waiting[id] = replies
	return id, replies
}

func (m *Methods) forget(id uint64) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.waiting, id)
}

// awaitDevice returns what hears each time that the device may take calls. It reports
// false when as many wait for it as may.
func (m *Methods) awaitDevice(deviceID string) (arrivals chan struct{}, ok bool) {
	arrivals = make(chan struct{}, 1)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if len(m.absent[deviceID]) == MaxCalls {
		return nil, false
	}
	m.absent[deviceID] = append(m.absent[deviceID], arrivals)
	return arrivals, true
}

func (m *Methods) forgetDevice(deviceID string, arrivals chan struct{}) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	others := slices.DeleteFunc(m.absent[deviceID], func(c chan struct{}) bool { return c == arrivals })
	if m.absent[deviceID] = others; len(others) == 0 {
		delete(m.absent, deviceID)
	}
}

// Announce tells all nodes that a device takes calls from now on.
func (m *Methods) Announce(ctx context.Context, deviceID string) error {
	return m.bus.Broadcast(ctx, m.topic, []byte(deviceID))
}

// arrived wakes who waits for a device.
func (m *Methods) arrived(deviceID []byte) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, arrivals := range m.absent[string(deviceID)] {
		select {
		case arrivals <- struct{}{}:
		default: // has not looked yet since it heard last
		}
	}
}

// Handle implements cluster.Server: the answer to a call of this node. One that nobody
// waits for any more is dropped.
func (m *Methods) Handle(_ context.Context, message []byte) ([]byte, error) {
	var came reply
	if err := json.Unmarshal(message, &came); err != nil {
		return nil, fmt.Errorf("the answer to a method: %w", err)
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if replies := m.waiting[came.ID]; replies != nil {
		delete(m.waiting, came.ID) // a second answer finds nobody
		replies <- came
	}
	return nil, nil
}

// Displaced implements cluster.Server. Nobody else has this subject.
func (m *Methods) Displaced() {}
