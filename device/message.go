package device

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/berth-iot/berth/contract"
)

// Message is telemetry (device-to-cloud, as Azure calls it) or a message from a back end
// (cloud-to-device).
type Message struct {
	MessageID       string // system properties; left out when empty
	CorrelationID   string
	ContentType     string            // such as application/json
	ContentEncoding string            // such as utf-8
	Properties      map[string]string // the application's
	Payload         []byte            // at most 256 KiB with its properties
}

// Send sends telemetry and waits until the hub acknowledges it.
func (c *Client) Send(ctx context.Context, message Message) error {
	acknowledged := make(chan error, 1)
	if err := c.SendAsync(message, func(err error) { acknowledged <- err }); err != nil {
		return err
	}
	select {
	case err := <-acknowledged:
		if err != nil {
			return fmt.Errorf("send a message: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the acknowledgement of a message: %w", context.Cause(ctx))
	}
}

// SendAsync sends telemetry. When it returns nil, done is called once: with nil
// when the hub acknowledges the message, or with why the connection ended
// before. Nothing is read from the connection until done returns. How many
// messages are under way at once is the caller's to bound.
func (c *Client) SendAsync(message Message, done func(error)) error {
	if err := c.mqtt.Publish(c.events+message.bag(), message.Payload, 1, done); err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	return nil
}

// bag returns the property bag that ends the topic: system properties first,
// then the application's in the order of their names.
func (m Message) bag() string {
	var bag strings.Builder
	add := func(name, value string) {
		if bag.Len() > 0 {
			bag.WriteByte('&')
		}
		bag.WriteString(escape(name))
		bag.WriteByte('=')
		bag.WriteString(escape(value))
	}
	for _, system := range [...]struct {
		property contract.Property
		value    string
	}{
		{contract.MessageID, m.MessageID}, {contract.CorrelationID, m.CorrelationID},
		{contract.ContentType, m.ContentType}, {contract.ContentEncoding, m.ContentEncoding},
	} {
		if system.value != "" {
			add(system.property.MQTT(), system.value)
		}
	}
	names := make([]string, 0, len(m.Properties))
	for name := range m.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		add(name, m.Properties[name])
	}
	return bag.String()
}

// readMessage reads a message to the device: the property bag that ends its topic, and its
// payload. System properties for which Message has no place are left out, and so is a
// property that is not percent-encoded.
func readMessage(bag string, payload []byte) Message {
	m := Message{Payload: payload}
	system := map[string]*string{
		contract.MessageID.MQTT(): &m.MessageID, contract.CorrelationID.MQTT(): &m.CorrelationID,
		contract.ContentType.MQTT(): &m.ContentType, contract.ContentEncoding.MQTT(): &m.ContentEncoding,
	}
	for pair := range strings.SplitSeq(bag, "&") {
		encodedName, encodedValue, _ := strings.Cut(pair, "=")
		name, err := url.PathUnescape(encodedName)
		value, wrong := url.PathUnescape(encodedValue)
		if err != nil || wrong != nil || name == "" {
			continue
		}
		if place, ok := system[name]; ok {
			*place = value
		} else if !strings.HasPrefix(name, "$.") && name != contract.AckProperty {
			if m.Properties == nil {
				m.Properties = make(map[string]string)
			}
			m.Properties[name] = value
		}
	}
	return m
}

// escape percent-encodes all that is not a letter, a digit or one of -_.~, the
// space included, as the SDKs do: hubs take a plus sign for a plus sign.
func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}
