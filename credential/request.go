package credential

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
)

// authorityExtensions are what an authority asks for that signs devices' certificates
// and nothing else: basicConstraints CA:TRUE, pathlen:0 and keyUsage keyCertSign,
// cRLSign, both critical (RFC 5280, 4.2.1.9 and 4.2.1.3).
var authorityExtensions = []pkix.Extension{
	{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true,
		Value: []byte{0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00}},
	{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{0x03, 0x02, 0x01, 0x06}},
}

// NewAuthorityRequest makes a request, in PEM, for the certificate of an authority that
// another one is to sign. key is the authority's in PEM; with "" one is made.
func NewAuthorityRequest(name, key string) (requestPEM, keyPEM string, err error) {
	var signer crypto.Signer
	if key != "" {
		signer, err = ParsePrivateKey([]byte(key), "")
	} else {
		signer, err = NewPrivateKey(EC256)
	}
	if err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}, ExtraExtensions: authorityExtensions}, signer)
	if err != nil {
		return "", "", fmt.Errorf("sign the request: %w", err)
	}
	encoded, err := encodeKey(signer, "")
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), string(encoded), err
}

// AuthorityChain reads the chain of an authority whose key this is: its own
// certificate, and in any order those above it up to a root. It returns them in order.
// Errors are whole sentences for who brings the chain.
func AuthorityChain(chain []byte, keyPEM string, now time.Time) ([]*x509.Certificate, error) {
	certificates, err := ParseCertificates(chain)
	if err != nil {
		return nil, err
	}
	key, err := ParsePrivateKey([]byte(keyPEM), "")
	if err != nil {
		return nil, err
	}
	var own *x509.Certificate
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	root := false
	for _, certificate := range certificates {
		public, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		switch {
		case ok && public.Equal(key.Public()):
			own = certificate
		case certificate.CheckSignatureFrom(certificate) == nil:
			root = true
			roots.AddCert(certificate)
		default:
			between.AddCert(certificate)
		}
	}
	switch {
	case own == nil:
		return nil, fault.NewReason("none of the certificates is for the key of this authority. Have the request " +
			"signed that was made for it, and bring that certificate")
	case !own.BasicConstraintsValid || !own.IsCA:
		return nil, fault.NewReason("the certificate is not one of an authority: it lacks basicConstraints CA:TRUE. " +
			"Have the request signed as that of an authority")
	case own.KeyUsage != 0 && own.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, fault.NewReason("the certificate may not sign others: its keyUsage lacks keyCertSign. Have the " +
			"request signed with that usage")
	case now.Before(own.NotBefore) || now.After(own.NotAfter):
		return nil, fault.NewReason("the certificate is valid from %s to %s only. Have the request signed again",
			own.NotBefore.UTC().Format(time.RFC3339), own.NotAfter.UTC().Format(time.RFC3339))
	case own.CheckSignatureFrom(own) == nil:
		return nil, fault.NewReason("the certificate is signed with its own key. Have the request signed by the " +
			"authority above")
	case !root:
		return nil, fault.NewReason("the root is missing: devices get the whole chain. Add the certificates above, " +
			"up to the one that is signed with its own key")
	}
	found, err := own.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, fault.NewReason("the certificate does not lead to the root: %s. Bring every certificate "+
			"in between, and the root that signed the first", chainProblem(err))
	}
	for _, chain := range found {
		if err = mayIssue(chain); err == nil {
			return chain, nil
		}
	}
	return nil, err
}

// mayIssue reports whether each authority above the first of a chain allows that one to
// issue: Verify has held the first for the end of the chain, and below it come devices.
func mayIssue(chain []*x509.Certificate) error {
	for below, above := range chain {
		if limited := above.MaxPathLen > 0 || above.MaxPathLenZero; limited && below > above.MaxPathLen {
			return fault.NewReason("%.200q allows fewer authorities below it (pathlen): what this one issues would be "+
				"good nowhere. Have the request signed by an authority that allows one more", above.Subject.String())
		}
	}
	return nil
}

// chainProblem says why a chain does not hold, in words of our own.
func chainProblem(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown) && unknown.Cert != nil:
		return fmt.Sprintf("nobody here signed %.200q", strings.TrimSpace(unknown.Cert.Subject.String()))
	case errors.As(err, &invalid) && invalid.Cert != nil && invalid.Reason == x509.Expired:
		return fmt.Sprintf("%.200q has expired, or is not valid yet", invalid.Cert.Subject.String())
	case errors.As(err, &invalid) && invalid.Cert != nil && invalid.Reason == x509.TooManyIntermediates:
		return fmt.Sprintf("%.200q allows fewer authorities below it (pathlen)", invalid.Cert.Subject.String())
	case errors.As(err, &invalid) && invalid.Cert != nil && invalid.Reason == x509.NotAuthorizedToSign:
		return fmt.Sprintf("%.200q is no certificate of an authority", invalid.Cert.Subject.String())
	}
	return "an authority in between does not allow it"
}
