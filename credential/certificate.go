package credential

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// maxCertificates bounds what is read: no chain that Azure takes is longer.
const maxCertificates = 16

// maxCertificateBytes bounds the text that certificates are read from.
const maxCertificateBytes = 64 << 10

// ErrPrivateKey is in the errors of ParseCertificates for what holds a private
// key: whoever gets it must not keep what was sent.
var ErrPrivateKey = errors.New("this holds a private key. Send the certificate alone; the private key stays on the device, and one that was sent elsewhere is better replaced")

// ParseCertificates reads certificates in any form in which people and SDKs
// hand them over: PEM, DER, or base64 of either. The order is kept. Errors are
// whole sentences for the person who chose the file; a private key among the
// certificates is refused.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) > maxCertificateBytes {
		return nil, fmt.Errorf("certificates of %d bytes are too large, the limit is %d", len(data), maxCertificateBytes)
	}
	if len(data) > 0 && data[0] == 0x30 { // an ASN.1 sequence, as every certificate in DER is; no base64 of one starts with a 0
		return parseDER(data)
	}
	// A byte order mark is what Windows editors leave in front of PEM.
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if len(data) == 0 {
		return nil, errors.New("the certificate is empty")
	}
	if bytes.Contains(data, []byte("-----BEGIN")) {
		return parsePEM(data)
	}
	if data[0] == 0x30 {
		return parseDER(data)
	}
	decoded, err := base64.StdEncoding.DecodeString(stripSpace(string(data)))
	if err != nil {
		return nil, errors.New("this is no certificate: neither PEM (-----BEGIN CERTIFICATE-----), nor DER, nor base64 of one")
	}
	if bytes.Contains(decoded, []byte("-----BEGIN")) {
		return parsePEM(decoded)
	}
	return parseDER(decoded)
}

func parsePEM(data []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		switch {
		case strings.Contains(block.Type, "PRIVATE KEY"):
			return nil, ErrPrivateKey
		case block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" && block.Type != "X509 CERTIFICATE":
			return nil, fmt.Errorf("this holds a %.64s where a CERTIFICATE should be", block.Type)
		case len(certificates) == maxCertificates:
			return nil, fmt.Errorf("this holds more than %d certificates", maxCertificates)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d can't be read: %s", len(certificates)+1, reason(err))
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		return nil, errors.New("this starts like PEM but holds no whole certificate: the text from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE----- is needed, line breaks included")
	}
	return certificates, checkKeySizes(certificates)
}

func parseDER(data []byte) (certificates []*x509.Certificate, err error) {
	for rest := data; len(rest) > 0; {
		if len(certificates) == maxCertificates {
			return nil, fmt.Errorf("this holds more than %d certificates", maxCertificates)
		}
		var one asn1.RawValue
		after, err := asn1.Unmarshal(rest, &one)
		var certificate *x509.Certificate
		if err == nil {
			certificate, err = x509.ParseCertificate(one.FullBytes)
		}
		if err != nil && isPrivateKey(data) {
			return nil, ErrPrivateKey
		}
		if err != nil {
			return nil, fmt.Errorf("this is no certificate that can be read: %s", reason(err))
		}
		certificates, rest = append(certificates, certificate), after
	}
	if len(certificates) == 0 {
		return nil, errors.New("this holds no certificate")
	}
	return certificates, checkKeySizes(certificates)
}

// MaxRSA is the size of the largest RSA key that is taken, in bits, as in the TLS
// handshake (package crypto/tls): the time that a signature takes grows with the
// square of it.
const MaxRSA = 8192

// CheckKeySize refuses a public key with which signatures take too long, or which
// none can be checked with. Its error reads on from: it has.
func CheckKeySize(key any) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if size := key.N.BitLen(); size > MaxRSA {
			return fmt.Errorf("an RSA key of %d bits", size)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return errors.New("a key that is neither RSA, nor EC, nor Ed25519")
	}
	return nil
}

func checkKeySizes(certificates []*x509.Certificate) error {
	for i, certificate := range certificates {
		if err := CheckKeySize(certificate.PublicKey); err != nil {
			return fmt.Errorf("certificate %d has %w. Take RSA with %d bits at most, or EC", i+1, err, MaxRSA)
		}
	}
	return nil
}

func isPrivateKey(der []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return true
	}
	_, err := x509.ParseECPrivateKey(der)
	return err == nil
}

// reason is what crypto/x509 says, without its package's name.
func reason(err error) string { return strings.TrimPrefix(err.Error(), "x509: ") }

func stripSpace(text string) string {
	return strings.Join(strings.Fields(text), "")
}

// Thumbprints returns the SHA-1 (40 digits) and SHA-256 (64 digits) thumbprints
// of a certificate in upper-case hexadecimal, as Azure shows them.
func Thumbprints(certificate *x509.Certificate) (sha1Hex, sha256Hex string) {
	one, two := sha1.Sum(certificate.Raw), sha256.Sum256(certificate.Raw)
	return strings.ToUpper(hex.EncodeToString(one[:])), strings.ToUpper(hex.EncodeToString(two[:]))
}
