package mqtt

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	connectPacket    = "\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03dev"
	publishQoS0      = "\x30\x06\x00\x01thi!"
	publishQoS1      = "\x32\x07\x00\x01t\x00\x07ok"
	subscribePacket  = "\x82\x08\x00\x05\x00\x03a/b\x01"
	disconnectPacket = "\xe0\x00"
	pingPacket       = "\xc0\x00"
)

// packets are what clients send, right and wrong, with the clause that is broken.
var packets = []struct {
	name, bytes string
	clause      string // "" when the packet is right
}{
	{"connect", connectPacket, ""},
	{"connect with everything",
		"\x10\x26\x00\x04MQTT\x04\xee\x00\x3c\x00\x03dev\x00\x01w\x00\x04gone\x00\x04user\x00\x06secret", ""},
	{"connect with a wrong name", "\x10\x0f\x00\x04MQTU\x04\x02\x00\x3c\x00\x03dev", "MQTT-3.1.2-1"},
	{"connect with its reserved flag", "\x10\x0f\x00\x04MQTT\x04\x03\x00\x3c\x00\x03dev", "MQTT-3.1.2-3"},
	{"connect with flags in the first byte", "\x11\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03dev", "MQTT-2.2.2-2"},
	{"connect with a will of QoS 3", "\x10\x14\x00\x04MQTT\x04\x1e\x00\x3c\x00\x03dev\x00\x01w\x00\x00",
		"MQTT-3.1.2-14"},
	{"connect with will flags and no will", "\x10\x0f\x00\x04MQTT\x04\x0a\x00\x3c\x00\x03dev", "MQTT-3.1.2-13"},
	{"connect with a will to a wildcard", "\x10\x14\x00\x04MQTT\x04\x06\x00\x3c\x00\x03dev\x00\x01#\x00\x00",
		"MQTT-3.3.2-2"},
	{"connect with a password alone", "\x10\x11\x00\x04MQTT\x04\x42\x00\x3c\x00\x03dev\x00\x00", "MQTT-3.1.2-22"},
	{"connect cut short", "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x03d", "MQTT-2.2.3"},
	{"connect with something behind", "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x03dev!", "MQTT-2.2.3"},
	{"connect with an id that is not UTF-8", "\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03d\xff\xfe", "MQTT-1.5.3-1"},
	{"connect with a null in its id", "\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03d\x00v", "MQTT-1.5.3-2"},
	{"publish, QoS 0", publishQoS0, ""},
	{"publish, QoS 1", publishQoS1, ""},
	{"publish, QoS 1, again and retained", "\x3b\x07\x00\x01t\x00\x07ok", ""},
	{"publish, no payload", "\x30\x03\x00\x01t", ""},
	{"publish, QoS 2", "\x34\x07\x00\x01t\x00\x07ok", "QoS 2"},
	{"publish, QoS 3", "\x36\x07\x00\x01t\x00\x07ok", "MQTT-3.3.1-4"},
	{"publish, QoS 0 as a duplicate", "\x38\x06\x00\x01thi!", "MQTT-3.3.1-2"},
	{"publish without packet id", "\x32\x03\x00\x01t", "MQTT-2.2.3"},
	{"publish with packet id 0", "\x32\x05\x00\x01t\x00\x00", "MQTT-2.3.1-1"},
	{"publish to a wildcard", "\x30\x05\x00\x03a/#", "MQTT-3.3.2-2"},
	{"publish to nowhere", "\x30\x02\x00\x00", "MQTT-3.3.2-2"},
	{"publish with a topic longer than the packet", "\x30\x03\x00\x09t", "MQTT-2.2.3"},
	{"subscribe", subscribePacket, ""},
	{"subscribe to two", "\x82\x0d\x00\x05\x00\x03a/+\x01\x00\x02/#\x02", ""},
	{"subscribe with wrong flags", "\x80\x08\x00\x05\x00\x03a/b\x01", "MQTT-3.8.1-1"},
	{"subscribe to nothing", "\x82\x02\x00\x05", "MQTT-3.8.3-3"},
	{"subscribe with QoS 3", "\x82\x08\x00\x05\x00\x03a/b\x03", "MQTT-3.8.3-4"},
	{"subscribe to an empty filter", "\x82\x05\x00\x05\x00\x00\x01", "MQTT-4.7.3-1"},
	{"subscribe with a # inside", "\x82\x08\x00\x05\x00\x03#/b\x01", "MQTT-4.7.1-2"},
	{"subscribe with a +b level", "\x82\x07\x00\x05\x00\x02+b\x01", "MQTT-4.7.1-2"},
	{"subscribe with packet id 0", "\x82\x08\x00\x00\x00\x03a/b\x01", "MQTT-2.3.1-1"},
	{"unsubscribe", "\xa2\x07\x00\x05\x00\x03a/b", ""},
	{"unsubscribe from nothing", "\xa2\x02\x00\x05", "MQTT-3.10.3-2"},
	{"unsubscribe with wrong flags", "\xa0\x07\x00\x05\x00\x03a/b", "MQTT-3.10.1-1"},
	{"puback", "\x40\x02\x00\x07", ""},
	{"puback with flags", "\x41\x02\x00\x07", "MQTT-2.2.2-2"},
	{"puback with packet id 0", "\x40\x02\x00\x00", "MQTT-2.3.1-1"},
	{"ping", pingPacket, ""},
	{"ping with a body", "\xc0\x01\x00", "MQTT-2.2.3"},
	{"disconnect", disconnectPacket, ""},
	{"disconnect with flags", "\xe1\x00", "MQTT-2.2.2-2"},
	{"remaining length of five bytes", "\x30\x80\x80\x80\x80\x01", "MQTT-2.2.3"},
}

// decode reads one packet as the server would and writes it again.
func decode(b []byte) (again []byte, err error) {
	first, start, size, err := frame(b, 1<<28)
	if err != nil {
		return nil, err
	}
	if size == 0 || size > len(b) {
		return nil, protocolError("MQTT-2.2.3", "not a whole packet")
	}
	body := b[start:size]
	switch first >> 4 {
	case typeConnect:
		connect, code, err := decodeConnect(first, body)
		if err != nil || code != Accepted {
			return nil, err
		}
		return appendConnect(nil, connect), nil
	case typePublish:
		var p Publish
		if err := p.decode(first, body); err != nil {
			return nil, err
		}
		return appendPublish(nil, string(p.Topic), p.Payload, p.QoS, p.Retain, p.Duplicate, p.PacketID), nil
	case typeSubscribe:
		id, subscriptions, err := decodeSubscribe(first, body)
		return appendSubscribe(nil, id, subscriptions), err
	case typeUnsubscribe:
		_, _, err := decodeUnsubscribe(first, body)
		return nil, err
	case typePuback:
		id, err := decodePuback(first, body)
		return appendPuback(nil, id), err
	}
	return nil, decodeEmpty(first, body)
}

func TestPackets(t *testing.T) {
	for _, c := range packets {
		t.Run(c.name, func(t *testing.T) {
			again, err := decode([]byte(c.bytes))
			if c.clause == "" {
				if err != nil {
					t.Fatal(err)
				}
				if again != nil && string(again) != c.bytes {
					t.Errorf("written again it is %q, not %q", again, c.bytes)
				}
				return
			}
			if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), c.clause) {
				t.Errorf("the error is %v, want %s", err, c.clause)
			}
		})
	}
}

// Every packet that is cut short asks for more or is an error, never a panic.
func TestTruncatedPackets(t *testing.T) {
	for _, c := range packets {
		for n := range len(c.bytes) {
			if first, start, size, err := frame([]byte(c.bytes[:n]), 1<<28); err == nil && size > 0 && size <= n {
				t.Errorf("%s: %d of %d bytes are taken for a whole packet (%x, %d)", c.name, n, len(c.bytes), first,
					start)
			}
			// The same with a header that says that this is all.
			if n > 2 && n < 120 {
				cut := append([]byte{c.bytes[0], byte(n - 2)}, c.bytes[2:n]...)
				decode(cut)
			}
		}
	}
}

// Of a CONNECT of another version it is read who the client is, and no more.
func TestConnectVersions(t *testing.T) {
	for _, c := range []struct{ name, packet, version, clientID, username string }{
		{"MQTT 5", "\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03dev", "MQTT 5.0", "dev", ""},
		{"MQTT 5 with everything",
			"\x10\x2d\x00\x04MQTT\x05\xc6\x00\x3c\x05\x11\x00\x00\x00\x3c\x00\x03dev\x02\x01\x01\x00\x01w\x00\x02by" +
				"\x00\x04user\x00\x06secret", "MQTT 5.0", "dev", "user"},
		{"MQTT 5 cut short", "\x10\x0d\x00\x04MQTT\x05\x82\x00\x3c\xff\xff\x03", "MQTT 5.0", "", ""},
		{"MQTT 3.1", "\x10\x17\x00\x06MQIsdp\x03\x82\x00\x3c\x00\x03dev\x00\x04user", "MQTT 3.1", "dev", "user"},
		{"a bridge", "\x10\x0f\x00\x04MQTT\x84\x02\x00\x3c\x00\x03dev", "MQTT of the protocol level 132", "", ""},
	} {
		first, start, size, err := frame([]byte(c.packet), 1000)
		if err != nil || size != len(c.packet) {
			t.Fatalf("%s: %d of %d bytes, %v", c.name, size, len(c.packet), err)
		}
		connect, code, err := decodeConnect(first, []byte(c.packet[start:]))
		var version *VersionError
		if code != UnacceptableProtocolVersion || !errors.As(err, &version) || version.Version() != c.version ||
			!strings.Contains(err.Error(), "MQTT 3.1.1 is wanted") {
			t.Errorf("%s: code %d, error %v", c.name, code, err)
		} else if connect.ClientID != c.clientID || connect.Username != c.username || connect.HasPassword {
			t.Errorf("%s: the client is %+v", c.name, connect)
		}
	}
	_, code, err := decodeConnect(0x10, []byte("\x00\x04MQTT\x04\x00\x00\x3c\x00\x00"))
	if code != IdentifierRejected || err == nil {
		t.Errorf("no client id and no clean session: code %d, error %v", code, err)
	}
}

func TestEveryPublishReadsBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := rapid.StringMatching(`[a-zA-Z0-9/$&=%é€]{1,60}`).Draw(t, "topic")
		payload := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload")
		qos := rapid.ByteRange(0, 1).Draw(t, "qos")
		id := rapid.Uint16Range(1, 0xffff).Draw(t, "id")
		retain := rapid.Bool().Draw(t, "retain")
		encoded := appendPublish(nil, topic, payload, qos, retain, false, id)
		first, start, size, err := frame(encoded, 1<<28)
		if err != nil || size != len(encoded) {
			t.Fatalf("framed to %d of %d bytes, %v", size, len(encoded), err)
		}
		var p Publish
		if err := p.decode(first, encoded[start:]); err != nil {
			t.Fatal(err)
		}
		if string(p.Topic) != topic || !bytes.Equal(p.Payload, payload) || p.QoS != qos || p.Retain != retain ||
			qos == 1 && p.PacketID != id {
			t.Fatalf("read back as %+v", p)
		}
	})
}

func TestConnectReadsBackAsItWas(t *testing.T) {
	want := &Connect{ClientID: "dev", Username: "u", Password: []byte("p"), HasPassword: true, KeepAlive: 60,
		Will: &Will{Topic: "w", Payload: []byte("gone"), QoS: 1, Retain: true}}
	encoded := appendConnect(nil, want)
	first, start, _, err := frame(encoded, 1000)
	if err != nil {
		t.Fatal(err)
	}
	got, code, err := decodeConnect(first, encoded[start:])
	if err != nil || code != Accepted || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, code %d, error %v", got, code, err)
	}
}

func TestAcknowledgementsKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ring ackRing
		ids := rapid.SliceOfNDistinct(rapid.Uint16Range(1, 2000), 1, 60, rapid.ID[uint16]).Draw(t, "ids")
		for _, id := range ids {
			ring.push(id)
		}
		var released []uint16
		for _, id := range rapid.Permutation(ids).Draw(t, "settled") {
			for range ring.settle(id) {
				released = append(released, ring.pop())
			}
		}
		if !reflect.DeepEqual(released, ids) || ring.len() != 0 {
			t.Fatalf("released %v, came %v", released, ids)
		}
	})
}

// What parses is written again as it was, but for what MQTT says twice.
func FuzzPacket(f *testing.F) {
	for _, c := range packets {
		f.Add([]byte(c.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := decode(b)
		if err != nil || again == nil || b[0]>>4 == typeConnect {
			return
		}
		_, start, size, _ := frame(b, 1<<28)
		_, startAgain, sizeAgain, _ := frame(again, 1<<28)
		if !bytes.Equal(b[start:size], again[startAgain:sizeAgain]) || b[0] != again[0] {
			t.Errorf("%x is written again as %x", b[:size], again)
		}
	})
}
