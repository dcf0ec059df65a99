package credential

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/berth-iot/berth/fault"
)

// maxCertificates bounds what is read: no chain that Azure takes is longer.
const maxCertificates = 16

// maxCertificateBytes bounds the text that certificates are read from.
const maxCertificateBytes = 64 << 10

// ParseCertificates reads certificates in any form in which people and SDKs
// hand them over: PEM, DER, or base64 of either. The order is kept. Errors are
// whole sentences for the person who chose the file, and translated where a fault
// quotes them: they say what was sent in place of a certificate. A private key among
// the certificates is refused (ErrPrivateKey), and so is a certificate whose key
// nobody can verify anything with.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) > maxCertificateBytes {
		if isPrivateText(data) {
			return nil, ErrPrivateKey
		}
		if _, err := ParseCertificates(data[:maxCertificateBytes]); errors.Is(err, ErrPrivateKey) {
			return nil, err
		}
		return nil, fault.NewReason("certificates of %d bytes are too large, the limit is %d",
			len(data), maxCertificateBytes)
	}
	if isBinary(data) {
		return parseDER(data)
	}
	// A byte order mark is what Windows editors leave in front of PEM.
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	switch {
	case len(data) == 0:
		return nil, fault.NewReason("the certificate is empty")
	case isPrivateText(data):
		return nil, ErrPrivateKey
	case isPublicText(data):
		return nil, errPublicKey
	case bytes.Contains(data, []byte("-----BEGIN")):
		return parsePEM(data)
	case isBinary(data):
		return parseDER(data)
	}
	decoded, err := base64.StdEncoding.DecodeString(stripSpace(string(data)))
	switch {
	case err == nil && bytes.Contains(decoded, []byte("-----BEGIN")) && !isPrivateText(decoded):
		return parsePEM(decoded)
	case err == nil:
		return parseDER(decoded)
	}
	if found := recognize(decoded); found != nil { // base64 that is cut off
		return nil, found
	}
	return nil, fault.NewReason("this is no certificate: neither PEM (-----BEGIN CERTIFICATE-----), nor DER, " +
		"nor base64 of one")
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
		case block.Type != "CERTIFICATE" && block.Type != trustedPEM && block.Type != "X509 CERTIFICATE":
			if found := recognize(block.Bytes); found != nil {
				return nil, found
			}
			return nil, fault.NewReason("this holds a %.64s where a CERTIFICATE should be", block.Type)
		case len(certificates) == maxCertificates:
			return nil, tooMany()
		}
		certificate, after, err := readCertificate(block.Bytes, len(certificates)+1)
		switch {
		case err != nil:
			return nil, err
		case !isPadding(after) && block.Type != trustedPEM:
			return nil, trailing(after)
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		return nil, fault.NewReason("this starts like PEM but holds no whole certificate: the text from " +
			"-----BEGIN CERTIFICATE----- to -----END CERTIFICATE----- is needed, line breaks included")
	}
	return certificates, checkKeys(certificates)
}

// trustedPEM is how OpenSSL marks a certificate that is followed by what it is trusted
// for.
const trustedPEM = "TRUSTED CERTIFICATE"

func parseDER(data []byte) (certificates []*x509.Certificate, err error) {
	for rest := data; len(rest) > 0 && (len(certificates) == 0 || !isPadding(rest)); {
		if len(certificates) == maxCertificates {
			return nil, tooMany()
		}
		certificate, after, err := readCertificate(rest, len(certificates)+1)
		switch {
		case err != nil && len(certificates) > 0:
			return nil, trailing(rest)
		case err != nil:
			return nil, err
		}
		certificates, rest = append(certificates, certificate), after
	}
	if len(certificates) == 0 {
		return nil, fault.NewReason("this holds no certificate")
	}
	return certificates, checkKeys(certificates)
}

// readCertificate reads the certificate that data begins with, up to the length that it
// states, and returns what follows it. which is its number, from 1.
func readCertificate(data []byte, which int) (certificate *x509.Certificate, rest []byte, err error) {
	var whole asn1.RawValue
	if rest, err = asn1.Unmarshal(data, &whole); err == nil {
		if certificate, err = x509.ParseCertificate(whole.FullBytes); err == nil {
			return certificate, rest, nil
		}
	}
	if found := recognize(data); found != nil {
		return nil, nil, found
	}
	if outer, _, ok := nextValue(data); ok && outer.missing > 0 && hasTags(tagsOf(outer.values()), tagSequence) {
		return nil, nil, fault.NewReason("certificate %d is cut off: %d bytes of it are "+
			"missing", which, outer.missing)
	}
	if key := unparsedKey(data); key != nil {
		return nil, nil, unverifiable(which, key)
	}
	return nil, nil, fault.NewReason("certificate %d can't be read: %s", which, reason(err))
}

// isPadding reports whether data is what fills an area of fixed size, as TPMs and
// secure elements hand out: bytes of 0 or 0xff.
func isPadding(data []byte) bool {
	return !slices.ContainsFunc(data, func(b byte) bool { return b != 0 && b != 0xff })
}

// trailing refuses what follows a certificate.
func trailing(rest []byte) error {
	if found := recognize(rest); errors.Is(found, ErrPrivateKey) {
		return found
	}
	return fault.NewReason("%d bytes follow the certificate that are neither part of it nor padding. "+
		"Cut them off: openssl x509 -in FILE -out certificate.pem, with -inform DER if FILE is binary", len(rest))
}

func tooMany() error {
	return fault.NewReason("this holds more than %d certificates", maxCertificates)
}

// reason is what crypto/x509 and encoding/asn1 say, without their names.
func reason(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "x509: "), "asn1: ")
}

func stripSpace(text string) string {
	return strings.Join(strings.Fields(text), "")
}

// Thumbprints returns the SHA-1 (40 digits) and SHA-256 (64 digits) thumbprints
// of a certificate in upper-case hexadecimal, as Azure shows them.
func Thumbprints(certificate *x509.Certificate) (sha1Hex, sha256Hex string) {
	one, two := sha1.Sum(certificate.Raw), sha256.Sum256(certificate.Raw)
	return strings.ToUpper(hex.EncodeToString(one[:])), strings.ToUpper(hex.EncodeToString(two[:]))
}
