package inject

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, documents store.Documents, now func() time.Time) *Injector {
	t.Helper()
	t.Cleanup(func() { documents.Close() })
	i, err := Open(context.Background(), Config{Documents: documents, Prefix: "hub/test/", ByDevices: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// A fault is injected as often as it was asked for, into the operations that it is for,
// whichever of two nodes they come to.
func TestApply(t *testing.T) {
	ctx, shared := context.Background(), memory.New()
	here, elsewhere := open(t, shared.Open(), time.Now), open(t, shared.Open(), time.Now)
	for _, wanted := range []DeviceFault{
		{Kind: Fail, DeviceID: "d1", Times: 2}, {Kind: Refuse, DeviceID: "d1"}, {Kind: Delay, DeviceID: "d2/m", Seconds: 7},
		{Kind: Drop, DeviceID: "d3"}, {Kind: Throttle},
	} {
		if added, err := here.Add(ctx, wanted); err != nil || added.ID == "" || added.Times < 1 {
			t.Fatalf("%+v becomes %+v, %v", wanted, added, err)
		}
	}
	for n, c := range []struct {
		id        string
		operation Operation
		want      error
		delay     time.Duration
	}{
		{"d1", Send, fault.Internal, 0}, {"d1", Connect, fault.ConnectionRejected, 0}, {"d1", Connect, nil, 0},
		{"d1", Request, fault.Internal, 0}, {"d2/m", Ask, nil, 7 * time.Second}, {"d3", Connect, nil, 0},
		{"d3", Ask, ErrDropped, 0}, {"d2", Send, fault.Throttled, 0}, {"d1", Send, nil, 0},
	} {
		i := []*Injector{elsewhere, here}[n%2]
		if delay, err := i.Apply(ctx, c.id, c.operation); delay != c.delay || !errors.Is(err, c.want) {
			t.Errorf("%d: %s gets %v and is delayed by %v, want %v, %v", n, c.id, err, delay, c.want, c.delay)
		}
	}
	if left, err := here.List(ctx); err != nil || len(left) != 0 {
		t.Errorf("there are still %+v, %v", left, err)
	}
}

func TestAddRefuses(t *testing.T) {
	i := open(t, memory.New().Open(), time.Now)
	for _, wanted := range []DeviceFault{{}, {Kind: "explode"}, {Kind: Fail, Times: -1}, {Kind: Fail, Times: maxTimes + 1},
		{Kind: Delay}, {Kind: Delay, Seconds: 61}, {Kind: Fail, Seconds: 1}} {
		if added, err := i.Add(context.Background(), wanted); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%+v becomes %+v, error %v", wanted, added, err)
		}
	}
}

func TestRemove(t *testing.T) {
	ctx, i := context.Background(), open(t, memory.New().Open(), time.Now)
	first, err := i.Add(ctx, DeviceFault{Kind: Fail})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := i.Add(ctx, DeviceFault{Kind: Drop}); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.Remove(ctx, "unknown"); !errors.Is(err, fault.NotFound) {
		t.Errorf("an unknown one: %v", err)
	}
	if err := i.Remove(ctx, first.ID); err != nil {
		t.Error(err)
	}
	if left, err := i.List(ctx); err != nil || len(left) != 2 || left[0].Kind != Drop {
		t.Errorf("there are still %+v, %v", left, err)
	}
	if err := i.Remove(ctx, ""); err != nil {
		t.Error(err)
	}
	if left, err := i.List(ctx); err != nil || len(left) != 0 {
		t.Errorf("there are still %+v, %v", left, err)
	}
}

// asking is the message of Azure's SDKs that asks for a fault.
func asking(kind, delay, duration string) *message.Message {
	m := new(message.Message)
	for _, p := range [][2]string{{"AzIoTHub_FaultOperationType", kind}, {"AzIoTHub_FaultOperationCloseReason", "boom"},
		{"AzIoTHub_FaultOperationDelayInSecs", delay}, {"AzIoTHub_FaultOperationDurationInSecs", duration}} {
		if p[1] != "" {
			m.Properties = append(m.Properties, message.Property{Name: []byte(p[0]), Value: []byte(p[1])})
		}
	}
	return m
}

// What a device asks for concerns it alone, on all nodes at once, for as long as it said.
func TestFaultsOfDevices(t *testing.T) {
	ctx, shared := context.Background(), memory.New()
	var clock clocktest.Clock
	clock.Set(noon)
	here, elsewhere := open(t, shared.Open(), clock.Now), open(t, shared.Open(), clock.Now)
	for kind, want := range map[string][2]error{ // by MQTT, by HTTPS
		"KillTcp": {fault.ConnectionRejected, nil}, "ShutDownMqtt": {}, "InvokeThrottling": {nil, fault.Throttled},
		"InvokeMaxMessageQuota": {nil, fault.QuotaExceeded}, "InvokeAuthError": {nil, fault.UnauthorizedAccess},
	} {
		wanted, ok := here.Asks(asking(kind, "1", "20"))
		if !ok || wanted.After != time.Second || wanted.For != 20*time.Second ||
			wanted.EndsConnection() != (kind == "KillTcp" || kind == "ShutDownMqtt") || wanted.Resets() != (kind == "KillTcp") ||
			!errors.Is(wanted.Refusal("d"), want[1]) {
			t.Errorf("%s: the hub reads %+v, %v", kind, wanted, ok)
		}
		if err := here.Begin(ctx, kind, wanted); err != nil {
			t.Fatal(err)
		}
		check := func(when string, want [2]error) {
			t.Helper()
			for operation, want := range map[Operation]error{Connect: want[0], Request: want[1], Send: nil, Ask: nil} {
				if _, err := elsewhere.Apply(ctx, kind, operation); !errors.Is(err, want) {
					t.Errorf("%s, %s, operation %d: %v, want %v", kind, when, operation, err, want)
				}
			}
		}
		check("begun", want)
		if _, err := elsewhere.Apply(ctx, "another", Connect); err != nil {
			t.Errorf("%s: another device gets %v", kind, err)
		}
		clock.Advance(21 * time.Second)
		check("over", [2]error{})
	}
	if modes, err := here.modes.Count(ctx); err != nil || modes != 0 {
		t.Errorf("%d are kept that are over, error %v", modes, err)
	}
	once, _ := here.Asks(asking("KillTcp", "", "")) // no duration
	if err := here.Begin(ctx, "d", once); err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Apply(ctx, "d", Connect); err != nil {
		t.Errorf("after a fault that happens once: %v", err)
	}
}

// Only messages of the known kinds ask for anything, for a bounded time, and only where that
// was switched on.
func TestAsks(t *testing.T) {
	i := open(t, memory.New().Open(), time.Now)
	for _, m := range []*message.Message{{}, asking("", "1", "1"), asking("KillAmqpSession", "1", "1"), asking("killtcp", "", "")} {
		if wanted, ok := i.Asks(m); ok {
			t.Errorf("%v asks for %+v", m, wanted)
		}
	}
	for text, want := range map[string]time.Duration{"-1": 0, "x": 0, "NaN": 0, "Inf": maxWait, "1e300": maxWait,
		"0.5": time.Second / 2} {
		if wanted, ok := i.Asks(asking("KillTcp", text, text)); !ok || wanted.After != want || wanted.For != want {
			t.Errorf("%s seconds are %+v", text, wanted)
		}
	}
	i.config.ByDevices = false
	if _, ok := i.Asks(asking("KillTcp", "", "")); ok {
		t.Error("a device is obeyed though that is switched off")
	}
}
