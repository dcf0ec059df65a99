package connection_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
)

// signed makes the certificate of a device, signed by an authority and valid for an hour.
func signed(t *testing.T, by *credential.Authority, name string, notBefore time.Time) *x509.Certificate {
	t.Helper()
	key, err := credential.NewPrivateKey(credential.EC256)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := by.IssueDevice(&x509.CertificateRequest{PublicKey: key.Public()}, name, nil, notBefore,
		notBefore.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// A device comes in by an authority that is verified, with its chain or without what the
// hub knows of it, and by nothing else; and goes when the authority does.
func TestDeviceOfAuthority(t *testing.T) {
	h := newFixture(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	now := h.Now()
	root, err := credential.NewAuthority("Root", now.Add(-time.Hour), 24*time.Hour)
	must(err)
	impostor, err := credential.NewAuthority("Root", now.Add(-time.Hour), 24*time.Hour)
	must(err)
	between, err := root.NewSubordinate("Plant", now.Add(-time.Hour), 24*time.Hour)
	must(err)
	for _, id := range []string{"d", "other"} {
		h.Create(identity.Device{DeviceID: id, Authentication: &identity.Authentication{
			Type: identity.CertificateAuthority}})
	}
	h.Create(identity.Device{DeviceID: "keys"})
	upload := func(name string, a *credential.Authority, trusted bool) {
		t.Helper()
		certificate, _, err := a.PEM()
		must(err)
		_, err = h.Authorities().Put(ctx, name, certificate, trusted, "")
		must(err)
	}
	leaf := signed(t, between, "d", now.Add(-time.Minute))
	open := func(id string, chain ...*x509.Certificate) (*connection.Session, *hubtest.Line, error) {
		line := new(hubtest.Line)
		session, err := h.Connections().OpenSession(ctx, id, credential.Evidence{Certificates: chain}, false, line)
		return session, line, err
	}
	refused := func(what, why, id string, chain ...*x509.Certificate) {
		t.Helper()
		_, _, err := open(id, chain...)
		if !errors.Is(err, fault.UnauthorizedAccess) || !strings.Contains(err.Error()+causes(err), why) {
			t.Errorf("%s: the device is answered %v (%s), want 401002 because of %q", what, err, causes(err), why)
		}
	}
	refused("nothing is uploaded", "no authority of the hub", "d", leaf, between.Certificate)
	upload("root", root, false)
	refused("not verified", "not verified", "d", leaf, between.Certificate)
	upload("root", root, true)
	refused("a gap in the chain", "does not lead", "d", leaf)
	refused("another's certificate", "common name", "other", leaf, between.Certificate)
	refused("a stranger of the same name", "does not lead", "d", signed(t, impostor, "d", now.Add(-time.Minute)))
	refused("out of date", "valid from", "d", signed(t, root, "d", now.Add(-2*time.Hour)))
	refused("a device with keys", "authentication is sas", "keys", signed(t, root, "keys", now.Add(-time.Minute)))

	_, line, err := open("d", leaf, between.Certificate)
	must(err)
	upload("plant", between, false) // completes chains, though nobody comes in by it
	without, lineWithout, err := open("d", leaf)
	must(err)
	if line.Ended() == nil {
		t.Error("the connection before is still open")
	}

	must(h.Authorities().Delete(ctx, "plant", "", false))
	if lineWithout.Ended() != nil {
		t.Error("an authority that the device did not come in by took it away")
	}
	must(h.Authorities().Delete(ctx, "root", "", false))
	for deadline := time.Now().Add(10 * time.Second); lineWithout.Ended() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the device is still connected by an authority that is gone")
		}
	}
	if _, err := without.Twin(ctx); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("the session answers %v", err)
	}
	refused("the authority is gone", "no authority of the hub", "d", leaf, between.Certificate)
}

// causes is what is beneath an error, as the log has it.
func causes(err error) (text string) {
	for err := errors.Unwrap(err); err != nil; err = errors.Unwrap(err) {
		text += ": " + err.Error()
	}
	return text
}
