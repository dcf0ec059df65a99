package message

import (
	"bytes"
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

func FuzzDecode(f *testing.F) {
	m := Message{Properties: []Property{{[]byte("a"), []byte("b")}}, Payload: []byte("payload")}
	f.Add(m.AppendTo(AppendHead(nil, "d", "1", DeviceKey)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Decode(b); err == nil && len(r.Payload) > len(b) {
			t.Errorf("%x holds %d bytes of payload", b, len(r.Payload))
		}
	})
}
