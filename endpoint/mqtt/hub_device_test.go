package mqtt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/wire/mqtt"
)

// The filters of SDKs.
const (
	twinResponseFilter = "$iothub/twin/res/#"
	desiredFilter      = "$iothub/twin/PATCH/properties/desired/#"
)

// However many topics one packet names, and however often it changes its mind, what
// the hub keeps of it is one commit; a packet that changes nothing is none.
func TestSubscribeCommitsOnce(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", false)
	var many []mqtt.Subscription
	for i := range 2000 {
		many = append(many, mqtt.Subscription{Filter: twinResponseFilter, QoS: byte(i % 2)},
			mqtt.Subscription{Filter: "devices/other/#", QoS: 1},
			mqtt.Subscription{Filter: desiredFilter, QoS: byte(i / 7 % 3)})
	}
	subscribe := func(d *device, want string, commits int64, subscriptions ...mqtt.Subscription) {
		t.Helper()
		before := f.documents.commits.Load()
		codes, err := d.Subscribe(t.Context(), subscriptions...)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.documents.commits.Load() - before; got > commits {
			t.Errorf("SUBSCRIBE with %d filters costs %d commits, want %d", len(subscriptions), got, commits)
		}
		if got := fmt.Sprint(codes[len(codes)-min(3, len(codes)):]); got != want {
			t.Errorf("granted %s, want %s", got, want)
		}
	}
	subscribe(d, "[1 128 0]", 1, many...)
	subscribe(d, "[1 128 0]", 0, many[len(many)-3:]...)
	d.Disconnect()

	d = f.connect("d1", false)
	if !d.present {
		t.Error("the session was not kept")
	}
	if err := d.Publish(contract.TwinTopic+"$rid=1", nil, 1, nil); err != nil {
		t.Fatal(err)
	}
	if answer := d.next(); answer.topic != "$iothub/twin/res/200/?$rid=1" {
		t.Errorf("the twin is answered on %s", answer.topic)
	}
	d.Disconnect()

	raw := f.dialKept("d1")
	before := f.documents.commits.Load()
	unsubscribe := []byte{0, 9}
	for range 2000 {
		for _, filter := range []string{twinResponseFilter, "never/subscribed", desiredFilter} {
			unsubscribe = append(binary.BigEndian.AppendUint16(unsubscribe, uint16(len(filter))), filter...)
		}
	}
	raw.Write(append(binary.AppendUvarint([]byte{0xa2}, uint64(len(unsubscribe))), unsubscribe...))
	answer := make([]byte, 4)
	if _, err := io.ReadFull(raw, answer); err != nil || !bytes.Equal(answer, []byte{0xb0, 2, 0, 9}) {
		t.Fatalf("UNSUBSCRIBE is answered % x, error %v", answer, err)
	}
	if got := f.documents.commits.Load() - before; got > 1 {
		t.Errorf("UNSUBSCRIBE with 6,000 filters costs %d commits", got)
	}
	raw.Close()
	if d := f.connect("d1", false); d.present {
		t.Error("the session still has subscriptions")
	}
}

// dialKept connects a device that is there, and keeps its session, for packets that
// the client does not send.
func (f *fixture) dialKept(id string) net.Conn {
	f.t.Helper()
	known, err := f.Device(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	token, err := credential.NewToken("hub.local/devices/"+id, "", *known.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		f.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	packet := append([]byte("\x00\x04MQTT\x04\xc0\x00\x3c"), text(id)...)
	packet = append(append(packet, text("hub.local/"+id+"/?api-version=2021-04-12")...), text(token)...)
	conn.Write(append(binary.AppendUvarint([]byte{0x10}, uint64(len(packet))), packet...))
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		f.t.Fatal(err)
	}
	return conn
}

func text(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

// A device may ask for its twin many times at once, and its answers together are far
// more than may wait for it. Others change the twin meanwhile, and never wait.
func TestManyTwinRequestsAtOnce(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", true)
	large := func(name string) json.RawMessage {
		properties := make(map[string]string)
		for i := range 7 {
			properties[fmt.Sprint(name, i)] = strings.Repeat("x", 4000)
		}
		encoded, _ := json.Marshal(properties)
		return encoded
	}
	patch := fmt.Sprintf(`{"properties":{"desired":%s}}`, large("d"))
	if _, err := f.PatchTwin(t.Context(), "d1", json.RawMessage(patch), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Subscribe(t.Context(), mqtt.Subscription{Filter: twinResponseFilter, QoS: 1},
		mqtt.Subscription{Filter: desiredFilter, QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(contract.ReportedTopic+"$rid=0", large("r"), 0, nil); err != nil {
		t.Fatal(err)
	}
	if answer := d.next(); !strings.HasPrefix(answer.topic, "$iothub/twin/res/204/") {
		t.Fatalf("reporting is answered %s %s", answer.topic, answer.payload)
	}
	const requests, changes = 300, 20
	for i := range requests {
		if err := d.Publish(fmt.Sprint(contract.TwinTopic, "$rid=", i), nil, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range changes {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if _, err := f.PatchTwin(ctx, "d1", fmt.Appendf(nil, `{"properties":{"desired":{"n":%d}}}`, i),
			""); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	answers, told, size := 0, 0, 0
	for answers < requests || told < changes {
		message := d.next()
		size += len(message.payload)
		switch {
		case message.topic == contract.TwinAnswers.Topic(200, fmt.Sprint(answers)):
			answers++
		case strings.HasPrefix(message.topic, "$iothub/twin/PATCH/properties/desired/"):
			told++
		default:
			t.Fatalf("a message on %s after %d answers", message.topic, answers)
		}
	}
	if size < 10<<20 {
		t.Fatalf("only %d bytes were answered, which prove nothing", size)
	}
}
