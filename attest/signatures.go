package attest

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/berth-iot/berth/credential"
)

// Signatures checks the signatures of certificates and remembers, for all
// judgements, which key signed which: who sends the same chain again and again
// costs nothing more. The zero Signatures is ready for use by many goroutines.
type Signatures struct {
	checks atomic.Uint64

	mutex sync.Mutex
	known map[signaturePair]error
}

// signaturePair is a certificate and the public key that may have signed it, by
// their SHA-256.
type signaturePair struct{ certificate, key [sha256.Size]byte }

// maxSignatures bounds the pairs that are remembered: some 100 bytes each.
const maxSignatures = 4096

// Checks is how many signatures were computed so far.
func (s *Signatures) Checks() uint64 { return s.checks.Load() }

// The work of one judgement, counted in signatures of P-256 (70 µs on a machine of
// 2024). A chain of four with P-521 keys throughout costs half of it.
const signatureBudget = 200

// errSignatureBudget is returned once a judgement has cost what it may.
var errSignatureBudget = errors.New("more signatures than are checked for one device")

// weight is what a signature with the key costs in the unit of signatureBudget.
func weight(key any) int {
	switch key := key.(type) {
	case *rsa.PublicKey:
		switch size := key.N.BitLen(); {
		case size <= 2048:
			return 1
		case size <= 4096:
			return 5
		}
		return 20
	case *ecdsa.PublicKey:
		switch size := key.Curve.Params().BitSize; {
		case size == 256:
			return 1
		case size < 256:
			return 3
		case size <= 384:
			return 9
		}
		return 35
	}
	return 1
}

// check says whether the key of parent signed the certificate, nil for yes. What is
// not known yet is taken from budget; it returns errSignatureBudget when that does
// not suffice. It looks at nothing but the signature.
func (s *Signatures) check(certificate, parent *x509.Certificate, budget *int) error {
	pair := signaturePair{sha256.Sum256(certificate.Raw), sha256.Sum256(parent.RawSubjectPublicKeyInfo)}
	s.mutex.Lock()
	result, known := s.known[pair]
	s.mutex.Unlock()
	if known {
		return result
	}
	if err := credential.CheckKey(parent.PublicKey, parent.RawSubjectPublicKeyInfo); err != nil {
		return err // enrolled by a version that took it
	}
	switch certificate.SignatureAlgorithm { // x509 refuses SHA-1 in chains only
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
		return x509.InsecureAlgorithmError(certificate.SignatureAlgorithm)
	}
	cost := weight(parent.PublicKey)
	if *budget < cost {
		return errSignatureBudget
	}
	*budget -= cost
	s.checks.Add(1)
	result = parent.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.known == nil {
		s.known = make(map[signaturePair]error)
	}
	for oldest := range s.known {
		if len(s.known) < maxSignatures {
			break
		}
		delete(s.known, oldest) // any: the order of a map is random
	}
	s.known[pair] = result
	return result
}
