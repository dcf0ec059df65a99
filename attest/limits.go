package attest

import (
	"crypto/x509"
	"fmt"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

const (
	// maxChain is the number of certificates that a device may send, its own
	// included.
	maxChain = 16

	// maxChainBytes bounds them together. One with RSA of 4096 bits has about 2,000.
	maxChainBytes = 48 << 10

	// maxName bounds an encoded subject or issuer. Those of real authorities have
	// 100 to 500 bytes.
	maxName = 4 << 10
)

// WithinLimits says whether what a device sent is little enough to be looked at:
// how many certificates, how large, with which keys. Nothing else may be done with
// them before.
func WithinLimits(certificates []*x509.Certificate) bool {
	_, _, refusal := excess(certificates)
	return refusal == ""
}

// checkLimits judges the same, and says in the trace what there is too much of.
func checkLimits(trace *Trace, certificates []*x509.Certificate) (Refusal, bool) {
	saw, expected, refusal := excess(certificates)
	if refusal == "" {
		return "", true
	}
	trace.Fail("client certificate", saw, expected,
		fault.Say("Let the device send its own certificate and those of its signers, and no others, "+
			"with keys of a usual size"))
	return refusal, false
}

// excess is what there is too much of; the refusal is "" for nothing.
func excess(certificates []*x509.Certificate) (saw, expected fault.Text, refusal Refusal) {
	if n := len(certificates); n > maxChain {
		return fault.Say("a chain of %d certificates", n), fault.Say("%d at most", maxChain),
			Refusal(fmt.Sprintf("The device sent %d certificates, the limit is %d", n, maxChain))
	}
	size := 0
	for i, certificate := range certificates {
		size += len(certificate.Raw)
		if name := max(len(certificate.RawSubject), len(certificate.RawIssuer)); name > maxName {
			return fault.Say("certificate %d has a name of %d bytes", i+1, name), fault.Say("%d at most", maxName),
				Refusal(fmt.Sprintf("Certificate %d of the chain has a name of %d bytes, the limit is %d",
					i+1, name, maxName))
		}
		if err := credential.CheckKey(certificate.PublicKey, certificate.RawSubjectPublicKeyInfo); err != nil {
			return fault.Say("certificate %d has %s", i+1, err), fault.Say(credential.UsableKeys),
				Refusal(fmt.Sprintf("Certificate %d of the chain has %s", i+1, err))
		}
	}
	if size > maxChainBytes {
		return fault.Say("a chain of %d bytes", size), fault.Say("%d at most", maxChainBytes),
			Refusal(fmt.Sprintf("The certificates that the device sent have %d bytes, the limit is %d",
				size, maxChainBytes))
	}
	return fault.Text{}, fault.Text{}, ""
}
