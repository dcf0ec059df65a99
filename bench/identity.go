package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/berth-iot/berth/credential"
)

// identity is a device with its certificate, ECDSA on P-256.
type identity struct {
	id          string
	certificate *tls.Certificate
	pem         string
	thumbprint  string // SHA-256
}

// newAuthority makes the authority that signs the devices' certificates: brokers
// that know no single devices trust it.
func newAuthority() (*credential.Authority, error) {
	return credential.NewAuthority("Berth bench", time.Now().Add(-time.Hour), 48*time.Hour)
}

// newIdentities makes n devices named prefix-0 and so on.
func newIdentities(authority *credential.Authority, prefix string, n int) ([]identity, error) {
	identities := make([]identity, n)
	for i := range identities {
		var err error
		if identities[i], err = newIdentity(authority, fmt.Sprintf("%s-%d", prefix, i)); err != nil {
			return nil, fmt.Errorf("make a device's certificate: %w", err)
		}
	}
	return identities, nil
}

func newIdentity(authority *credential.Authority, id string) (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return identity{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: id},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority.Certificate, key.Public(), authority.Key)
	if err != nil {
		return identity{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return identity{}, err
	}
	_, thumbprint := credential.Thumbprints(leaf)
	return identity{
		id:          id,
		certificate: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		pem:         string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		thumbprint:  thumbprint,
	}, nil
}
