package mqtt

import (
	"encoding/binary"
	"fmt"
)

// Encoders append a packet to b and return it. Those for fields of variable
// size trust their callers to stay within what MQTT can say.

func appendConnack(b []byte, present bool, code ConnectCode) []byte {
	flags := byte(0)
	if present && code == Accepted { // [MQTT-3.2.2-4]
		flags = 1
	}
	return append(b, typeConnack<<4, 2, flags, byte(code))
}

func appendPuback(b []byte, id uint16) []byte {
	return append(b, typePuback<<4, 2, byte(id>>8), byte(id))
}

func appendSuback(b []byte, id uint16, codes []byte) []byte {
	b = appendHeader(b, typeSuback<<4, 2+len(codes))
	return append(binary.BigEndian.AppendUint16(b, id), codes...)
}

func appendUnsuback(b []byte, id uint16) []byte {
	return append(b, typeUnsuback<<4, 2, byte(id>>8), byte(id))
}

// appendPublish writes p; the packet id is left out with QoS 0.
func appendPublish(b []byte, topic string, payload []byte, qos byte, retain, duplicate bool, id uint16) []byte {
	first := typePublish<<4 | qos<<1
	if retain {
		first |= 1
	}
	if duplicate {
		first |= 8
	}
	size := 2 + len(topic) + len(payload)
	if qos > 0 {
		size += 2
	}
	b = appendText(appendHeader(b, first, size), topic)
	if qos > 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return append(b, payload...)
}

func appendConnect(b []byte, c *Connect) []byte {
	size, flags := 10+2+len(c.ClientID), byte(0)
	if c.CleanSession {
		flags |= 0x02
	}
	if c.Will != nil {
		size += 4 + len(c.Will.Topic) + len(c.Will.Payload)
		flags |= 0x04 | c.Will.QoS<<3
		if c.Will.Retain {
			flags |= 0x20
		}
	}
	if c.Username != "" {
		size += 2 + len(c.Username)
		flags |= 0x80
	}
	if c.HasPassword {
		size += 2 + len(c.Password)
		flags |= 0x40
	}
	b = appendText(appendHeader(b, typeConnect<<4, size), "MQTT")
	b = binary.BigEndian.AppendUint16(append(b, 4, flags), c.KeepAlive)
	b = appendText(b, c.ClientID)
	if c.Will != nil {
		b = appendText(appendText(b, c.Will.Topic), string(c.Will.Payload))
	}
	if c.Username != "" {
		b = appendText(b, c.Username)
	}
	if c.HasPassword {
		b = appendText(b, string(c.Password))
	}
	return b
}

func appendSubscribe(b []byte, id uint16, subscriptions []Subscription) []byte {
	size := 2
	for _, s := range subscriptions {
		size += 3 + len(s.Filter)
	}
	b = binary.BigEndian.AppendUint16(appendHeader(b, typeSubscribe<<4|2, size), id)
	for _, s := range subscriptions {
		b = append(appendText(b, s.Filter), s.QoS)
	}
	return b
}

func appendHeader(b []byte, first byte, length int) []byte {
	b = append(b, first)
	for length >= 0x80 {
		b = append(b, byte(length)|0x80)
		length >>= 7
	}
	return append(b, byte(length))
}

func appendText(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// checkPublish refuses what MQTT can't say.
func checkPublish(topic string, payload []byte) error {
	if len(topic) > 0xffff || !validTopic([]byte(topic)) {
		return fmt.Errorf("publish to %.64q: no topic of MQTT", topic)
	}
	if len(payload) > 1<<28-1-4-len(topic) {
		return fmt.Errorf("publish %d bytes: more than MQTT can carry", len(payload))
	}
	return nil
}
