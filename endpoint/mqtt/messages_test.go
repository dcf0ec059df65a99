package mqtt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/wire/mqtt"
)

const messageFilter = "devices/d1/messages/devicebound/#"

func (f *fixture) sendMessage(out c2d.Outgoing) {
	f.t.Helper()
	if _, err := f.SendMessage(f.t.Context(), "d1", out); err != nil {
		f.t.Fatal(err)
	}
}

// waiting waits until so many messages are in the queue of the device.
func (f *fixture) waiting(want int) {
	f.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		n, err := f.Messages().Count(f.t.Context(), "d1")
		if err != nil {
			f.t.Fatal(err)
		}
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%d messages wait, want %d", n, want)
		}
	}
}

func payload(s string) c2d.Outgoing {
	return c2d.Outgoing{Message: message.Message{Payload: []byte(s)}}
}

// A device gets what was sent before it subscribed and what is sent afterwards, in the
// order in which it was sent, and what it has acknowledged is gone.
func TestMessages(t *testing.T) {
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			f := newFixture(t)
			d := f.connect("d1", true)
			for i := range 20 {
				f.sendMessage(payload(fmt.Sprint(i)))
			}
			if _, err := d.Subscribe(t.Context(), mqtt.Subscription{Filter: messageFilter, QoS: qos}); err != nil {
				t.Fatal(err)
			}
			for i := range 40 {
				if i >= 20 {
					f.sendMessage(payload(fmt.Sprint(i)))
				}
				if got := d.next(); string(got.payload) != fmt.Sprint(i) {
					t.Fatalf("message %d is %q", i, got.payload)
				}
			}
			f.waiting(0)
		})
	}
}

// The topic of a message has its properties as Azure writes them.
func TestMessageTopics(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", true)
	if _, err := d.Subscribe(t.Context(),
		mqtt.Subscription{Filter: "devices/+/messages/devicebound/#", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	property := func(name, value string) message.Property {
		return message.Property{Name: []byte(name), Value: []byte(value)}
	}
	full := payload("all")
	full.MessageID, full.Ack = "m 1", c2d.AckFull
	full.System = []message.Property{property(contract.CorrelationID.String(), "c/1"),
		property(contract.ContentType.String(), "application/json")}
	full.Properties = []message.Property{property("level", "high & dry"), property("größe", ""), property("a=b", "+")}
	for _, c := range []struct {
		out   c2d.Outgoing
		topic string
	}{
		{payload("none"), "devices/d1/messages/devicebound/%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound"},
		{full, "devices/d1/messages/devicebound/%24.mid=m%201&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound" +
			"&%24.cid=c%2F1&%24.ct=application%2Fjson&iothub-ack=full&level=high%20%26%20dry&gr%C3%B6%C3%9Fe=&a%3Db=%2B"},
	} {
		f.sendMessage(c.out)
		if got := d.next(); got.topic != c.topic || string(got.payload) != string(c.out.Payload) {
			t.Errorf("%s\nwant\n%s", got.topic, c.topic)
		}
	}
}

// rawDevice is a device that acknowledges when the test says so.
type rawDevice struct {
	net.Conn
	t testing.TB
}

func (f *fixture) connectRaw(clean bool) rawDevice {
	f.t.Helper()
	if _, err := f.Device(f.t.Context(), "d1"); err != nil {
		if _, err := f.CreateDevice(f.t.Context(), identity.Device{DeviceID: "d1"}); err != nil {
			f.t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	d := rawDevice{conn, f.t}
	created, err := f.Device(f.t.Context(), "d1")
	if err != nil {
		f.t.Fatal(err)
	}
	flags := byte(0xc0)
	if clean {
		flags |= 2
	}
	body := append([]byte("\x00\x04MQTT\x04"), flags, 0, 60)
	for _, field := range []string{"d1", "hub.local/d1/?api-version=2021-04-12", f.token(created)} {
		body = append(body, text(field)...)
	}
	d.write(0x10, body)
	if kind, _ := d.read(); kind>>4 != 2 {
		f.t.Fatalf("CONNACK is %x", kind)
	}
	return d
}

func (d rawDevice) write(first byte, body []byte) {
	d.t.Helper()
	if _, err := d.Write(append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)); err != nil {
		d.t.Fatal(err)
	}
}

func (d rawDevice) read() (first byte, body []byte) {
	d.t.Helper()
	d.SetReadDeadline(time.Now().Add(20 * time.Second))
	head := make([]byte, 1)
	if _, err := io.ReadFull(d, head); err != nil {
		d.t.Fatal(err)
	}
	length, err := binary.ReadUvarint(byteReader{d})
	if err != nil {
		d.t.Fatal(err)
	}
	body = make([]byte, length)
	if _, err := io.ReadFull(d, body); err != nil {
		d.t.Fatal(err)
	}
	return head[0], body
}

func (d rawDevice) subscribe() {
	d.t.Helper()
	d.write(0x82, append(append([]byte{0, 9}, text(messageFilter)...), 1))
	if kind, body := d.read(); kind != 0x90 || !bytes.Equal(body, []byte{0, 9, 1}) {
		d.t.Fatalf("SUBACK is %x %x", kind, body)
	}
}

// message reads a PUBLISH of QoS 1.
func (d rawDevice) message() (again bool, packetID uint16, content string) {
	d.t.Helper()
	first, body := d.read()
	if first&0xf6 != 0x32 {
		d.t.Fatalf("%x %x is no PUBLISH of QoS 1", first, body)
	}
	topic := 2 + int(binary.BigEndian.Uint16(body))
	if !strings.HasPrefix(string(body[2:]), "devices/d1/messages/devicebound/") {
		d.t.Fatalf("the topic is %q", body[2:topic])
	}
	return first&8 != 0, binary.BigEndian.Uint16(body[topic:]), string(body[topic+2:])
}

// In a session that outlives its connection, what was not acknowledged comes again with DUP
// and the packet id that it had, right after CONNACK; in a clean one as something new.
func TestMessagesComeAgain(t *testing.T) {
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprint("clean ", clean), func(t *testing.T) {
			f := newFixture(t)
			d := f.connectRaw(clean)
			d.subscribe()
			ids := make(map[string]uint16)
			for _, content := range []string{"first", "second"} {
				f.sendMessage(payload(content))
				again, id, got := d.message()
				if again || got != content {
					t.Fatalf("%q comes, again: %v", got, again)
				}
				ids[got] = id
			}
			d.write(0x40, binary.BigEndian.AppendUint16(nil, ids["first"]))
			f.waiting(1)
			d.Close()

			d = f.connectRaw(clean)
			if clean {
				d.subscribe()
			}
			again, id, got := d.message()
			if again == clean || got != "second" || !clean && id != ids["second"] {
				t.Fatalf("%q comes with the packet id %d, again: %v; it had %d", got, id, again, ids["second"])
			}
			f.sendMessage(payload("third"))
			if again, other, got := d.message(); again || got != "third" || other == id {
				t.Fatalf("%q comes with the packet id %d, again: %v", got, other, again)
			}
			f.waiting(2)
		})
	}
}

// A device that acknowledges nothing has a few messages on their way, and the others wait.
func TestUnacknowledgedMessages(t *testing.T) {
	f := newFixture(t)
	d := f.connectRaw(true)
	d.subscribe()
	for i := range 3 * maxUnacknowledged {
		f.sendMessage(payload(fmt.Sprint(i)))
	}
	var ids []uint16
	for i := range 3 * maxUnacknowledged {
		if len(ids) == maxUnacknowledged { // then one for one
			d.write(0x40, binary.BigEndian.AppendUint16(nil, ids[0]))
			ids = ids[1:]
		}
		_, id, got := d.message()
		if got != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got)
		}
		ids = append(ids, id)
	}
	f.waiting(maxUnacknowledged)
	d.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := d.Read(make([]byte, 1)); n > 0 {
		t.Errorf("another message comes: %v", err)
	}
}
