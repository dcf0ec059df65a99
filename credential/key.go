package credential

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"reflect"

	"github.com/youmark/pkcs8"
)

// LoadKeyPair reads a device's certificate chain (leaf first) and private key
// from PEM files. passPhrase opens an encrypted key. Errors name the file and
// what to do, and never show the pass phrase.
func LoadKeyPair(certificateFile, keyFile, passPhrase string) (tls.Certificate, error) {
	text, err := os.ReadFile(certificateFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read the certificate: %w", err)
	}
	chain, err := ParseCertificates(text)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", certificateFile, err)
	}
	if text, err = os.ReadFile(keyFile); err != nil {
		return tls.Certificate{}, fmt.Errorf("read the private key: %w", err)
	}
	key, err := ParsePrivateKey(text, passPhrase)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", keyFile, err)
	}
	if !samePublicKey(chain[0].PublicKey, key.Public()) {
		return tls.Certificate{}, fmt.Errorf("%s does not hold the private key of %s", keyFile, certificateFile)
	}
	pair := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, certificate := range chain {
		pair.Certificate = append(pair.Certificate, certificate.Raw)
	}
	return pair, nil
}

// ParsePrivateKey reads a private key in PEM: PKCS #8, encrypted (PBES2) or
// not, PKCS #1 or SEC 1.
func ParsePrivateKey(text []byte, passPhrase string) (crypto.Signer, error) {
	block := privateKeyBlock(text)
	if block == nil && !isPrivateText(text) && HoldsPrivateKey(text) {
		return nil, errors.New("this private key is not in PEM. Convert it: openssl pkey -in FILE -out key.pem, " +
			"or, of PKCS #12 (.pfx, .p12): openssl pkcs12 -in FILE -nocerts -out key.pem")
	}
	if block == nil {
		return nil, errors.New("this holds no private key in PEM (-----BEGIN PRIVATE KEY-----)")
	}
	if block.Headers["DEK-Info"] != "" {
		return nil, errors.New("this key is encrypted in OpenSSL's legacy form. Convert it: openssl pkcs8 -topk8 -in " +
			"OLD -out NEW")
	}
	var key any
	var err error
	switch block.Type {
	case "ENCRYPTED PRIVATE KEY":
		if passPhrase == "" {
			return nil, errors.New("this key is encrypted. Give its pass phrase (PASS_PHRASE)")
		}
		if key, err = pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(passPhrase)); err != nil {
			return nil, errors.New("this key does not open: the pass phrase is wrong, or its cipher is not PBES2 " +
				"(then convert it: openssl pkcs8 -topk8 -v2 aes256 -in OLD -out NEW)")
		}
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a %s is no key that can be used here", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("this private key can't be read: %s", reason(err))
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %v key can't sign", reflect.TypeOf(key))
	}
	return signer, nil
}

// privateKeyBlock finds the first block that may be a private key; an EC key is
// often preceded by its parameters.
func privateKeyBlock(text []byte) *pem.Block {
	for {
		block, rest := pem.Decode(text)
		if block == nil || (block.Type != "EC PARAMETERS" && block.Type != "CERTIFICATE") {
			return block
		}
		text = rest
	}
}

func samePublicKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
