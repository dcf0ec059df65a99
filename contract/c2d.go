package contract

import "github.com/berth-iot/berth/document"

// Feedback says what became of a message to a device (Microsoft Learn,
// iot-hub-devguide-messages-c2d).
type Feedback struct {
	OriginalMessageID  string        `json:"originalMessageId"`
	DeviceGenerationID string        `json:"deviceGenerationId"`
	DeviceID           string        `json:"deviceId"`
	ModuleID           string        `json:"moduleId,omitempty"` // of a message to a module
	EnqueuedTime       document.Time `json:"enqueuedTimeUtc"`    // of the outcome
	// Success, Expired, DeliveryCountExceeded, Rejected or Purged
	StatusCode  string `json:"statusCode"`
	Description string `json:"description"`
}

// PurgeResult is the answer to a purge of the queue of a device or module.
type PurgeResult struct {
	DeviceID string `json:"deviceId"`
	ModuleID string `json:"moduleId,omitempty"`
	Purged   int    `json:"totalMessagesPurged"`
}

// DeviceMessage is a message to a device, as a back end sends it by Berth's own API.
type DeviceMessage struct {
	MessageID       string            `json:"messageId,omitempty"` // by which feedback speaks of it
	CorrelationID   string            `json:"correlationId,omitempty"`
	UserID          string            `json:"userId,omitempty"`
	ContentType     string            `json:"contentType,omitempty"`
	ContentEncoding string            `json:"contentEncoding,omitempty"`
	Ack             string            `json:"ack,omitempty"` // none, positive, negative or full
	Expires         *document.Time    `json:"expiryTimeUtc,omitempty"`
	Properties      map[string]string `json:"properties,omitempty"`
	Payload         string            `json:"payload,omitempty"`       // text
	PayloadBase64   []byte            `json:"payloadBase64,omitempty"` // in place of it, any bytes
}

// SentMessage is the answer to a message that is in the queue of its device.
type SentMessage struct {
	MessageID      string        `json:"messageId"`
	SequenceNumber int64         `json:"sequenceNumber"`
	EnqueuedTime   document.Time `json:"enqueuedTimeUtc"`
	Expires        document.Time `json:"expiryTimeUtc"`
}
