// Package attest judges what a device shows of itself. A judgement is a trace:
// the checks that were made, in order, what each saw, and the one that failed.
// A file holds a mechanism.
//
// A device has its certificate refused in one of three places: in checkX509, by the
// certificate itself (its name, key, time, and how many came with it); in Enrolled, by an
// enrollment's thumbprints; in Chain.Descends, by the authority of a group or enrollment
// and by the rules for paths (checkPath). The Trace has the check that failed.
package attest

import (
	"strings"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// Evidence is what a device claims to be, with what it showed for it.
type Evidence struct {
	IDScope        string
	RegistrationID string // as the device wrote it
	TPM            *TPM   // of a register request that has one
	Returning      bool   // the device asks how its registration goes, and does not begin one
	credential.Evidence
}

// Check is one step of a judgement. Saw, Expected and Advice are in English; Texts
// has the same for other languages.
type Check struct {
	Name     string `json:"name"`               // such as "common name"
	Saw      string `json:"saw"`                // what the device showed, no secret
	Expected string `json:"expected,omitempty"` // what would have passed
	Passed   bool   `json:"passed"`
	Advice   string `json:"advice,omitempty"` // of a failed check: what to do, for the operator
	Texts    *Texts `json:"texts,omitempty"`  // nil for a check of an earlier version

	// Confidential is of a check whose Saw and Advice are for those who may configure
	// the service: they tell what else is in its network.
	Confidential bool `json:"confidential,omitempty"`
}

// Texts are the texts of a check with what stands in them kept apart.
type Texts struct {
	Saw      fault.Text `json:"saw"`
	Expected fault.Text `json:"expected,omitzero"`
	Advice   fault.Text `json:"advice,omitzero"`
}

// In returns the check in another language; see fault.Text. Of one of an earlier
// version no more than the advice is known.
func (c Check) In(translate func(text string) string) Check {
	if c.Texts == nil {
		c.Advice = translate(c.Advice)
		return c
	}
	c.Saw = c.Texts.Saw.In(translate)
	c.Expected, c.Advice = c.Texts.Expected.In(translate), c.Texts.Advice.In(translate)
	return c
}

// Trace is the checks of one judgement in the order in which they were made.
// The first that fails is the last.
type Trace []Check

// Pass adds a check that passed. saw is a format of package fmt.
func (t *Trace) Pass(name, saw string, args ...any) {
	text := fault.Say(saw, args...)
	*t = append(*t, Check{Name: name, Saw: text.String(), Texts: &Texts{Saw: text}, Passed: true})
}

// Fail adds the check that failed.
func (t *Trace) Fail(name string, saw, expected, advice fault.Text) {
	*t = append(*t, Check{Name: name, Saw: saw.String(), Expected: expected.String(), Advice: advice.String(),
		Texts: &Texts{saw, expected, advice}})
}

// Failed returns the check that failed, if one did.
func (t Trace) Failed() (Check, bool) {
	if n := len(t); n > 0 && !t[n-1].Passed {
		return t[n-1], true
	}
	return Check{}, false
}

// Refusal is what the device is told of a failed judgement. It speaks of what
// the device itself showed and never of what is enrolled, so that nobody learns
// from outside which registration ids exist.
type Refusal string

// NotAdmitted is the refusal when the evidence is sound in itself but is not
// what some enrollment asks for.
const NotAdmitted Refusal = "This device is not enrolled with what it shows. " +
	"The operator finds the reason under this tracking id (berth attempts)"

// Sound judges evidence by itself, before any enrollment is looked at: is there
// any, does it belong to the registration id, is it in time.
func Sound(trace *Trace, evidence Evidence, now time.Time) (Refusal, bool) {
	switch {
	case len(evidence.Certificates) > 0:
		return checkX509(trace, evidence, now)
	case evidence.Token != "":
		return checkToken(trace, evidence, now)
	case evidence.TPM != nil:
		_, _, refusal, ok := checkTPM(trace, evidence)
		return refusal, ok
	}
	trace.Fail("client certificate", fault.Say("none, and no token either"),
		fault.Say("a certificate in the TLS handshake, or a shared access signature"),
		fault.Say("Give the device client its certificate and private key, or its key. "+
			"A TLS proxy in between strips certificates; "+
			"a TLS library sends none whose key the server can't verify, such as Ed448, DSA or secp256k1"))
	return "Neither a client certificate was presented in the TLS handshake nor a shared access signature", false
}

// sameID compares registration ids, which have no case.
func sameID(a, b string) bool { return strings.EqualFold(a, b) }
