package connection

import (
	"time"

	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/throttle"
	"github.com/berth-iot/berth/store"
)

// Send puts a message into the hub's telemetry. committed is called with token
// when the message is durable, from a goroutine of the log. Nothing of the
// message is kept, and nothing is allocated. It returns fault 413001 for a
// message that is too large, 401002 once the session is over, and 429001 where the hub
// has a throttle, and the message would have to wait for longer than that lets it.
func (s *Session) Send(m *message.Message, committed store.Committer, token uint64) error {
	if err := s.check(); err != nil {
		return err
	}
	s.markActive()
	delay, err := s.of.config.Throttle.Delay(throttle.DeviceSend)
	if err != nil {
		return err
	}
	if delay > 0 {
		time.Sleep(delay) // and with it what else the device does: MQTT has no other way to slow it down
	}
	if s.of.config.Faults.Active() {
		return s.sendWithFaults(m, committed, token)
	}
	return s.telemetry.Send(m, committed, token)
}

// SendWill is Send for the message that a device has left for when its connection
// breaks. That is due when another connection has taken over, the token or certificate
// has expired or the hub shuts down as well, and not for a device that may no longer connect.
func (s *Session) SendWill(m *message.Message, committed store.Committer, token uint64) error {
	if reason := s.over.Load(); reason != nil {
		switch *reason {
		case ErrDisabled, ErrDeleted, ErrCredentialChanged, ErrRevoked, ErrAuthorityRemoved:
			return s.check()
		}
	}
	return s.telemetry.Send(m, committed, token)
}
