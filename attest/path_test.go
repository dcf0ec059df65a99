package attest

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
)

// path is a chain that a device sends, with what is to come of it.
type path struct {
	name      string
	authority *signer   // that is enrolled
	chain     []*signer // as it is sent
	refused   string    // in what is said of it; "" for one that holds
	differs   string    // why openssl verify says otherwise, if it does
}

// TestPaths tries the kinds of paths that NIST PKITS and x509-limbo have and that
// concern devices, on the judgement here and on openssl verify.
func TestPaths(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is needed, to hold each verdict against that of openssl verify")
	}
	for topic, paths := range map[string]func(*testing.T) []path{
		"signatures": signaturePaths, "authorities": authorityPaths, "path lengths": lengthPaths,
		"key rollover": rolloverPaths,
		"many ways":    crossedPaths, "DNS names": hostPaths, "addresses": addressPaths,
		"directory names": directoryPaths,
		"extensions":      extensionPaths, "policies": policyPaths, "forms": formPaths, "spellings": spelledPaths,
	} {
		t.Run(topic, func(t *testing.T) {
			for _, p := range paths(t) {
				t.Run(p.name, func(t *testing.T) { p.try(t) })
			}
		})
	}
}

func (p path) try(t *testing.T) {
	var sent []*x509.Certificate
	for _, one := range p.chain {
		sent = append(sent, one.Certificate)
	}
	var trace Trace
	_, holds := NewChain(sent, nil, new(Signatures)).Descends(&trace, p.authority.Certificate, noon)
	last := trace[len(trace)-1]
	if holds != (p.refused == "") || !strings.Contains(last.Saw, p.refused) || !holds && (last.Expected == "" ||
		last.Advice == "") {
		t.Errorf("judged as %+v, want %q", last, p.refused)
	}
	output, accepted := p.openssl(t)
	if same := accepted == (p.refused == ""); same != (p.differs == "") {
		t.Errorf("openssl verify accepts it: %v, which differs because: %q\n%s", accepted, p.differs, output)
	}
}

// openssl asks openssl verify.
func (p path) openssl(t *testing.T) (output string, accepted bool) {
	t.Helper()
	folder := t.TempDir()
	write := func(name string, certificates ...*signer) string {
		var text bytes.Buffer
		for _, one := range certificates {
			if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: one.Raw}); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	args := []string{"verify", "-policy_check", "-policy", "2.5.29.32.0", "-partial_chain", "-attime",
		strconv.FormatInt(noon.Unix(), 10), "-trusted", write("authority.pem", p.authority)}
	if len(p.chain) > 1 {
		args = append(args, "-untrusted", write("between.pem", p.chain[1:]...))
	}
	said, err := exec.Command("openssl", append(args, write("device.pem", p.chain[0]))...).CombinedOutput()
	return string(said), err == nil
}

func chain(certificates ...*signer) []*signer { return certificates }

func signaturePaths(t *testing.T) []path {
	root := issued(t, "Root", nil, ca)
	line := issued(t, "Line", root, ca)
	device := issued(t, "dev", line)
	stranger := issued(t, "Root", nil, ca)
	impostor := issued(t, "Line", stranger, ca)
	sha1 := issued(t, "dev", root, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
	late := issued(t, "Late", root, ca, from(time.Hour, 24*time.Hour))
	old := issued(t, "Old", root, ca, from(-48*time.Hour, -24*time.Hour))
	return []path{
		{name: "of each by the next", authority: root, chain: chain(device, line)},
		{name: "with the root", authority: root, chain: chain(device, line, root)},
		{name: "the authority is in between", authority: line, chain: chain(device)},
		{name: "a wrong one on the device's", authority: root, chain: chain(forged(t, device, line), line),
			refused: "CN=dev is signed by another key than that of CN=Line"},
		{name: "a wrong one in between", authority: root, chain: chain(device, forged(t, line, device)),
			refused: "CN=Line is signed by another key than that of the enrolled CN=Root"},
		{name: "of the same name with another key", authority: root,
			chain:   chain(issued(t, "dev", impostor), impostor),
			refused: "another key than that of the enrolled CN=Root"},
		{name: "one is missing", authority: root, chain: chain(device),
			refused: "signed by CN=Line, from which no certificate leads"},
		{name: "with SHA-1", authority: root, chain: chain(sha1), refused: "SHA-1",
			differs: "SHA-1 can be forged; openssl verify asks for more only at a higher security level"},
		{name: "the device's is not yet valid", authority: root,
			chain: chain(issued(t, "dev", root, from(time.Hour, 2*time.Hour))), refused: "CN=dev, valid from"},
		{name: "the device's has expired", authority: root,
			chain: chain(issued(t, "dev", root, from(-2*time.Hour, -time.Hour))), refused: "CN=dev, valid from"},
		{name: "one in between is not yet valid", authority: root, chain: chain(issued(t, "dev", late), late),
			refused: "CN=Late, valid from"},
		{name: "one in between has expired", authority: root, chain: chain(issued(t, "dev", old), old),
			refused: "CN=Old, valid from"},
		{name: "the device's outlasts its authority", authority: root,
			chain: chain(issued(t, "dev", line, from(-48*time.Hour, 9999*time.Hour)), line)},
		{name: "valid to the last second", authority: root,
			chain:   chain(issued(t, "dev", root, from(-time.Hour, 0))),
			differs: "the last second counts (RFC 5280, section 4.1.2.5); for openssl it is over"},
	}
}

func authorityPaths(t *testing.T) []path {
	root := issued(t, "Root", nil, ca)
	bare := issued(t, "Bare", root)
	plain := issued(t, "Plain", root, ca, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, 0 })
	noSign := issued(t, "No sign", root, ca, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	anyUse := issued(t, "Any use", root, ca, func(c *x509.Certificate) { c.KeyUsage = 0 })
	bareRoot := issued(t, "Bare root", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	noSignRoot := issued(t, "No sign root", nil, ca,
		func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	former := func(c *tbs) { c.Version, c.Extensions = 0, nil }
	oldRoot := issued(t, "Former", nil, ca)
	oldRoot = altered(t, oldRoot, oldRoot, former)
	oldLine := altered(t, issued(t, "Former line", root, ca), root, former)
	p224 := issuedFor(t, newKey(t, elliptic.P224()), pkix.Name{CommonName: "P-224"}, nil, ca)
	loose := issued(t, "Loose", root, ca, func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = false, false },
		with(false, struct{ IsCA bool }{true}, 2, 5, 29, 19))
	return []path{
		{name: "without basic constraints", authority: root, chain: chain(issued(t, "dev", bare), bare),
			refused: "CN=Bare signs others and is not an authority"},
		{name: "CA:FALSE", authority: root, chain: chain(issued(t, "dev", plain), plain),
			refused: "CN=Plain signs others and is not an authority"},
		{name: "basic constraints that are not critical", authority: root,
			chain: chain(issued(t, "dev", loose), loose)},
		{name: "without keyCertSign", authority: root, chain: chain(issued(t, "dev", noSign), noSign),
			refused: "CN=No sign signs others and is not an authority"},
		{name: "without key usage", authority: root, chain: chain(issued(t, "dev", anyUse), anyUse)},
		{name: "an enrolled one without basic constraints", authority: bareRoot,
			chain: chain(issued(t, "dev", bareRoot)), refused: "CN=Bare root signs others and is not an authority",
			differs: "a group takes no certificate without CA:TRUE; openssl takes one with the key usage alone"},
		{name: "an enrolled one without keyCertSign", authority: noSignRoot,
			chain: chain(issued(t, "dev", noSignRoot)), refused: "CN=No sign root signs others"},
		{name: "an enrolled one of version 1", authority: oldRoot, chain: chain(issued(t, "dev", oldRoot)),
			refused: "CN=Former signs others and is not an authority",
			differs: "a group takes no certificate without CA:TRUE; openssl takes any root of version 1"},
		{name: "one of version 1 in between", authority: root, chain: chain(issued(t, "dev", oldLine), oldLine),
			refused: "CN=Former line signs others"},
		{name: "with a key on P-224", authority: p224, chain: chain(issued(t, "dev", p224))},
		{name: "that is the device itself", authority: root, chain: chain(root)},
	}
}

func lengthPaths(t *testing.T) []path {
	none, one := issued(t, "None below", nil, ca, pathLength(0)), issued(t, "One below", nil, ca, pathLength(1))
	below := issued(t, "Below", none, ca)
	first := issued(t, "First", one, ca)
	second := issued(t, "Second", first, ca)
	root := issued(t, "Root", nil, ca)
	narrow := issued(t, "Narrow", root, ca, pathLength(0))
	again := issued(t, "Narrow", narrow, ca, pathLength(0)) // its new key
	under := issued(t, "Under", again, ca)
	return []path{
		{name: "none, and none", authority: none, chain: chain(issued(t, "dev", none))},
		{name: "none, and one", authority: none, chain: chain(issued(t, "dev", below), below),
			refused: "CN=None below allows 0 authorities below it, and the chain has 1"},
		{name: "one, and one", authority: one, chain: chain(issued(t, "dev", first), first)},
		{name: "one, and two", authority: one, chain: chain(issued(t, "dev", second), second, first),
			refused: "CN=One below allows 1 authorities below it, and the chain has 2"},
		{name: "none, and a new key of the same", authority: root,
			chain: chain(issued(t, "dev", again), again, narrow)},
		{name: "none, and one below a new key", authority: root,
			chain:   chain(issued(t, "dev", under), under, again, narrow),
			refused: "CN=Narrow allows 0 authorities below it"},
		{name: "none, and a device that is an authority", authority: none, chain: chain(below)},
	}
}

func rolloverPaths(t *testing.T) []path {
	root := issued(t, "Plant", nil, ca)
	line := issued(t, "Line", root, ca)
	again := issued(t, "Line", line, ca)  // its new key, signed with the former
	third := issued(t, "Line", again, ca) // and one more
	device := issued(t, "dev", again)
	nextRoot := issued(t, "Plant", root, ca)
	nextAlone := issuedFor(t, nextRoot.key, pkix.Name{CommonName: "Plant"}, nil, ca)
	return []path{
		{name: "of one in between", authority: root, chain: chain(device, again, line)},
		{name: "of one in between, in another order", authority: root, chain: chain(device, line, again)},
		{name: "twice", authority: root, chain: chain(issued(t, "dev", third), third, again, line)},
		{name: "the former key's certificate is missing", authority: root, chain: chain(device, again),
			refused: "from which no certificate leads"},
		{name: "the new key's certificate is missing", authority: root, chain: chain(device, line),
			refused: "CN=dev is signed by another key than that of CN=Line"},
		{name: "the former key still signs", authority: root, chain: chain(issued(t, "dev", line), again, line)},
		{name: "of the root", authority: root, chain: chain(issued(t, "dev", nextRoot), nextRoot)},
		{name: "of the root, with the root", authority: root,
			chain: chain(issued(t, "dev", nextRoot), nextRoot, root)},
		{name: "of the root, which signs itself", authority: root,
			chain: chain(issued(t, "dev", nextRoot), nextAlone), refused: "another key"},
		{name: "of the root, both ways", authority: root,
			chain:   chain(issued(t, "dev", nextRoot), nextAlone, nextRoot),
			differs: "each way is followed; openssl follows one of the certificates of a key, the first"},
		{name: "the new key is enrolled", authority: again, chain: chain(device)},
		{name: "the former key is enrolled", authority: line, chain: chain(device, again)},
	}
}

func crossedPaths(t *testing.T) []path {
	one, two := issued(t, "One", nil, ca), issued(t, "Two", nil, ca)
	line := issued(t, "Line", one, ca)
	crossed := issuedFor(t, line.key, pkix.Name{CommonName: "Line"}, two, ca)
	expired := issuedFor(t, line.key, pkix.Name{CommonName: "Line"}, one, ca, from(-48*time.Hour, -24*time.Hour))
	noAuthority := issuedFor(t, line.key, pkix.Name{CommonName: "Line"}, one)
	device := issued(t, "dev", line)
	oneByTwo := issuedFor(t, one.key, pkix.Name{CommonName: "One"}, two, ca)
	twoByOne := issuedFor(t, two.key, pkix.Name{CommonName: "Two"}, one, ca)
	other := issued(t, "Other", nil, ca)
	return []path{
		{name: "two authorities signed one", authority: one, chain: chain(device, crossed, line),
			differs: "each way is followed; openssl follows one of the certificates of a key, the first"},
		{name: "two authorities signed one, the other", authority: two, chain: chain(device, line, crossed),
			differs: "each way is followed; openssl follows one of the certificates of a key, the first"},
		{name: "the wrong one of two", authority: two, chain: chain(device, line),
			refused: "from which no certificate leads"},
		{name: "one of two has expired", authority: one, chain: chain(device, expired, line)},
		{name: "one of two is no authority", authority: one, chain: chain(device, noAuthority, line),
			differs: "each way is followed; openssl follows one of the certificates of a key, the first"},
		{name: "roots that signed each other", authority: two, chain: chain(device, line, oneByTwo)},
		{name: "roots that signed each other, in a ring", authority: one,
			chain: chain(device, line, oneByTwo, twoByOne)},
		{name: "a ring that leads nowhere", authority: other, chain: chain(device, line, oneByTwo, twoByOne),
			refused: "from which no certificate leads"},
		{name: "one twice", authority: one, chain: chain(device, line, line)},
		{name: "the device's twice", authority: one, chain: chain(device, device, line)},
		{name: "one too many", authority: one, chain: chain(device, line, other)},
		{name: "the root before those in between", authority: one, chain: chain(device, one, line)},
	}
}

func extensionPaths(t *testing.T) []path {
	root := issued(t, "Root", nil, ca)
	private := []int{1, 3, 6, 1, 4, 1, 99999, 1}
	strange := issued(t, "Strange", root, ca, with(true, "x", private...))
	kind := struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"explicit,tag:0,utf8"`
	}{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 4}, "12-34"}
	encoded, err := asn1.Marshal(kind)
	if err != nil {
		t.Fatal(err)
	}
	var content asn1.RawValue
	if _, err := asn1.Unmarshal(encoded, &content); err != nil {
		t.Fatal(err)
	}
	registered := issued(t, "Registered", root, ca, permits(general(8, []byte{0x2a, 0x03})))
	dev := func(changes ...change) []*signer { return chain(issued(t, "dev", root, changes...)) }
	usage := func(usages ...x509.ExtKeyUsage) change {
		return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
	}
	servers := issued(t, "Servers", root, ca, usage(x509.ExtKeyUsageServerAuth))
	return []path{
		{name: "unknown", authority: root, chain: dev(with(false, "x", private...))},
		{name: "unknown and critical", authority: root, chain: dev(with(true, "x", private...)),
			refused: "CN=dev has the critical extension 1.3.6.1.4.1.99999.1"},
		{name: "unknown and critical in between", authority: root, chain: chain(issued(t, "dev", strange), strange),
			refused: "CN=Strange has the critical extension"},
		{name: "critical alternative names of another kind", authority: root,
			chain: dev(with(true, []asn1.RawValue{general(0, content.Bytes)}, 2, 5, 29, 17))},
		{name: "constraints of a kind that is not known", authority: root,
			chain:   chain(issued(t, "dev", registered), registered),
			refused: "CN=Registered has the critical extension 2.5.29.30",
			differs: "nobody here can judge them; openssl refuses only names of that kind"},
		{name: "no extended key usage", authority: root, chain: dev()},
		{name: "for clients", authority: root, chain: dev(usage(x509.ExtKeyUsageClientAuth))},
		{name: "for servers", authority: root, chain: dev(usage(x509.ExtKeyUsageServerAuth))},
		{name: "an authority for servers", authority: root,
			chain: chain(issued(t, "dev", servers, usage(x509.ExtKeyUsageClientAuth)), servers)},
	}
}

func policyPaths(t *testing.T) []path {
	root := issued(t, "Root", nil, ca)
	policy := func(last int) change {
		type information struct{ Policy asn1.ObjectIdentifier }
		return with(false, []information{{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, last}}}, 2, 5, 29, 32)
	}
	demands := with(true, struct {
		Explicit int `asn1:"tag:0"`
	}{0}, 2, 5, 29, 36)
	plain := issued(t, "Plain", root, ca, policy(1))
	strict := issued(t, "Strict", root, ca, policy(1), demands)
	return []path{
		{name: "not demanded, and others", authority: root, chain: chain(issued(t, "dev", plain, policy(2)), plain)},
		{name: "not demanded, and none", authority: root, chain: chain(issued(t, "dev", plain), plain)},
		{name: "demanded, and there", authority: root, chain: chain(issued(t, "dev", strict, policy(1)), strict)},
		{name: "demanded, and others", authority: root, chain: chain(issued(t, "dev", strict, policy(2)), strict),
			refused: "CN=Strict demands certificate policies"},
		{name: "demanded, and none", authority: root, chain: chain(issued(t, "dev", strict), strict),
			refused: "CN=Strict demands certificate policies"},
	}
}

func formPaths(t *testing.T) []path {
	root := issued(t, "Root", nil, ca)
	device := issued(t, "dev", root)
	small, err := credential.NewPrivateKey(credential.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(7),
		Subject:   pkix.Name{CommonName: "dev"},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour)}, root.Certificate, small.Public(), root.key)
	if err != nil {
		t.Fatal(err)
	}
	serialOf := func(n int64) func(*tbs) { return func(c *tbs) { c.SerialNumber = big.NewInt(n) } }
	return []path{
		{name: "version 1", authority: root,
			chain: chain(altered(t, device, root, func(c *tbs) { c.Version, c.Extensions = 0, nil }))},
		{name: "serial number 0", authority: root, chain: chain(altered(t, device, root, serialOf(0)))},
		{name: "serial number below 0", authority: root, chain: chain(altered(t, device, root, serialOf(-42)))},
		{name: "RSA below EC", authority: root, chain: chain(&signer{Certificate: parsed(t, der)})},
	}
}

func spelledPaths(t *testing.T) []path {
	root := issued(t, "Example Root", nil, ca)
	line := issued(t, "Line", root, ca)
	// named is the same authority, which writes its name in another way in what it signs.
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type partSET []attribute
	named := func(by *signer, tag int, text string) *signer {
		encoded, err := asn1.Marshal([]partSET{{{asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.RawValue{Tag: tag,
			Bytes: []byte(text)}}}})
		if err != nil {
			t.Fatal(err)
		}
		spelled := *by.Certificate
		spelled.RawSubject = encoded
		return &signer{&spelled, by.key}
	}
	utf8 := named(line, asn1.TagUTF8String, "Line")
	again := issued(t, "Line", utf8, ca, pathLength(0))
	return []path{
		{name: "in UTF-8", authority: root, chain: chain(issued(t, "dev", named(root, asn1.TagUTF8String,
			"Example Root")))},
		{name: "of one in between", authority: root, chain: chain(issued(t, "dev", utf8), line)},
		{name: "in other letters and spaces", authority: root,
			chain: chain(issued(t, "dev", named(root, asn1.TagPrintableString, " EXAMPLE  root ")))},
		{name: "with 16 bits", authority: line, chain: chain(issued(t, "dev", named(line, asn1.TagBMPString,
			"\x00L\x00i\x00n\x00e")))},
		{name: "of a new key of the same", authority: root, chain: chain(issued(t, "dev", named(again,
			asn1.TagUTF8String, "LINE")), again, line)},
		{name: "another name", authority: root, chain: chain(issued(t, "dev", named(root, asn1.TagUTF8String,
			"Example Roots"))),
			refused: "from which no certificate leads"},
	}
}

// TestManyPaths bounds the paths that are followed, and the signatures that are checked
// for policies, however many ways there are from a device to its authority.
func TestManyPaths(t *testing.T) {
	root := issued(t, "Root", nil, ca)
	demands := with(true, struct {
		Explicit int `asn1:"tag:0"`
	}{0}, 2, 5, 29, 36)
	var sent []*x509.Certificate
	above := root
	for _, name := range []string{"One", "Two", "Three", "Four"} {
		key := newKey(t, elliptic.P256())
		for range 3 { // with the same key
			made := issuedFor(t, key, pkix.Name{CommonName: name}, above, ca, demands)
			sent = append(sent, made.Certificate)
		}
		above = &signer{sent[len(sent)-1], key}
	}
	sent = append([]*x509.Certificate{issued(t, "dev", above).Certificate}, sent...)
	var signatures Signatures
	chain := NewChain(sent, nil, &signatures)
	var trace Trace
	if _, ok := chain.Descends(&trace, root.Certificate, noon); ok ||
		!strings.Contains(trace[0].Saw, "demands certificate policies") {
		t.Errorf("judged as %+v", trace)
	}
	if found := chain.paths(chain.descendants(root.Certificate), root.Certificate); len(found) != maxPaths {
		t.Errorf("%d paths are followed", len(found))
	}
	if n := signatures.Checks(); n > 2*signatureBudget {
		t.Errorf("%d signatures were checked", n)
	}
}

// TestManyConstraints bounds how often names are compared.
func TestManyConstraints(t *testing.T) {
	root := issued(t, "Root", nil, ca)
	var permitted []asn1.RawValue
	var allowed []string
	for i := range 1000 {
		permitted = append(permitted, host(strconv.Itoa(i)+".example"))
		allowed = append(allowed, "999.example")
	}
	wide := issued(t, "Wide", root, ca, permits(permitted...))
	few, many := issued(t, "dev", wide, hosts(allowed[:10]...)), issued(t, "dev", wide, hosts(allowed...))
	for device, saw := range map[*signer]string{few: "CN=dev, signed by CN=Wide",
		many: "CN=Wide has more name constraints than are compared"} {
		var trace Trace
		chain := NewChain([]*x509.Certificate{device.Certificate, wide.Certificate}, nil, new(Signatures))
		if _, ok := chain.Descends(&trace, root.Certificate, noon); ok != (device == few) ||
			!strings.Contains(trace[0].Saw, saw) {
			t.Errorf("judged as %+v, want %q", trace, saw)
		}
	}
}
