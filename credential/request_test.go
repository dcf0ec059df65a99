package credential

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

// day is a time at which the certificates of these tests are valid.
var day = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// encoded are certificates in PEM.
func encoded(certificates ...*x509.Certificate) (text []byte) {
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

func newTestAuthority(t *testing.T, name string) *Authority {
	t.Helper()
	made, err := NewAuthority(name, day.Add(-time.Hour), 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// An operator's own authority signs a request; the chain is put in order, and what is wrong
// with it said in a sentence.
func TestAuthorityChain(t *testing.T) {
	root := newTestAuthority(t, "Root")
	between, err := root.Renew(newTestAuthority(t, "Other"), day.Add(-time.Hour), day.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	_, rootKey, err := root.PEM()
	if err != nil {
		t.Fatal(err)
	}
	own, err := root.NewSubordinate("Issuing", day.Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, ownKey, err := own.PEM()
	if err != nil {
		t.Fatal(err)
	}
	below, err := own.NewSubordinate("Too deep", day.Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, belowKey, err := below.PEM()
	if err != nil {
		t.Fatal(err)
	}
	deepest, err := below.NewSubordinate("Deeper still", day.Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, deepestKey, err := deepest.PEM()
	if err != nil {
		t.Fatal(err)
	}
	request, requestKey, err := NewAuthorityRequest("Issuing", "")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(request))
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || parsed.Subject.CommonName != "Issuing" || len(parsed.Extensions) != 2 {
		t.Fatalf("the request is %+v, error %v", parsed, err)
	}
	leaf, err := root.IssueDevice(parsed, "Issuing", nil, day.Add(-time.Hour), day.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		chain []byte
		key   string
		now   time.Time
		says  string // "" for a chain that holds
	}{
		{"in order", encoded(own.Certificate, root.Certificate), string(ownKey), day, ""},
		{"the other way round", encoded(root.Certificate, own.Certificate), string(ownKey), day, ""},
		{"with another certificate", encoded(between.Certificate, root.Certificate, own.Certificate), string(ownKey),
			day, ""},
		{"nothing", nil, string(ownKey), day, "certificate"},
		{"another's", encoded(root.Certificate), string(ownKey), day, "none of the certificates is for the key"},
		{"a root alone", encoded(root.Certificate), string(rootKey), day, "signed with its own key"},
		{"a device's", encoded(leaf, root.Certificate), requestKey, day, "not one of an authority"},
		{"late", encoded(own.Certificate, root.Certificate), string(ownKey), day.Add(48 * time.Hour), "is valid from"},
		{"without the root", encoded(own.Certificate), string(ownKey), day, "the root is missing"},
		{"another root", encoded(own.Certificate, newTestAuthority(t, "Stranger").Certificate), string(ownKey), day,
			`nobody here signed "CN=Issuing"`},
		{"below one that allows none",
			encoded(deepest.Certificate, below.Certificate, own.Certificate, root.Certificate),
			string(deepestKey), day, "allows fewer authorities below it"},
		{"right below one that allows none", encoded(below.Certificate, own.Certificate, root.Certificate),
			string(belowKey), day, "allows fewer authorities below it"},
		{"no key", encoded(own.Certificate, root.Certificate), "none", day, "key"},
	} {
		found, err := AuthorityChain(c.chain, c.key, c.now)
		switch {
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, error %v", c.name, found, err)
		case c.says == "" && (err != nil || len(found) != 2 || !found[0].Equal(own.Certificate) ||
			!found[1].Equal(root.Certificate)):
			t.Errorf("%s: %d certificates, error %v", c.name, len(found), err)
		}
	}
	if again, key, err := NewAuthorityRequest("Issuing", requestKey); err != nil || key != requestKey || again == "" {
		t.Errorf("for a key that there is: %v", err)
	}
	if _, _, err := NewAuthorityRequest("Issuing", "none"); err == nil {
		t.Error("a request was made without a key")
	}
}

// What an authority signs for a device has the device's key and the names it is given, and
// is good for nothing but a TLS client.
func TestIssuedCertificates(t *testing.T) {
	issuing, err := newTestAuthority(t, "Root").NewSubordinate("Issuing", day.Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := NewAuthorityRequest("ignored", "")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := issuing.IssueDevice(request, "pump-1", []string{"pump-1.example"}, day, day.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := issued.CheckSignatureFrom(issuing.Certificate); err != nil || issued.IsCA ||
		issued.Subject.CommonName != "pump-1" || issued.VerifyHostname("pump-1.example") != nil ||
		!bytes.Equal(issued.RawSubjectPublicKeyInfo, request.RawSubjectPublicKeyInfo) ||
		len(issued.ExtKeyUsage) != 1 || issued.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("issued %+v, error %v", issued, err)
	}
	described := Describe(issued)
	sha1, sha256 := Thumbprints(issued)
	if described.SubjectName != "CN=pump-1" || described.IssuerName != "CN=Issuing" || described.Version != 3 ||
		described.SHA1Thumbprint != sha1 || described.SHA256Thumbprint != sha256 ||
		!described.NotAfterUTC.Equal(day.Add(time.Hour)) ||
		described.SerialNumber != strings.ToUpper(issued.SerialNumber.Text(16)) {
		t.Errorf("it is described as %+v", described)
	}
	if parsed, err := ParseEnrollable(encoded(issued)); err != nil || !parsed[0].Equal(issued) {
		t.Errorf("it can't be enrolled: %v", err)
	}
	if _, err := ParseEnrollable([]byte("none")); err == nil {
		t.Error("nothing can be enrolled")
	}
	for kind, made := range map[string]KeyType{"ec-p256": EC256, "rsa-2048": RSA2048} {
		key, err := NewPrivateKey(made)
		if err != nil || KeyKind(key.Public()) != kind {
			t.Errorf("a key of the kind %s is %s, error %v", kind, KeyKind(key.Public()), err)
		}
	}
	if KeyKind("none") != "" {
		t.Errorf("what is no key is %s", KeyKind("none"))
	}
}

// A renewed authority has its name and key, so that what it signed before stays good.
func TestRenewedAuthorities(t *testing.T) {
	root := newTestAuthority(t, "Root")
	below, err := root.NewSubordinate("Issuing", day, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := root.Renew(root, day, day.Add(5000*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := below.Certificate.CheckSignatureFrom(renewed.Certificate); err != nil ||
		renewed.Certificate.CheckSignatureFrom(renewed.Certificate) != nil ||
		!bytes.Equal(renewed.Certificate.RawSubject, root.Certificate.RawSubject) ||
		!renewed.Certificate.NotAfter.Equal(day.Add(5000*time.Hour)) {
		t.Errorf("renewed %+v, error %v", renewed.Certificate, err)
	}
	certificate, key, err := renewed.PEM()
	if err != nil {
		t.Fatal(err)
	}
	if read, err := ParseAuthority(certificate, key); err != nil || !read.Certificate.Equal(renewed.Certificate) {
		t.Errorf("it is read as %+v, error %v", read, err)
	}
	if _, err := ParseAuthority(encoded(below.Certificate), key); err == nil {
		t.Error("the key of another certificate is taken")
	}
}
