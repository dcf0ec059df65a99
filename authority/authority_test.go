package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/storetest"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fixture are the authorities of a service, with something above that names them.
type fixture struct {
	*Authorities
	t         *testing.T
	documents store.Documents
	now       time.Time
	limit     int
	named     bool
	meanwhile func() // once, after it was asked whether an authority is named; nil does nothing
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	engine, err := pebble.Open(t.TempDir(), pebble.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	f := &fixture{t: t, documents: engine, now: noon}
	f.open()
	return f
}

func (f *fixture) open() {
	f.Authorities = Open(Config{Documents: f.documents, Collection: "authorities", Subjects: "subjects", Limit: f.limit,
		CheckUnused: f.checkUnused, Now: func() time.Time { return f.now }})
}

// checkUnused checks that the document which says that an authority is named is not there.
func (f *fixture) checkUnused(_ context.Context, name string) ([]store.Change, error) {
	if f.named {
		return nil, fault.New(fault.Conflict, "%s is named", name)
	}
	if meanwhile := f.meanwhile; meanwhile != nil {
		f.meanwhile = nil
		meanwhile()
	}
	return []store.Change{{Collection: "uses", Key: "use", Match: store.Absent, Check: true}}, nil
}

// use has something name the authority.
func (f *fixture) use(name string) {
	f.t.Helper()
	f.named = true
	_, err := f.documents.Commit(context.Background(),
		store.Change{Collection: "uses", Key: "use", Value: []byte("{}")})
	if err != nil {
		f.t.Fatal(err)
	}
}

// certify makes a certificate for a name that parent signs; nil signs itself.
func certify(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey,
	authority bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(365 * 24 * time.Hour), BasicConstraintsValid: true,
		IsCA: authority}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

func pemOf(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

func TestAuthorities(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	root, rootKey := certify(t, "Root", nil, nil, true)
	device, _ := certify(t, "device", root, rootKey, false)
	leaf := string(pemOf(device))
	for name, test := range map[string]struct{ name, certificate, says string }{
		"a name with a space": {"a b", string(pemOf(root)), "not valid for"},
		"a device":            {"d", leaf, "not an authority"},
		"two":                 {"two", string(pemOf(root)) + string(pemOf(root)), "2 certificates"},
		"none":                {"none", "hello", "refused"},
	} {
		if _, err := f.Put(ctx, test.name, []byte(test.certificate), true, ""); err == nil ||
			!strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want one that says %q", name, err, test.says)
		}
	}
	trusted, err := f.Put(ctx, "Root", pemOf(root), true, "")
	if err != nil || !trusted.IsVerified {
		t.Fatalf("trusted on upload: %+v, %v", trusted, err)
	}
	if _, err := f.Put(ctx, "root", pemOf(root), false, `"old"`); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("under another ETag: %v", err)
	}
	if again, err := f.Put(ctx, "root", pemOf(root), false, trusted.ETag); err != nil || !again.IsVerified ||
		again.Name != "Root" {
		t.Errorf("the same certificate again: %+v, %v", again, err)
	}
	f.now = noon.Add(340 * 24 * time.Hour)
	if soon, err := f.Get(ctx, "root"); err != nil || soon.Warning != "expiresSoon" {
		t.Errorf("25 days before the end: %+v, %v", soon, err)
	}
	f.now = noon.Add(366 * 24 * time.Hour)
	if found, next, err := f.List(ctx, "r", "", 10); err != nil || next != "" || len(found) != 1 ||
		found[0].Warning != "expired" {
		t.Errorf("after the end: %+v, %q, %v", found, next, err)
	}
	f.open()
	if err := f.Delete(ctx, "ROOT", "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Get(ctx, "root"); !errors.Is(err, fault.NotFound) {
		t.Errorf("after the deletion: %v", err)
	}
}

// TestDeleteWhileNamed asks those above whether an authority is still named, and holds
// them to it.
func TestDeleteWhileNamed(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	root, _ := certify(t, "Root", nil, nil, true)
	if _, err := f.Put(ctx, "root", pemOf(root), true, ""); err != nil {
		t.Fatal(err)
	}
	f.named = true
	if err := f.Delete(ctx, "root", "", false); !errors.Is(err, fault.Conflict) {
		t.Fatalf("while it is named: %v", err)
	}
	f.named = false
	f.meanwhile = func() { f.use("root") } // between the look and the commit
	if err := f.Delete(ctx, "root", "", false); !errors.Is(err, fault.Conflict) {
		t.Fatalf("named by somebody meanwhile: %v", err)
	}
	if found, err := f.BySubject(ctx, root.RawSubject); err != nil || len(found) != 1 || found[0].Name != "root" {
		t.Errorf("by its subject: %+v, %v", found, err)
	}
	if err := f.Delete(ctx, "root", "", true); err != nil {
		t.Fatalf("by force: %v", err)
	}
	if found, err := f.BySubject(ctx, root.RawSubject); err != nil || len(found) > 0 {
		t.Errorf("by its subject, after the deletion: %+v, %v", found, err)
	}
}

// TestLimit counts the authorities that there are, and lets one take another's place.
func TestLimit(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	f.limit = 1
	f.open()
	root, _ := certify(t, "Root", nil, nil, true)
	for _, put := range []struct {
		name string
		want error
	}{{"a", nil}, {"a", nil}, {"b", fault.QuotaExceeded}} {
		if _, err := f.Put(ctx, put.name, pemOf(root), true, ""); put.want == nil && err != nil ||
			!errors.Is(err, put.want) {
			t.Errorf("%s: %v, want %v", put.name, err, put.want)
		}
	}
}

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[Stored](t) }
