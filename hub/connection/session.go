package connection

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/hub/method"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/hub/throttle"
	"github.com/berth-iot/berth/hub/twin"
)

// Session is a connected device or module, until it is over (see presence.go). What is
// said of devices here holds for modules too. Send, Twin, Report and SetSubscriptions are
// for one goroutine at a time.
type Session struct {
	of         *Connections
	deviceID   string // or a module's id, as identity.ModuleKey has it
	generation string
	telemetry  *telemetry.Sender
	down       Downlink
	proof      proof
	protocol   string
	remoteAddr string
	keep       bool
	names      []string     // subscriptions
	owed       []OwedAnswer // that the device has not acknowledged
	id         string       // tells it from other sessions of the device

	heldPacketIDs []uint16
	calls         *method.Received

	since  time.Time
	last   atomic.Int64               // nanoseconds since 1970
	active atomic.Bool                // last has changed since the activity was written
	over   atomic.Pointer[error]      // why, once nothing more is done for the device
	fault  atomic.Pointer[time.Timer] // ends the connection, as the device has asked for; else nil

	release func() // leaves the bus; nil before the session has arrived. Under the device's lock, as left
	left    bool   // the departure is on record
}

// OpenSession authenticates a device and ends its former connection. With keep, its
// subscriptions outlive the connection. The model that it announces goes into its twin. It
// returns the faults 404001, 404010, 401002 and 401003, and 400004 for a model id that can't
// be one.
func (c *Connections) OpenSession(
	ctx context.Context, deviceID string, evidence credential.Evidence, keep bool, down Downlink,
) (*Session, error) {
	device, err := c.config.Registry.Principal(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	proof, err := c.authenticate(ctx, device, evidence)
	if err == nil {
		err = c.config.Throttle.Take(throttle.Connect)
	}
	if err == nil {
		err = c.inject(ctx, deviceID, inject.Connect)
	}
	if err == nil && evidence.ModelID != nil {
		err = twin.CheckModelID(*evidence.ModelID)
	}
	if err != nil {
		return nil, err
	}
	s := &Session{of: c, deviceID: deviceID, generation: device.GenerationID, down: down, keep: keep, proof: proof,
		protocol: evidence.Protocol, remoteAddr: evidence.RemoteAddr,
		telemetry: c.config.Telemetry.NewSender(deviceID, device.GenerationID, proof.method),
		calls:     c.config.Methods.NewReceived(deviceID),
		since:     c.config.Now().UTC(), id: fault.NewTrackingID()}
	if err := s.restore(ctx); err != nil {
		return nil, err
	}
	s.markActive()
	opened := false
	defer func() {
		if !opened {
			s.Close(ErrNotOpened) // also after a panic: the hub must not go on believing in it
		}
	}()
	if err := c.arrive(s); err != nil {
		return nil, err
	}
	// From here on whoever changes the identity finds this session. A change that
	// came before is found here.
	if reason := s.revalidate(ctx); reason != nil {
		return nil, refusal(deviceID, reason)
	}
	if err := s.resumeMessages(ctx); err != nil {
		return nil, err
	}
	if evidence.ModelID != nil {
		if err := c.config.Twins.SetModel(ctx, s.owner(), *evidence.ModelID); err != nil {
			return nil, err
		}
	}
	opened = true
	return s, nil
}

// Twin returns what a device sees of its twin:
// {"desired":{…,"$version":n},"reported":{…,"$version":n}}.
func (s *Session) Twin(ctx context.Context) (json.RawMessage, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	s.markActive()
	if err := s.of.config.Throttle.Take(throttle.TwinRead); err != nil {
		return nil, err
	}
	if err := s.of.inject(ctx, s.deviceID, inject.Ask); err != nil {
		return nil, err
	}
	return s.of.config.Twins.ForDevice(ctx, s.owner())
}

// Report merges a patch (null deletes) into the device's reported properties
// and returns their version. It returns fault 400004 for what breaks a limit.
func (s *Session) Report(ctx context.Context, patch []byte) (version int64, err error) {
	return s.report(ctx, patch, nil)
}

// ReportIfVersion is Report for properties that have this version. It returns fault
// 412001 when they have another.
func (s *Session) ReportIfVersion(ctx context.Context, patch []byte, wanted int64) (version int64, err error) {
	return s.report(ctx, patch, &wanted)
}

func (s *Session) report(ctx context.Context, patch []byte, ifVersion *int64) (version int64, err error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	s.markActive()
	if err := s.of.config.Throttle.Take(throttle.TwinUpdate); err != nil {
		return 0, err
	}
	if err := s.of.inject(ctx, s.deviceID, inject.Ask); err != nil {
		return 0, err
	}
	return s.of.config.Twins.Report(ctx, s.owner(), patch, ifVersion, s.check)
}

// owner is the device as its twin knows it.
func (s *Session) owner() twin.Owner {
	return twin.Owner{DeviceID: s.deviceID, Generation: s.generation}
}

// markActive notes that the device was heard of.
func (s *Session) markActive() {
	s.last.Store(s.of.config.Now().UnixNano())
	if !s.active.Load() {
		s.active.Store(true)
	}
}

func (s *Session) stamp() stamp {
	return stamp{Generation: s.generation, StateChanged: s.since, LastActivity: time.Unix(0, s.last.Load()).UTC()}
}
