package provisioning

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
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

// TestUnusableKeys are refused at every door where a certificate is enrolled or checked:
// no device could ever come in by them.
func TestUnusableKeys(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
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
			enrollment := enroll.Enrollment{RegistrationID: "d1",
				Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.X509,
					X509: &enroll.X509Attestation{
						ClientCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: text}}}}}}
			rolled := enrollment
			rolled.Attestation = enroll.AttestationMechanism{Type: enroll.X509,
				X509: &enroll.X509Attestation{ClientCertificates: &enroll.X509Certificates{
					Primary:   &enroll.X509Certificate{Certificate: device.pem},
					Secondary: &enroll.X509Certificate{Certificate: text}}}}
			signing := &enroll.X509Certificate{Certificate: base64.StdEncoding.EncodeToString(signers)}
			for door, err := range map[string]error{
				"an enrollment":              second(h.Enrollments().Put(ctx, enrollment, "")),
				"an enrollment that is new":  second(h.Enrollments().Create(ctx, enrollment)),
				"a secondary certificate":    second(h.Enrollments().Put(ctx, rolled, "")),
				"an enrollment in a dry run": second(h.Enrollments().Create(enroll.DryRun(ctx, nil), enrollment)),
				"a group":                    second(h.Groups().Put(ctx, signedGroup("g", signing, nil), "")),
				"a group's secondary one": second(h.Groups().Put(ctx, signedGroup("g",
					&enroll.X509Certificate{Certificate: authority.pem}, signing), "")),
				"an authority":          second(h.Authorities().Put(ctx, "a", signers, true, "")),
				"one that is inspected": second(enroll.Inspect(devices, noon)),
			} {
				if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) ||
					!strings.Contains(err.Error(), credential.UsableKeys[:len("an EC key on P-256")]) {
					t.Errorf("%s: %v", door, err)
				}
			}
			decision, err := h.CheckChain(ctx, devices, "d1")
			switch {
			case !c.taken && (!errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("a chain that is checked: %v", err)
			case c.taken:
				if failed, _ := decision.Checks.Failed(); err != nil || decision.Admitted ||
					!strings.Contains(failed.Saw,
						c.says) {
					t.Errorf("a chain that is checked: %+v, error %v", decision, err)
				}
			}
		})
	}
}

// TestKeyRollover: a device comes in whose chain leads over an authority's new key, which
// the former key of the same name signed; and says of a chain that is not whole where it
// ends.
func TestKeyRollover(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	plant := certify(t, "Plant", nil, true)
	line := certify(t, "Line", plant, true)
	again := certify(t, "Line", line, true)
	device := certify(t, "d1", again, false)
	for name, c := range map[string]struct {
		chain []*issued
		says  string
	}{
		"whole": {[]*issued{device, again, line},
			"the chain ends at CN=Line, signed by CN=Plant, which was not sent"},
		"without the former key": {[]*issued{device, again},
			"the chain ends at CN=Line, signed by CN=Line, which was not sent"},
		"with a root of its own": {[]*issued{certify(t, "d1", plant, false), plant},
			"the chain is whole and leads to the root CN=Plant"},
		"the new key's own": {[]*issued{again}, "sent its own certificate alone"},
		"that signs itself": {[]*issued{certify(t, "d1", nil, false)},
			"no group for a certificate that signs itself"},
		"whole, in another order": {[]*issued{device, line, again},
			"the chain ends at CN=Line, signed by CN=Plant, which was not sent"},
	} {
		cost := h.work(func() {
			_, failed, err := h.registerChain(c.chain[0].certificate.Subject.CommonName, c.chain...)
			if !errors.Is(err, fault.UnauthorizedAccess) || !strings.Contains(failed.Saw, c.says) {
				t.Errorf("%s, and nothing enrolled: %+v, %v", name, failed, err)
			}
		})
		if cost.Signatures > 1 {
			t.Errorf("%s, and nothing enrolled: %d signatures", name, cost.Signatures)
		}
	}
	if _, err := h.Groups().Put(ctx, signedGroup("g", &enroll.X509Certificate{Certificate: plant.pem}, nil),
		""); err != nil {
		t.Fatal(err)
	}
	if state, failed, err := h.registerChain("d1", device, again, line); err != nil ||
		state.X509.EnrollmentGroupID != "g" {
		t.Errorf("by its group: %+v, %v", failed, err)
	}
	var chain strings.Builder
	for _, one := range []*issued{device, again, line} {
		chain.WriteString(one.pem)
	}
	decision, err := h.CheckChain(ctx, []byte(chain.String()), "")
	if err != nil || !decision.Admitted || decision.GroupID != "g" {
		t.Errorf("a chain that is checked: %+v, %v", decision, err)
	}
}

// TestHostileRollover bounds what certificates cost that all have one name, so that each
// could be the new key of any other, and none leads anywhere.
func TestHostileRollover(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	evidence := credential.Evidence{Protocol: "mqtt", RemoteAddr: "192.0.2.1:1"}
	for i := range 15 {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "d1"},
			NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), BasicConstraintsValid: true, IsCA: true}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		evidence.Certificates = append(evidence.Certificates, certificate)
	}
	register := func() Work {
		return h.work(func() {
			if _, err := h.OpenSession(scope, "d1", evidence).Register(ctx, nil); !errors.Is(err,
				fault.UnauthorizedAccess) {
				t.Error(err)
			}
		})
	}
	if cost := register(); cost.Signatures > 15 {
		t.Errorf("nothing enrolled: %d signatures", cost.Signatures)
	}
	for i := range 10 {
		authority := certify(t, "d1", nil, true)
		if _, err := h.Groups().Put(ctx,
			signedGroup(fmt.Sprint("g", i), &enroll.X509Certificate{Certificate: authority.pem},
				nil), ""); err != nil {
			t.Fatal(err)
		}
	}
	if cost := register(); cost.Signatures > 200 {
		t.Errorf("ten authorities of this name: %d signatures", cost.Signatures)
	}
}
