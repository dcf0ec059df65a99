package telemetry

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// TestDescribe shows a message as back ends read it: JSON as its device wrote it, text as
// text, and what is neither as base64; and what they get they write again as it was.
func TestDescribe(t *testing.T) {
	for _, c := range []struct{ contentType, payload, want string }{
		{"application/json", `{"b":1,"a":1.0}`, `"body":{"b":1,"a":1.0}`},
		{"Application/JSON; charset=utf-8", `"text"`, `"body":"text"`},
		{"application/json", `{"cut`, `"body":"{\"cut"`},
		{"text/plain", `{"b":1}`, `"body":"{\"b\":1}"`},
		{"", `21.5 °C`, `"body":"21.5 °C"`},
		{"application/json", "\xff\xfe", `"bodyBase64":"//4="`},
		{"", "", `"body":""`},
	} {
		m := message.Message{
			System:     []message.Property{{Name: []byte("content-type"), Value: []byte(c.contentType)}},
			Properties: []message.Property{{Name: []byte("level"), Value: []byte("info")}},
			Payload:    []byte(c.payload),
		}
		record := m.AppendTo(message.AppendHead(nil, "d", "7", message.Thumbprint))
		described := Describe(3, store.Record{Position: store.Position{Sequence: 5, Offset: 900,
			Time: noon.UnixNano()}, Value: record})
		text, err := json.Marshal(described)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{c.want, `"partition":3`, `"sequenceNumber":5`, `"offset":"900"`,
			`"enqueuedTimeUtc":"2026-11-23T12:00:00.0000000Z"`, `"iothub-connection-device-id":"d"`,
			`"iothub-connection-auth-generation-id":"7"`, `"level":"info"`} {
			if !strings.Contains(string(text), part) {
				t.Errorf("%q of the type %q is %s, want %s in it", c.payload, c.contentType, text, part)
			}
		}
		var read Message
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(read); err != nil || string(again) != string(text) {
			t.Errorf("%s is read and written as %s, error %v", text, again, err)
		}
	}
}

// TestDescribeUnreadable shows a record that is none as such, and all of it.
func TestDescribeUnreadable(t *testing.T) {
	described := Describe(1, store.Record{Position: store.Position{Sequence: 5}, Value: []byte{200, 1}})
	if described.Unreadable == "" || string(described.BodyBase64) != "\xc8\x01" || described.SequenceNumber != 5 {
		t.Errorf("it is shown as %+v", described)
	}
	var read Message
	for _, text := range []string{`[]`, `{"body":"\ud800`} {
		if err := json.Unmarshal([]byte(text), &read); err == nil {
			t.Errorf("%s is read as %+v", text, read)
		}
	}
}
