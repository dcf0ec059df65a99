package connection

import (
	"context"
	"time"

	"github.com/berth-iot/berth/hub/method"
)

// endCallsTimeout bounds how long callers are told that a device has gone.
const endCallsTimeout = 10 * time.Second

// InvokeMethod calls a method of the device of this generation and waits for its answer,
// as method.Methods.Invoke does.
func (c *Connections) InvokeMethod(
	ctx context.Context, id, generation string, call method.Call,
) (method.Answer, error) {
	return c.config.Methods.Invoke(ctx, id, call,
		func(ctx context.Context, request method.Request) (method.Receipt, error) {
			receipt, err := c.config.Bus.Request(ctx, c.subject(id),
				downlinkRequest{Call: &request, Generation: generation}.encode())
			return method.Receipt(receipt), err
		})
}

// call hands a call to the device.
func (s *Session) call(request method.Request, generation string) method.Receipt {
	if s.check() != nil || generation != s.generation {
		return method.Absent
	}
	return s.calls.Receive(request, s.down.Call)
}

// AwaitCalls says that the device takes calls of methods from now on, so that those are
// handed over which wait for it.
func (s *Session) AwaitCalls(ctx context.Context) error {
	return s.of.config.Methods.Announce(ctx, s.deviceID)
}

// AnswerMethod hands the device's answer to a call, with the status as the device wrote it,
// to whoever called. One that comes too late, or to no call, is dropped.
func (s *Session) AnswerMethod(ctx context.Context, requestID, status string, payload []byte) error {
	if err := s.check(); err != nil {
		return err
	}
	s.markActive()
	return s.calls.Answer(ctx, requestID, status, payload)
}

// endCalls tells whoever waits for an answer of the device that there will be none. It may
// ask other nodes: no lock is held.
func (s *Session) endCalls() {
	ctx, cancel := context.WithTimeout(context.Background(), endCallsTimeout)
	defer cancel()
	if err := s.calls.End(ctx); err != nil {
		s.of.config.Logger.Warn("the caller of a method was not told that the device has gone", "hub", s.of.config.Hub,
			"device", s.deviceID, "error", err)
	}
}
