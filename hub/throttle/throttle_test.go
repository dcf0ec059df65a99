package throttle

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/fault"
)

// TestTake has as many operations done at once as Azure's table says, one more refused, and
// as many again after the time.
func TestTake(t *testing.T) {
	for _, c := range []struct {
		size Size
		kind Kind
		most int
		time time.Duration
	}{
		{Size{"F1", 1}, RegistryRead, 100, time.Minute}, {Size{"S1", 3}, RegistryWrite, 300, time.Minute},
		{Size{"B3", 2}, RegistryRead, 10_000, time.Minute},
		{Size{"S1", 1}, Connect, 100, time.Second}, {Size{"S1", 10}, Connect, 120, time.Second},
		{Size{"S2", 2}, DeviceSend, 240, time.Second}, {Size{"S3", 1}, DeviceSend, 6000, time.Second},
		{Size{"B1", 1}, ServiceSend, 100, time.Minute}, {Size{"S1", 2}, DeviceReceive, 2000, time.Minute},
		{Size{"S2", 1}, Query, 20, time.Minute}, {Size{"S3", 1}, Query, 1000, time.Minute},
		{Size{"S1", 9}, TwinRead, 100, time.Second}, {Size{"S2", 11}, TwinRead, 110, time.Second},
		{Size{"B2", 1}, TwinUpdate, 50, time.Second}, {Size{"S3", 2}, TwinUpdate, 500, time.Second},
	} {
		var clock clocktest.Clock
		clock.Set(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
		throttle := New(c.size, clock.Now)
		for range 2 {
			for i := range c.most {
				if err := throttle.Take(c.kind); err != nil {
					t.Fatalf("%v: %s number %d of %d: %v", c.size, c.kind, i+1, c.most, err)
				}
			}
			err := throttle.Take(c.kind)
			if !errors.Is(err, fault.Throttled) || !strings.Contains(err.Error(), "Operation type: "+c.kind.String()) ||
				fault.From(err).RetryAfter != 0 {
				t.Errorf("%v: one %s more than %d: %v", c.size, c.kind, c.most, err)
			}
			clock.Advance(c.time)
		}
		if err := throttle.Take(None); err != nil {
			t.Errorf("what has no bound: %v", err)
		}
	}
	throttle := New(Size{}, time.Now)
	for range 10_000 {
		if err := throttle.Take(Query); err != nil {
			t.Fatalf("without a size: %v", err)
		}
	}
}

// Reading and writing identities use up one bound.
func TestTakeTogether(t *testing.T) {
	var clock clocktest.Clock
	throttle := New(Size{"S1", 1}, clock.Now)
	for range 50 {
		if err := errors.Join(throttle.Take(RegistryRead), throttle.Take(RegistryWrite)); err != nil {
			t.Fatal(err)
		}
	}
	if err := throttle.Take(RegistryRead); err == nil {
		t.Error("both kinds have as many each")
	}
}

// TestDelay has what exceeds a bound wait for its turn, and refused when that is too far.
func TestDelay(t *testing.T) {
	var clock clocktest.Clock
	clock.Set(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	throttle := New(Size{"S1", 1}, clock.Now) // 100 a second
	for i := range 100 + 1000 {
		delay, err := throttle.Delay(DeviceSend)
		want := max(0, time.Duration(i-99)*10*time.Millisecond)
		if err != nil || delay < want-time.Microsecond || delay > want+time.Microsecond {
			t.Fatalf("message %d is delayed by %v, error %v; want %v", i, delay, err, want)
		}
	}
	for range 3 {
		if delay, err := throttle.Delay(DeviceSend); !errors.Is(err, fault.Throttled) {
			t.Errorf("one more is delayed by %v, error %v", delay, err)
		}
	}
	clock.Advance(time.Second)
	if delay, err := throttle.Delay(DeviceSend); err != nil || delay > maxDelay {
		t.Errorf("a second later one is delayed by %v, error %v", delay, err)
	}
}

func TestCheck(t *testing.T) {
	for _, size := range []Size{{}, {"F1", 1}, {"S3", 200}} {
		if err := size.Check(); err != nil {
			t.Errorf("%v: %v", size, err)
		}
	}
	for _, size := range []Size{{"S4", 1}, {"", 1}, {"S1", 0}, {"S1", 201}, {"F1", 2}, {"s1", 1}} {
		if err := size.Check(); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%v: %v", size, err)
		}
	}
}
