package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/telemetry"
)

// sender is a device that sends over HTTPS.
type sender struct {
	*httpstest.Fixture
	token string
}

func newSender(t *testing.T) sender {
	t.Helper()
	f := newFixture(t)
	device, err := f.Config.Hubs.All()[0].CreateDevice(t.Context(), identity.Device{DeviceID: "d 1"})
	if err == nil {
		t.Fatalf("%q is a device id", device.DeviceID)
	}
	if device, err = f.Config.Hubs.All()[0].CreateDevice(t.Context(), identity.Device{DeviceID: "d+1"}); err != nil {
		t.Fatal(err)
	}
	token, err := credential.NewToken("hub.local/devices/d%2B1", "", *device.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return sender{f, token}
}

func (s sender) post(body string, header http.Header) httpstest.Response {
	s.T.Helper()
	return s.Do(httpstest.Request{Method: "POST", Path: "/Devices/d%2B1/Messages/Events/", Token: s.token, Body: body,
		Header: header})
}

// sent are all messages that the hub has: properties and body, a line each.
func (s sender) sent() (lines []string) {
	s.T.Helper()
	ctx, iot := s.T.Context(), s.Config.Hubs.All()[0]
	messages, _ := iot.Telemetry().Accepted()
	if messages == 0 {
		return nil
	}
	if err := iot.Telemetry().Follow(ctx, telemetry.Position{Earliest: true}, "", func(m telemetry.Message) error {
		for name := range m.SystemProperties {
			if strings.HasPrefix(name, "iothub-connection-") || name == contractEnqueued || name == contractSource {
				delete(m.SystemProperties, name)
			}
		}
		line, err := json.Marshal([]any{m.DeviceID, m.SystemProperties, m.Properties, m.Body, m.BodyBase64})
		lines = append(lines, string(line))
		if err == nil && len(lines) == int(messages) {
			err = telemetry.ErrStop
		}
		return err
	}); err != nil {
		s.T.Fatal(err)
	}
	return lines
}

const contractEnqueued, contractSource = "iothub-enqueuedtime", "iothub-message-source"

// TestTelemetry sends a message with all that it can have, as each client writes it.
func TestTelemetry(t *testing.T) {
	s := newSender(t)
	for i, c := range []struct {
		body   string
		header http.Header
		want   string // properties and body
	}{
		{"bare", nil, `{},{},"bare",null`},
		{"", http.Header{"Content-Type": {"application/octet-stream"}}, `{},{},"",null`},
		{`{"a":1}`, http.Header{ // Node
			"iothub-to": {"/devices/d%2B1/messages/events"}, "iothub-app-fooBar": {"1"}, "iothub-app-foobar": {"2"},
			"IoTHub-MessageId": {"m 1"}, "IoTHub-CorrelationId": {"c"}, "IoTHub-UserId": {"u"}, "IoTHub-Expiry": {"e"},
			"IoTHub-Ack": {"full"}, "iothub-contenttype": {"application/json"}, "iothub-contentencoding": {"utf-8"},
			"iothub-interface-id": {"urn:i"}, "dt-subject": {"sub"}, "User-Agent": {"azure-iot-device/1"}},
			`{"absolute-expiry-time":"e","content-encoding":"utf-8","content-type":"application/json",` +
				`"correlation-id":"c","dt-subject":"sub","iothub-interface-id":"urn:i","message-id":"m 1",` +
				`"to":"/devices/d%2B1/messages/events","user-id":"u"},` +
				`{"fooBar":"1","foobar":"2","iothub-ack":"full"},{"a":1},null`},
		{"\xff", http.Header{"Content-Type": {"binary/octet-stream"}, "iothub-creation-time-utc": {"t"}, // Java
			"iothub-messageschema": {"s"}, "iothub-app-größe": {"ü"}, "iothub-operation": {"d2c"}},
			`{"iothub-creation-time-utc":"t","iothub-message-schema":"s"},{"größe":"ü"},null,"/w=="`},
	} {
		if got := s.post(c.body, c.header); got.Status != 204 || got.Text != "" {
			t.Fatalf("message %d is answered %d %s", i, got.Status, got.Text)
		}
		all := s.sent()
		if want := `["d+1",` + c.want + `]`; len(all) != i+1 || all[i] != want {
			t.Errorf("message %d is read as\n%s\nwant\n%s", i, all[len(all)-1], want)
		}
	}
}

// TestTelemetryBatch sends batches as each client writes them.
func TestTelemetryBatch(t *testing.T) {
	s := newSender(t)
	for _, c := range []struct{ name, batch, want string }{
		{"none", `[]`, ""},
		{"Node", `[{"body": "YQ==", "properties":{"iothub-app-fooBar":"1","dt-subject":"sub"}},{"body": "Yg=="},` +
			"{\"body\": \"Yw==\", \"properties\":{\"iothub-app-text\":\"a\tb\r\n\"}}]",
			`["d+1",{"dt-subject":"sub"},{"fooBar":"1"},"a",null]
["d+1",{},{},"b",null]
["d+1",{},{"text":"a\tb\r\n"},"c",null]`},
		{"C", `[{"body":"\"text\"","base64Encoded":false,"properties":{"iothub-app-a":"b"}},{"body":"YQ==","base64Encoded":true}]`,
			`["d+1",{},{"a":"b"},"\"text\"",null]
["d+1",{},{},"a",null]`},
		{"C#", "\uFEFF" + `[{"body":"e30=","properties":{"iothub-messageid":"m","iothub-contenttype":"application/json",` +
			`"iothub-app-n":1.50,"iothub-app-b":true,"iothub-operation":"d2c","iothub-app-iothub-creation-time-utc":"t"}}]`,
			`["d+1",{"content-type":"application/json","iothub-creation-time-utc":"t","message-id":"m"},{"b":"true","n":"1.50"},{},null]`},
		{"without prefix", `[{"body":null,"base64Encoded":null,"properties":{"level":"high"}},{"properties":null}]`,
			`["d+1",{},{"level":"high"},"",null]
["d+1",{},{},"",null]`},
	} {
		before := len(s.sent())
		got := s.post(c.batch, http.Header{"Content-Type": {batchType + "; charset=utf-8"}})
		if got.Status != 204 || got.Text != "" {
			t.Errorf("%s: answered %d %s", c.name, got.Status, got.Text)
			continue
		}
		if sent := strings.Join(s.sent()[before:], "\n"); sent != c.want {
			t.Errorf("%s: read as\n%s\nwant\n%s", c.name, sent, c.want)
		}
	}
}

// TestTelemetryRefused has nothing of what is refused, and says why.
func TestTelemetryRefused(t *testing.T) {
	s := newSender(t)
	batch := http.Header{"Content-Type": {batchType}}
	many := make(http.Header)
	for i := range telemetry.MaxProperties + 1 {
		many.Set(fmt.Sprintf("iothub-app-%d", i), "x")
	}
	for _, c := range []struct {
		name, body string
		header     http.Header
		want       fault.Code
		says       string
	}{
		{"too large", strings.Repeat("x", telemetry.MaxMessage+1), nil, fault.MessageTooLarge, "larger than 262144 bytes"},
		{"too large with its properties", strings.Repeat("x", telemetry.MaxMessage), http.Header{"iothub-app-a": {"b"}},
			fault.MessageTooLarge, "the limit is 262144"},
		{"too many properties", "x", many, fault.ArgumentInvalid, "more than 256 properties"},
		{"not UTF-8", "x", http.Header{"iothub-app-a": {"\xe9"}}, fault.ArgumentInvalid, "iothub-app-a"},
		{"compressed", "x", http.Header{"Content-Encoding": {"gzip"}}, fault.UnsupportedMediaType, "gzip"},
		{"batch too large", `[{"body":"` + strings.Repeat("QUJD", telemetry.MaxMessage/4) + `"}]`, batch,
			fault.MessageTooLarge, "larger than 262144 bytes"},
		{"batch of nothing", "", batch, fault.ArgumentNull, "no body"},
		{"no array", `{"body":""}`, batch, fault.BadFormat, "an array"},
		{"a quotation mark that is not escaped", `[{"body":"","properties":{"iothub-app-a":"say "hi""}}]`, batch,
			fault.BadFormat, "line 1"},
		{"not UTF-8 in a batch", "[{\"body\":\"\xff\",\"base64Encoded\":false}]", batch, fault.BadFormat, "UTF-8"},
		{"too deep", strings.Repeat("[", 100), batch, fault.BadFormat, "levels"},
		{"the second is null", `[{"body":"YQ=="},null]`, batch, fault.ArgumentInvalid, "Message 2 of the batch"},
		{"the second is not base64", `[{"body":"YQ=="},{"body":"text!"}]`, batch, fault.ArgumentInvalid, "Message 2"},
		{"a property that is an object", `[{"body":"","properties":{"iothub-app-a":{}}}]`, batch, fault.ArgumentInvalid,
			"iothub-app-a"},
		{"a body that is an object", `[{"body":{}}]`, batch, fault.BadFormat, "a string"},
	} {
		got := s.post(c.body, c.header)
		says, _ := got.Fields["Message"].(string)
		if got.Status != c.want.Status() || !strings.Contains(says, c.want.Name()) || !strings.Contains(says, c.says) {
			t.Errorf("%s: answered %d %s", c.name, got.Status, got.Text)
		}
	}
	if sent := s.sent(); sent != nil {
		t.Errorf("the hub has %q", sent)
	}
	s.token = ""
	if got := s.post("x", nil); got.Status != 401 {
		t.Errorf("a stranger is answered %d %s", got.Status, got.Text)
	}
}

// FuzzBatch makes a batch of anything: what is taken can be stored, and read as it was.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(`[{"body":"YQ==","properties":{"iothub-app-a":"b"}},{"body":"a\u0000","base64Encoded":false}]`))
	f.Add([]byte("[{\"properties\":{\"iothub-app-text\":\"a\tb\\\"\"}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		original := slices.Clone(text)
		escaped := escapeControls(text)
		if !slices.Equal(text, original) {
			t.Fatal("the text was changed")
		}
		if json.Valid(text) && string(escaped) != string(text) {
			t.Fatalf("JSON becomes %q", escaped)
		}
		messages, err := readBatch(&https.Call{Content: text})
		if err != nil {
			if status := fault.From(err).Code.Status(); status != 400 {
				t.Fatalf("refused with %d", status)
			}
			return
		}
		for _, m := range messages {
			read, err := message.Decode(m.AppendTo(message.AppendHead(nil, "d", "1", message.DeviceKey)))
			if err != nil || read.Size() != m.Size() {
				t.Fatalf("%+v is read as %+v, %v", m, read, err)
			}
			for _, properties := range [][]message.Property{m.System, m.Properties} {
				for _, p := range properties {
					if quoted, _ := json.Marshal(string(p.Name) + string(p.Value)); document.CheckText(quoted) != nil {
						t.Fatalf("%q is no text", quoted)
					}
				}
			}
		}
	})
}
