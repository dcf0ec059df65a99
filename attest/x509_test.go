package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// evidenceOf is what a device shows that has these certificates.
func evidenceOf(id string, certificates ...*x509.Certificate) Evidence {
	return Evidence{IDScope: "0ne1", RegistrationID: id, Evidence: credential.Evidence{Certificates: certificates}}
}

// TestCheckX509 judges a certificate by itself: its name, its key, its time, and
// how much came with it. The device is told of what it showed, and nothing else.
func TestCheckX509(t *testing.T) {
	device := issued(t, "Meter-1", nil).Certificate
	changed := func(change func(*x509.Certificate)) *x509.Certificate {
		copied := *device
		change(&copied)
		return &copied
	}
	many := make([]*x509.Certificate, maxChain+1)
	for i := range many {
		many[i] = device
	}
	small := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	for _, c := range []struct {
		name  string
		sent  []*x509.Certificate
		now   time.Time
		check string // that fails; "" for a certificate that passes
		told  string
	}{
		{"a certificate", []*x509.Certificate{device}, noon, "", ""},
		{"with its signers", many[:maxChain], noon, "", ""},
		{"in another case",
			[]*x509.Certificate{changed(func(c *x509.Certificate) { c.Subject.CommonName = "METER-1" })}, noon, "", ""},
		{"nothing", nil, noon, "client certificate", "Neither a client certificate"},
		{"another's", []*x509.Certificate{changed(func(c *x509.Certificate) { c.Subject.CommonName = "Meter-2" })},
			noon, "common name", `"Meter-2" is not the registration id "Meter-1"`},
		{"expired", []*x509.Certificate{device}, noon.Add(48 * time.Hour), "validity", "expired at"},
		{"of tomorrow", []*x509.Certificate{device}, noon.Add(-48 * time.Hour), "validity", "not valid before"},
		{"of a short key", []*x509.Certificate{changed(func(c *x509.Certificate) { c.PublicKey = small })}, noon,
			"key size", "too short"},
		{"too many", many, noon, "client certificate", "17 certificates, the limit is 16"},
		{"too much", []*x509.Certificate{device, changed(func(c *x509.Certificate) {
			c.Raw = make([]byte, maxChainBytes)
		})}, noon, "client certificate", "bytes, the limit is 49152"},
		{"a long name", []*x509.Certificate{device, changed(func(c *x509.Certificate) {
			c.RawIssuer = make([]byte, maxName+1)
		})}, noon, "client certificate", "Certificate 2 of the chain has a name of 4097 bytes"},
		{"no key", []*x509.Certificate{changed(func(c *x509.Certificate) { c.PublicKey = nil })}, noon,
			"client certificate", "Certificate 1 of the chain has"},
	} {
		var trace Trace
		refusal, ok := Sound(&trace, evidenceOf("Meter-1", c.sent...), c.now)
		failed, _ := trace.Failed()
		if ok != (c.check == "") || failed.Name != c.check || !strings.Contains(string(refusal), c.told) ||
			!ok && (failed.Expected == "" || failed.Advice == "") {
			t.Errorf("%s: %v, told %q, check %+v", c.name, ok, refusal, failed)
		}
		if within := WithinLimits(c.sent); within != (c.check != "client certificate" || c.sent == nil) {
			t.Errorf("%s is within the limits: %v", c.name, within)
		}
	}
}

// TestEnrolledCertificates are found by their thumbprints. Who has another is not told
// what is enrolled; the operator is.
func TestEnrolledCertificates(t *testing.T) {
	device, other := issued(t, "Meter-1", nil), issued(t, "Meter-1", nil)
	_, own := credential.Thumbprints(device.Certificate)
	_, another := credential.Thumbprints(other.Certificate)
	for _, c := range []struct{ primary, secondary, saw, expected string }{
		{own, "", "the primary one", ""},
		{own, another, "the primary one", ""},
		{another, own, "the secondary one", ""},
		{another, "", own, another},
		{another, strings.Repeat("0", 64), own, another + " or " + strings.Repeat("0", 64)},
		{"", "", own, "SHA-256"},
	} {
		var trace Trace
		refusal, ok := Enrolled(&trace, evidenceOf("Meter-1", device.Certificate), c.primary, c.secondary)
		last := trace[len(trace)-1]
		if ok != (c.expected == "") || last.Passed != ok || !strings.Contains(last.Saw, c.saw) ||
			!strings.Contains(last.Expected, c.expected) || !ok && refusal != NotAdmitted {
			t.Errorf("with %.4s and %.4s: %v, %q, %+v", c.primary, c.secondary, ok, refusal, last)
		}
	}
}

// TestChainTop is found by names, whatever the order in which the certificates came.
func TestChainTop(t *testing.T) {
	root := issued(t, "Root", nil, ca)
	between := issued(t, "Between", root, ca)
	device, stranger := issued(t, "Meter-1", between), issued(t, "Stranger", nil, ca)
	for _, c := range []struct {
		sent []*x509.Certificate
		top  *x509.Certificate
		root bool
	}{
		{[]*x509.Certificate{device.Certificate}, device.Certificate, false},
		{[]*x509.Certificate{device.Certificate, between.Certificate}, between.Certificate, false},
		{[]*x509.Certificate{device.Certificate, root.Certificate, between.Certificate}, root.Certificate, true},
		{[]*x509.Certificate{device.Certificate, stranger.Certificate, root.Certificate}, device.Certificate, false},
	} {
		chain := NewChain(c.sent, nil, new(Signatures))
		if top, isRoot := chain.Top(); top != c.top || isRoot != c.root {
			t.Errorf("%s leads to %s, a root: %v", Describe(c.sent), top.Subject, isRoot)
		}
	}
	said := Describe([]*x509.Certificate{device.Certificate, between.Certificate}).String()
	_, thumbprint := credential.Thumbprints(device.Certificate)
	if want := "CN=Meter-1 (signed by CN=Between), CN=Between (signed by CN=Root), SHA-256 " +
		thumbprint; said != want {
		t.Errorf("the chain is described as %s", said)
	}
	if said := Describe(nil).String(); said != "no certificate" {
		t.Errorf("nothing is described as %s", said)
	}
}

// TestWeights are the more, the more a signature costs.
func TestWeights(t *testing.T) {
	bits := func(n uint) *rsa.PublicKey { return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), n-1), E: 65537} }
	curve := func(c elliptic.Curve) *ecdsa.PublicKey { return &ecdsa.PublicKey{Curve: c} }
	var got []int
	for _, key := range []any{bits(2048), bits(4096), bits(8192), curve(elliptic.P224()), curve(elliptic.P256()),
		curve(elliptic.P384()), curve(elliptic.P521()), nil} {
		got = append(got, weight(key))
	}
	if want := "[1 5 20 3 1 9 35 1]"; fmt.Sprint(got) != want {
		t.Errorf("the weights are %v, want %s", got, want)
	}
}

// TestConfidentialChecks are shown to those who may configure the service, in any language;
// others are shown what the device was told.
func TestConfidentialChecks(t *testing.T) {
	detail := fault.New(fault.Internal, "192.0.2.1 does not answer")
	told := fault.New(fault.Internal, "The webhook does not answer")
	secret := Failure{Err: told, Check: "allocation", Expected: fault.Say("an answer in time"),
		Advice: fault.Say("Look at 192.0.2.1"), Detail: detail}
	open := NewFailure("allocation", fault.Say("an answer in time"), fault.Say("Wait"), told)
	if secret.Error() != told.Error() || secret.Unwrap() != error(told) {
		t.Errorf("the device is told %v", secret)
	}
	for _, c := range []struct {
		failure      Failure
		saw          string
		confidential bool
	}{{secret, "192.0.2.1 does not answer", true}, {open, "The webhook does not answer", false},
		{Failure{Err: told, Check: "allocation", Saw: fault.Say("nothing came")}, "nothing came", false},
		{NewFailure("hub admission", fault.Say("the device in hub.example"), fault.Say("Wait"), fmt.Errorf("ask: %w",
			fault.NewReason("cannot reach the server at %s: %s", "hub.example:443", fault.Say("connection refused")))),
			"cannot reach the server at hub.example:443: connection refused", false},
		{NewFailure("hub admission", fault.Say("the device in hub.example"), fault.Say("Wait"),
			errors.New("open /x: full")),
			"The server could not do this. Its log says why, under the tracking id", false}} {
		attempt := Attempt{Message: "The webhook does not answer"}
		attempt.Checks.Pass("token", "a shared access signature")
		c.failure.AddTo(&attempt.Checks)
		if last := attempt.Checks[1]; last.Saw != c.saw || last.Confidential != c.confidential {
			t.Errorf("the check is %+v", last)
		}
		shown := attempt.WithoutConfidential().Checks
		if last := shown[1]; len(shown) != 2 || strings.Contains(last.Saw+last.Advice, "192.0.2.1") ||
			last.Expected != attempt.Checks[1].Expected || !c.confidential && last.Saw != c.saw {
			t.Errorf("others are shown %+v", shown)
		}
		if attempt.Checks[1].Saw != c.saw {
			t.Error("the attempt itself was changed")
		}
	}
	if shown := (Attempt{}).WithoutConfidential(); len(shown.Checks) != 0 {
		t.Errorf("an attempt without checks is shown as %+v", shown)
	}
	french := func(text string) string {
		return map[string]string{"until %s": "jusqu'à %s", "a token": "un jeton", "Wait": "Attendez"}[text]
	}
	var trace Trace
	trace.Fail("token expiry", fault.Say("until %s", "noon"), fault.Say("a token"), fault.Say("Wait"))
	if check := trace[0].In(french); check.Saw != "jusqu'à noon" || check.Expected != "un jeton" ||
		check.Advice != "Attendez" {
		t.Errorf("in French it is %+v", check)
	}
	old := Check{Saw: "until noon", Advice: "Wait"} // of a version that kept no texts apart
	if check := old.In(french); check.Saw != "until noon" || check.Advice != "Attendez" {
		t.Errorf("an old one is in French %+v", check)
	}
}
