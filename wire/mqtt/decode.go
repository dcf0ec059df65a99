package mqtt

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// Packet types, the upper four bits of the first byte.
const (
	typeConnect     byte = 1
	typeConnack     byte = 2
	typePublish     byte = 3
	typePuback      byte = 4
	typeSubscribe   byte = 8
	typeSuback      byte = 9
	typeUnsubscribe byte = 10
	typeUnsuback    byte = 11
	typePingreq     byte = 12
	typePingresp    byte = 13
	typeDisconnect  byte = 14
)

// frame finds the first packet in b: its first byte, where its body starts and
// its total size. size is 0 when b does not hold the whole fixed header yet.
// The packet itself may reach beyond b. max bounds the size, so that nobody
// waits for, or makes room for, more.
func frame(b []byte, max int) (first byte, body, size int, err error) {
	length, shift := 0, 0
	for i := 1; i < len(b); i++ {
		length |= int(b[i]&0x7f) << shift
		if b[i] < 0x80 {
			if size = i + 1 + length; size > max {
				return 0, 0, 0, ErrPacketTooLarge
			}
			return b[0], i + 1, size, nil
		}
		if shift += 7; shift > 21 {
			return 0, 0, 0, protocolError("MQTT-2.2.3", "remaining length of more than four bytes")
		}
	}
	return 0, 0, 0, nil
}

// reader takes fields off the front of a packet's body. After an error it
// returns zero values.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

func (r *reader) byte() byte {
	if len(r.rest) < 1 {
		r.fail(protocolError("MQTT-2.2.3", "packet shorter than its fields"))
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uint16() uint16 {
	if len(r.rest) < 2 {
		r.fail(protocolError("MQTT-2.2.3", "packet shorter than its fields"))
		return 0
	}
	n := binary.BigEndian.Uint16(r.rest)
	r.rest = r.rest[2:]
	return n
}

func (r *reader) bytes() []byte {
	n := int(r.uint16())
	if len(r.rest) < n {
		r.fail(protocolError("MQTT-2.2.3", "packet shorter than its fields"))
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// text is a string of UTF-8 without the null character.
func (r *reader) text() []byte {
	b := r.bytes()
	if !utf8.Valid(b) { // surrogates are not valid in Go either [MQTT-1.5.3-1]
		r.fail(protocolError("MQTT-1.5.3-1", "string that is not UTF-8"))
	} else if bytes.IndexByte(b, 0) >= 0 {
		r.fail(protocolError("MQTT-1.5.3-2", "string with a null character"))
	}
	return b
}

func (r *reader) packetID() uint16 {
	id := r.uint16()
	if id == 0 {
		r.fail(protocolError("MQTT-2.3.1-1", "packet identifier zero"))
	}
	return id
}

// end fails when something is left.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.fail(protocolError("MQTT-2.2.3", "packet longer than its fields"))
	}
	return r.err
}

// decodeConnect reads a CONNECT. With a code other than Accepted that is what CONNACK
// says, and err why. Whatever is wrong, connect holds what could be read of it. Of a
// version other than MQTT 3.1.1 that is who the client is and no more.
func decodeConnect(first byte, body []byte) (connect *Connect, code ConnectCode, err error) {
	if first&0x0f != 0 {
		return nil, 0, protocolError("MQTT-2.2.2-2", "CONNECT with flags in its first byte")
	}
	r := reader{rest: body}
	name, level := r.text(), r.byte()
	switch {
	case r.err != nil:
		return nil, 0, r.err
	case string(name) == "MQIsdp" && level == 3, string(name) == "MQTT" && level != 4:
		return r.identity(level), UnacceptableProtocolVersion, &VersionError{string(name), level} // [MQTT-3.1.2-2]
	case string(name) != "MQTT":
		return nil, 0, protocolError("MQTT-3.1.2-1", "protocol name %.16q", name)
	}
	flags := r.byte()
	connect = &Connect{KeepAlive: r.uint16(), CleanSession: flags&0x02 != 0}
	connect.ClientID = string(r.text())
	hasWill, willQoS, willRetain := flags&0x04 != 0, flags>>3&3, flags&0x20 != 0
	switch {
	case flags&0x01 != 0:
		r.fail(protocolError("MQTT-3.1.2-3", "CONNECT with its reserved flag"))
	case willQoS == 3:
		r.fail(protocolError("MQTT-3.1.2-14", "will with QoS 3"))
	case !hasWill && (willQoS != 0 || willRetain):
		r.fail(protocolError("MQTT-3.1.2-13", "will flags without a will"))
	case flags&0xc0 == 0x40:
		r.fail(protocolError("MQTT-3.1.2-22", "password without a user name"))
	}
	if hasWill {
		will := &Will{QoS: willQoS, Retain: willRetain, Topic: string(r.text())}
		will.Payload = bytes.Clone(r.bytes())
		if r.err == nil && !validTopic([]byte(will.Topic)) {
			r.fail(protocolError("MQTT-3.3.2-2", "will topic %.64q", will.Topic))
		}
		connect.Will = will
	}
	if flags&0x80 != 0 {
		connect.Username = string(r.text())
	}
	if flags&0x40 != 0 {
		connect.Password, connect.HasPassword = bytes.Clone(r.bytes()), true
	}
	if err := r.end(); err != nil {
		return connect, 0, err
	}
	if connect.ClientID == "" && !connect.CleanSession {
		return connect, IdentifierRejected,
			protocolError("MQTT-3.1.3-8", "CONNECT without a client id that wants a session kept")
	}
	return connect, Accepted, nil
}

// identity reads from the flags of a CONNECT on who the client is, as far as it can be
// read. The versions before and after differ in this by the properties of MQTT 5.
func (r *reader) identity(level byte) *Connect {
	flags := r.byte()
	r.uint16()
	skipProperties := func() {
		if level >= 5 {
			r.skip(r.length())
		}
	}
	skipProperties()
	connect := &Connect{ClientID: string(r.text())}
	if flags&0x04 != 0 {
		skipProperties()
		r.bytes()
		r.bytes()
	}
	if flags&0x80 != 0 {
		connect.Username = string(r.text())
	}
	return connect
}

// length is a number of one to four bytes, as a remaining length is written.
func (r *reader) length() (n int) {
	for shift := 0; ; shift += 7 {
		b := r.byte()
		n |= int(b&0x7f) << shift
		if b < 0x80 || shift == 21 {
			return n
		}
	}
}

func (r *reader) skip(n int) {
	if len(r.rest) < n {
		r.fail(protocolError("MQTT-2.2.3", "packet shorter than its fields"))
		return
	}
	r.rest = r.rest[n:]
}

// decode reads a PUBLISH in place: its topic and payload are parts of body.
func (p *Publish) decode(first byte, body []byte) error {
	p.QoS, p.Retain, p.Duplicate, p.PacketID = first>>1&3, first&1 != 0, first&8 != 0, 0
	r := reader{rest: body}
	p.Topic = r.text()
	switch {
	case p.QoS == 3:
		return protocolError("MQTT-3.3.1-4", "PUBLISH with QoS 3")
	case p.QoS == 2:
		return ErrQoS2
	case p.QoS == 1:
		p.PacketID = r.packetID()
	case p.Duplicate:
		return protocolError("MQTT-3.3.1-2", "PUBLISH with QoS 0 marked as a duplicate")
	}
	if r.err == nil && !validTopic(p.Topic) {
		return protocolError("MQTT-3.3.2-2", "PUBLISH to %.64q, which is empty or has a wildcard", p.Topic)
	}
	p.Payload = r.rest
	return r.err
}

// validTopic reports whether a topic names one: it is not empty and has no
// wildcard [MQTT-4.7.3-1, MQTT-3.3.2-2].
func validTopic(topic []byte) bool {
	return len(topic) > 0 && bytes.IndexByte(topic, '+') < 0 && bytes.IndexByte(topic, '#') < 0
}

func decodeSubscribe(first byte, body []byte) (id uint16, subscriptions []Subscription, err error) {
	if first&0x0f != 2 {
		return 0, nil, protocolError("MQTT-3.8.1-1", "SUBSCRIBE with wrong flags in its first byte")
	}
	r := reader{rest: body}
	id = r.packetID()
	for r.err == nil && len(r.rest) > 0 {
		filter, qos := r.text(), r.byte()
		if r.err == nil && qos > 2 {
			r.fail(protocolError("MQTT-3.8.3-4", "SUBSCRIBE with QoS %d", qos))
		}
		checkFilter(&r, filter)
		subscriptions = append(subscriptions, Subscription{Filter: string(filter), QoS: qos})
	}
	if r.err == nil && len(subscriptions) == 0 {
		r.fail(protocolError("MQTT-3.8.3-3", "SUBSCRIBE without a filter"))
	}
	return id, subscriptions, r.err
}

func decodeUnsubscribe(first byte, body []byte) (id uint16, filters []string, err error) {
	if first&0x0f != 2 {
		return 0, nil, protocolError("MQTT-3.10.1-1", "UNSUBSCRIBE with wrong flags in its first byte")
	}
	r := reader{rest: body}
	id = r.packetID()
	for r.err == nil && len(r.rest) > 0 {
		filter := r.text()
		checkFilter(&r, filter)
		filters = append(filters, string(filter))
	}
	if r.err == nil && len(filters) == 0 {
		r.fail(protocolError("MQTT-3.10.3-2", "UNSUBSCRIBE without a filter"))
	}
	return id, filters, r.err
}

// checkFilter holds a topic filter against the rules of its wildcards: each a
// level of its own, # the last [MQTT-4.7.1-2, MQTT-4.7.1-3].
func checkFilter(r *reader, filter []byte) {
	if r.err != nil {
		return
	}
	if len(filter) == 0 {
		r.fail(protocolError("MQTT-4.7.3-1", "empty topic filter"))
		return
	}
	for i, c := range filter {
		if c != '#' && c != '+' {
			continue
		}
		alone := (i == 0 || filter[i-1] == '/') && (i == len(filter)-1 || filter[i+1] == '/')
		if !alone || c == '#' && i != len(filter)-1 {
			r.fail(protocolError("MQTT-4.7.1-2", "topic filter %.64q", filter))
			return
		}
	}
}

func decodePuback(first byte, body []byte) (id uint16, err error) {
	if first&0x0f != 0 {
		return 0, protocolError("MQTT-2.2.2-2", "PUBACK with flags in its first byte")
	}
	r := reader{rest: body}
	id = r.packetID()
	return id, r.end()
}

// decodeEmpty checks a packet that is nothing but its type.
func decodeEmpty(first byte, body []byte) error {
	if first&0x0f != 0 {
		return protocolError("MQTT-2.2.2-2", "packet of type %d with flags in its first byte", first>>4)
	}
	r := reader{rest: body}
	return r.end()
}
