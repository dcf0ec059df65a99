// Package c2d keeps the messages from back ends to devices: a durable queue for each
// device, and the feedback on what became of them, which is read like a queue too
// (Microsoft Learn, iot-hub-devguide-messages-c2d).
package c2d

import (
	"time"

	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// Limits bound the queues. What is zero is as in DefaultLimits.
type Limits struct {
	Depth            int           // messages in the queue of a device
	TTL              time.Duration // of messages that name no expiry
	MaxTTL           time.Duration // of those that do
	MaxDeliveryCount int           // how often a message is given back before it is dropped
	Lock             time.Duration // how long a message that was received is kept from others

	FeedbackTTL              time.Duration
	FeedbackMaxDeliveryCount int
	FeedbackLock             time.Duration
}

// DefaultLimits are those of a new hub in Azure, which does not let one change Depth, MaxTTL
// and Lock.
var DefaultLimits = Limits{
	Depth:                    50,
	TTL:                      time.Hour,
	MaxTTL:                   48 * time.Hour,
	MaxDeliveryCount:         10,
	Lock:                     time.Minute,
	FeedbackTTL:              time.Hour,
	FeedbackMaxDeliveryCount: 10,
	FeedbackLock:             time.Minute,
}

func (l Limits) complete() Limits {
	set(&l.Depth, DefaultLimits.Depth)
	set(&l.TTL, DefaultLimits.TTL)
	set(&l.MaxTTL, DefaultLimits.MaxTTL)
	set(&l.MaxDeliveryCount, DefaultLimits.MaxDeliveryCount)
	set(&l.Lock, DefaultLimits.Lock)
	set(&l.FeedbackTTL, DefaultLimits.FeedbackTTL)
	set(&l.FeedbackMaxDeliveryCount, DefaultLimits.FeedbackMaxDeliveryCount)
	set(&l.FeedbackLock, DefaultLimits.FeedbackLock)
	return l
}

func set[T int | time.Duration](limit *T, value T) {
	if *limit <= 0 {
		*limit = value
	}
}

// MaxMessage is the size of the largest message in bytes: payload with the names and
// values of its properties (Azure: 64 KB).
const MaxMessage = 64 << 10

// Config says where messages are kept.
type Config struct {
	Documents store.Documents
	Prefix    string // what the names of the collections begin with, such as hub/berth/
	Limits    Limits
	Now       func() time.Time
}

// Messages are those of a hub to its devices. Its methods may be called at once from many
// goroutines, on any node.
type Messages struct {
	documents store.Documents
	limits    Limits
	now       func() time.Time

	maxFeedback int // MaxFeedback, but for tests

	queues   store.Table[queue]       // by device; of those alone that have messages
	messages store.Table[stored]      // by device and sequence number
	expiries store.Table[struct{}]    // when to look after which queue, see queue.Due
	feedback store.Table[Feedback]    // by time
	readers  store.Table[feedbackBox] // of the feedback: one document

	histories store.Table[history] // by device

	counters counters
}

// Open returns the messages on their documents.
func Open(config Config) *Messages {
	documents, prefix := config.Documents, config.Prefix
	return &Messages{
		documents: documents,
		limits:    config.Limits.complete(),

		maxFeedback: MaxFeedback,
		now:         func() time.Time { return config.Now().UTC() },
		queues:      store.NewTable[queue](documents, prefix+"queues"),
		messages:    store.NewTable[stored](documents, prefix+"messages"),
		expiries:    store.NewTable[struct{}](documents, prefix+"expiries"),
		feedback:    store.NewTable[Feedback](documents, prefix+"feedback"),
		readers:     store.NewTable[feedbackBox](documents, prefix+"feedback-readers"),
		histories:   store.NewTable[history](documents, prefix+"message-history"),
	}
}

// A Recipient is a device as the queue knows it, or a module, whose id is
// {device id}/{module id}: what was sent to an earlier one of the same id is not for it.
type Recipient struct{ DeviceID, Generation string }

// A Receipt is a message that was taken up for a device.
type Receipt struct {
	Sequence int64 // grows from one message of a device to the next
	Enqueued time.Time
	Expires  time.Time
}

// A Delivery is a message that was handed out under a lock.
type Delivery struct {
	Receipt
	message.Message
	MessageID     string
	LockToken     string // a GUID, with which it is settled
	DeliveryCount int    // how often it was given back before
	Ack           Ack
	Redelivered   bool   // it was handed out before
	PacketID      uint16 // the one given to Receive, or that of the delivery before
}

// Ack is what a back end wants to hear of a message (iothub-ack).
type Ack string

// What there is to hear.
const (
	AckNone     Ack = "none"
	AckPositive Ack = "positive" // that the device took it
	AckNegative Ack = "negative" // that it will not get it
	AckFull     Ack = "full"     // either
)

// wants reports whether the back end wants to hear of this outcome.
func (a Ack) wants(outcome Outcome) bool {
	return a == AckFull || a == AckPositive && outcome == Success || a == AckNegative && outcome != Success
}

// Outcome is what became of a message, in the spelling of feedback.
type Outcome string

// What can become of a message.
const (
	Success               Outcome = "Success"
	Expired               Outcome = "Expired"
	DeliveryCountExceeded Outcome = "DeliveryCountExceeded"
	Rejected              Outcome = "Rejected"
	Purged                Outcome = "Purged"
)
