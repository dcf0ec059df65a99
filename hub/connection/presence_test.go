package connection_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// attempt is one connection that a device tries to make.
type attempt struct {
	hubtest.Line
	session *connection.Session
	err     error
	hungUp  atomic.Bool
}

// storm connects a device from several sides at once, while others run too, and
// returns what became of the connections.
func (h *fixture) storm(deviceID string, evidence credential.Evidence, connections int, others ...func()) []*attempt {
	h.T.Helper()
	attempts := make([]*attempt, connections)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range attempts {
		attempts[i] = new(attempt)
		group.Go(func() {
			<-start
			attempts[i].session, attempts[i].err = h.Connections().OpenSession(ctx, deviceID, evidence, false,
				attempts[i])
		})
	}
	for _, other := range others {
		group.Go(func() { <-start; other() })
	}
	close(start)
	group.Wait()
	return attempts
}

// alive are the connections that were let in and not ended since.
func alive(attempts []*attempt) (alive []*attempt) {
	for _, attempt := range attempts {
		if attempt.session != nil && attempt.Ended() == nil && !attempt.hungUp.Load() {
			alive = append(alive, attempt)
		}
	}
	return alive
}

// hangUp ends all connections as their endpoint does.
func hangUp(attempts []*attempt) {
	for _, attempt := range attempts {
		if attempt.session != nil {
			attempt.hungUp.Store(true)
			attempt.session.Close(attempt.Ended())
		}
	}
}

// agree checks that everybody says the same of who is connected: the connections
// themselves, the count, the bus, the device's state and its history.
func (h *fixture) agree(deviceID string, attempts []*attempt) (connected *attempt) {
	h.T.Helper()
	living := alive(attempts)
	if len(living) > 1 {
		h.T.Fatalf("%d connections of one device are alive", len(living))
	}
	if count := h.Stats().Connected; count != len(living) {
		h.T.Fatalf("the hub counts %d connections, and %d are alive", count, len(living))
	}
	if served := len(h.Bus.Servers("hub.test.device.")); served != len(living) {
		h.T.Fatalf("%d subjects are served, and %d connections are alive", served, len(living))
	}
	for _, attempt := range attempts {
		if attempt.session == nil || len(living) == 1 && attempt == living[0] {
			continue
		}
		if _, err := attempt.session.Report(ctx, []byte(`{"ghost":true}`)); !errors.Is(err, fault.UnauthorizedAccess) &&
			!errors.Is(err, fault.DeviceNotFound) {
			h.T.Fatalf("a session that ended with %v reports, answered %v", attempt.Ended(), err)
		}
		if err := attempt.session.Send(&message.Message{}, make(hubtest.Settled, 1), 1); !errors.Is(err,
			fault.UnauthorizedAccess) {
			h.T.Fatalf("a session that ended with %v sends, answered %v", attempt.Ended(), err)
		}
	}
	device, err := h.Device(ctx, deviceID)
	if errors.Is(err, fault.DeviceNotFound) && len(living) == 0 {
		return nil
	}
	if err != nil {
		h.T.Fatal(err)
	}
	want := "Disconnected"
	if len(living) == 1 {
		want = "Connected"
		if _, err := living[0].session.Report(ctx, []byte(`{"ghost":null}`)); err != nil {
			h.T.Fatalf("the connection that is alive can't report: %v", err)
		}
	}
	if device.ConnectionState != want {
		h.T.Fatalf("the device is %s, and %d connections are alive", device.ConnectionState, len(living))
	}
	history, err := h.Connections().History(ctx, deviceID)
	if err != nil || len(history) > 0 && history[0].Connected != (len(living) == 1) {
		h.T.Fatalf("the history of a device with %d connections begins with %+v, error %v", len(living), history[0],
			err)
	}
	if len(living) == 0 {
		return nil
	}
	return living[0]
}

// Four connections of one device at once, thousands of times: the last one stays, and
// everybody knows it. So it is when some of them hang up meanwhile.
func TestSimultaneousConnections(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	evidence := credential.Evidence{Token: h.Token(device)}
	var former []*attempt
	for round := range 3000 {
		attempts := h.storm("d", evidence, 4, func() { hangUp(former) })
		if h.agree("d", append(attempts, former...)) == nil {
			t.Fatalf("round %d: nobody is connected", round)
		}
		if former = attempts; round%3 == 0 {
			hangUp(attempts)
			hangUp(attempts)
			if h.agree("d", nil) != nil {
				t.Fatal("somebody is connected")
			}
			former = nil
		}
	}
	hangUp(former)
	if err := h.Connections().WriteActivity(ctx); err != nil {
		t.Fatal(err)
	}
	h.agree("d", nil)
}

// Whatever takes a device its right to be connected ends its connections, also those
// that are only coming.
func TestConnectionsWhileTheIdentityChanges(t *testing.T) {
	h := newFixture(t)
	must := func(_ identity.Device, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name string
		do   func(identity.Device)
		ends bool // nobody may be connected by the former credentials
	}{
		{"disable", func(d identity.Device) { d.Status = "disabled"; must(h.UpdateDevice(ctx, d, "")) }, true},
		{"delete", func(d identity.Device) { must(identity.Device{}, h.DeleteDevice(ctx, d.DeviceID, "")) }, true},
		{"new keys", func(d identity.Device) {
			changed := *d.Authentication
			changed.SymmetricKey = hubtest.NewKeys()
			d.Authentication = &changed
			must(h.UpdateDevice(ctx, d, ""))
		}, true},
		{"new keys by registering", func(d identity.Device) {
			keys := hubtest.NewKeys()
			must(identity.Device{},
				ensureDevice(ctx, h, hub.Admission{DeviceID: d.DeviceID, PrimaryKey: *keys.PrimaryKey,
					SecondaryKey: *keys.SecondaryKey}))
		}, true},
		{"delete and make anew with other keys", func(d identity.Device) {
			must(identity.Device{}, h.DeleteDevice(ctx, d.DeviceID, ""))
			must(h.CreateDevice(ctx, identity.Device{DeviceID: d.DeviceID}))
		}, true},
		{"delete and make anew with the same keys", func(d identity.Device) {
			must(identity.Device{}, h.DeleteDevice(ctx, d.DeviceID, ""))
			must(h.CreateDevice(ctx, d))
		}, false},
		{"disable and enable", func(d identity.Device) {
			off := d
			off.Status = "disabled"
			must(h.UpdateDevice(ctx, off, ""))
			must(h.UpdateDevice(ctx, d, ""))
		}, false},
		{"another reason",
			func(d identity.Device) { d.StatusReason = new("inspected"); must(h.UpdateDevice(ctx, d, "")) }, false},
		{"two at once", func(d identity.Device) {
			var group sync.WaitGroup
			group.Go(func() {
				off := d
				off.Status = "disabled"
				if _, err := h.UpdateDevice(ctx, off, ""); err != nil && !errors.Is(err, fault.DeviceNotFound) {
					t.Error(err)
				}
			})
			group.Go(func() { must(identity.Device{}, h.DeleteDevice(ctx, d.DeviceID, "")) })
			group.Wait()
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.T = t
			for round := range 60 {
				device := h.Create(identity.Device{DeviceID: fmt.Sprintf("%s-%d", strings.ReplaceAll(c.name, " ", "-"),
					round)})
				evidence := credential.Evidence{Token: h.Token(device)}
				attempts := h.storm(device.DeviceID, evidence, round%2)
				attempts = append(attempts, h.storm(device.DeviceID, evidence, 3, func() { c.do(device) })...)
				survivor := h.agree(device.DeviceID, attempts)
				if c.ends && survivor != nil {
					t.Fatalf("round %d: the device is still connected", round)
				}
				present, err := h.Device(ctx, device.DeviceID)
				if survivor != nil && (err != nil || survivor.session.Generation() != present.GenerationID) {
					t.Fatalf("round %d: a connection of a device that was deleted is alive", round)
				}
				hangUp(attempts)
				h.agree(device.DeviceID, nil)
				if twin, err := h.Twin(ctx, device.DeviceID); err == nil &&
					twin.Properties.Reported.Get("ghost").String() != "" {
					t.Fatalf("round %d: the session of a device that was deleted has reported to its namesake: %v",
						round, twin.Properties.Reported)
				}
				if err == nil {
					must(identity.Device{}, h.DeleteDevice(ctx, device.DeviceID, ""))
				}
			}
			if err := h.Connections().WriteActivity(ctx); err != nil {
				t.Fatal(err)
			}
			h.nothingIsLeft()
		})
	}
}

// nothingIsLeft checks that devices that were deleted left no documents.
func (h *fixture) nothingIsLeft() {
	h.T.Helper()
	for _, collection := range []string{"devices", "disabled", "twins", "subscriptions", "renewals", "activity",
		"connections"} {
		documents, err := h.Documents.List(ctx, "hub/test/"+collection, "", "", 1)
		if err != nil || len(documents) > 0 {
			h.T.Errorf("%s holds %v, error %v", collection, documents, err)
		}
	}
}

// issue gives a device an operational certificate and the identity that goes with it.
func (h *fixture) issue(deviceID string) *x509.Certificate {
	h.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.T.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: deviceID}}, key)
	if err != nil {
		h.T.Fatal(err)
	}
	request, err := h.Issuer.Check(ctx, "default", deviceID, base64.StdEncoding.EncodeToString(der))
	if err != nil {
		h.T.Fatal(err)
	}
	chain, changes, err := h.Issuer.Issue(ctx, request)
	if err == nil {
		_, err = h.Documents.Commit(ctx, changes...)
	}
	if err == nil {
		_, err = h.EnsureDevice(ctx,
			hub.Admission{DeviceID: deviceID,
				Issuance: &identity.Issuance{RegistrationID: deviceID, Policy: "default"}})
	}
	if err != nil {
		h.T.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(chain[0])
	if err != nil {
		h.T.Fatal(err)
	}
	return certificate
}

// A certificate that is revoked has no connection, whether that came before, at the
// same time or after.
func TestConnectionsWhileTheCertificateIsRevoked(t *testing.T) {
	h := newFixture(t)
	for round := range 100 {
		id := fmt.Sprintf("d%d", round)
		certificate := h.issue(id)
		_, thumbprint := credential.Thumbprints(certificate)
		evidence := credential.Evidence{Certificates: []*x509.Certificate{certificate}}
		attempts := h.storm(id, evidence, 4)
		if h.agree(id, attempts) == nil {
			t.Fatal("nobody is connected")
		}
		attempts = append(attempts, h.storm(id, evidence, 3, func() {
			if _, err := h.Issuer.Revoke(ctx, thumbprint); err != nil {
				t.Error(err)
			}
		})...)
		if h.agree(id, attempts) != nil {
			t.Fatalf("round %d: a revoked certificate keeps its connection", round)
		}
		hangUp(attempts)
	}
	// And all of an authority.
	certificate := h.issue("last")
	attempts := h.storm("last", credential.Evidence{Certificates: []*x509.Certificate{certificate}}, 3)
	if _, err := h.Issuer.RevokeAuthority(ctx, "default", ""); err != nil {
		t.Fatal(err)
	}
	if h.agree("last", attempts) != nil || len(alive(attempts)) != 0 {
		t.Error("a certificate of a revoked authority keeps its connection")
	}
}

// Who asked for a change may be gone before it has its effect.
func TestSessionEndsWithoutACaller(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	_, down := h.Connect(device, false)
	gone, leave := context.WithCancel(ctx)
	h.Documents.AfterCommit.Store((*func())(&leave))
	defer h.Documents.AfterCommit.Store(nil)
	if err := h.DeleteDevice(gone, "d", ""); err != nil {
		t.Fatal(err)
	}
	if reason := down.Ended(); !errors.Is(reason, connection.ErrDeleted) {
		t.Errorf("the connection of a device that was deleted ended with %v", reason)
	}
}

// A token's time is over while the device is connected.
func TestSessionEndsWithItsToken(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	_, down := h.Connect(device, false)
	h.Advance(time.Hour + credential.ClockSkew)
	h.Connections().EndExpired()
	if reason := down.Ended(); reason != nil {
		t.Fatalf("a token in its last second ended with %v", reason)
	}
	h.Advance(time.Second)
	h.Connections().EndExpired()
	if reason := down.Ended(); !errors.Is(reason, connection.ErrTokenExpired) || h.Stats().Connected != 0 {
		t.Errorf("the connection ended with %v, and the hub counts %d", reason, h.Stats().Connected)
	}
}

// selfSigned makes a certificate of a device's own that is good until then, for two hours,
// and its SHA-256 thumbprint.
func selfSigned(t *testing.T, until time.Time) (*x509.Certificate, string) {
	t.Helper()
	text, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "own",
		KeyType: credential.EC256, NotBefore: until.Add(-2 * time.Hour), Validity: 2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := credential.ParseCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	_, thumbprint := credential.Thumbprints(certificates[0])
	return certificates[0], thumbprint
}

// A certificate's time is over while the device is connected, one that was issued here or
// the device's own. It gets no other one by then.
func TestSessionEndsWithItsCertificate(t *testing.T) {
	h := newFixture(t)
	issued := h.issue("issued")
	own, thumbprint := selfSigned(t, hubtest.Noon.Add(time.Hour))
	h.Create(identity.Device{DeviceID: "own", Authentication: &identity.Authentication{Type: identity.SelfSigned,
		X509Thumbprint: identity.ThumbprintPair{PrimaryThumbprint: &thumbprint}}})
	for id, certificate := range map[string]*x509.Certificate{"issued": issued, "own": own} {
		t.Run(id, func(t *testing.T) {
			h.T = t
			h.Set(hubtest.Noon)
			down := new(hubtest.Line)
			session, err := h.Connections().OpenSession(ctx, id,
				credential.Evidence{Certificates: []*x509.Certificate{certificate}}, false, down)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { session.Close(nil) }()
			asked := connection.RenewalRequest{RequestID: "1", CSR: h.csr(id)}
			if id == "issued" {
				h.Set(certificate.NotAfter)
				h.renew(session, asked, nil)
				h.Advance(time.Second)
				asked.RequestID = "2"
				if _, err := session.BeginRenewal(ctx, asked); !errors.Is(err, fault.UnauthorizedAccess) {
					t.Errorf("with a certificate that has expired, another one is answered %v", err)
				}
			}
			h.Set(certificate.NotAfter.Add(credential.ClockSkew))
			h.Connections().EndExpired()
			if reason := down.Ended(); reason != nil {
				t.Fatalf("a certificate in its last second ended with %v", reason)
			}
			h.Advance(time.Second)
			h.Connections().EndExpired()
			if reason := down.Ended(); !errors.Is(reason, connection.ErrCertExpired) || h.Stats().Connected != 0 {
				t.Errorf("the connection ended with %v, and the hub counts %d", reason, h.Stats().Connected)
			}
		})
	}
}

// What a session of a device that was deleted still wants does not reach the device
// that has its id now, at whatever moment that was made.
func TestSessionOfADeletedDevice(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	session, down := h.Connect(device, true)
	// The moment at which the session has been checked and nobody has ended it yet.
	recreate := func() {
		t.Helper()
		present, err := h.Registry().Get(ctx, "d")
		if err != nil {
			t.Fatal(err)
		}
		deletion, _, err := h.Registry().PrepareDelete(ctx, "d", present.ETag)
		if err != nil {
			t.Fatal(err)
		}
		changes := append(deletion, store.Change{Collection: "hub/test/twins",
			Key: "d", Delete: true}, store.Change{Collection: "hub/test/subscriptions", Key: "d", Delete: true})
		if _, err := h.Documents.Commit(ctx, changes...); err != nil {
			t.Fatal(err)
		}
		h.Create(identity.Device{DeviceID: "d", Authentication: device.Authentication})
	}
	recreate()
	if version, err := session.Report(ctx, []byte(`{"a":1}`)); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("a report is answered %d, %v", version, err)
	}
	if twin, err := session.Twin(ctx); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("the twin is answered %s, %v", twin, err)
	}
	if err := session.SetSubscriptions(ctx, []string{"a"}); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("a subscription is answered %v", err)
	}
	if _, err := session.BeginRenewal(ctx, connection.RenewalRequest{RequestID: "1", CSR: "AA=="}); !errors.Is(err,
		fault.DeviceNotFound) {
		t.Errorf("a certificate request is answered %v", err)
	}
	if err := session.Commit(ctx); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("a certificate is answered %v", err)
	}
	twin, err := h.Twin(ctx, "d")
	if err != nil || twin.Properties.Reported.Get("$version").String() != "1" {
		t.Errorf("the namesake's twin is %+v, error %v", twin, err)
	}
	// Nor is it told what the namesake is told.
	former := session
	if _, err := h.PatchTwin(ctx, "d", json.RawMessage(`{"properties":{"desired":{"a":1}}}`), ""); err != nil ||
		len(down.Notices()) != 0 {
		t.Errorf("the former device was told %v, error %v", down.Notices(), err)
	}
	next, _ := h.Connect(device, true)
	if len(next.Subscriptions()) != 0 || !errors.Is(down.Ended(), connection.ErrReplaced) {
		t.Errorf("the namesake has the subscriptions %v, and the former connection ended with %v", next.Subscriptions(),
			down.Ended())
	}
	former.Close(connection.ErrReplaced)
	if state, err := h.Device(ctx, "d"); err != nil || state.ConnectionState != "Connected" {
		t.Errorf("the device is %s, error %v", state.ConnectionState, err)
	}
}

// Of two devices that are made in one moment under one id, each has its generation.
func TestDeviceGenerations(t *testing.T) {
	h := newFixture(t)
	last := new(big.Int)
	for range 100 {
		device := h.Create(identity.Device{DeviceID: "d"})
		generation, ok := new(big.Int).SetString(device.GenerationID, 10)
		if !ok || generation.Cmp(last) <= 0 || len(device.GenerationID) != 18 {
			t.Fatalf("the generation %s comes after %s", device.GenerationID, last)
		}
		last = generation
		if err := h.DeleteDevice(ctx, "d", ""); err != nil {
			t.Fatal(err)
		}
	}
}

// A will is due when another connection takes over, and not for a device that may no
// longer connect.
func TestSendWill(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	replaced, _ := h.Connect(device, false)
	disabled, _ := h.Connect(device, false)
	device.Status = "disabled"
	if _, err := h.UpdateDevice(ctx, device, ""); err != nil {
		t.Fatal(err)
	}
	done := make(hubtest.Settled, 1)
	if err := replaced.SendWill(&message.Message{}, done, 0); err != nil || <-done != nil {
		t.Errorf("after a take-over: %v", err)
	}
	if err := disabled.SendWill(&message.Message{}, done, 0); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("of a disabled device: %v", err)
	}
	if err := replaced.Send(&message.Message{}, done, 0); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("telemetry after a take-over: %v", err)
	}
}

// Subscriptions that an earlier version kept are found.
func TestSubscriptionsOfAnEarlierVersion(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	earlier := store.Table[[]string]{Documents: h.Documents, Collection: "hub/test/subscriptions"}
	if _, err := h.Documents.Commit(ctx, earlier.Put("d", store.Always, []string{"a", "b"})); err != nil {
		t.Fatal(err)
	}
	if session, _ := h.Connect(device, true); fmt.Sprint(session.Subscriptions()) != "[a b]" {
		t.Errorf("they are %v", session.Subscriptions())
	}
}

func ensureDevice(ctx context.Context, h *fixture, admission hub.Admission) error {
	_, err := h.EnsureDevice(ctx, admission)
	return err
}
