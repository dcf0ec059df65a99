package telemetry

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// Message is a message as readers see it, with the properties that
// Azure's Event Hubs-compatible endpoint adds.
type Message struct {
	Partition        int               `json:"partition"`
	SequenceNumber   int64             `json:"sequenceNumber"`
	Offset           string            `json:"offset"`
	EnqueuedTime     document.Time     `json:"enqueuedTimeUtc"`
	DeviceID         string            `json:"deviceId"`
	ModuleID         string            `json:"moduleId,omitempty"` // of a message of a module
	SystemProperties map[string]string `json:"systemProperties"`
	Properties       map[string]string `json:"properties"`
	Body             any               `json:"body,omitempty"`       // json.RawMessage, or a string for text
	BodyBase64       []byte            `json:"bodyBase64,omitempty"` // what is neither
	// why the record can't be read: then the body is the whole of it
	Unreadable string `json:"unreadable,omitempty"`
}

// UnmarshalJSON leaves a body that is JSON as its device wrote it, as json.RawMessage;
// one that is text is a string.
func (m *Message) UnmarshalJSON(text []byte) error {
	type plain Message
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

// Describe returns a record of the telemetry's log as readers see it. One that can't be
// read is shown as such: it must not keep them from those after it.
func Describe(partition int, stored store.Record) Message {
	r, err := message.Decode(stored.Value)
	enqueued := document.Time{Time: time.Unix(0, stored.Time).UTC()}
	if err != nil {
		return Message{
			Partition: partition, SequenceNumber: stored.Sequence, Offset: strconv.FormatInt(stored.Offset, 10),
			EnqueuedTime: enqueued, SystemProperties: map[string]string{}, Properties: map[string]string{},
			BodyBase64: stored.Value, Unreadable: err.Error(),
		}
	}
	described := Message{
		Partition: partition, SequenceNumber: stored.Sequence, Offset: strconv.FormatInt(stored.Offset, 10),
		EnqueuedTime: enqueued, DeviceID: string(r.DeviceID),
		Properties: make(map[string]string, len(r.Properties)),
		SystemProperties: map[string]string{
			contract.ConnectionDeviceID.String(): string(r.DeviceID),
			contract.EnqueuedTime.String():       document.FormatTime(enqueued.Time),
			contract.MessageSource.String():      "Telemetry",
		},
	}
	if len(r.ModuleID) > 0 {
		described.ModuleID = string(r.ModuleID)
		described.SystemProperties[contract.ConnectionModuleID.String()] = described.ModuleID
	}
	if r.Method != message.NoDevice {
		described.SystemProperties[contract.ConnectionAuthMethod.String()] = r.Method.String()
		if described.ModuleID != "" {
			described.SystemProperties[contract.ConnectionAuthMethod.String()] = r.Method.OfModule()
		}
		described.SystemProperties[contract.ConnectionGenerationID.String()] = string(r.Generation)
	}
	for _, property := range r.System {
		described.SystemProperties[string(property.Name)] = string(property.Value)
	}
	for _, property := range r.Properties {
		described.Properties[string(property.Name)] = string(property.Value)
	}
	contentType := described.SystemProperties[contract.ContentType.String()]
	switch {
	case strings.HasPrefix(strings.ToLower(contentType), "application/json") && document.Embeddable(r.Payload):
		described.Body = json.RawMessage(r.Payload)
	case utf8.Valid(r.Payload):
		described.Body = string(r.Payload)
	default:
		described.BodyBase64 = r.Payload
	}
	return described
}
