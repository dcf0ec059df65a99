package credential

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// MaxCSR is the size of the largest certificate signing request, in bytes of its
// base64 (Azure, issue certificate API: 8 KB).
const MaxCSR = 8 << 10

// ParseCSR reads a certificate signing request as devices send it: base64 of
// PKCS #10 in DER, or PEM. It checks the request's signature, which proves
// possession of the key. Errors are whole sentences for who wrote the device.
func ParseCSR(text string) (*x509.CertificateRequest, error) {
	if len(text) > MaxCSR {
		return nil, fmt.Errorf("the certificate signing request has %d bytes, the limit is %d", len(text), MaxCSR)
	}
	if text == "" {
		return nil, errors.New("the certificate signing request is empty. It is base64 of PKCS #10 in DER")
	}
	var der []byte
	if block, _ := pem.Decode([]byte(text)); block != nil {
		der = block.Bytes
	} else {
		var err error
		if der, err = base64.StdEncoding.DecodeString(stripSpace(text)); err != nil {
			return nil, errors.New("the certificate signing request is not base64. It is base64 of PKCS #10 in DER")
		}
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		if key := unparsedKey(der); key != nil {
			return nil, unusableRequest(key)
		}
		return nil, fmt.Errorf("the certificate signing request is no PKCS #10 that can be read: %s", reason(err))
	}
	if err := CheckKey(request.PublicKey, request.RawSubjectPublicKeyInfo); err != nil {
		return nil, unusableRequest(err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate signing request is not signed with its own key: %s", reason(err))
	}
	return request, nil
}

func unusableRequest(key error) error {
	return fmt.Errorf("the certificate signing request has %w, with which no device can prove itself here. Use %s",
		key, UsableKeys)
}

// KeyKind names the kind of a public key: ec-p256, ec-p384, ec-p521, rsa-2048 (and
// other sizes); "" for one that Berth does not know.
func KeyKind(key any) string {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return map[int]string{224: "ec-p224", 256: "ec-p256", 384: "ec-p384", 521: "ec-p521"}[key.Curve.Params().BitSize]
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
func (a *Authority) IssueDevice(request *x509.CertificateRequest, commonName string, dnsNames []string, notBefore, notAfter time.Time) (*x509.Certificate, error) {
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
