package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

func TestWhoIsLetIn(t *testing.T) {
	h := newHouse(t)
	withKey := h.create(Device{DeviceID: "key"})
	closed := h.create(Device{DeviceID: "closed", Status: "disabled"})
	certificate := func(name string, from time.Time) (credential.Evidence, string, string) {
		text, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: name, KeyType: credential.EC256, NotBefore: from, Validity: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		certificates, err := credential.ParseCertificates(text)
		if err != nil {
			t.Fatal(err)
		}
		sha1, sha256 := credential.Thumbprints(certificates[0])
		return credential.Evidence{Certificates: certificates}, sha1, sha256
	}
	now, sha1, _ := certificate("x509", noon.Add(-time.Minute))
	old, _, oldSHA256 := certificate("x509", noon.Add(-2*time.Hour))
	other, _, _ := certificate("x509", noon.Add(-time.Minute))
	h.create(Device{DeviceID: "x509", Authentication: &Authentication{X509Thumbprint: ThumbprintPair{text(strings.ToLower(sha1)), &oldSHA256}}})
	token := func(resource, policy, key string, expiry time.Time) credential.Evidence {
		made, err := credential.NewToken(resource, policy, key, expiry)
		if err != nil {
			t.Fatal(err)
		}
		return credential.Evidence{Token: made}
	}
	policies, _ := h.Access().List(ctx)
	policyKey := map[string]string{}
	for _, policy := range policies {
		policyKey[policy.Name] = policy.PrimaryKey
	}
	primary, secondary := *withKey.Authentication.SymmetricKey.PrimaryKey, *withKey.Authentication.SymmetricKey.SecondaryKey
	soon := noon.Add(time.Hour)
	for _, c := range []struct {
		name, device string
		evidence     credential.Evidence
		want         error
	}{
		{"primary key", "key", token("HUB.local/devices/key", "", primary, soon), nil},
		{"secondary key", "key", token("hub.local/devices/key", "", secondary, soon), nil},
		{"policy", "key", token("hub.local", "device", policyKey["device"], soon), nil},
		{"policy, for the device", "x509", token("hub.local/devices/x509", "iothubowner", policyKey["iothubowner"], soon), nil},
		{"SHA-1 thumbprint", "x509", now, nil},
		{"policy for another device", "key", token("hub.local/devices/x509", "device", policyKey["device"], soon), fault.UnauthorizedAccess},
		{"policy without the right", "key", token("hub.local", "service", policyKey["service"], soon), fault.UnauthorizedAccess},
		{"key of nobody", "key", token("hub.local/devices/key", "", credential.NewKey(32), soon), fault.UnauthorizedAccess},
		{"token of another device", "key", token("hub.local/devices/x", "", primary, soon), fault.UnauthorizedAccess},
		{"token for another hub", "key", token("hub2.local/devices/key", "", primary, soon), fault.UnauthorizedAccess},
		{"expired token", "key", token("hub.local/devices/key", "", primary, noon.Add(-6*time.Minute)), fault.TokenExpired},
		{"malformed token", "key", credential.Evidence{Token: "let me in"}, fault.UnauthorizedAccess},
		{"nothing", "key", credential.Evidence{}, fault.UnauthorizedAccess},
		{"disabled", "closed", token("hub.local/devices/closed", "", *closed.Authentication.SymmetricKey.PrimaryKey, soon), fault.UnauthorizedAccess},
		{"unknown", "nobody", now, fault.DeviceNotFound},
		{"another certificate", "x509", other, fault.UnauthorizedAccess},
		{"expired certificate", "x509", old, fault.UnauthorizedAccess},
		{"certificate for a key", "key", now, fault.UnauthorizedAccess},
		{"key for a certificate", "x509", token("hub.local/devices/x509", "", primary, soon), fault.UnauthorizedAccess},
	} {
		t.Run(c.name, func(t *testing.T) {
			session, err := h.OpenSession(ctx, c.device, c.evidence, false, new(line))
			if c.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				session.Close(nil)
			} else if !errors.Is(err, c.want) {
				t.Fatalf("answered %v, want %v", err, c.want)
			}
		})
	}
}

func TestWhatEndsASession(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name string
		do   func(Device) error
		want error
	}{
		{"another connection", func(d Device) error { h.connect(d, false); return nil }, ErrReplaced},
		{"disabling", func(d Device) error { d.Status = "disabled"; _, err := h.UpdateDevice(ctx, d, ""); return err }, ErrDisabled},
		{"deleting", func(d Device) error { return h.DeleteDevice(ctx, d.DeviceID, "") }, ErrDeleted},
		{"new keys", func(d Device) error {
			d.Authentication.SymmetricKey = KeyPair{text(credential.NewKey(32)), text(credential.NewKey(32))}
			_, err := h.UpdateDevice(ctx, d, "")
			return err
		}, ErrCredentialChanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			device := h.create(Device{DeviceID: strings.ReplaceAll(c.name, " ", "-")})
			_, down := h.connect(device, false)
			if err := c.do(device); err != nil {
				t.Fatal(err)
			}
			if reason := down.ended(); !errors.Is(reason, c.want) {
				t.Errorf("the session ended with %v, want %v", reason, c.want)
			}
		})
	}
	// What does not concern the connection leaves it alone.
	device := h.create(Device{DeviceID: "calm"})
	_, down := h.connect(device, false)
	device.StatusReason = text("inspected")
	if _, err := h.UpdateDevice(ctx, device, ""); err != nil || down.ended() != nil {
		t.Errorf("another reason ended the session with %v, error %v", down.ended(), err)
	}
}

func TestSubscriptionsOutliveTheConnection(t *testing.T) {
	h := newHouse(t)
	device := h.create(Device{DeviceID: "d"})
	session, _ := h.connect(device, true)
	if err := session.SetSubscriptions(ctx, []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if err := session.SetSubscriptions(ctx, []string{"b"}); err != nil {
		t.Fatal(err)
	}
	var many []string
	for i := range MaxSubscriptions + 1 {
		many = append(many, fmt.Sprint(i))
	}
	if err := session.SetSubscriptions(ctx, many); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("%d subscriptions are answered %v", len(many), err)
	}
	session.Close(nil)
	h.reopen()
	if session, _ = h.connect(device, true); fmt.Sprint(session.Subscriptions()) != "[b]" {
		t.Errorf("it comes back with %v", session.Subscriptions())
	}
	session.Close(nil)
	if session, _ = h.connect(device, false); len(session.Subscriptions()) != 0 {
		t.Errorf("a clean start has %v", session.Subscriptions())
	}
	session.Close(nil)
	if session, _ = h.connect(device, true); len(session.Subscriptions()) != 0 {
		t.Errorf("after a clean start it has %v", session.Subscriptions())
	}
}

func TestTelemetryIsReadBack(t *testing.T) {
	h := newHouse(t)
	device, other := h.create(Device{DeviceID: "d"}), h.create(Device{DeviceID: "other"})
	session, _ := h.connect(device, false)
	another, _ := h.connect(other, false)
	h.send(session, message.Message{
		System:     []message.Property{{Name: []byte("message-id"), Value: []byte("m1")}, {Name: []byte("content-type"), Value: []byte("application/json")}},
		Properties: []message.Property{{Name: []byte("level"), Value: []byte("high & rising")}},
		Payload:    []byte(`{"temperature":21.5}`),
	})
	h.advance(time.Second)
	h.send(another, message.Message{Payload: []byte("text")})
	h.advance(time.Second)
	h.send(session, message.Message{Payload: []byte{0xff, 0x00}})
	h.reopen()

	read := func(from Position, deviceID string, n int) (messages []TelemetryMessage) {
		t.Helper()
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := h.Telemetry(limited, from, deviceID, func(m TelemetryMessage) error {
			if messages = append(messages, m); len(messages) == n {
				return ErrStop
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return messages
	}
	all := read(Position{Earliest: true}, "", 3)
	if all[0].SystemProperties["message-id"] != "m1" || all[0].Properties["level"] != "high & rising" ||
		string(all[0].Body.(json.RawMessage)) != `{"temperature":21.5}` || all[0].SystemProperties["iothub-connection-device-id"] != "d" {
		t.Errorf("the first is %+v", all[0])
	}
	if all[1].DeviceID != "other" || all[1].Body != "text" || !bytes.Equal(all[2].BodyBase64, []byte{0xff, 0x00}) {
		t.Errorf("the others are %+v", all[1:])
	}
	if mine := read(Position{Earliest: true}, "d", 2); mine[1].SequenceNumber <= mine[0].SequenceNumber {
		t.Errorf("the device's are %+v", mine)
	}
	if late := read(Position{Time: noon.Add(2 * time.Second)}, "", 1); !bytes.Equal(late[0].BodyBase64, []byte{0xff, 0x00}) {
		t.Errorf("from then on there is %+v", late[0])
	}
}

func TestTelemetryIsFollowed(t *testing.T) {
	h := newHouse(t)
	session, _ := h.connect(h.create(Device{DeviceID: "d"}), false)
	h.send(session, message.Message{Payload: []byte("before")})
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var got []string
	sent := 0
	err := h.Telemetry(limited, Position{Earliest: true}, "", func(m TelemetryMessage) error {
		got = append(got, m.Body.(string))
		if sent == 5 {
			return ErrStop
		}
		sent++ // each message that is read gives rise to the next
		h.send(session, message.Message{Payload: []byte(fmt.Sprint(sent))})
		return nil
	})
	if err != nil || strings.Join(got, " ") != "before 1 2 3 4 5" {
		t.Errorf("followed %v, error %v", got, err)
	}
}

func TestAMessageThatIsTooLarge(t *testing.T) {
	h := newHouse(t)
	session, _ := h.connect(h.create(Device{DeviceID: "d"}), false)
	h.send(session, message.Message{Payload: make([]byte, maxMessage)})
	err := session.Send(&message.Message{Payload: make([]byte, maxMessage), Properties: []message.Property{{Name: []byte("a"), Value: nil}}}, make(settled, 1), 1)
	if !errors.Is(err, fault.MessageTooLarge) {
		t.Errorf("answered %v", err)
	}
}

// counting is a committer that costs nothing.
type counting struct{ n int }

func (c *counting) Committed(uint64, store.Position, error) { c.n++ }

// discard is a log that keeps nothing, so that Send is measured alone.
type discard struct{ store.Log }

func (discard) Append(_ int, _ []byte, committed store.Committer, token uint64) {
	committed.Committed(token, store.Position{}, nil)
}

func BenchmarkSend(b *testing.B) {
	h := newHouse(b)
	session, _ := h.connect(h.create(Device{DeviceID: "d"}), false)
	h.config.Telemetry = discard{h.config.Telemetry}
	m := &message.Message{System: []message.Property{{Name: []byte("message-id"), Value: []byte("1")}}, Payload: make([]byte, 256)}
	done := new(counting)
	b.ReportAllocs()
	for b.Loop() {
		if err := session.Send(m, done, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReport(b *testing.B) {
	h := newHouse(b)
	session, _ := h.connect(h.create(Device{DeviceID: "d"}), false)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := session.Report(ctx, fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
			b.Fatal(err)
		}
	}
}
