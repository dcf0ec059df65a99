package rest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/telemetry"
)

// batchType is the Content-Type of several messages in one body. Any other, or none, is
// that of a request with one message and says nothing of it: each client has its own.
const batchType = "application/vnd.microsoft.iothub.json"

// hubTelemetry are the operations by which devices send messages (Azure, IoT Hub device REST
// API, Send Device Event), and modules, as Java's client does: Azure answers those 404.
func hubTelemetry() []https.Operation {
	return []https.Operation{
		iot("POST", contract.EventsPath, "", telemetry.MaxMessage, sendTelemetry).RawBody(),
		iot("POST", contract.ModuleEventsPath, "", telemetry.MaxMessage, sendTelemetry).RawBody(),
	}
}

// requester is the device that asks, which proves itself as it does by MQTT.
func requester(c *https.Call) (connection.Requester, error) {
	id, err := c.IdentityID()
	if err != nil {
		return connection.Requester{}, err
	}
	device, err := c.Hub.Connections().Authenticate(c.Context(), id, c.Evidence())
	if err == nil {
		c.Proven()
	}
	return device, err
}

// sendTelemetry answers when the messages are durable. The body is not read before the
// device has proved who it is.
func sendTelemetry(c *https.Call) (any, error) {
	device, err := requester(c)
	if err != nil {
		return nil, err
	}
	if err := c.ReadBody(telemetry.MaxMessage); err != nil {
		return nil, err
	}
	var messages []message.Message
	if kind, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); kind == batchType {
		messages, err = readBatch(c)
	} else {
		messages = make([]message.Message, 1)
		messages[0], err = readMessage(c)
	}
	if err != nil {
		return nil, err
	}
	return nil, device.Send(c.Context(), messages)
}

// readMessage returns the message that a request is: its properties are in the header.
func readMessage(c *https.Call) (message.Message, error) {
	m := message.Message{Payload: c.Content}
	for name, value := range c.Fields() {
		system, application, ok := propertyOf(name)
		if !ok {
			continue
		}
		if !utf8.ValidString(value) {
			return m, fault.New(fault.ArgumentInvalid, "The header %.128q is not UTF-8. Send it in ASCII or UTF-8", name)
		}
		if err := addProperty(&m, system, application, value); err != nil {
			return m, fault.New(fault.ArgumentInvalid, "The message can't be taken: %v", err)
		}
	}
	return m, nil
}

// propertyOf tells which property of a message a header has: the name of one of the
// system's, or of one of the application's. What Azure may come to add, iothub- and
// anything else, is left aside as are all other headers.
func propertyOf(header string) (system, application []byte, ok bool) {
	if property, ok := contract.PropertyOfHTTPS(header); ok {
		return property.Bytes(), nil, true
	}
	const prefix = contract.ApplicationHeader
	switch {
	case len(header) >= len(prefix) && strings.EqualFold(header[:len(prefix)], prefix):
		return nil, []byte(header[len(prefix):]), true
	case strings.EqualFold(header, contract.AckProperty):
		return nil, []byte(contract.AckProperty), true
	}
	return nil, nil, false
}

func addProperty(m *message.Message, system, application []byte, value string) error {
	if len(m.System)+len(m.Properties) == telemetry.MaxProperties {
		return fault.NewReason("it has more than %d properties", telemetry.MaxProperties)
	}
	if system != nil {
		m.System = append(m.System, message.Property{Name: system, Value: []byte(value)})
	} else {
		m.Properties = append(m.Properties, message.Property{Name: application, Value: []byte(value)})
	}
	return nil
}

// batchItem is a message of a batch.
type batchItem struct {
	Body          string          `json:"body"`
	Base64Encoded *bool           `json:"base64Encoded"` // false for a body that is text; C# and Node leave it out
	Properties    document.Object `json:"properties"`    // by their headers; Node leaves it out when there is none
}

// readBatch returns the messages of a batch, all or none of them.
func readBatch(c *https.Call) ([]message.Message, error) {
	c.Content = escapeControls(bytes.TrimPrefix(c.Content, []byte("\uFEFF"))) // .NET writes it in front of UTF-8
	if err := document.CheckDepth(c.Content, document.MaxDepth); err != nil {
		return nil, fault.New(fault.BadFormat, "The body can't be taken: %v", err)
	}
	if err := document.CheckText(c.Content); err != nil {
		return nil, fault.New(fault.BadFormat, "The body can't be taken: %v", err)
	}
	var items []*batchItem
	if err := c.Decode(&items); err != nil {
		return nil, err
	}
	messages := make([]message.Message, len(items))
	for i, item := range items {
		m, err := item.message()
		if err != nil {
			return nil, fault.New(fault.ArgumentInvalid, "Message %d of the batch: %v", i+1, err)
		}
		messages[i] = m
	}
	return messages, nil
}

func (i *batchItem) message() (m message.Message, err error) {
	if i == nil {
		return m, fault.NewReason("it must be an object, not null")
	}
	m.Payload = []byte(i.Body)
	if i.Base64Encoded == nil || *i.Base64Encoded {
		if m.Payload, err = base64.StdEncoding.DecodeString(i.Body); err != nil {
			return m, fault.NewReason("its body is not base64. With base64Encoded false it may be text")
		}
	}
	for name, value := range i.Properties.All() {
		text := value.String() // of a number or a boolean, as it is spelled
		switch value.Kind() {
		case document.KindString:
			text = value.Text()
		case document.KindNumber, document.KindBoolean:
		default:
			return m, fault.NewReason("its property %.128q must be a string", name)
		}
		system, application, ok := propertyOf(name)
		switch {
		case ok:
		case strings.HasPrefix(strings.ToLower(name), "iothub-"):
			continue // as in a header
		default:
			application = []byte(name) // without its prefix, which would lose it
		}
		if err := addProperty(&m, system, application, text); err != nil {
			return m, err
		}
	}
	return m, nil
}

// escapeControls escapes the control characters in the strings of JSON, which stand for
// themselves nowhere else: Node's client writes properties as they are. Quotation marks and
// backslashes that it does not escape either can mean two things, and make no batch.
func escapeControls(text []byte) []byte {
	var escaped []byte // nil as long as nothing had to be
	inString, kept := false, 0
	for at := 0; at < len(text); at++ {
		switch c := text[at]; {
		case c == '"':
			inString = !inString
		case !inString:
		case c == '\\':
			at++
		case c < ' ':
			escaped = fmt.Appendf(append(escaped, text[kept:at]...), `\u%04x`, c)
			kept = at + 1
		}
	}
	if escaped == nil {
		return text
	}
	return append(escaped, text[kept:]...)
}
