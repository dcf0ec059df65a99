package provisioning

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// otherKey is a certificate with another public key in place of its own: the signature
// is wrong then, which nobody looks at who only reads it.
func otherKey(t *testing.T, certificate *issued, key []byte) []byte {
	t.Helper()
	parts := func(der []byte) (values []asn1.RawValue) {
		if _, err := asn1.Unmarshal(der, &values); err != nil {
			t.Fatal(err)
		}
		return values
	}
	whole := func(values []asn1.RawValue) []byte {
		der, err := asn1.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	outer := parts(certificate.certificate.Raw)
	inner := parts(outer[0].FullBytes)
	inner[6] = asn1.RawValue{FullBytes: key} // version, serial number, algorithm, issuer, validity, subject, key
	outer[0] = asn1.RawValue{FullBytes: whole(inner)}
	return whole(outer)
}

// publicKey is a key of some kind, in the structure that certificates have.
func publicKey(t *testing.T, kind asn1.ObjectIdentifier, parameters any, bits int) []byte {
	t.Helper()
	type algorithm struct {
		ID         asn1.ObjectIdentifier
		Parameters asn1.RawValue `asn1:"optional"`
	}
	key := struct {
		Algorithm algorithm
		Value     asn1.BitString
	}{algorithm{ID: kind}, asn1.BitString{Bytes: append([]byte{4}, make([]byte, bits/8)...), BitLength: bits + 8}}
	if parameters != nil {
		encoded, err := asn1.Marshal(parameters)
		if err != nil {
			t.Fatal(err)
		}
		key.Algorithm.Parameters.FullBytes = encoded
	}
	der, err := asn1.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestKeysOfNoUse are refused at every door where a certificate is enrolled or checked:
// no device could ever come in by them.
func TestKeysOfNoUse(t *testing.T) {
	h, ctx := newHouse(t, "hub.local"), context.Background()
	device, authority := certify(t, "d1", nil, false), certify(t, "Factory", nil, true)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	shortKey, err := x509.MarshalPKIXPublicKey(short.Public())
	if err != nil {
		t.Fatal(err)
	}
	evenKey, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	ec := asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	for _, c := range []struct {
		says  string
		key   []byte
		taken bool // in a chain that is checked, whose judgement says it
	}{
		{"a key of the kind Ed448", publicKey(t, asn1.ObjectIdentifier{1, 3, 101, 113}, nil, 448), false},
		{"a key of the kind ML-DSA-44", publicKey(t, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}, nil,
			512), false},
		{"a key of the kind 1.3.6.1.4.1.99999.7", publicKey(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 7}, nil,
			512), false},
		{"a key on the curve secp256k1", publicKey(t, ec, asn1.ObjectIdentifier{1, 3, 132, 0, 10}, 512), false},
		{"a key on the curve brainpoolP384r1", publicKey(t, ec, asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 11},
			768), false},
		{"an EC key whose point is compressed or not on its curve", publicKey(t, ec, asn1.ObjectIdentifier{1, 2, 840,
			10045, 3, 1, 7}, 256), false},
		{"an RSA key whose numbers can't be those of a key", evenKey, false},
		{"an RSA key of 1024 bits", shortKey, true},
	} {
		t.Run(c.says, func(t *testing.T) {
			devices, signers := otherKey(t, device, c.key), otherKey(t, authority, c.key)
			text := base64.StdEncoding.EncodeToString(devices)
			enrollment := Enrollment{RegistrationID: "d1", Attestation: AttestationMechanism{Type: byX509,
				X509: &X509Attestation{
					ClientCertificates: &X509Certificates{Primary: &X509Certificate{Certificate: text}}}}}
			rolled := enrollment
			rolled.Attestation = AttestationMechanism{Type: byX509,
				X509: &X509Attestation{ClientCertificates: &X509Certificates{
					Primary: &X509Certificate{Certificate: device.pem}, Secondary: &X509Certificate{Certificate: text}}}}
			signing := &X509Certificate{Certificate: base64.StdEncoding.EncodeToString(signers)}
			for door, err := range map[string]error{
				"an enrollment":                 second(h.PutEnrollment(ctx, enrollment, "")),
				"an enrollment that is new":     second(h.CreateEnrollment(ctx, enrollment)),
				"a secondary certificate":       second(h.PutEnrollment(ctx, rolled, "")),
				"an enrollment that is checked": enrollment.Check(),
				"a group":                       second(h.PutGroup(ctx, signedGroup("g", signing, nil), "")),
				"a group's secondary one": second(h.PutGroup(ctx, signedGroup("g",
					&X509Certificate{Certificate: authority.pem}, signing), "")),
				"an authority":          second(h.PutAuthority(ctx, "a", signers, true, "")),
				"one that is inspected": second(Inspect(devices, noon)),
			} {
				if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) ||
					!strings.Contains(err.Error(), credential.UsableKeys[:len("an EC key on P-256")]) {
					t.Errorf("%s: %v", door, err)
				}
			}
			judgement, err := h.CheckChain(ctx, devices, "d1")
			switch {
			case !c.taken && (!errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("a chain that is checked: %v", err)
			case c.taken:
				if failed, _ := judgement.Checks.Failed(); err != nil || judgement.Admitted || !strings.Contains(failed.Saw,
					c.says) {
					t.Errorf("a chain that is checked: %+v, error %v", judgement, err)
				}
			}
		})
	}
}
