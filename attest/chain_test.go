package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// signer is a certificate with its key.
type signer struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

var serial int64

// sign makes a certificate; change may alter it before it is signed. by nil signs
// itself.
func sign(t *testing.T, name string, by *signer, change func(*x509.Certificate)) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial++
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{name + ".example"}, NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(24 * time.Hour)}
	if change != nil {
		change(template)
	}
	parent, signing := template, key
	if by != nil {
		parent, signing = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signing)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{certificate, key}
}

func authority(c *x509.Certificate) {
	c.BasicConstraintsValid, c.IsCA, c.KeyUsage, c.DNSNames = true, true, x509.KeyUsageCertSign, nil
}

// both applies two changes.
func both(one, two func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) { one(c); two(c) }
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = noon.Add(-48*time.Hour), noon.Add(-24*time.Hour)
}

func TestDescends(t *testing.T) {
	root := sign(t, "Root", nil, authority)
	between := sign(t, "Between", root, authority)
	device := sign(t, "device", between, nil)
	long := []*signer{root}
	for i := range 14 {
		long = append(long, sign(t, fmt.Sprintf("Between %d", i), long[i], authority))
	}
	deep := sign(t, "device", long[14], nil)
	slices.Reverse(long)
	namesake, other := sign(t, "Root", nil, authority), sign(t, "Other", nil, authority)
	late, old := sign(t, "Late", root, both(authority, expired)), sign(t, "Old", nil, both(authority, expired))
	neighbour := sign(t, "neighbour", root, nil)
	short := sign(t, "Short", nil, both(authority, func(c *x509.Certificate) { c.MaxPathLenZero = true }))
	below := sign(t, "Below", short, authority)
	narrow := sign(t, "Narrow", nil, both(authority, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"factory.example"}
	}))
	signed := func(by *signer) *signer { return sign(t, "device", by, nil) }

	for name, test := range map[string]struct {
		authority *signer
		chain     []*signer // as the device sends it
		known     []*signer
		saw       string // "" for a chain that holds
		advice    string
	}{
		"whole":                       {root, []*signer{device, between, root}, nil, "", ""},
		"without the root":            {root, []*signer{device, between}, nil, "", ""},
		"in the wrong order":          {root, []*signer{device, root, between}, nil, "", ""},
		"one between is known":        {root, []*signer{device}, []*signer{between}, "", ""},
		"the authority is in between": {between, []*signer{device}, nil, "", ""},
		"fourteen in between":         {root, append([]*signer{deep}, long[:14]...), nil, "", ""},
		"one between is missing":      {root, []*signer{device}, nil, "no certificate leads", "whole chain"},
		"another authority": {other, []*signer{device, between}, nil, "no certificate leads",
			"whole chain"},
		"an authority of the same name": {namesake, []*signer{signed(root)}, nil, "another key",
			"recreated under the same name"},
		"the device has expired": {root, []*signer{sign(t, "device", root, expired)}, nil, "CN=device, valid from",
			"Renew"},
		"one between has expired": {root, []*signer{signed(late), late}, nil, "CN=Late, valid from", "Renew"},
		"the root has expired":    {old, []*signer{signed(old)}, nil, "CN=Old, valid from", "Renew"},
		"a device signs a device": {root, []*signer{signed(neighbour), neighbour}, nil,
			"CN=neighbour signs others and is not an authority", "another device's"},
		"the path is too long": {short, []*signer{signed(below), below}, nil,
			"CN=Short allows 0 authorities below it", "pathlen"},
		"a name that is not allowed": {narrow, []*signer{signed(narrow)}, nil,
			`CN=Narrow does not allow the DNS name "device.example" of CN=device`, "may sign for"},
	} {
		t.Run(name, func(t *testing.T) {
			evidence := Evidence{RegistrationID: "device", Evidence: credential.Evidence{}}
			for _, one := range test.chain {
				evidence.Certificates = append(evidence.Certificates, one.Certificate)
			}
			var known []*x509.Certificate
			for _, one := range test.known {
				known = append(known, one.Certificate)
			}
			var trace Trace
			chain := NewChain(evidence.Certificates, func([]byte) []*x509.Certificate { return known }, new(Signatures))
			refusal, ok := chain.Descends(&trace, test.authority.Certificate, noon)
			last := trace[len(trace)-1]
			switch {
			case test.saw == "":
				if !ok || !last.Passed || !strings.Contains(last.Saw, "signed by") {
					t.Errorf("refused: %s, %+v", refusal, last)
				}
			case ok || refusal != NotAdmitted:
				t.Errorf("passed, or told too much: %q", refusal)
			case last.Name != "chain" || !strings.Contains(last.Saw, test.saw) ||
				!strings.Contains(last.Advice, test.advice):
				t.Errorf("explained as %+v, want %q and %q", last, test.saw, test.advice)
			}
		})
	}
}

// TestIssuers finds who may have signed, in whatever order the device sends.
func TestIssuers(t *testing.T) {
	root := sign(t, "Root", nil, authority)
	between := sign(t, "Between", root, authority)
	device := sign(t, "device", between, nil)
	names := func(known []*x509.Certificate, chain ...*signer) (found []string) {
		var evidence Evidence
		for _, one := range chain {
			evidence.Certificates = append(evidence.Certificates, one.Certificate)
		}
		for _, name := range NewChain(evidence.Certificates, func([]byte) []*x509.Certificate { return known },
			new(Signatures)).Issuers {
			for _, one := range []*signer{root, between, device} {
				if string(one.RawSubject) == string(name) {
					found = append(found, one.Subject.CommonName)
				}
			}
		}
		return slices.Compact(found)
	}
	for name, test := range map[string]struct {
		known []*x509.Certificate
		chain []*signer
		want  []string
	}{
		"whole":             {nil, []*signer{device, between, root}, []string{"Between", "Root"}},
		"another order":     {nil, []*signer{device, root, between}, []string{"Between", "Root"}},
		"alone":             {nil, []*signer{device}, []string{"Between"}},
		"known":             {[]*x509.Certificate{between.Certificate}, []*signer{device}, []string{"Between", "Root"}},
		"signs itself":      {nil, []*signer{root}, []string{"Root"}},
		"signs itself, too": {nil, []*signer{root, root}, []string{"Root"}},
		"nothing":           {nil, nil, nil},
	} {
		if got := names(test.known, test.chain...); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
