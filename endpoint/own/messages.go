package own

import (
	"maps"
	"slices"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/throttle"
)

// messages are the operations on messages to devices that Azure has by AMQP alone.
func (s *service) messages() []https.Operation {
	return []https.Operation{
		iot("POST", contract.DeviceMessagePath, hub.ServiceConnect, https.SmallBody,
			sendMessage).Throttled(throttle.ServiceSend),
		iot("POST", contract.ModuleMessagePath, hub.ServiceConnect, https.SmallBody,
			sendMessage).Throttled(throttle.ServiceSend),
		iot("DELETE", contract.ModuleMessagePath, hub.ServiceConnect, 0, purgeModule),
	}
}

// purgeModule removes all messages from the queue of a module, as Azure has it for those of
// devices.
func purgeModule(c *https.Call) (any, error) {
	id, err := c.IdentityID()
	if err != nil {
		return nil, err
	}
	purged, err := c.Hub.PurgeMessages(c.Context(), id)
	return contract.PurgeResult{DeviceID: c.Parameter("id"), ModuleID: c.Parameter("module"), Purged: purged}, err
}

// sendMessage puts a message into the queue of a device or module. One without an id gets one, so
// that feedback can speak of it.
func sendMessage(c *https.Call) (any, error) {
	var body contract.DeviceMessage
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	if body.Payload != "" && body.PayloadBase64 != nil {
		return nil, fault.New(fault.ArgumentInvalid, "The message has both payload and payloadBase64. Leave one out")
	}
	if body.MessageID == "" {
		body.MessageID = fault.NewTrackingID()
	}
	out := c2d.Outgoing{MessageID: body.MessageID, Ack: c2d.Ack(body.Ack), Expires: timeOf(body.Expires)}
	out.Payload = body.PayloadBase64
	if body.PayloadBase64 == nil {
		out.Payload = []byte(body.Payload)
	}
	for _, p := range []struct {
		property contract.Property
		value    string
	}{
		{contract.CorrelationID, body.CorrelationID}, {contract.UserID, body.UserID},
		{contract.ContentType, body.ContentType}, {contract.ContentEncoding, body.ContentEncoding},
	} {
		if p.value != "" {
			out.System = append(out.System, message.Property{Name: p.property.Bytes(), Value: []byte(p.value)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(body.Properties)) {
		out.Properties = append(out.Properties,
			message.Property{Name: []byte(name), Value: []byte(body.Properties[name])})
	}
	id, err := c.IdentityID()
	if err != nil {
		return nil, err
	}
	receipt, err := c.Hub.SendMessage(c.Context(), id, out)
	if err != nil {
		return nil, err
	}
	return contract.SentMessage{MessageID: body.MessageID, SequenceNumber: receipt.Sequence,
		EnqueuedTime: document.Time{Time: receipt.Enqueued}, Expires: document.Time{Time: receipt.Expires}}, nil
}

func timeOf(t *document.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
