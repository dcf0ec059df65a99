package method

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store/storetest"
)

// device is a session of a device on a node of its own, which serves its subject.
type device struct {
	*Received
	mutex   sync.Mutex
	refusal error
	calls   []string // request ids, in their order
	answer  func(d *device, requestID, name string, payload []byte)
}

func (d *device) deliver(requestID, name string, payload []byte) error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.refusal != nil {
		return d.refusal
	}
	d.calls = append(d.calls, requestID)
	if d.answer != nil {
		go d.answer(d, requestID, name, payload)
	}
	return nil
}

func (d *device) Handle(_ context.Context, message []byte) ([]byte, error) {
	var request Request
	if err := json.Unmarshal(message, &request); err != nil {
		return nil, err
	}
	return []byte(d.Receive(request, d.deliver)), nil
}

func (d *device) Displaced() {}

func (d *device) handed() []string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.calls
}

// nodes are two: callers are at one, devices connect to the other.
type nodes struct {
	t               *testing.T
	calling, remote *Methods
	devices         cluster.Bus
	callers         cluster.Bus
}

func newNodes(t *testing.T) *nodes {
	network := local.NewNetwork()
	n := &nodes{t: t, callers: network.Node(), devices: network.Node()}
	for bus, methods := range map[cluster.Bus]**Methods{n.callers: &n.calling, n.devices: &n.remote} {
		opened, err := Open(Config{Hub: "test", Bus: bus})
		if err != nil {
			t.Fatal(err)
		}
		*methods = opened
		t.Cleanup(opened.Close)
	}
	return n
}

// connect has a device be online: one that answers nothing without answer, and takes no
// calls with a refusal.
func (n *nodes) connect(
	id string, answer func(d *device, requestID, name string, payload []byte), refusal ...error,
) *device {
	n.t.Helper()
	d := &device{Received: n.remote.NewReceived(id), answer: answer, refusal: errors.Join(refusal...)}
	release, err := n.devices.Serve(id, d)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(release)
	if err := n.remote.Announce(context.Background(), id); err != nil {
		n.t.Fatal(err)
	}
	return d
}

func (n *nodes) invoke(ctx context.Context, id string, call Call) (Answer, error) {
	call.ResponseTimeout = cmp.Or(call.ResponseTimeout, DefaultResponseTimeout)
	return n.calling.Invoke(ctx, id, call, func(ctx context.Context, request Request) (Receipt, error) {
		encoded, err := document.Marshal(request)
		if err != nil {
			return "", err
		}
		receipt, err := n.callers.Request(ctx, id, encoded)
		return Receipt(receipt), err
	})
}

// idle fails the test when something is left of the calls.
func (n *nodes) idle() {
	n.t.Helper()
	n.calling.mutex.Lock()
	defer n.calling.mutex.Unlock()
	if len(n.calling.waiting)+len(n.calling.absent) > 0 {
		n.t.Errorf("%d calls are left, and %d devices are waited for", len(n.calling.waiting), len(n.calling.absent))
	}
}

// echo answers with the status and the payload as they come.
func echo(status string) func(d *device, requestID, name string, payload []byte) {
	return func(d *device, requestID, _ string, payload []byte) {
		d.Answer(context.Background(), requestID, status, payload)
	}
}

func TestInvoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		n.connect("d", echo("-7"))
		for sent, want := range map[string]string{"": "null", "null": "null", "{}": "{}", `{"b":1.0,"a":"<ü>"}`: "",
			`"text"`: "", "1e3": "", "[null]": ""} {
			if want == "" {
				want = sent
			}
			got, err := n.invoke(t.Context(), "d", Call{Name: "component*reboot", Payload: json.RawMessage(sent)})
			if err != nil || got.Status != -7 || string(got.Payload) != want {
				t.Errorf("%q is answered %d %s, error %v; want %s", sent, got.Status, got.Payload, err, want)
			}
		}
		n.idle()
	})
}

// A device that sends nothing with its answer answers null.
func TestAnswerWithoutPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		n.connect("d", func(d *device, requestID, _ string, _ []byte) {
			d.Answer(context.Background(), requestID, "204", nil)
		})
		got, err := n.invoke(t.Context(), "d", Call{Name: "m"})
		if err != nil || got.Status != 204 || string(got.Payload) != "null" {
			t.Errorf("answered %+v, %v", got, err)
		}
	})
}

func TestCallsThatCannotBe(t *testing.T) {
	n := newNodes(t)
	n.connect("d", echo("200"))
	for name, c := range map[string]struct {
		call Call
		code fault.Code
		says string
	}{
		"no name":           {Call{}, fault.ArgumentNull, "methodName"},
		"a long name":       {Call{Name: strings.Repeat("n", 101)}, fault.ArgumentInvalid, "101 characters"},
		"a slash":           {Call{Name: "a/b"}, fault.ArgumentInvalid, "'/'"},
		"a percent sign":    {Call{Name: "a%20b"}, fault.ArgumentInvalid, "'%'"},
		"a wildcard":        {Call{Name: "a#"}, fault.ArgumentInvalid, "'#'"},
		"a space":           {Call{Name: "a b"}, fault.ArgumentInvalid, "' '"},
		"no ASCII":          {Call{Name: "prüfen"}, fault.ArgumentInvalid, "'ü'"},
		"a short time":      {Call{Name: "m", ResponseTimeout: 4 * time.Second}, fault.ArgumentInvalid, "5 to 300, not 4"},
		"a long time":       {Call{Name: "m", ResponseTimeout: 301 * time.Second}, fault.ArgumentInvalid, "not 301"},
		"a negative time":   {Call{Name: "m", ConnectTimeout: -time.Second}, fault.ArgumentInvalid, "0 to 300, not -1"},
		"longer to connect": {Call{Name: "m", ConnectTimeout: 31 * time.Second}, fault.ArgumentInvalid, "31"},
		"no JSON":           {Call{Name: "m", Payload: json.RawMessage("{")}, fault.ArgumentInvalid, "must be JSON"},
		"half a surrogate":  {Call{Name: "m", Payload: json.RawMessage(`"\ud800"`)}, fault.ArgumentInvalid, "must be JSON"},
		"a payload too large": {Call{Name: "m", Payload: json.RawMessage(`"` + strings.Repeat("x", MaxPayload-1) + `"`)},
			fault.MessageTooLarge, "131073 bytes"},
	} {
		if _, err := n.invoke(t.Context(), "d", c.call); !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %d with %q", name, err, c.code, c.says)
		}
	}
	payload := json.RawMessage(`"` + strings.Repeat("x", MaxPayload-2) + `"`)
	largest := Call{Name: strings.Repeat("n", 100), Payload: payload, ConnectTimeout: 300 * time.Second,
		ResponseTimeout: 300 * time.Second}
	if got, err := n.invoke(t.Context(), "d", largest); err != nil || len(got.Payload) != MaxPayload {
		t.Errorf("the largest call is answered with %d bytes, %v", len(got.Payload), err)
	}
}

// What a device answers is handed on only if every caller can read it.
func TestAnswersThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		for _, c := range []struct{ status, payload, says string }{
			{"200", "hello", "must be JSON"},
			{"200", `"\xff"`, "must be JSON"},
			{"200", "1e999", "out of range"},
			{"200", strings.Repeat("[", 64) + strings.Repeat("]", 64), "nested deeper"},
			{"200", `"` + strings.Repeat("x", MaxPayload) + `"`, "131074 bytes"},
			{"ok", "{}", `not "ok"`},
			{"2147483648", "{}", "whole number"},
		} {
			d := n.connect("d", func(d *device, requestID, _ string, _ []byte) {
				d.Answer(context.Background(), requestID, c.status, []byte(c.payload))
			})
			_, err := n.invoke(t.Context(), "d", Call{Name: "m"})
			if !errors.Is(err, fault.BadGateway) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s %.20q: %.200v, want %q", c.status, c.payload, err, c.says)
			}
			d.End(t.Context())
		}
		n.idle()
	})
}

// A caller of a device that is not online is told at once, or as soon as it has waited.
func TestNotOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		n.connect("deaf", nil, ErrNoReceiver)
		for _, id := range []string{"absent", "deaf"} {
			for wait, info := range map[time.Duration]string{0: "00:00:00", 90 * time.Second: "00:01:30"} {
				begun := time.Now()
				_, err := n.invoke(t.Context(), id, Call{Name: "m", ConnectTimeout: wait, ResponseTimeout: MaxTimeout})
				if problem := fault.From(err); !errors.Is(err, fault.DeviceNotOnline) || problem.Info["timeout"] != info {
					t.Errorf("%s for %v: %v with %v", id, wait, err, problem.Info)
				}
				if took := time.Since(begun); took != wait {
					t.Errorf("%s: told after %v, want %v", id, took, wait)
				}
			}
		}
		n.idle()
	})
}

// Calls wait for a device until it takes calls, at whatever node, and it has the whole
// time for the response then.
func TestWaitForDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		answers := make(chan error, 100)
		for range cap(answers) {
			go func() {
				_, err := n.invoke(t.Context(), "d",
					Call{Name: "m", ConnectTimeout: 10 * time.Second, ResponseTimeout: 10 * time.Second})
				answers <- err
			}()
		}
		time.Sleep(9 * time.Second)
		d := n.connect("d", nil, ErrNoReceiver) // and not subscribed yet
		synctest.Wait()
		d.mutex.Lock()
		d.refusal = nil
		d.answer = func(d *device, requestID, _ string, _ []byte) {
			time.Sleep(9 * time.Second)
			d.Answer(context.Background(), requestID, "200", nil)
		}
		d.mutex.Unlock()
		if err := n.remote.Announce(t.Context(), "d"); err != nil {
			t.Fatal(err)
		}
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		n.idle()
	})
}

// An arrival that no message tells of is found in the end.
func TestWaitWithoutMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		go func() {
			time.Sleep(time.Second)
			d := &device{Received: n.remote.NewReceived("d"), answer: echo("200")}
			if _, err := n.devices.Serve("d", d); err != nil {
				t.Error(err)
			}
		}()
		begun := time.Now()
		_, err := n.invoke(t.Context(), "d", Call{Name: "m", ConnectTimeout: 5 * time.Second})
		if took := time.Since(begun); err != nil || took != 5*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// An answer that comes when the time is over goes to nobody, and the room that the call
// took is free again.
func TestLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		d := n.connect("d", nil)
		begun := time.Now()
		_, err := n.invoke(t.Context(), "d", Call{Name: "m", ResponseTimeout: 5 * time.Second})
		if took := time.Since(begun); !errors.Is(err, fault.GatewayTimeout) || took != 5*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		late := d.handed()[0]
		answered := make(chan Answer, 1)
		go func() {
			got, err := n.invoke(t.Context(), "d", Call{Name: "m"})
			if err != nil {
				t.Error(err)
			}
			answered <- got
		}()
		synctest.Wait()
		if err := d.Answer(t.Context(), late, "1", nil); err != nil {
			t.Errorf("a late answer: %v", err)
		}
		if err := d.Answer(t.Context(), d.handed()[1], "2", nil); err != nil {
			t.Error(err)
		}
		if err := d.Answer(t.Context(), d.handed()[1], "3", nil); err != nil {
			t.Errorf("a second answer: %v", err)
		}
		if got := <-answered; got.Status != 2 {
			t.Errorf("the second call is answered %+v", got)
		}
		n.idle()
	})
}

// Who waits for a device that goes is told at once.
func TestDeviceGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		d := n.connect("d", nil)
		begun, failed := time.Now(), make(chan error, 10)
		for range cap(failed) {
			go func() {
				_, err := n.invoke(t.Context(), "d", Call{Name: "m"})
				failed <- err
			}()
		}
		synctest.Wait()
		if err := d.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range cap(failed) {
			if err := <-failed; !errors.Is(err, fault.DeviceGone) {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("told after %v", took)
		}
		if _, err := n.invoke(t.Context(), "d", Call{Name: "m"}); !errors.Is(err, fault.DeviceNotOnline) {
			t.Errorf("a call after the end: %v", err)
		}
		n.idle()
	})
}

// A device that goes while it is handed a call fails it like any other.
func TestDeviceGoesDuringCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		d := &device{Received: n.remote.NewReceived("d")}
		_, err := n.calling.Invoke(t.Context(), "d", Call{Name: "m", ResponseTimeout: MaxTimeout},
			func(_ context.Context, request Request) (Receipt, error) {
				return d.Receive(request, func(string, string, []byte) error {
					return errors.Join(d.End(t.Context()), errors.New("broken"))
				}), nil
			})
		if !errors.Is(err, fault.DeviceGone) {
			t.Error(err)
		}
	})
}

// As many calls may be under way with a device as it may have, by number and by bytes, and
// those beyond are refused at once.
func TestTooManyCalls(t *testing.T) {
	large := json.RawMessage(`"` + strings.Repeat("x", MaxPayload-2) + `"`)
	for name, c := range map[string]struct {
		call   Call
		calls  int
		online bool
		fits   int
	}{
		"small":   {Call{Name: "m"}, 1000, true, MaxCalls},
		"large":   {Call{Name: "m", Payload: large}, 6, true, maxCallBytes / MaxPayload},
		"waiting": {Call{Name: "m", ConnectTimeout: 20 * time.Second}, 1000, false, MaxCalls},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNodes(t)
				if c.online {
					n.connect("d", nil)
				}
				failed := make(chan error, c.calls)
				for range c.calls {
					go func() {
						_, err := n.invoke(t.Context(), "d", c.call)
						failed <- err
					}()
				}
				synctest.Wait()
				if refused := len(failed); refused != c.calls-c.fits {
					t.Errorf("%d of %d calls are refused at once, want %d", refused, c.calls, c.calls-c.fits)
				}
				for range c.calls {
					switch err := <-failed; {
					case errors.Is(err, fault.TooManyCalls), errors.Is(err, fault.GatewayTimeout) && c.online,
						errors.Is(err, fault.DeviceNotOnline) && !c.online:
					default:
						t.Error(err)
					}
				}
				n.idle()
				if !c.online {
					return
				}
				time.Sleep(time.Second) // their time is over, and their room free
				go func() {
					_, err := n.invoke(t.Context(), "d", c.call)
					failed <- err
				}()
				synctest.Wait()
				if len(failed) > 0 {
					t.Errorf("a call after those that were not answered: %v", <-failed)
				}
				<-failed
			})
		})
	}
}

// A device whose connection can't take more refuses a call, and keeps nothing of it.
func TestSlowDevice(t *testing.T) {
	n := newNodes(t)
	d := n.connect("d", nil, errors.New("it does not read"))
	if _, err := n.invoke(t.Context(), "d", Call{Name: "m"}); !errors.Is(err, fault.TooManyCalls) {
		t.Error(err)
	}
	if len(d.Received.calls) != 0 || d.bytes != 0 {
		t.Errorf("%d calls with %d bytes are left", len(d.Received.calls), d.bytes)
	}
}

// A caller that goes leaves nothing behind.
func TestCallerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		n.connect("d", nil)
		for _, id := range []string{"d", "absent"} {
			ctx, cancel := context.WithCancelCause(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, err := n.invoke(ctx, id, Call{Name: "m", ConnectTimeout: 30 * time.Second})
				failed <- err
			}()
			synctest.Wait()
			gone := errors.New("gone")
			cancel(gone)
			if err := <-failed; !errors.Is(err, gone) {
				t.Errorf("%s: %v", id, err)
			}
		}
		n.idle()
	})
}

// A node of a device that does not answer may have handed the call over, or not.
func TestNodeIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		if _, err := n.devices.Serve("d", silentNode{}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.invoke(t.Context(), "d", Call{Name: "m"}); !errors.Is(err, fault.GatewayTimeout) {
			t.Error(err)
		}
		n.idle()
	})
}

type silentNode struct{}

func (silentNode) Handle(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (silentNode) Displaced() {}

// The answers of a node that has gone, and what can't be read, do no harm.
func TestAnswersToNobody(t *testing.T) {
	n := newNodes(t)
	if _, err := n.calling.Handle(t.Context(), []byte("{")); err == nil {
		t.Error("what is no JSON was taken")
	}
	if _, err := n.calling.Handle(t.Context(), []byte(`{"id":77}`)); err != nil {
		t.Errorf("an answer to no call: %v", err)
	}
	d := n.connect("d", nil)
	d.Receive(Request{ID: 1, ReplyTo: "hub.test.method.answers.gone", Name: "m", Timeout: time.Minute}, d.deliver)
	if err := d.Answer(t.Context(), d.handed()[0], "200", nil); !errors.Is(err, cluster.ErrNobody) {
		t.Error(err)
	}
}

// A thousand calls to a thousand devices go through at once.
func TestManyDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t)
		const devices = 1000
		for i := range devices {
			n.connect(fmt.Sprint("d", i), echo(fmt.Sprint(i)))
		}
		wrong := make(chan error, devices)
		for i := range devices {
			go func() {
				got, err := n.invoke(t.Context(), fmt.Sprint("d", i), Call{Name: "m"})
				if err == nil && got.Status != i {
					err = fmt.Errorf("d%d answers %d", i, got.Status)
				}
				wrong <- err
			}()
		}
		for range devices {
			if err := <-wrong; err != nil {
				t.Error(err)
			}
		}
		n.idle()
	})
}

// What goes over the bus is read as it was written.
func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[Request](t)
	storetest.RoundTrip[reply](t)
}
