package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// TelemetryMessage is a message as readers see it, with the properties that
// Azure's Event Hubs-compatible endpoint adds.
type TelemetryMessage struct {
	Partition        int               `json:"partition"`
	SequenceNumber   int64             `json:"sequenceNumber"`
	Offset           string            `json:"offset"`
	EnqueuedTime     document.Time     `json:"enqueuedTimeUtc"`
	DeviceID         string            `json:"deviceId"`
	SystemProperties map[string]string `json:"systemProperties"`
	Properties       map[string]string `json:"properties"`
	Body             any               `json:"body,omitempty"`       // json.RawMessage, or a string for text
	BodyBase64       []byte            `json:"bodyBase64,omitempty"` // what is neither
	Unreadable       string            `json:"unreadable,omitempty"` // why the record can't be read: then the body is the whole of it
}

// UnmarshalJSON leaves a body that is JSON as its device wrote it, as json.RawMessage;
// one that is text is a string.
func (m *TelemetryMessage) UnmarshalJSON(text []byte) error {
	type plain TelemetryMessage
	read := struct {
		*plain
		Body json.RawMessage `json:"body"`
	}{plain: (*plain)(m)}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	switch {
	case len(read.Body) == 0:
		m.Body = nil
	case read.Body[0] == '"':
		var body string
		if err := json.Unmarshal(read.Body, &body); err != nil {
			return err
		}
		m.Body = body
	default:
		m.Body = read.Body
	}
	return nil
}

// Position is where reading begins.
type Position struct {
	Earliest bool
	Time     time.Time // messages enqueued at or after; with neither, those that are still to come
}

// ErrStop is what a reader's each returns to end the reading without an error.
var ErrStop = errors.New("stop reading")

// Telemetry calls each with the messages of a device, or of all with deviceID
// "", oldest first, and then with those that come, until ctx ends or each
// returns an error. What is there already comes in the order of its time; within
// one device the order is that of sending, always.
func (h *Hub) Telemetry(ctx context.Context, from Position, deviceID string, each func(TelemetryMessage) error) error {
	log := h.config.Telemetry
	var cursors []*cursor
	for partition := range log.Partitions() {
		if deviceID != "" && partition != partitionOf(deviceID, log.Partitions()) {
			continue
		}
		next, err := h.startOf(ctx, partition, from)
		if err != nil {
			return err
		}
		cursors = append(cursors, &cursor{log: log, partition: partition, next: next})
	}
	for {
		oldest, err := oldestOf(ctx, cursors)
		if err != nil {
			return err
		}
		if oldest == nil {
			if err := h.waitForAny(ctx, cursors); err != nil {
				return err
			}
			continue
		}
		record := oldest.pop()
		if deviceID != "" && !message.SentBy(record.Value, deviceID) {
			continue
		}
		message := describeRecord(oldest.partition, record)
		if err := each(message); err != nil {
			if errors.Is(err, ErrStop) {
				return nil
			}
			return err
		}
	}
}

func (h *Hub) startOf(ctx context.Context, partition int, from Position) (int64, error) {
	bounds := h.config.Telemetry.Bounds(partition)
	switch {
	case from.Earliest:
		return bounds.First, nil
	case from.Time.IsZero():
		return bounds.Next, nil
	}
	return h.config.Telemetry.SequenceAt(ctx, partition, store.UnixNano(from.Time))
}

// cursor reads a partition, some records at a time.
type cursor struct {
	log       store.Log
	partition int
	next      int64
	ahead     []store.Record
}

// fill reads on when nothing is left; afterwards ahead is empty only at the end. What
// can't be read is passed over, also when nothing that can be comes after it.
func (c *cursor) fill(ctx context.Context) (err error) {
	end := c.log.Bounds(c.partition).Next
	if len(c.ahead) > 0 || end <= c.next {
		return nil
	}
	if c.ahead, err = c.log.Read(ctx, c.partition, c.next, 256, 1<<20); err == nil && len(c.ahead) == 0 {
		c.next = end
	}
	return err
}

func (c *cursor) pop() store.Record {
	record := c.ahead[0]
	c.ahead, c.next = c.ahead[1:], record.Sequence+1
	return record
}

func oldestOf(ctx context.Context, cursors []*cursor) (oldest *cursor, err error) {
	for _, c := range cursors {
		if err := c.fill(ctx); err != nil {
			return nil, err
		}
		if len(c.ahead) > 0 && (oldest == nil || c.ahead[0].Time < oldest.ahead[0].Time) {
			oldest = c
		}
	}
	return oldest, nil
}

// waitForAny waits until one of the partitions grows.
func (h *Hub) waitForAny(ctx context.Context, cursors []*cursor) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	var mutex sync.Mutex
	var failed error
	for _, c := range cursors {
		group.Go(func() {
			err := h.config.Panics.Do(panics.Background, func() error {
				return c.log.Wait(waiting, c.partition, c.next)
			})
			if err != nil && waiting.Err() == nil {
				mutex.Lock()
				failed = err
				mutex.Unlock()
			}
			cancel()
		})
	}
	group.Wait()
	if failed != nil {
		return failed
	}
	return ctx.Err()
}

// describeRecord is a record as readers see it. One that can't be read is shown as
// such: it must not keep them from those after it.
func describeRecord(partition int, stored store.Record) TelemetryMessage {
	r, err := message.Decode(stored.Value)
	enqueued := document.Time{Time: time.Unix(0, stored.Time).UTC()}
	if err != nil {
		return TelemetryMessage{
			Partition: partition, SequenceNumber: stored.Sequence, Offset: strconv.FormatInt(stored.Offset, 10),
			EnqueuedTime: enqueued, SystemProperties: map[string]string{}, Properties: map[string]string{},
			BodyBase64: stored.Value, Unreadable: err.Error(),
		}
	}
	message := TelemetryMessage{
		Partition: partition, SequenceNumber: stored.Sequence, Offset: strconv.FormatInt(stored.Offset, 10),
		EnqueuedTime: enqueued, DeviceID: string(r.DeviceID),
		Properties: make(map[string]string, len(r.Properties)),
		SystemProperties: map[string]string{
			"iothub-connection-device-id":          string(r.DeviceID),
			"iothub-connection-auth-method":        r.Method.String(),
			"iothub-connection-auth-generation-id": string(r.Generation),
			"iothub-enqueuedtime":                  document.FormatTime(enqueued.Time),
			"iothub-message-source":                "Telemetry",
		},
	}
	for _, property := range r.System {
		message.SystemProperties[string(property.Name)] = string(property.Value)
	}
	for _, property := range r.Properties {
		message.Properties[string(property.Name)] = string(property.Value)
	}
	contentType := message.SystemProperties["content-type"]
	switch {
	case strings.HasPrefix(strings.ToLower(contentType), "application/json") && document.Embeddable(r.Payload):
		message.Body = json.RawMessage(r.Payload)
	case utf8.Valid(r.Payload):
		message.Body = string(r.Payload)
	default:
		message.BodyBase64 = r.Payload
	}
	return message
}
