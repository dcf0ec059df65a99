package message

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestRecordsReadBackAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := rapid.SliceOfN(rapid.Byte(), 0, 40)
		properties := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Property {
			return Property{field.Draw(t, "name"), field.Draw(t, "value")}
		}), 0, 5)
		m := Message{System: properties.Draw(t, "system"), Properties: properties.Draw(t, "application"),
			Payload: field.Draw(t, "payload")}
		r, err := Decode(m.AppendTo(AppendHead(nil, "device", "7", Thumbprint)))
		if err != nil || string(r.DeviceID) != "device" || string(r.Generation) != "7" || r.Method != Thumbprint ||
			len(r.System) != len(m.System) || len(r.Properties) != len(m.Properties) ||
			!bytes.Equal(r.Payload, m.Payload) {
			t.Fatalf("read back %+v, error %v", r, err)
		}
		for i := range m.Properties {
			if !bytes.Equal(r.Properties[i].Name, m.Properties[i].Name) ||
				!bytes.Equal(r.Properties[i].Value, m.Properties[i].Value) {
				t.Fatalf("property %d read back as %q", i, r.Properties[i])
			}
		}
	})
}

// TestSentBy tells the records of a device from those of others whose ids are like its own.
// What it cannot read it leaves to whoever decodes it.
func TestSentBy(t *testing.T) {
	m := Message{Payload: []byte("device")}
	record := m.AppendTo(AppendHead(nil, "device", "7", DeviceKey))
	for _, id := range []string{"device", "devic", "device7", "Device", ""} {
		if SentBy(record, id) != (id == "device") {
			t.Errorf("the record is of %q: %v", id, id != "device")
		}
	}
	for _, damaged := range [][]byte{nil, {recordVersion}, {recordVersion + 1, 0, 1, 'x'}, {recordVersion, 0, 200}} {
		if !SentBy(damaged, "device") {
			t.Errorf("%x is passed over", damaged)
		}
	}
}

// TestDecodeRefuses what is cut short anywhere before the payload, or claims to hold more
// than there is.
func TestDecodeRefuses(t *testing.T) {
	m := Message{System: []Property{{[]byte("content-type"), []byte("text/plain")}},
		Properties: []Property{{[]byte("level"), []byte("info")}}}
	record := m.AppendTo(AppendHead(nil, "device", "7", DeviceKey))
	for n := range record {
		if r, err := Decode(record[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are read as %+v", n, len(record), r)
		}
	}
	later := bytes.Clone(record)
	later[0]++
	greedy := append(AppendHead(nil, "device", "7", DeviceKey), 0xff, 0xff, 0x03) // properties
	for name, damaged := range map[string][]byte{"of a later version": later, "with many properties": greedy} {
		if r, err := Decode(damaged); err == nil {
			t.Errorf("a record %s is read as %+v", name, r)
		}
	}
}

// TestSize counts what the limit of a message counts: payload and properties, names and
// values, and nothing of how they are written.
func TestSize(t *testing.T) {
	m := Message{
		System:     []Property{{[]byte("message-id"), []byte("1")}},
		Properties: []Property{{[]byte("level"), []byte("info")}, {[]byte("é"), nil}},
		Payload:    []byte("21.5"),
	}
	if want := 10 + 1 + 5 + 4 + 2 + 4; m.Size() != want {
		t.Errorf("the message has %d bytes, want %d", m.Size(), want)
	}
}

// TestAuthMethods: readers get JSON for each way in which a device proves itself, and
// nothing for a number that a later version may have written.
func TestAuthMethods(t *testing.T) {
	for method, want := range map[AuthMethod]string{DeviceKey: "device sas", PolicyKey: "hub sas",
		Thumbprint: "device x509", IssuedCertificate: "device x509CertificateAuthority"} {
		var said struct{ Scope, Type string }
		if err := json.Unmarshal([]byte(method.String()), &said); err != nil || said.Scope+" "+said.Type != want {
			t.Errorf("%d is %s, error %v, want %s", method, method, err, want)
		}
	}
	if text := AuthMethod(200).String(); text != "" {
		t.Errorf("a method that there is not is %q", text)
	}
}

func FuzzDecode(f *testing.F) {
	m := Message{Properties: []Property{{[]byte("a"), []byte("b")}}, Payload: []byte("payload")}
	f.Add(m.AppendTo(AppendHead(nil, "d", "1", DeviceKey)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Decode(b); err == nil && len(r.Payload) > len(b) {
			t.Errorf("%x holds %d bytes of payload", b, len(r.Payload))
		}
	})
}
