package credential

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"

	"github.com/berth-iot/berth/fault"
)

const (
	// MaxRSA is the size of the largest RSA key that is taken, in bits, as in the TLS
	// handshake (package crypto/tls): the time that a signature takes grows with the
	// square of it.
	MaxRSA = 8192

	// MinRSA is the size of the smallest RSA key that is taken, in bits (NIST SP
	// 800-131A).
	MinRSA = 2048
)

// UsableKeys are the keys with which devices and authorities can prove something, in
// words: those that package crypto/tls and package crypto/x509 know.
const UsableKeys = "an EC key on P-256, P-384 or P-521, Ed25519, or RSA of 2048 to 8192 bits"

// CheckKey refuses a public key whose signatures can't be verified, or take too long:
// whoever has it can never prove anything. encoded is the key as it was parsed from
// (SubjectPublicKeyInfo). The error reads on from: it has.
func CheckKey(key any, encoded []byte) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if size := key.N.BitLen(); size > MaxRSA {
			return fault.NewReason("an RSA key of %d bits", size)
		}
		if key.N.Bit(0) == 0 || key.E&1 == 0 || key.E < 3 || int64(key.E) > 1<<31-1 {
			return fault.NewReason("an RSA key whose numbers can't be those of a key")
		}
		return nil
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return nil
	}
	return unusableKey(encoded)
}

// CheckKeyLength refuses a public key that CheckKey takes and that is short enough to be
// broken. The error reads on from: it has.
func CheckKeyLength(key any) error {
	if key, ok := key.(*rsa.PublicKey); ok && key.N.BitLen() < MinRSA {
		return fault.NewReason("an RSA key of %d bits", key.N.BitLen())
	}
	return nil
}

// checkKeys refuses certificates with keys that CheckKey refuses.
func checkKeys(certificates []*x509.Certificate) error {
	for i, certificate := range certificates {
		if err := CheckKey(certificate.PublicKey, certificate.RawSubjectPublicKeyInfo); err != nil {
			return unverifiable(i+1, err)
		}
	}
	return nil
}

func unverifiable(which int, key error) error {
	return fault.NewReason("certificate %d has %v, and this server can't verify what such a key signs. Use %s",
		which, key, fault.Word(UsableKeys))
}

// unparsedKey names the key of a certificate, or of a request for one, that can't be
// read because of that key; nil when it is not the key's fault.
func unparsedKey(data []byte) error {
	encoded := keyOf(data)
	if encoded == nil {
		return nil
	}
	if _, err := x509.ParsePKIXPublicKey(encoded); err == nil {
		return nil
	}
	return unusableKey(encoded)
}

// unusableKey names a key, given as SubjectPublicKeyInfo, with which nothing can be
// verified here.
func unusableKey(encoded []byte) error {
	var key struct {
		Algorithm struct {
			ID         asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Value asn1.RawValue
	}
	if _, err := asn1.Unmarshal(encoded, &key); err != nil {
		return fault.NewReason("a key that can't be read")
	}
	if !key.Algorithm.ID.Equal(ecKey) {
		return fault.NewReason("a key of the kind %s", nameOf(key.Algorithm.ID, kindNames))
	}
	var curve asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(key.Algorithm.Parameters.FullBytes, &curve); err != nil {
		return fault.NewReason("an EC key that spells its curve out and does not name it")
	}
	if _, ok := usableCurves[curve.String()]; ok {
		return fault.NewReason("an EC key whose point is compressed or not on its curve")
	}
	return fault.NewReason("a key on the curve %s", nameOf(curve, curveNames))
}

// nameOf returns the name of an object identifier, itself when it has none here.
func nameOf(id asn1.ObjectIdentifier, names map[string]string) string {
	if name, ok := names[id.String()]; ok {
		return name
	}
	const most = 64 // it is the choice of who made the certificate
	if text := id.String(); len(text) > most {
		return text[:most] + "…"
	}
	return id.String()
}

var ecKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}

// usableCurves are those that package crypto/x509 knows.
var usableCurves = map[string]bool{
	"1.3.132.0.33": true, "1.2.840.10045.3.1.7": true, "1.3.132.0.34": true, "1.3.132.0.35": true,
}

var kindNames = map[string]string{
	"1.2.840.10040.4.1":       "DSA",
	"1.2.840.10046.2.1":       "Diffie-Hellman",
	"1.2.840.113549.1.3.1":    "Diffie-Hellman",
	"1.2.840.113549.1.1.10":   "RSASSA-PSS",
	"1.2.643.7.1.1.1.1":       "GOST R 34.10-2012",
	"1.2.643.7.1.1.1.2":       "GOST R 34.10-2012",
	"1.3.101.110":             "X25519",
	"1.3.101.111":             "X448",
	"1.3.101.113":             "Ed448",
	"1.3.132.1.12":            "EC for Diffie-Hellman alone",
	"2.16.840.1.101.3.4.3.17": "ML-DSA-44",
	"2.16.840.1.101.3.4.3.18": "ML-DSA-65",
	"2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}

var curveNames = map[string]string{
	"1.2.840.10045.3.1.1":   "P-192",
	"1.2.156.10197.1.301":   "SM2",
	"1.3.132.0.10":          "secp256k1",
	"1.3.132.0.32":          "secp224k1",
	"1.3.132.0.31":          "secp192k1",
	"1.3.36.3.3.2.8.1.1.5":  "brainpoolP224r1",
	"1.3.36.3.3.2.8.1.1.7":  "brainpoolP256r1",
	"1.3.36.3.3.2.8.1.1.8":  "brainpoolP256t1",
	"1.3.36.3.3.2.8.1.1.9":  "brainpoolP320r1",
	"1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
	"1.3.36.3.3.2.8.1.1.12": "brainpoolP384t1",
	"1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
	"1.3.36.3.3.2.8.1.1.14": "brainpoolP512t1",
}
