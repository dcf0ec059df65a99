package inject

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
	"github.com/berth-iot/berth/store/storetest"
)

func open(t *testing.T, documents store.Documents) *Injector {
	t.Helper()
	injector, err := Open(context.Background(), Config{Documents: documents, CheckID: func(id string) error {
		if id == "a b" {
			return fault.New(fault.InvalidRegistrationID, "The id is none")
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return injector
}

func newDocuments(t *testing.T) store.Documents {
	t.Helper()
	documents := memory.New().Open()
	t.Cleanup(func() { documents.Close() })
	return documents
}

// A fault is injected as often as it was asked for, into the registrations that it is
// for, also after a restart, and the trace says so.
func TestApply(t *testing.T) {
	ctx, documents := context.Background(), newDocuments(t)
	i := open(t, documents)
	for _, wanted := range []Fault{
		{Kind: Fail, RegistrationID: "D1", Times: 2}, {Kind: Throttle, GroupID: "line", Seconds: 7},
		{Kind: WrongHub, RegistrationID: "d2", HubHostName: "wrong.example"}, {Kind: Drop, RegistrationID: "d3"},
		{Kind: Delay, RegistrationID: "d4", Seconds: 1},
	} {
		if added, err := i.Add(ctx, wanted); err != nil || added.ID == "" || added.Times < 1 {
			t.Fatalf("%+v becomes %+v, %v", wanted, added, err)
		}
	}
	i = open(t, documents)
	for n, c := range []struct {
		id, group, hub string
		want           error
		checked        bool
	}{
		{"d1", "", "", fault.Internal, true}, {"d1", "", "", fault.Internal, true}, {"d1", "", "", nil, false},
		{"x", "Line", "", fault.Throttled, true}, {"x", "Line", "", nil, false}, {"x", "other", "", nil, false},
		{"d2", "", "wrong.example", nil, true}, {"d3", "", "", ErrDropped, true}, {"d4", "", "", nil, true},
	} {
		var trace attest.Trace
		began := time.Now()
		hub, err := i.Apply(ctx, &trace, c.id, c.group)
		if hub != c.hub || !errors.Is(err, c.want) || (len(trace) > 0) != c.checked {
			t.Errorf("%d: %s is told the hub %q, error %v, and the trace has %v", n, c.id, hub, err, trace)
		}
		if c.want == fault.Throttled && fault.From(err).RetryAfter != 7*time.Second {
			t.Errorf("it is told to come back after %v", fault.From(err).RetryAfter)
		}
		if c.id == "d4" && time.Since(began) < time.Second {
			t.Errorf("the answer is late by %v", time.Since(began))
		}
	}
	if left, err := i.List(ctx); err != nil || len(left) != 0 {
		t.Errorf("there are still %+v, %v", left, err)
	}
}

// A delay ends with the device's connection.
func TestDelayThatIsGivenUp(t *testing.T) {
	i := open(t, newDocuments(t))
	if _, err := i.Add(context.Background(), Fault{Kind: Delay, Seconds: 600}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var trace attest.Trace
	if _, err := i.Apply(ctx, &trace, "d1", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ends with %v", err)
	}
}

func TestFaultsThatAreRefused(t *testing.T) {
	i := open(t, newDocuments(t))
	for name, wanted := range map[string]Fault{
		"no kind":            {},
		"unknown kind":       {Kind: "explode"},
		"times below 1":      {Kind: Fail, Times: -1},
		"times too many":     {Kind: Fail, Times: maxTimes + 1},
		"seconds too many":   {Kind: Delay, Seconds: maxDelay + 1},
		"a delay of nothing": {Kind: Delay},
		"no wrong hub":       {Kind: WrongHub},
		"device and group":   {Kind: Fail, RegistrationID: "d1", GroupID: "line"},
		"no id":              {Kind: Fail, RegistrationID: "a b"},
	} {
		if added, err := i.Add(context.Background(), wanted); err == nil || fault.From(err).Code.Status() != 400 {
			t.Errorf("%s: becomes %+v, error %v", name, added, err)
		}
	}
}

func TestRemove(t *testing.T) {
	ctx, i := context.Background(), open(t, newDocuments(t))
	first, err := i.Add(ctx, Fault{Kind: Fail})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Add(ctx, Fault{Kind: Drop}); err != nil {
		t.Fatal(err)
	}
	if err := i.Remove(ctx, "unknown"); !errors.Is(err, fault.NotFound) {
		t.Errorf("an unknown one: %v", err)
	}
	if err := i.Remove(ctx, first.ID); err != nil {
		t.Error(err)
	}
	if left, err := i.List(ctx); err != nil || len(left) != 1 || left[0].Kind != Drop {
		t.Errorf("there are still %+v, %v", left, err)
	}
	if err := i.Remove(ctx, ""); err != nil {
		t.Error(err)
	}
	if hub, err := i.Apply(ctx, new(attest.Trace), "d1", ""); hub != "" || err != nil {
		t.Errorf("afterwards a device is told %q, %v", hub, err)
	}
}

// A fault that one node was asked for is injected by another, and by both as often as it
// was asked for.
func TestFaultsOfAnotherNode(t *testing.T) {
	ctx, shared := context.Background(), memory.New()
	here, elsewhere := open(t, shared.Open()), open(t, shared.Open())
	added, err := here.Add(ctx, Fault{Kind: Fail, Times: 2})
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range []struct {
		i    *Injector
		want error
	}{{elsewhere, fault.Internal}, {here, fault.Internal}, {elsewhere, nil}, {here, nil}} {
		if _, err := c.i.Apply(ctx, new(attest.Trace), "d1", ""); !errors.Is(err, c.want) {
			t.Errorf("%d: a device gets %v, want %v", n, err, c.want)
		}
	}
	if added, err = here.Add(ctx, Fault{Kind: Fail}); err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.Remove(ctx, added.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Apply(ctx, new(attest.Trace), "d1", ""); err != nil {
		t.Errorf("after it was removed elsewhere: %v", err)
	}
}

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[Fault](t) }
