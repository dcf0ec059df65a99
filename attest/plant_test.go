//go:debug x509negativeserial=1

package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// change alters a certificate before it is signed.
type change = func(*x509.Certificate)

// issued makes a certificate of this common name for a new key; by nil signs itself.
func issued(t *testing.T, name string, by *signer, changes ...change) *signer {
	t.Helper()
	return issuedFor(t, newKey(t, elliptic.P256()), pkix.Name{CommonName: name}, by, changes...)
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issuedFor makes a certificate for a key that there is.
func issuedFor(t *testing.T, key *ecdsa.PrivateKey, name pkix.Name, by *signer, changes ...change) *signer {
	t.Helper()
	serial++
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: name,
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(24 * time.Hour)}
	parent, signing := template, key
	if by != nil {
		parent, signing = by.Certificate, by.key
		template.AuthorityKeyId = by.SubjectKeyId
	}
	for _, change := range changes {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signing)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{parsed(t, der), key}
}

func parsed(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// ca makes an authority.
func ca(c *x509.Certificate) {
	c.BasicConstraintsValid, c.IsCA, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
}

func pathLength(most int) change {
	return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = most, most == 0 }
}

func from(start, end time.Duration) change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = noon.Add(start), noon.Add(end) }
}

// with adds an extension.
func with(critical bool, value any, id ...int) change {
	return func(c *x509.Certificate) {
		encoded, err := asn1.Marshal(value)
		if err != nil {
			panic(err)
		}
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: encoded})
	}
}

func hosts(names ...string) change { return func(c *x509.Certificate) { c.DNSNames = names } }

func mailboxes(names ...string) change {
	return func(c *x509.Certificate) { c.EmailAddresses = names }
}

func addresses(names ...string) change {
	return func(c *x509.Certificate) {
		for _, name := range names {
			c.IPAddresses = append(c.IPAddresses, net.ParseIP(name))
		}
	}
}

func uris(names ...string) change {
	return func(c *x509.Certificate) {
		for _, name := range names {
			parsed, err := url.Parse(name)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, parsed)
		}
	}
}

// general is a GeneralName.
func general(tag int, value []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: tag == 0 || tag == 4, Bytes: value}
}

// directory is a GeneralName that is a distinguished name.
func directory(name pkix.Name) asn1.RawValue {
	encoded, err := asn1.Marshal(name.ToRDNSequence())
	if err != nil {
		panic(err)
	}
	return general(4, encoded)
}

type subtree struct{ Base asn1.RawValue }

// constrains adds name constraints.
func constrains(permitted, excluded []asn1.RawValue) change {
	var value struct {
		Permitted []subtree `asn1:"optional,omitempty,tag:0"`
		Excluded  []subtree `asn1:"optional,omitempty,tag:1"`
	}
	for _, base := range permitted {
		value.Permitted = append(value.Permitted, subtree{base})
	}
	for _, base := range excluded {
		value.Excluded = append(value.Excluded, subtree{base})
	}
	return with(true, value, 2, 5, 29, 30)
}

func permits(names ...asn1.RawValue) change  { return constrains(names, nil) }
func excludes(names ...asn1.RawValue) change { return constrains(nil, names) }

// The constraints that there are.
func host(name string) asn1.RawValue    { return general(2, []byte(name)) }
func mailbox(name string) asn1.RawValue { return general(1, []byte(name)) }
func uri(name string) asn1.RawValue     { return general(6, []byte(name)) }
func network(t *testing.T, name string) asn1.RawValue {
	t.Helper()
	_, network, err := net.ParseCIDR(name)
	if err != nil {
		t.Fatal(err)
	}
	return general(7, append(append([]byte{}, network.IP...), network.Mask...))
}

// tbs is what is signed of a certificate.
type tbs struct {
	Raw                asn1.RawContent
	Version            int `asn1:"optional,explicit,default:0,tag:0"`
	SerialNumber       *big.Int
	SignatureAlgorithm pkix.AlgorithmIdentifier
	Issuer             asn1.RawValue
	Validity           asn1.RawValue
	Subject            asn1.RawValue
	PublicKey          asn1.RawValue
	Extensions         []pkix.Extension `asn1:"omitempty,optional,explicit,tag:3"`
}

// altered is a certificate that package crypto/x509 does not make: it is changed and
// signed once more.
func altered(t *testing.T, certificate, by *signer, change func(*tbs)) *signer {
	t.Helper()
	var content tbs
	if _, err := asn1.Unmarshal(certificate.RawTBSCertificate, &content); err != nil {
		t.Fatal(err)
	}
	content.Raw = nil
	change(&content)
	encoded, err := asn1.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(encoded)
	signature, err := by.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{parsed(t, sealed(t, encoded, content.SignatureAlgorithm, signature)), certificate.key}
}

// forged is a certificate with the signature of another one.
func forged(t *testing.T, certificate, other *signer) *signer {
	t.Helper()
	var content tbs
	if _, err := asn1.Unmarshal(certificate.RawTBSCertificate, &content); err != nil {
		t.Fatal(err)
	}
	der := sealed(t, certificate.RawTBSCertificate, content.SignatureAlgorithm, other.Signature)
	return &signer{parsed(t, der), certificate.key}
}

func sealed(t *testing.T, content []byte, algorithm pkix.AlgorithmIdentifier, signature []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Content   asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: content}, algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}
