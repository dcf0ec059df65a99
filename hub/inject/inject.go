// Package inject lets a hub fail on request, for people who test what their devices do
// then. Operators have faults injected into what devices do next (this file), and devices
// ask for them by messages, as the end-to-end tests of Azure's SDKs do (message.go). There
// are none unless somebody asks.
package inject

import (
	"context"
	"errors"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// DeviceFault is what is injected into the next operations of devices.
type DeviceFault struct {
	ID       string `json:"id"`                 // given by the hub
	DeviceID string `json:"deviceId,omitempty"` // or deviceId/moduleId; any when empty
	Kind     Kind   `json:"kind"`
	Times    int    `json:"times"`             // how many operations it is still for; at least 1
	Seconds  int    `json:"seconds,omitempty"` // of delay
}

// Intact implements store.Checkable.
func (f *DeviceFault) Intact() error {
	if f.ID == "" || f.Kind == "" || f.Times < 1 {
		return errors.New("it has no id, no kind, or no number of times")
	}
	return nil
}

// Kind is what happens to an operation: a device sends a message, or asks for something of
// its twin, or makes a request over HTTPS.
type Kind string

// The kinds of faults.
const (
	Delay    Kind = "delay"    // it is done, and acknowledged or answered late
	Fail     Kind = "fail"     // 500001; over MQTT a message that fails ends the connection
	Throttle Kind = "throttle" // 429001; likewise
	Drop     Kind = "drop"     // the connection ends without an answer
	Refuse   Kind = "refuse"   // 400030: a connection is refused, or a request over HTTPS
)

// ErrDropped is in the error of an operation whose connection is to end without an answer.
var ErrDropped = errors.New("the connection is dropped, as an injected fault asks for")

// Operation is what a device does.
type Operation int

// The operations that faults are injected into.
const (
	Connect Operation = iota // over MQTT
	Send                     // a message, on a connection
	Ask                      // for something of the twin, on a connection
	Request                  // anything, over HTTPS
)

// concerns reports whether faults of a kind are injected into an operation.
func (k Kind) concerns(operation Operation) bool {
	switch operation {
	case Connect:
		return k == Refuse
	case Request:
		return true
	}
	return k != Refuse
}

const (
	maxFaults = 1000
	maxTimes  = 1_000_000
	maxDelay  = time.Minute
)

// Config says where the faults are kept.
type Config struct {
	Documents store.Documents
	Prefix    string // what the names of the collections begin with, such as hub/berth/
	ByDevices bool   // devices may ask for faults of their own by messages
	Now       func() time.Time
}

// Injector keeps the faults that are to be injected. Its methods may be called at once from
// many goroutines.
type Injector struct {
	config Config
	table  store.Table[DeviceFault]
	count  *store.Cache[int] // of faults, so that a hub without any does not look
	modes  store.Table[mode] // by device
}

// Open returns the faults that are to be injected, those of earlier runs and of other nodes
// among them.
func Open(ctx context.Context, config Config) (*Injector, error) {
	i := &Injector{config: config, table: store.NewTable[DeviceFault](config.Documents, config.Prefix+"faults"),
		modes: store.NewTable[mode](config.Documents, config.Prefix+"faultmodes")}
	i.count = store.NewCache(config.Documents, i.table.Count, i.table.Collection)
	_, err := i.count.Get(ctx)
	return i, err
}

// Add has a fault be injected and returns it with its id. It returns fault 400004 for what
// is wrong in it.
func (i *Injector) Add(ctx context.Context, wanted DeviceFault) (DeviceFault, error) {
	if wanted.Times == 0 {
		wanted.Times = 1
	}
	if err := wanted.check(); err != nil {
		return DeviceFault{}, err
	}
	// Who adds at the same moment is not counted: the limit keeps lists short, and may be
	// exceeded by as many as do.
	if count, err := i.count.Get(ctx); err != nil {
		return DeviceFault{}, err
	} else if count >= maxFaults {
		return DeviceFault{}, fault.New(fault.ArgumentInvalid, "There are %d injected faults already. Remove some", maxFaults)
	}
	wanted.ID = fault.NewTrackingID()
	_, err := i.config.Documents.Commit(ctx, i.table.Put(wanted.ID, store.Absent, wanted))
	return wanted, err
}

func (f DeviceFault) check() error {
	const most = int(maxDelay / time.Second)
	switch {
	case f.Times < 1 || f.Times > maxTimes:
		return fault.New(fault.ArgumentInvalid, "times must be from 1 to %d, not %d", maxTimes, f.Times)
	case f.Kind == Delay && (f.Seconds < 1 || f.Seconds > most):
		return fault.New(fault.ArgumentInvalid, "seconds of a delay must be from 1 to %d, not %d", most, f.Seconds)
	case f.Kind != Delay && f.Seconds != 0:
		return fault.New(fault.ArgumentInvalid, "seconds are those of a delay. Leave them out")
	}
	switch f.Kind {
	case Delay, Fail, Throttle, Drop, Refuse:
		return nil
	}
	return fault.New(fault.ArgumentInvalid, "kind must be delay, fail, throttle, drop or refuse, not %.32q",
		string(f.Kind))
}

// List returns the faults that are still to be injected.
func (i *Injector) List(ctx context.Context) ([]DeviceFault, error) {
	entries, err := i.table.List(ctx, "", "", maxFaults)
	faults := make([]DeviceFault, len(entries))
	for n, entry := range entries {
		faults[n] = entry.Value
	}
	return faults, err
}

// Remove removes a fault, or all with id "". It returns fault 404000 when there is none of
// this id.
func (i *Injector) Remove(ctx context.Context, id string) error {
	ids := []string{id}
	if id == "" {
		faults, err := i.List(ctx)
		if err != nil {
			return err
		}
		ids = ids[:0]
		for _, one := range faults {
			ids = append(ids, one.ID)
		}
	}
	for _, one := range ids {
		_, err := i.config.Documents.Commit(ctx, i.table.Delete(one, store.Present))
		switch _, gone := store.IsConflict(err); {
		case gone && id != "":
			return fault.New(fault.NotFound, "There is no injected fault %.64q", id)
		case err != nil && !gone:
			return err
		}
	}
	return nil
}

// Active reports whether anything may have to be injected into what devices do. It costs
// nothing.
func (i *Injector) Active() bool {
	count, err := i.count.GetOrFormer()
	return i.config.ByDevices || count > 0 || err != nil
}

// Apply injects the first fault that is for an operation of a device: it returns what the
// device gets instead of an answer, and by how much the operation is delayed.
func (i *Injector) Apply(ctx context.Context, deviceID string, operation Operation) (time.Duration, error) {
	if err := i.applyMode(ctx, deviceID, operation); err != nil {
		return 0, err
	}
	if count, err := i.count.Get(ctx); err != nil || count == 0 {
		return 0, err
	}
	injected, err := i.consume(ctx, deviceID, operation)
	if err != nil {
		return 0, err
	}
	switch injected.Kind {
	case Delay:
		return time.Duration(injected.Seconds) * time.Second, nil
	case Fail:
		return 0, fault.New(fault.Internal, "The hub fails, as an injected fault asks for")
	case Throttle:
		return 0, fault.New(fault.Throttled, "Too many operations, as an injected fault asks for. Try again")
	case Drop:
		return 0, fault.New(fault.Internal, "The connection is dropped, as an injected fault asks for").
			Because(ErrDropped)
	case Refuse:
		return 0, rejected(deviceID)
	}
	return 0, nil
}

// rejected is what a device gets that may not connect for a while.
func rejected(deviceID string) error {
	return fault.New(fault.ConnectionRejected,
		"The device %q may not connect now, as an injected fault asks for. Try again", deviceID)
}

// consume takes one time off the first fault that is for the device and the operation.
func (i *Injector) consume(ctx context.Context, deviceID string, operation Operation) (DeviceFault, error) {
	// Another device may take one at the same moment.
	return store.RetryOnConflict(ctx, func() (DeviceFault, error) {
		entries, err := i.table.List(ctx, "", "", maxFaults)
		if err != nil {
			return DeviceFault{}, err
		}
		at := -1 // one for this device comes before one for any
		for n, entry := range entries {
			one := entry.Value
			if one.Kind.concerns(operation) && (one.DeviceID == deviceID || one.DeviceID == "" && at < 0) {
				at = n
				if one.DeviceID != "" {
					break
				}
			}
		}
		if at < 0 {
			return DeviceFault{}, nil
		}
		entry := entries[at]
		one := entry.Value
		one.Times--
		change := i.table.Put(entry.Key, store.IfMatch(entry.ETag), one)
		if one.Times == 0 {
			change = i.table.Delete(entry.Key, store.IfMatch(entry.ETag))
		}
		_, err = i.config.Documents.Commit(ctx, change)
		return one, err
	})
}

// PrepareDelete returns what is to be committed with the end of an identity: what the device
// had asked for.
func (i *Injector) PrepareDelete(id string) store.Change { return i.modes.Delete(id, store.Always) }
