package credential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/youmark/pkcs8"
)

// KeyType names a kind of private key that Berth makes.
type KeyType string

const (
	RSA4096 KeyType = "rsa4096"
	RSA2048 KeyType = "rsa2048"
	EC256   KeyType = "ec256" // ECDSA on P-256
)

// NewPrivateKey makes a private key. An RSA key of 4,096 bits takes seconds.
func NewPrivateKey(kind KeyType) (crypto.Signer, error) {
	switch kind {
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case EC256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("key type %q is not known, use %s, %s or %s", kind, RSA4096, RSA2048, EC256)
}

// DeviceCertificate says what NewDeviceCertificate makes.
type DeviceCertificate struct {
	CommonName string // the registration id
	KeyType    KeyType
	NotBefore  time.Time
	Validity   time.Duration
	PassPhrase string // encrypts the key when not empty
}

// NewDeviceCertificate makes a self-signed device certificate and its key, both
// PEM, as the quickstart's `openssl req -x509` does: for tests and trials.
func NewDeviceCertificate(d DeviceCertificate) (certificatePEM, keyPEM []byte, err error) {
	key, err := NewPrivateKey(d.KeyType)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerialNumber(),
		Subject:               pkix.Name{CommonName: d.CommonName},
		NotBefore:             d.NotBefore,
		NotAfter:              d.NotBefore.Add(d.Validity),
		BasicConstraintsValid: true,
		SubjectKeyId:          keyID(key),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the device certificate: %w", err)
	}
	keyPEM, err = encodeKey(key, d.PassPhrase)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM, err
}

// Authority is a certificate authority with its key.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// NewAuthority makes an authority that signs its own certificate with an ECDSA
// P-256 key.
func NewAuthority(name string, notBefore time.Time, validity time.Duration) (*Authority, error) {
	key, err := NewPrivateKey(EC256)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerialNumber(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notBefore,
		NotAfter:              notBefore.Add(validity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          keyID(key),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	return &Authority{certificate, key}, err
}

// Renew makes a certificate of the same authority, with its name and its key, that is
// valid at other times. issuer signs it, which is the authority itself for one that
// stands alone. What the authority has signed is good under both certificates.
func (a *Authority) Renew(issuer *Authority, notBefore, notAfter time.Time) (*Authority, error) {
	template := &x509.Certificate{
		SerialNumber:          newSerialNumber(),
		RawSubject:            a.Certificate.RawSubject,
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              a.Certificate.KeyUsage,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            a.Certificate.MaxPathLen,
		MaxPathLenZero:        a.Certificate.MaxPathLenZero,
		SubjectKeyId:          a.Certificate.SubjectKeyId,
		AuthorityKeyId:        a.Certificate.AuthorityKeyId,
	}
	parent := issuer.Certificate
	if issuer == a {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, a.Key.Public(), issuer.Key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	return &Authority{certificate, a.Key}, err
}

// PEM returns the authority's certificate and key.
func (a *Authority) PEM() (certificatePEM, keyPEM []byte, err error) {
	keyPEM, err = encodeKey(a.Key, "")
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw}), keyPEM, err
}

// ParseAuthority reads what PEM returned. A key that is not the certificate's is an
// error.
func ParseAuthority(certificatePEM, keyPEM []byte) (*Authority, error) {
	certificates, err := ParseCertificates(certificatePEM)
	if err != nil {
		return nil, err
	}
	key, err := ParsePrivateKey(keyPEM, "")
	if err != nil {
		return nil, err
	}
	if public, ok := certificates[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok ||
		!public.Equal(key.Public()) {
		return nil, errors.New("the private key is that of another certificate")
	}
	return &Authority{certificates[0], key}, nil
}

// IssueServer makes a server certificate for names and addresses, with an ECDSA
// P-256 key: a handshake with an RSA key costs the server four times as much.
// The certificate PEM holds the chain without the authority.
func (a *Authority) IssueServer(hosts []string, notBefore time.Time,
	validity time.Duration) (certificatePEM, keyPEM []byte, err error) {
	key, err := NewPrivateKey(EC256)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerialNumber(),
		Subject:               pkix.Name{CommonName: hosts[0]},
		NotBefore:             notBefore,
		NotAfter:              notBefore.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		SubjectKeyId:          keyID(key),
		AuthorityKeyId:        a.Certificate.SubjectKeyId,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the server certificate: %w", err)
	}
	keyPEM, err = encodeKey(key, "")
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM, err
}

func encodeKey(key crypto.Signer, passPhrase string) ([]byte, error) {
	if passPhrase != "" {
		der, err := pkcs8.MarshalPrivateKey(key, []byte(passPhrase), nil)
		if err != nil {
			return nil, fmt.Errorf("encrypt the private key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// newSerialNumber returns 127 random bits, positive and at most 16 bytes.
func newSerialNumber() *big.Int {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return serial.Add(serial, big.NewInt(1))
}

func keyID(key crypto.Signer) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil // crypto/x509 then makes one of its own for authorities
	}
	sum := sha1.Sum(der)
	return sum[:]
}
