package connection_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

func TestOpenSession(t *testing.T) {
	h := newFixture(t)
	withKey := h.Create(identity.Device{DeviceID: "key"})
	closed := h.Create(identity.Device{DeviceID: "closed", Status: "disabled"})
	certificate := func(name string, from time.Time) (credential.Evidence, string, string) {
		text, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: name,
			KeyType: credential.EC256, NotBefore: from, Validity: time.Hour})
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
	now, sha1, _ := certificate("x509", hubtest.Noon.Add(-time.Minute))
	old, _, oldSHA256 := certificate("x509", hubtest.Noon.Add(-2*time.Hour))
	other, _, _ := certificate("x509", hubtest.Noon.Add(-time.Minute))
	h.Create(identity.Device{DeviceID: "x509",
		Authentication: &identity.Authentication{X509Thumbprint: identity.ThumbprintPair{
			PrimaryThumbprint: new(strings.ToLower(sha1)), SecondaryThumbprint: &oldSHA256}}})
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
	primary := *withKey.Authentication.SymmetricKey.PrimaryKey
	secondary := *withKey.Authentication.SymmetricKey.SecondaryKey
	soon := hubtest.Noon.Add(time.Hour)
	for _, c := range []struct {
		name, device string
		evidence     credential.Evidence
		want         error
	}{
		{"primary key", "key", token("HUB.local/devices/key", "", primary, soon), nil},
		{"secondary key", "key", token("hub.local/devices/key", "", secondary, soon), nil},
		{"policy", "key", token("hub.local", "device", policyKey["device"], soon), nil},
		{"policy, for the device", "x509",
			token("hub.local/devices/x509", "iothubowner", policyKey["iothubowner"], soon), nil},
		{"SHA-1 thumbprint", "x509", now, nil},
		{"policy for another device", "key", token("hub.local/devices/x509", "device", policyKey["device"], soon),
			fault.UnauthorizedAccess},
		{"policy without the right", "key", token("hub.local", "service", policyKey["service"], soon),
			fault.UnauthorizedAccess},
		{"key of nobody", "key", token("hub.local/devices/key", "", credential.NewKey(32), soon),
			fault.UnauthorizedAccess},
		{"token of another device", "key", token("hub.local/devices/x", "", primary, soon), fault.UnauthorizedAccess},
		{"token for another hub", "key", token("hub2.local/devices/key", "", primary, soon), fault.UnauthorizedAccess},
		{"expired token", "key", token("hub.local/devices/key", "", primary, hubtest.Noon.Add(-6*time.Minute)),
			fault.TokenExpired},
		{"malformed token", "key", credential.Evidence{Token: "let me in"}, fault.UnauthorizedAccess},
		{"nothing", "key", credential.Evidence{}, fault.UnauthorizedAccess},
		{"disabled", "closed",
			token("hub.local/devices/closed", "", *closed.Authentication.SymmetricKey.PrimaryKey, soon),
			fault.UnauthorizedAccess},
		{"unknown", "nobody", now, fault.DeviceNotFound},
		{"another certificate", "x509", other, fault.UnauthorizedAccess},
		{"expired certificate", "x509", old, fault.UnauthorizedAccess},
		{"certificate for a key", "key", now, fault.UnauthorizedAccess},
		{"key for a certificate", "x509", token("hub.local/devices/x509", "", primary, soon), fault.UnauthorizedAccess},
	} {
		t.Run(c.name, func(t *testing.T) {
			session, err := h.Connections().OpenSession(ctx, c.device, c.evidence, false, new(hubtest.Line))
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

func TestSessionEnds(t *testing.T) {
	h := newFixture(t)
	for _, c := range []struct {
		name string
		do   func(identity.Device) error
		want error
	}{
		{"another connection", func(d identity.Device) error { h.Connect(d, false); return nil },
			connection.ErrReplaced},
		{"disabling", func(d identity.Device) error {
			d.Status = "disabled"
			_, err := h.UpdateDevice(ctx, d, "")
			return err
		}, connection.ErrDisabled},
		{"deleting", func(d identity.Device) error { return h.DeleteDevice(ctx, d.DeviceID, "") },
			connection.ErrDeleted},
		{"new keys", func(d identity.Device) error {
			d.Authentication.SymmetricKey = hubtest.NewKeys()
			_, err := h.UpdateDevice(ctx, d, "")
			return err
		}, connection.ErrCredentialChanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			device := h.Create(identity.Device{DeviceID: strings.ReplaceAll(c.name, " ", "-")})
			_, down := h.Connect(device, false)
			if err := c.do(device); err != nil {
				t.Fatal(err)
			}
			if reason := down.Ended(); !errors.Is(reason, c.want) {
				t.Errorf("the session ended with %v, want %v", reason, c.want)
			}
		})
	}
	// What does not concern the connection leaves it alone.
	device := h.Create(identity.Device{DeviceID: "calm"})
	_, down := h.Connect(device, false)
	device.StatusReason = new("inspected")
	if _, err := h.UpdateDevice(ctx, device, ""); err != nil || down.Ended() != nil {
		t.Errorf("another reason ended the session with %v, error %v", down.Ended(), err)
	}
}

// A device's keys and certificates are rolled one after the other: only who came with the
// one that was replaced is ended.
func TestSessionOutlivesTheOtherCredential(t *testing.T) {
	h := newFixture(t)
	own, sha256 := selfSigned(t, hubtest.Noon.Add(time.Hour))
	sha1, _ := credential.Thumbprints(own)
	other := strings.Repeat("AB", 32)
	keys := hubtest.NewKeys()
	policies, err := h.Access().List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	byKey := func(d identity.Device) credential.Evidence { return credential.Evidence{Token: h.Token(d)} }
	byPolicy := func(d identity.Device) credential.Evidence {
		for _, policy := range policies {
			if policy.Name == "device" {
				token, err := credential.NewToken("hub.local", "device", policy.PrimaryKey, hubtest.Noon.Add(time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				return credential.Evidence{Token: token}
			}
		}
		t.Fatal("there is no policy device")
		return credential.Evidence{}
	}
	byCertificate := func(identity.Device) credential.Evidence {
		return credential.Evidence{Certificates: []*x509.Certificate{own}}
	}
	thumbprints := func(primary, secondary string) identity.Authentication {
		return identity.Authentication{Type: identity.SelfSigned,
			X509Thumbprint: identity.ThumbprintPair{PrimaryThumbprint: &primary, SecondaryThumbprint: &secondary}}
	}
	for _, c := range []struct {
		name     string
		before   identity.Authentication
		evidence func(identity.Device) credential.Evidence
		change   func(*identity.Authentication)
		ends     bool
	}{
		{"another secondary key", identity.Authentication{}, byKey, func(a *identity.Authentication) {
			a.SymmetricKey.SecondaryKey = keys.SecondaryKey
		}, false},
		{"the keys change places", identity.Authentication{}, byKey, func(a *identity.Authentication) {
			a.SymmetricKey.PrimaryKey, a.SymmetricKey.SecondaryKey = a.SymmetricKey.SecondaryKey, a.SymmetricKey.PrimaryKey
		}, false},
		{"another primary key", identity.Authentication{}, byKey, func(a *identity.Authentication) {
			a.SymmetricKey.PrimaryKey = keys.PrimaryKey
		}, true},
		{"a certificate in place of keys", identity.Authentication{}, byKey, func(a *identity.Authentication) {
			*a = thumbprints(sha256, other)
		}, true},
		{"another secondary thumbprint", thumbprints(sha256, other), byCertificate, func(a *identity.Authentication) {
			*a = thumbprints(sha256, strings.Repeat("CD", 32))
		}, false},
		{"the same certificate by SHA-1", thumbprints(sha256, other), byCertificate, func(a *identity.Authentication) {
			*a = thumbprints(other, sha1)
		}, false},
		{"another certificate", thumbprints(sha256, other), byCertificate, func(a *identity.Authentication) {
			*a = thumbprints(other, other)
		}, true},
		{"other keys than the policy's", identity.Authentication{}, byPolicy, func(a *identity.Authentication) {
			a.SymmetricKey = keys
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.T = t
			device := h.Create(identity.Device{DeviceID: strings.ReplaceAll(c.name, " ", "-"),
				Authentication: &c.before})
			down := new(hubtest.Line)
			session, err := h.Connections().OpenSession(ctx, device.DeviceID, c.evidence(device), false, down)
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close(nil)
			changed := *device.Authentication
			c.change(&changed)
			device.Authentication = &changed
			if _, err := h.UpdateDevice(ctx, device, ""); err != nil {
				t.Fatal(err)
			}
			if reason := down.Ended(); errors.Is(reason, connection.ErrCredentialChanged) != c.ends ||
				(reason != nil) != c.ends {
				t.Errorf("the session ended with %v, want an end: %t", reason, c.ends)
			}
		})
	}
}

func TestSubscriptions(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	session, _ := h.Connect(device, true)
	if err := session.SetSubscriptions(ctx, []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if err := session.SetSubscriptions(ctx, []string{"b"}); err != nil {
		t.Fatal(err)
	}
	var many []string
	for i := range connection.MaxSubscriptions + 1 {
		many = append(many, fmt.Sprint(i))
	}
	if err := session.SetSubscriptions(ctx, many); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("%d subscriptions are answered %v", len(many), err)
	}
	session.Close(nil)
	h.Reopen()
	if session, _ = h.Connect(device, true); fmt.Sprint(session.Subscriptions()) != "[b]" {
		t.Errorf("it comes back with %v", session.Subscriptions())
	}
	session.Close(nil)
	if session, _ = h.Connect(device, false); len(session.Subscriptions()) != 0 {
		t.Errorf("a clean start has %v", session.Subscriptions())
	}
	session.Close(nil)
	if session, _ = h.Connect(device, true); len(session.Subscriptions()) != 0 {
		t.Errorf("after a clean start it has %v", session.Subscriptions())
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

// discardTelemetry opens the hub again on a log that keeps nothing.
func (h *fixture) discardTelemetry() {
	h.WrapTelemetry = func(log store.Log) store.Log { return discard{log} }
	h.Reopen()
}

func BenchmarkSend(b *testing.B) {
	h := newFixture(b)
	h.discardTelemetry()
	session, _ := h.Connect(h.Create(identity.Device{DeviceID: "d"}), false)
	m := &message.Message{System: []message.Property{{Name: []byte("message-id"), Value: []byte("1")}},
		Payload: make([]byte, 256)}
	done := new(counting)
	b.ReportAllocs()
	for b.Loop() {
		if err := session.Send(m, done, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReport(b *testing.B) {
	h := newFixture(b)
	session, _ := h.Connect(h.Create(identity.Device{DeviceID: "d"}), false)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := session.Report(ctx, fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
			b.Fatal(err)
		}
	}
}
