package mqtt

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/method"
	"github.com/berth-iot/berth/wire/mqtt"
)

// methodOutcome is what came of a call.
type methodOutcome struct {
	method.Answer
	err error
}

// invoke calls a method of d1 in the background.
func (f *fixture) invoke(call method.Call) chan methodOutcome {
	if call.ResponseTimeout == 0 {
		call.ResponseTimeout = method.DefaultResponseTimeout
	}
	done := make(chan methodOutcome, 1)
	go func() {
		answer, err := f.InvokeMethod(f.t.Context(), "d1", call)
		done <- methodOutcome{answer, err}
	}()
	return done
}

func (f *fixture) outcome(done chan methodOutcome) methodOutcome {
	f.t.Helper()
	select {
	case came := <-done:
		return came
	case <-time.After(20 * time.Second):
		f.t.Fatal("nothing comes of the call")
	}
	return methodOutcome{}
}

// awaitDisconnected waits until no device is connected.
func (f *fixture) awaitDisconnected() {
	f.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); f.Stats().Connected > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatal("a device is still connected")
		}
	}
}

func (d *device) subscribeTo(filter string, qos byte) {
	d.t.Helper()
	if codes, err := d.Subscribe(d.t.Context(), mqtt.Subscription{Filter: filter, QoS: qos}); err != nil ||
		codes[0] != min(qos, 1) {
		d.t.Fatalf("subscribing to %s is answered %v, %v", filter, codes, err)
	}
}

// nextCall is the next call that the device is handed.
func (d *device) nextCall() (requestID string, got received) {
	d.t.Helper()
	got = d.next()
	_, requestID, ok := contract.CutMethod(got.topic)
	if !ok {
		d.t.Fatalf("it got %s", got.topic)
	}
	return requestID, got
}

func (d *device) publish(topic, payload string, qos byte) {
	d.t.Helper()
	if err := d.Publish(topic, []byte(payload), qos, nil); err != nil {
		d.t.Fatal(err)
	}
}

// A call reaches the device on its topic, and what it answers the caller.
func TestMethods(t *testing.T) {
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			f := newFixture(t)
			d := f.connect("d1", true)
			d.subscribeTo(contract.MethodFilter, qos)
			for sent, c := range map[string]struct{ received, answer, want string }{
				`{"b": 1.0, "a": "<ü>"}`: {`{"b":1.0,"a":"<ü>"}`, ` {"z":1, "a":[2.50]}`, `{"z":1,"a":[2.50]}`},
				"":                       {"null", "", "null"},
				"null":                   {"null", "null\x00\x00", "null"},
				"{}":                     {"{}", "1e3", "1e3"},
			} {
				done := f.invoke(method.Call{Name: "component*reboot", Payload: json.RawMessage(sent)})
				requestID, got := d.nextCall()
				if got.topic != "$iothub/methods/POST/component*reboot/?$rid="+requestID || string(got.payload) != c.received {
					t.Errorf("%q comes as %s %s", sent, got.topic, got.payload)
				}
				d.publish("$iothub/methods/res/-3/?$rid="+requestID, c.answer, qos)
				if came := f.outcome(done); came.err != nil || came.Status != -3 || string(came.Payload) != c.want {
					t.Errorf("%q is answered %+v, want %s", c.answer, came, c.want)
				}
			}
		})
	}
}

// Only a device that has subscribed to a method takes calls of it.
func TestMethodSubscriptions(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", true)
	refused := func(name string, why string) {
		t.Helper()
		if came := f.outcome(f.invoke(method.Call{Name: name})); !errors.Is(came.err, fault.DeviceNotOnline) {
			t.Errorf("%s: %v", why, came.err)
		}
	}
	taken := func(name string) {
		t.Helper()
		done := f.invoke(method.Call{Name: name})
		requestID, _ := d.nextCall()
		d.publish("$iothub/methods/res/200/?$rid="+requestID, "", 0)
		if came := f.outcome(done); came.err != nil {
			t.Errorf("%s: %v", name, came.err)
		}
	}
	d.subscribeTo(contract.DesiredFilter, 0)
	refused("reboot", "not subscribed")
	d.subscribeTo("$iothub/methods/POST/reboot/#", 0)
	taken("reboot")
	refused("stop", "not subscribed to this one")
	d.subscribeTo(contract.MethodFilter, 0)
	taken("stop")
	d.Abort()
	f.awaitDisconnected()
	refused("reboot", "not connected")
	if _, err := f.InvokeMethod(t.Context(), "nobody", method.Call{Name: "m"}); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("a device that there is not: %v", err)
	}
}

// A call that waits for a device is handed over when it subscribes, or comes back to a
// session that has.
func TestMethodWaitsForDevice(t *testing.T) {
	f := newFixture(t)
	if _, err := f.CreateDevice(t.Context(), identity.Device{DeviceID: "d1"}); err != nil {
		t.Fatal(err)
	}
	wait := method.Call{Name: "m", ConnectTimeout: 20 * time.Second}
	answer := func(d *device, done chan methodOutcome) {
		t.Helper()
		requestID, _ := d.nextCall()
		d.publish("$iothub/methods/res/200/?$rid="+requestID, "", 1)
		if came := f.outcome(done); came.err != nil {
			t.Error(came.err)
		}
	}
	done := f.invoke(wait)
	d := f.connect("d1", false)
	d.subscribeTo(contract.MethodFilter, 1)
	answer(d, done)

	if err := d.Disconnect(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	f.awaitDisconnected()
	done = f.invoke(wait)
	again := f.connect("d1", false)
	if !again.present {
		t.Error("the session was not kept")
	}
	answer(again, done)
}

// A call fails at once when the device goes before it answers, and when it connects anew;
// what it answers later finds nobody.
func TestMethodOfDeviceThatGoes(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", false)
	d.subscribeTo(contract.MethodFilter, 1)
	done := f.invoke(method.Call{Name: "first"})
	first, _ := d.nextCall()
	d.Abort()
	if came := f.outcome(done); !errors.Is(came.err, fault.DeviceGone) {
		t.Errorf("the device has gone: %v", came.err)
	}

	second := f.connect("d1", false)
	done = f.invoke(method.Call{Name: "second", ConnectTimeout: 10 * time.Second})
	second.nextCall()
	third := f.connect("d1", false)
	if came := f.outcome(done); !errors.Is(came.err, fault.DeviceGone) {
		t.Errorf("the device has connected anew: %v", came.err)
	}

	done = f.invoke(method.Call{Name: "third", ConnectTimeout: 10 * time.Second})
	requestID, _ := third.nextCall()
	third.publish("$iothub/methods/res/1/?$rid="+first, "", 1)
	third.publish("$iothub/methods/res/3/?$rid="+requestID, "", 1)
	if came := f.outcome(done); came.err != nil || came.Status != 3 {
		t.Errorf("the third call is answered %+v", came)
	}
}

// An answer that can't be handed on fails its call, and an answer to nothing does nothing.
// One that names no call at all ends the connection.
func TestMethodAnswersOfStrangeForm(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", true)
	d.subscribeTo(contract.MethodFilter, 1)
	for _, c := range []struct{ status, payload string }{{"200", "hello"}, {"ok", "{}"}, {"", "{}"}, {"99999999999", "{}"},
		{"200", `"` + strings.Repeat("x", method.MaxPayload) + `"`}} {
		done := f.invoke(method.Call{Name: "m"})
		requestID, _ := d.nextCall()
		d.publish("$iothub/methods/res/"+c.status+"/?$rid="+requestID, c.payload, 1)
		if came := f.outcome(done); !errors.Is(came.err, fault.BadGateway) {
			t.Errorf("%s %.20s: %v", c.status, c.payload, came.err)
		}
	}
	for _, topic := range []string{"$iothub/methods/res/200/?$rid=nothing", "$iothub/methods/res/200/?$rid="} {
		acknowledged := make(chan error, 1)
		if err := d.Publish(topic, nil, 1, func(err error) { acknowledged <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-acknowledged; err != nil {
			t.Errorf("%s: %v", topic, err)
		}
	}
	d.publish("$iothub/methods/res/200/", "", 0)
	select {
	case <-d.Ended():
	case <-time.After(20 * time.Second):
		t.Error("an answer without $rid does not end the connection")
	}
}

// A device that does not read is not cut off by calls: those beyond what may wait for it
// are refused, and it answers the others when it reads again.
func TestMethodsOfDeviceThatDoesNotRead(t *testing.T) {
	f := newFixture(t)
	created, err := f.CreateDevice(t.Context(), identity.Device{DeviceID: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	reads := make(chan struct{})
	slow := &slowConn{Conn: conn, reads: reads}
	var client *mqtt.Client
	var ready sync.WaitGroup
	ready.Add(1)
	client, _, err = mqtt.NewClient(t.Context(), slow, &mqtt.Connect{ClientID: "d1",
		Username: "hub.local/d1/?api-version=2021-04-12", Password: []byte(f.token(created)), HasPassword: true,
		CleanSession: true}, func(topic string, _ []byte) {
		ready.Wait()
		_, requestID, _ := contract.CutMethod(topic)
		client.Publish("$iothub/methods/res/200/?$rid="+requestID, nil, 1, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	ready.Done()
	defer client.Abort()
	if _, err := client.Subscribe(t.Context(), mqtt.Subscription{Filter: contract.MethodFilter, QoS: 1}); err != nil {
		t.Fatal(err)
	}
	slow.stop()
	payload := json.RawMessage(`"` + strings.Repeat("x", 100_000) + `"`)
	var calls []chan methodOutcome
	for range 40 {
		calls = append(calls, f.invoke(method.Call{Name: "m", Payload: payload}))
	}
	refused := 0
	for deadline := time.Now().Add(20 * time.Second); refused < 35 && time.Now().Before(deadline); {
		calls = slices.DeleteFunc(calls, func(done chan methodOutcome) bool {
			select {
			case came := <-done:
				if refused++; !errors.Is(came.err, fault.TooManyCalls) {
					t.Errorf("refused with %v", came.err)
				}
				return true
			default:
				return false
			}
		})
		time.Sleep(time.Millisecond)
	}
	if len(calls) != 5 {
		t.Errorf("%d calls are under way, want 5 of 100,000 bytes", len(calls))
	}
	close(reads)
	for _, done := range calls {
		if came := f.outcome(done); came.err != nil {
			t.Errorf("the device reads again: %v", came.err)
		}
	}
}

// slowConn reads nothing from when it is stopped until reads is closed.
type slowConn struct {
	net.Conn
	mutex   sync.Mutex
	stopped bool
	reads   chan struct{}
}

func (c *slowConn) stop() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.stopped = true
}

func (c *slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mutex.Lock()
	stopped := c.stopped
	c.mutex.Unlock()
	if stopped {
		<-c.reads
	}
	return n, err
}

// A thousand calls at once are answered or refused, and the device stays.
func TestThousandMethods(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", true)
	d.subscribeTo(contract.MethodFilter, 1)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case got := <-d.messages:
				_, requestID, _ := contract.CutMethod(got.topic)
				d.Publish("$iothub/methods/res/200/?$rid="+requestID, nil, 1, nil)
			case <-ended:
				return
			}
		}
	}()
	var calls []chan methodOutcome
	for range 1000 {
		calls = append(calls, f.invoke(method.Call{Name: "m"}))
	}
	answered := 0
	for _, done := range calls {
		switch came := f.outcome(done); {
		case came.err == nil:
			answered++
		case !errors.Is(came.err, fault.TooManyCalls):
			t.Error(came.err)
		}
	}
	if answered < method.MaxCalls {
		t.Errorf("%d calls were answered, and %d may be under way", answered, method.MaxCalls)
	}
	if stats := f.Stats(); stats.MethodCalls != 1000 {
		t.Errorf("%d calls were counted", stats.MethodCalls)
	}
}
