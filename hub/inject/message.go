package inject

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// The properties of a message by which a device asks for a fault of its own. Azure obeys
// them in the hubs of the teams that write its SDKs; their end-to-end tests send them.
const (
	typeProperty     = "AzIoTHub_FaultOperationType"
	delayProperty    = "AzIoTHub_FaultOperationDelayInSecs"
	durationProperty = "AzIoTHub_FaultOperationDurationInSecs"
)

// The types of faults that devices may ask for. Those of AMQP are not served.
const (
	killTCP         = "KillTcp"               // the connection is reset
	shutDownMQTT    = "ShutDownMqtt"          // the connection ends in good order
	invokeThrottled = "InvokeThrottling"      // 429001
	invokeQuota     = "InvokeMaxMessageQuota" // 403002
	invokeAuthError = "InvokeAuthError"       // 401002
)

// maxWait bounds the delay and the duration that a device may ask for.
const maxWait = 10 * time.Minute

// Wanted is a fault that a device asks for.
type Wanted struct {
	kind  string
	After time.Duration // until it happens
	For   time.Duration // as long as it lasts; 0 when it happens once
}

// Resets reports whether the connection is to be reset, in place of being closed.
func (w Wanted) Resets() bool { return w.kind == killTCP }

// EndsConnection reports whether the fault is one of connections, or else of requests.
func (w Wanted) EndsConnection() bool { return w.kind == killTCP || w.kind == shutDownMQTT }

// Asks returns the fault that a message asks for. ok is false for a message like any other,
// and in a hub that does not let devices ask.
func (i *Injector) Asks(m *message.Message) (wanted Wanted, ok bool) {
	if !i.config.ByDevices {
		return wanted, false
	}
	for _, p := range m.Properties {
		switch string(p.Name) {
		case typeProperty:
			wanted.kind = string(p.Value)
		case delayProperty:
			wanted.After = seconds(p.Value)
		case durationProperty:
			wanted.For = seconds(p.Value)
		}
	}
	switch wanted.kind {
	case killTCP, shutDownMQTT, invokeThrottled, invokeQuota, invokeAuthError:
		return wanted, true
	}
	return Wanted{}, false
}

// seconds reads a number of seconds within the bounds; 0 for what is none.
func seconds(text []byte) time.Duration {
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(n > 0) {
		return 0
	}
	return time.Duration(min(n, maxWait.Seconds()) * float64(time.Second))
}

// mode is a fault that a device has asked for, as long as it lasts.
type mode struct {
	Kind  string    `json:"kind"`
	Until time.Time `json:"until"`
}

// Begin has the fault last as long as the device has asked for: on all nodes, once this
// returns. It is over by itself.
func (i *Injector) Begin(ctx context.Context, deviceID string, wanted Wanted) error {
	if wanted.For == 0 {
		return nil
	}
	_, err := i.config.Documents.Commit(ctx, i.modes.Put(deviceID, store.Always,
		mode{wanted.kind, i.config.Now().Add(wanted.For).UTC()}))
	return err
}

// applyMode returns what a device gets for as long as a fault lasts that it has asked for.
// That is read from the documents each time: so it is the same on all nodes at once.
func (i *Injector) applyMode(ctx context.Context, deviceID string, operation Operation) error {
	if !i.config.ByDevices || operation != Connect && operation != Request {
		return nil
	}
	lasting, etag, err := i.modes.Get(ctx, deviceID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil && !store.IsUnreadable(err):
		return err
	case err != nil || i.config.Now().After(lasting.Until):
		_, err = i.config.Documents.Commit(ctx, i.modes.Delete(deviceID, store.IfMatch(etag)))
		if _, changed := store.IsConflict(err); changed {
			return nil // by the device, which has asked for another
		}
		return err
	case lasting.Kind == killTCP && operation == Connect:
		return rejected(deviceID)
	case operation == Request:
		return Wanted{kind: lasting.Kind}.Refusal(deviceID)
	}
	return nil
}

// Refusal returns how a request is answered that asks for a fault, or comes while it lasts;
// nil for one of connections.
func (w Wanted) Refusal(deviceID string) error {
	switch w.kind {
	case invokeThrottled:
		return fault.New(fault.Throttled, "The device %q is throttled, as it has asked for", deviceID)
	case invokeQuota:
		return fault.New(fault.QuotaExceeded, "The device %q has sent all that it may, as it has asked for", deviceID)
	case invokeAuthError:
		return fault.New(fault.UnauthorizedAccess, "The device %q is not let in, as it has asked for", deviceID)
	}
	return nil
}
