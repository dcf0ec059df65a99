package credential

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/berth-iot/berth/fault"
)

// MaxCSR is the size of the largest certificate signing request, in bytes of its
// base64 (Azure, issue certificate API: 8 KB).
const MaxCSR = 8 << 10

// ParseCSR reads a certificate signing request as devices send it: base64 of
// PKCS #10 in DER, or PEM. It checks the request's signature, which proves
// possession of the key. What fills an area of fixed size behind the request, as secure
// elements hand it out, is left aside. Errors are whole sentences for who wrote the
// device.
func ParseCSR(text string) (*x509.CertificateRequest, error) {
	der, err := decodeCSR(text)
	if err != nil {
		return nil, err
	}
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &whole); err == nil && isPadding(rest) {
		der = whole.FullBytes
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, notCSR(der)
	}
	if err := CheckKey(request.PublicKey, request.RawSubjectPublicKeyInfo); err != nil {
		return nil, unusableRequest(err)
	}
	if err := request.CheckSignature(); err != nil {
		if request.SignatureAlgorithm == x509.UnknownSignatureAlgorithm ||
			errors.Is(err, x509.ErrUnsupportedAlgorithm) ||
			errors.As(err, new(x509.InsecureAlgorithmError)) {
			return nil, fault.NewReason("the certificate signing request is signed with %s, which is not taken. "+
				"Sign it with SHA-256 or better",
				signatureOf(request.SignatureAlgorithm))
		}
		return nil, fault.NewReason("the certificate signing request is not signed with its own key, or was changed " +
			"since. Make it with the key pair that it is for")
	}
	return request, nil
}

// CheckCSREncoding looks whether a certificate signing request is base64, with the
// tolerance of ParseCSR for PEM armour and line breaks unless exact.
func CheckCSREncoding(text string, exact bool) error {
	if exact && len(text) <= MaxCSR && strings.ContainsFunc(text, unicode.IsSpace) {
		return fault.NewReason("the certificate signing request has PEM armour, spaces or line breaks. It is base64 " +
			"of PKCS #10 in DER alone, on one line")
	}
	_, err := decodeCSR(text)
	return err
}

func decodeCSR(text string) ([]byte, error) {
	if len(text) > MaxCSR {
		return nil, fault.NewReason("the certificate signing request has %d bytes, the limit is %d", len(text), MaxCSR)
	}
	if text == "" {
		return nil, fault.NewReason("the certificate signing request is empty. It is base64 of PKCS #10 in DER")
	}
	if block, _ := pem.Decode([]byte(text)); block != nil {
		return block.Bytes, nil
	}
	der, err := base64.StdEncoding.DecodeString(stripSpace(text))
	if err != nil {
		return nil, fault.NewReason("the certificate signing request is not base64. It is base64 of PKCS #10 in DER")
	}
	return der, nil
}

// notCSR says what is there in place of a certificate signing request, or what is wrong
// with it.
func notCSR(der []byte) error {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(der, &outer)
	_, notCertificate := x509.ParseCertificate(der)
	switch {
	case HoldsPrivateKey(der):
		return fault.NewReason("this is a private key where a certificate signing request should be. Make a new key " +
			"pair, as this one is known to others now, and send its request (PKCS #10) alone")
	case notCertificate == nil:
		return fault.NewReason("this is a certificate where a certificate signing request should be. Send the " +
			"request (PKCS #10) that is made with the device's key")
	case err != nil && bytes.HasPrefix(der, []byte("-----BEGIN")):
		return fault.NewReason("this is PEM in base64, and no whole certificate signing request. Send base64 of its " +
			"DER, which is the text between the lines BEGIN and END")
	case err != nil:
		return fault.NewReason("the certificate signing request can't be read as PKCS #10: it breaks off, or " +
			"is not DER. Send the whole of it, as base64 of DER")
	case len(rest) > 0:
		return fault.NewReason("the certificate signing request can't be read as PKCS #10: %d bytes "+
			"follow its end. Send the request alone", len(rest))
	}
	if key := unparsedKey(der); key != nil {
		return unusableRequest(key)
	}
	return fault.NewReason("the certificate signing request can't be read as PKCS #10: its parts are not those " +
		"of a request (RFC 2986). Make a new one, for instance with openssl req -new -outform DER")
}

// signatureOf names the algorithm of a signature.
func signatureOf(algorithm x509.SignatureAlgorithm) fault.Text {
	if algorithm == x509.UnknownSignatureAlgorithm {
		return fault.Say("an unknown algorithm")
	}
	return fault.Say("%s", algorithm.String())
}

func unusableRequest(key error) error {
	return fault.NewReason("the certificate signing request has %v, with which no device can prove itself here. Use %s",
		key, fault.Word(UsableKeys))
}

// KeyKind names the kind of a public key: ec-p256, ec-p384, ec-p521, rsa-2048 (and
// other sizes); "" for one that Berth does not know.
func KeyKind(key any) string {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return map[int]string{224: "ec-p224", 256: "ec-p256", 384: "ec-p384",
			521: "ec-p521"}[key.Curve.Params().BitSize]
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", key.N.BitLen())
	}
	return ""
}

// NewSubordinate makes an authority that signs end-entity certificates only, under
// this one.
func (a *Authority) NewSubordinate(name string, notBefore time.Time, validity time.Duration) (*Authority, error) {
	key, err := NewPrivateKey(EC256)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerialNumber(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notBefore,
		NotAfter:              notBefore.Add(validity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		SubjectKeyId:          keyID(key),
		AuthorityKeyId:        a.Certificate.SubjectKeyId,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.Key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	return &Authority{certificate, key}, err
}

// IssueDevice makes a certificate with which a device proves itself, for the key of
// its request. Nothing of the request but the key and the names given here goes in.
func (a *Authority) IssueDevice(request *x509.CertificateRequest, commonName string, dnsNames []string, notBefore,
	notAfter time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber:          newSerialNumber(),
		Subject:               pkix.Name{CommonName: commonName},
		DNSNames:              dnsNames,
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		AuthorityKeyId:        a.Certificate.SubjectKeyId,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, request.PublicKey, a.Key)
	if err != nil {
		return nil, fmt.Errorf("sign the device's certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}
