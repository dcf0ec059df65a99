package mqtt

import (
	"errors"
	"net"
	"slices"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/method"
	"github.com/berth-iot/berth/wire/mqtt"
)

// methodForm is the form of the topics of calls.
var methodForm = contract.MethodTopic("{name}", "{id}")

// announceCalls has calls handed over that wait for the device, when one of these
// subscriptions is to calls.
func (s *hubSession) announceCalls(subscribed []mqtt.Subscription) {
	if !slices.ContainsFunc(subscribed, func(one mqtt.Subscription) bool {
		return len(one.Filter) <= maxFilter && canMatch(one.Filter, []string{methodForm})
	}) {
		return
	}
	if err := s.session.AwaitCalls(s.ctx); err != nil {
		s.backend.Logger.Warn("calls that wait for a device may not reach it", "device", s.deviceID, "error", err)
	}
}

// Call implements connection.Downlink. A device that has not subscribed to the method takes
// no call of it, and neither does one that has gone.
func (d downlink) Call(requestID, name string, payload []byte) error {
	topic := contract.MethodTopic(name, requestID)
	qos := d.subscriptions.Load().qos(topic)
	if qos == mqtt.Refused {
		return method.ErrNoReceiver
	}
	err := d.conn.Publish(topic, payload, qos, false, nil)
	if errors.Is(err, net.ErrClosed) {
		return method.ErrNoReceiver
	}
	return err
}

// methodAnswer hands the answer to a call to whoever called. The connection does not hang
// on whether that one is still there.
func (s *hubSession) methodAnswer(message *mqtt.Publish) error {
	status, parameters, _ := contract.MethodAnswers.Cut(string(message.Topic))
	requestID, err := s.takeRequest(message, []byte(parameters))
	if err != nil {
		return err
	}
	err = s.session.AnswerMethod(s.ctx, requestID, status, document.TrimPadding(message.Payload))
	if err != nil {
		s.backend.Logger.Warn("the answer to a method is lost", "device", s.deviceID, "error", err)
	}
	return nil
}
