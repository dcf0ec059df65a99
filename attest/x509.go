package attest

import (
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// checkX509 judges a certificate by itself. Its common name must be the
// registration id (Azure, concepts-x509-attestation).
func checkX509(trace *Trace, evidence Evidence, now time.Time) (Refusal, bool) {
	if refusal, ok := checkLimits(trace, evidence.Certificates); !ok {
		return refusal, false
	}
	leaf := evidence.Certificates[0]
	_, thumbprint := credential.Thumbprints(leaf)
	trace.Pass("client certificate", "%s, SHA-256 %s", leaf.Subject, thumbprint)
	if refusal, ok := checkKeyLength(trace, leaf); !ok {
		return refusal, false
	}

	if name := leaf.Subject.CommonName; !sameID(name, evidence.RegistrationID) {
		trace.Fail("common name", fault.Say("%.128q", name),
			fault.Say("%q, the registration id", evidence.RegistrationID),
			fault.Say("Make the certificate with the registration id as its subject's common name, "+
				"or register with that name"))
		return Refusal(fmt.Sprintf("The certificate's common name %.128q is not the registration id %q",
			name, evidence.RegistrationID)), false
	}
	trace.Pass("common name", "%s", leaf.Subject.CommonName)
	return checkValidity(trace, leaf, now)
}

// checkKeyLength judges the key of a certificate.
func checkKeyLength(trace *Trace, certificate *x509.Certificate) (Refusal, bool) {
	err := credential.CheckKeyLength(certificate.PublicKey)
	if err == nil {
		return "", true
	}
	trace.Fail("key size", fault.Say("%s has %s", certificate.Subject, err), fault.Say(credential.UsableKeys),
		fault.Say("Make a new key and a new certificate: keys this small can be broken"))
	return Refusal(fmt.Sprintf("The certificate %s has %s, which is too short", certificate.Subject, err)), false
}

func checkValidity(trace *Trace, certificate *x509.Certificate, now time.Time) (Refusal, bool) {
	saw := fault.Say("valid from %s to %s", stamp(certificate.NotBefore), stamp(certificate.NotAfter))
	switch expected := fault.Say("a time span that holds %s, this server's time", stamp(now)); {
	case now.Before(certificate.NotBefore):
		trace.Fail("validity", saw, expected,
			fault.Say("Wait, or compare the clocks of this server and of the machine that made the certificate"))
		return Refusal("The certificate is not valid before " + stamp(certificate.NotBefore)), false
	case now.After(certificate.NotAfter):
		trace.Fail("validity", saw, expected,
			fault.Say("Make a new certificate, enroll it as the secondary one, and move the device to it"))
		return Refusal("The certificate expired at " + stamp(certificate.NotAfter)), false
	}
	trace.Pass("validity", "%s", saw)
	return "", true
}

// Enrolled judges whether the device's certificate is one of those enrolled,
// given by their SHA-256 thumbprints in upper-case hexadecimal; secondary may
// be empty.
func Enrolled(trace *Trace, evidence Evidence, primary, secondary string) (Refusal, bool) {
	_, thumbprint := credential.Thumbprints(evidence.Certificates[0])
	for _, enrolled := range []struct{ name, thumbprint string }{{"primary", primary}, {"secondary", secondary}} {
		if subtle.ConstantTimeCompare([]byte(thumbprint), []byte(enrolled.thumbprint)) == 1 {
			trace.Pass("enrolled certificate", "SHA-256 %s, the %s one", thumbprint, fault.Word(enrolled.name))
			return "", true
		}
	}
	expected := fault.Say("SHA-256 %s", primary)
	if secondary != "" {
		expected = fault.Say("SHA-256 %s or %s", primary, secondary)
	}
	trace.Fail("enrolled certificate", fault.Say("SHA-256 %s", thumbprint), expected,
		fault.Say("The device has another certificate than the enrollment. "+
			"Enroll the one it has as primary or secondary, "+
			"or give the device the enrolled one and its key"))
	return NotAdmitted, false
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
