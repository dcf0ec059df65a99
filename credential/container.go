package credential

import (
	"bytes"
	"encoding/asn1"
	"errors"

	"github.com/berth-iot/berth/fault"
)

// ErrPrivateKey is in the errors of ParseCertificates for what holds a private
// key, or as a rule does: whoever gets it must not keep what was sent.
var ErrPrivateKey = errors.New("this holds a private key. Send the certificate alone; the private key stays on " +
	"the device, and one that was sent elsewhere is better replaced")

// What people send in place of a certificate, with the command that makes one of it.
var (
	errPKCS12 = fault.NewReason("this is PKCS #12 (.pfx, .p12), which as a rule holds the private key too. " +
		"Take the certificate out: openssl pkcs12 -in FILE -clcerts -nokeys -out certificate.pem. " +
		"The private key stays on the device, and one that was sent elsewhere is better " +
		"replaced").Because(ErrPrivateKey)
	errKeyStore = fault.NewReason("this is a Java key store, which as a rule holds the private key too. " +
		"Take the certificate out: keytool -exportcert -rfc -keystore FILE -alias ALIAS -file certificate.pem. " +
		"The private key stays on the device, and one that was sent elsewhere is better " +
		"replaced").Because(ErrPrivateKey)
	errPKCS7 = fault.NewReason("this is PKCS #7 (.p7b, .p7c), a container for certificates. " +
		"Take them out: openssl pkcs7 -in FILE -print_certs -out certificates.pem, with -inform DER if FILE is " +
		"binary")
	errRequest = fault.NewReason("this is a certificate signing request, which an authority has yet to sign. " +
		"Sign it: openssl x509 -req -in FILE -CA ca.pem -CAkey ca.key -out certificate.pem")
	errRevocations = fault.NewReason("this is a certificate revocation list, which holds no certificate. " +
		"Send the certificate itself")
	errPublicKey = fault.NewReason("this is a public key alone, and no certificate. " +
		"Make a certificate of it where its private key is: openssl req -x509 -key KEY -subj /CN=ID -out " +
		"certificate.pem")
)

// HoldsPrivateKey reports whether data, in any of the forms that ParseCertificates
// knows, holds a private key, or is a container that as a rule does. It must not be
// kept, nor shown.
func HoldsPrivateKey(data []byte) bool {
	_, err := ParseCertificates(data)
	return errors.Is(err, ErrPrivateKey)
}

// isPrivateText reports whether a text has a private key in PEM, whole or not, or in
// the forms of SSH2 and PuTTY.
func isPrivateText(text []byte) bool {
	for _, mark := range []string{"PRIVATE KEY-----", "PRIVATE KEY BLOCK-----", "PRIVATE KEY " +
		"----", "PuTTY-User-Key-File-"} {
		if bytes.Contains(text, []byte(mark)) {
			return true
		}
	}
	return false
}

// isPublicText reports whether a text is a public key as SSH has it.
func isPublicText(text []byte) bool {
	for _, start := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN SSH2 PUBLIC KEY"} {
		if bytes.HasPrefix(text, []byte(start)) {
			return true
		}
	}
	return false
}

// binaryStarts are how files begin that are neither DER nor text.
var binaryStarts = []struct {
	start string
	is    error
}{
	{"\xfe\xed\xfe\xed", errKeyStore}, // JKS
	{"\xce\xce\xce\xce", errKeyStore}, // JCEKS
	{"openssh-key-v1\x00", ErrPrivateKey},
	{"\x1e\xf1\xb5\xb0", ErrPrivateKey}, // PVK of Microsoft
}

// isBinary reports whether data begins as DER does, or as a file that is no text. No
// base64 of a certificate starts with a 0, which is how a sequence begins in DER.
func isBinary(data []byte) bool {
	for _, known := range binaryStarts {
		if bytes.HasPrefix(data, []byte(known.start)) {
			return true
		}
	}
	return len(data) > 0 && data[0] == tagSequence
}

// Tags of ASN.1 values that tell structures apart.
const (
	tagInteger         = 0x02
	tagBitString       = 0x03
	tagOctetString     = 0x04
	tagOID             = 0x06
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagSequence        = 0x30
)

// Beginnings of object identifiers, encoded.
var (
	oidPKCS7    = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07}
	oidPKCS5    = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05}
	oidPKCS12   = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c}
	oidTPMKey   = []byte{0x67, 0x81, 0x05, 0x0a, 0x01} // a key that a TPM has wrapped
	versionZero = []byte{0}
	versionOne  = []byte{1}
)

// recognize says what data is that is no certificate, by its structure; nil for a
// certificate and for what it does not know. It looks at the beginning alone, which
// is enough for what is cut off, or in BER.
func recognize(data []byte) error {
	for _, known := range binaryStarts {
		if bytes.HasPrefix(data, []byte(known.start)) {
			return known.is
		}
	}
	switch {
	case isPrivateText(data):
		return ErrPrivateKey
	case isPublicText(data):
		return errPublicKey
	}
	outer, _, ok := nextValue(data)
	if !ok || outer.tag != tagSequence {
		return nil
	}
	values := outer.values()
	switch tags := tagsOf(values); {
	case hasTags(tags, tagOID) && bytes.HasPrefix(values[0].content, oidPKCS7):
		return errPKCS7
	case hasTags(tags, tagOID) && bytes.HasPrefix(values[0].content, oidTPMKey):
		return ErrPrivateKey
	case hasTags(tags, tagInteger, tagSequence) && bytes.HasPrefix(values[1].algorithm(), oidPKCS7):
		return errPKCS12
	case hasTags(tags, tagInteger, tagSequence, tagOctetString) && values[0].isVersion() &&
		values[1].algorithm() != nil:
		return ErrPrivateKey // PKCS #8
	case hasTags(tags, tagSequence, tagOctetString) && isEncryption(values[0].algorithm()):
		return ErrPrivateKey // PKCS #8, encrypted
	case hasTags(tags, tagInteger, tagOctetString) && bytes.Equal(values[0].content, versionOne):
		return ErrPrivateKey // SEC 1
	case len(tags) >= 6 && bytes.Count(tags[:6], []byte{tagInteger}) == 6 && values[0].isVersion():
		return ErrPrivateKey // PKCS #1, and DSA
	case bytes.Equal(tags, []byte{tagInteger, tagInteger}), isPublicKey(outer):
		return errPublicKey
	case hasTags(tags, tagSequence, tagSequence):
		return recognizeSigned(values[0])
	}
	return nil
}

// recognizeSigned tells what an authority or the owner of a key signs: a request and a
// list of revocations from a certificate.
func recognizeSigned(signed value) error {
	values := signed.values()
	tags := tagsOf(values)
	if hasTags(tags, tagInteger, tagSequence, tagSequence) && isPublicKey(values[2]) {
		return errRequest
	}
	if hasTags(tags, tagInteger) { // the version of a list
		tags = tags[1:]
	}
	if hasTags(tags, tagSequence, tagSequence, tagUTCTime) ||
		hasTags(tags, tagSequence, tagSequence, tagGeneralizedTime) {
		return errRevocations
	}
	return nil
}

// isPublicKey reports whether a value is a SubjectPublicKeyInfo.
func isPublicKey(v value) bool {
	values := v.values()
	return bytes.Equal(tagsOf(values), []byte{tagSequence, tagBitString}) && values[0].algorithm() != nil
}

func isEncryption(algorithm []byte) bool {
	return bytes.HasPrefix(algorithm, oidPKCS5) || bytes.HasPrefix(algorithm, oidPKCS12)
}

// value is a value of ASN.1 in BER, whose end may be missing.
type value struct {
	tag     byte
	content []byte
	missing uint64 // bytes of the content that are not there
}

// isVersion reports whether an integer is 0 or 1.
func (v value) isVersion() bool {
	return bytes.Equal(v.content, versionZero) || bytes.Equal(v.content, versionOne)
}

// algorithm returns the object identifier that a sequence begins with, nil for none.
func (v value) algorithm() []byte {
	first, _, ok := nextValue(v.content)
	if !ok || v.tag != tagSequence || first.tag != tagOID {
		return nil
	}
	return first.content
}

// values returns what a sequence begins with.
func (v value) values() (values []value) {
	const most = 10
	for rest := v.content; len(values) < most; {
		next, after, ok := nextValue(rest)
		if !ok {
			break
		}
		values, rest = append(values, next), after
	}
	return values
}

// nextValue reads the value that data begins with.
func nextValue(data []byte) (v value, rest []byte, ok bool) {
	if len(data) < 2 || data[0]&0x1f == 0x1f { // tags of several bytes are in none of these
		return value{}, nil, false
	}
	tag, length, body := data[0], uint64(data[1]), data[2:]
	switch {
	case length == 0x80: // its end is marked, not counted
		return value{tag: tag, content: body}, nil, true
	case length > 0x80:
		size := int(length & 0x7f)
		if size > 4 || len(body) < size {
			return value{}, nil, false
		}
		length = 0
		for _, b := range body[:size] {
			length = length<<8 | uint64(b)
		}
		body = body[size:]
	}
	if length > uint64(len(body)) {
		return value{tag, body, length - uint64(len(body))}, nil, true
	}
	return value{tag: tag, content: body[:length]}, body[length:], true
}

func tagsOf(values []value) []byte {
	tags := make([]byte, len(values))
	for i, v := range values {
		tags[i] = v.tag
	}
	return tags
}

func hasTags(tags []byte, wanted ...byte) bool { return bytes.HasPrefix(tags, wanted) }

// keyOf finds the public key in what has the structure of a certificate, or of a request
// for one, as it is encoded; nil for none.
func keyOf(data []byte) []byte {
	outer, _, ok := nextValue(data)
	if !ok || len(outer.values()) == 0 {
		return nil
	}
	for _, v := range outer.values()[0].values() {
		if v.tag == tagSequence && isPublicKey(v) {
			encoded, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: v.content})
			if err != nil {
				return nil
			}
			return encoded
		}
	}
	return nil
}
