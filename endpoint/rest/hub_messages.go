package rest

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/throttle"
)

// hubMessages are the operations on messages to devices: a device receives its own and
// settles them, a back end purges a queue and reads the feedback (Azure, IoT Hub device and
// service REST API). Azure lets back ends send by AMQP alone; see endpoint/own.
func hubMessages() []https.Operation {
	return []https.Operation{
		iot("GET", contract.DeviceboundPath, "", 0, receiveMessage),
		iot("DELETE", contract.DeviceboundLockPath, "", 0, settleMessage),
		iot("POST", contract.DeviceboundAbandonPath, "", 0, abandonMessage),
		iot("DELETE", contract.DeviceQueuePath, hub.ServiceConnect, 0, purgeMessages),
		iot("GET", contract.FeedbackPath, hub.ServiceConnect, 0, receiveFeedback),
		iot("DELETE", contract.FeedbackLockPath, hub.ServiceConnect, 0, completeFeedback),
		iot("POST", contract.FeedbackAbandonPath, hub.ServiceConnect, 0, abandonFeedback),
	}
}

// recipient is the device that asks.
func recipient(c *https.Call) (c2d.Recipient, error) {
	device, err := requester(c)
	return device.Recipient, err
}

// receiveMessage answers with one message, or 204 when there is none. It never waits.
func receiveMessage(c *https.Call) (any, error) {
	to, err := recipient(c)
	if err != nil {
		return nil, err
	}
	if err := c.Hub.Throttle().Take(throttle.DeviceReceive); err != nil {
		return nil, err
	}
	found, _, err := c.Hub.Messages().Receive(c.Context(), to, c2d.Receiver{}, 1)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	d := found[0]
	setMessage(c, d)
	c.Write(d.Payload)
	return nil, nil
}

// setMessage puts all but the payload of a message into headers, in the spellings of the
// clients: C compares names byte by byte, and refuses an ETag without quotes.
func setMessage(c *https.Call, d c2d.Delivery) {
	c.SetHeader("ETag", strconv.Quote(d.LockToken))
	set := func(name, value string) {
		if value != "" {
			c.SetHeader(name, headerText(value))
		}
	}
	set(contract.MessageID.HTTPS(), d.MessageID)
	set("iothub-sequencenumber", strconv.FormatInt(d.Sequence, 10))
	set("iothub-enqueuedtime", document.FormatTime(d.Enqueued))
	set(contract.AbsoluteExpiryTime.HTTPS(), document.FormatTime(d.Expires))
	set("iothub-deliverycount", strconv.Itoa(d.DeliveryCount))
	set(contract.AckProperty, string(d.Ack))
	for _, p := range d.System {
		value := string(p.Value)
		property, _ := contract.PropertyNamed(string(p.Name))
		switch property { // C and the command line read one spelling of these, Java another
		case contract.ContentType:
			set("ContentType", value)
		case contract.ContentEncoding:
			set("ContentEncoding", value)
		}
		switch property {
		case contract.CorrelationID, contract.UserID, contract.To, contract.ContentType, contract.ContentEncoding:
			set(property.HTTPS(), value)
		}
	}
	for _, p := range d.Properties {
		set(contract.ApplicationHeader+url.PathEscape(string(p.Name)), string(p.Value))
	}
}

// settleMessage completes a message, or rejects it: &reject, as Node, C and C# write it,
// reject= as the command line, or ?reject=true with its question mark encoded, as Java.
func settleMessage(c *https.Call) (any, error) {
	to, err := recipient(c)
	if err != nil {
		return nil, err
	}
	for name := range c.URL.Query() {
		if strings.TrimPrefix(name, "?") == "reject" {
			return nil, c.Hub.Messages().Reject(c.Context(), to, c.Parameter("lockToken"))
		}
	}
	return nil, c.Hub.Messages().Complete(c.Context(), to, c.Parameter("lockToken"))
}

func abandonMessage(c *https.Call) (any, error) {
	to, err := recipient(c)
	if err != nil {
		return nil, err
	}
	return nil, c.Hub.Messages().Abandon(c.Context(), to, c.Parameter("lockToken"))
}

func purgeMessages(c *https.Call) (any, error) {
	// A queue has no ETag: only the condition of any holds.
	if err := fault.Precondition("queue", c.Header.Get("If-Match"), `""`); err != nil {
		return nil, err
	}
	id, err := c.IdentityID()
	if err != nil {
		return nil, err
	}
	purged, err := c.Hub.PurgeMessages(c.Context(), id)
	return contract.PurgeResult{DeviceID: id, Purged: purged}, err
}

// receiveFeedback answers with the records of one batch, or 204 when there is none.
func receiveFeedback(c *https.Call) (any, error) {
	batch, err := c.Hub.Messages().ReceiveFeedback(c.Context())
	if err != nil || len(batch.Records) == 0 {
		return nil, err
	}
	c.SetHeader("iothub-enqueuedtime", document.FormatTime(batch.Enqueued))
	records := make([]contract.Feedback, len(batch.Records))
	for i, r := range batch.Records {
		deviceID, moduleID := identity.SplitKey(r.DeviceID)
		records[i] = contract.Feedback{OriginalMessageID: r.MessageID, DeviceID: deviceID, ModuleID: moduleID,
			DeviceGenerationID: r.DeviceGeneration, StatusCode: string(r.Outcome), Description: string(r.Outcome),
			EnqueuedTime: document.Time{Time: r.Time}}
	}
	return c.Tagged(records, batch.LockToken, nil)
}

func completeFeedback(c *https.Call) (any, error) {
	return nil, c.Hub.Messages().CompleteFeedback(c.Context(), c.Parameter("lockToken"))
}

func abandonFeedback(c *https.Call) (any, error) {
	return nil, c.Hub.Messages().AbandonFeedback(c.Context(), c.Parameter("lockToken"))
}

// headerText is a value as a header can have it: percent-encoded when it has anything but
// visible ASCII and spaces in it.
func headerText(value string) string {
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' {
			return url.PathEscape(value)
		}
	}
	return value
}
