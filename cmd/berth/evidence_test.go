package main

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// explained is what berth explain prints, as far as it is looked at here.
type explained struct {
	Again  provisioning.Decision `json:"again"`
	SameAs bool                  `json:"sameVerdict"`
}

// pki makes certificates with openssl, good ones and such as Go would not make.
type pki struct {
	t      *testing.T
	folder string
}

func (p pki) path(name string) string { return filepath.Join(p.folder, name) }

func (p pki) openssl(args ...string) {
	p.t.Helper()
	command := exec.Command("openssl", args...)
	command.Dir = p.folder
	if output, err := command.CombinedOutput(); err != nil {
		p.t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// wish says what is to be special about a certificate.
type wish struct {
	name       string // common name
	days       string // of validity; "-1" has expired
	extensions string // besides the usual ones
	notCA      bool   // of an authority: it says that it is none
	rsa        string // bits; EC when empty
	digest     string // sha256 when empty
	serial     string
	own        string // the key of this certificate in place of a new one
}

// make makes a certificate, signed by another or by itself.
func (p pki) make(file, signer string, authority bool, w wish) {
	p.t.Helper()
	algorithm := []string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"}
	if w.rsa != "" {
		algorithm = []string{"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:" + w.rsa}
	}
	if w.own == "" {
		w.own = file
		p.openssl(append([]string{"genpkey", "-out", file + ".key"}, algorithm...)...)
	}
	if w.name == "" {
		w.name = file
	}
	extensions := "basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\n"
	if authority && !w.notCA {
		extensions = "keyUsage=critical,keyCertSign,cRLSign\n"
		if !strings.Contains(w.extensions, "basicConstraints") {
			extensions += "basicConstraints=critical,CA:TRUE\n"
		}
	}
	if err := os.WriteFile(p.path(file+".ext"), []byte(extensions+"subjectKeyIdentifier=hash\n"+w.extensions+"\n"),
		0o600); err != nil {
		p.t.Fatal(err)
	}
	p.openssl("req", "-new", "-key", w.own+".key", "-subj", "/CN="+w.name, "-out", file+".csr")
	if w.days == "" {
		w.days = "30"
	}
	if w.digest == "" {
		w.digest = "sha256"
	}
	args := []string{"x509", "-req", "-in", file + ".csr", "-out", file + ".pem", "-days", w.days, "-extfile", file +
		".ext", "-" + w.digest}
	if w.serial != "" {
		args = append(args, "-set_serial", w.serial)
	} else {
		args = append(args, "-set_serial", fmt.Sprint(time.Now().UnixNano()))
	}
	if signer == "" {
		args = append(args, "-signkey", w.own+".key")
	} else {
		args = append(args, "-CA", signer+".pem", "-CAkey", signer+".key")
	}
	p.openssl(args...)
}

func (p pki) root(file string, w wish)            { p.make(file, "", true, w) }
func (p pki) between(file, signer string, w wish) { p.make(file, signer, true, w) }
func (p pki) leaf(file, signer string, w wish)    { p.make(file, signer, false, w) }

// chain is what a device sends: these certificates in this order, and the first
// one's key.
func (p pki) chain(files ...string) (chain tls.Certificate, text string) {
	p.t.Helper()
	var all strings.Builder
	for _, file := range files {
		der := p.der(file)
		pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		chain.Certificate = append(chain.Certificate, der)
	}
	content, err := os.ReadFile(p.path(files[0] + ".key"))
	if err != nil {
		p.t.Fatal(err)
	}
	if chain.PrivateKey, err = credential.ParsePrivateKey(content, ""); err != nil {
		p.t.Fatal(err)
	}
	return chain, all.String()
}

// der is a certificate's bytes.
func (p pki) der(file string) []byte {
	p.t.Helper()
	content, err := os.ReadFile(p.path(file + ".pem"))
	if err != nil {
		p.t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	return block.Bytes
}

// TestBadCertificates tries chains of every sort, made by openssl, over the wire:
// what is wrong is said by code and check, the saved attempt is explained with the
// same verdict without a server, and berth cert check says it beforehand.
func TestBadCertificates(t *testing.T) {
	t.Parallel()
	f := newFiles(t, buildBinary(t))
	p := pki{t, t.TempDir()}
	p.root("root", wish{})
	p.between("middle", "root", wish{})
	p.between("low", "middle", wish{})
	p.root("stranger", wish{})
	p.root("root-again", wish{name: "root"}) // an authority recreated under the same name
	p.root("old-root", wish{days: "-1"})
	p.between("old-middle", "root", wish{days: "-1"})
	p.between("no-ca", "root", wish{notCA: true})
	p.leaf("device-as-ca", "root", wish{})
	p.root("short", wish{extensions: "basicConstraints=critical,CA:TRUE,pathlen:0"})
	p.between("below-short", "short", wish{})
	p.root("named", wish{extensions: "nameConstraints=critical,permitted;DNS:.contoso.example"})
	p.root("small", wish{rsa: "1024"})
	p.between("tiny-middle", "root", wish{rsa: "1024"})
	p.between("weak-middle", "root", wish{rsa: "2048"})
	p.root("unverified", wish{})
	p.root("unused", wish{})
	for group, file := range map[string]string{"main": "root", "old": "old-root", "short": "short", "named": "named"} {
		f.must("group", "create", group, "--x509", p.path(file+".pem"))
	}
	if _, problems, code := f.run("group", "create", "small", "--x509", p.path("small.pem")); code == 0 ||
		!strings.Contains(problems, "an RSA key of 1024 bits") {
		t.Errorf("a group with a small key: exit code %d, %s", code, problems)
	}
	f.must("authority", "create", "waiting", "--file", p.path("unverified.pem"), "--trust")
	f.must("group", "create", "waiting", "--authority", "waiting")
	f.must("authority", "create", "waiting", "--file", p.path("stranger.pem")) // in its place, and not verified yet
	f.must("authority", "create", "unused", "--file", p.path("unused.pem"), "--trust")

	long := []string{"long-0"}
	p.between("long-0", "root", wish{})
	for i := 1; i < 17; i++ {
		p.between(fmt.Sprintf("long-%d", i), long[0], wish{})
		long = append([]string{fmt.Sprintf("long-%d", i)}, long...)
	}
	told := map[string]attest.Check{}
	for _, c := range []struct {
		id, signer string
		leaf       wish
		send       []string // after the device's own
		ca         string   // for berth cert check; root when empty, - for none, -- for no check
		check      string   // that fails; "" is let in
		says       string   // in what it saw, expected or advises
	}{
		{id: "good", signer: "low", send: []string{"low", "middle"}},
		{id: "good-root-too", signer: "low", send: []string{"low", "middle", "root"}},
		{id: "wrong-order", signer: "low", send: []string{"root", "middle", "low"}},
		{id: "negative-serial", signer: "root", leaf: wish{serial: "-42"}},
		{id: "missing-intermediate", signer: "low", send: []string{"low"}, check: "enrollment",
			says: "CN=low, signed by CN=middle, which was not sent"},
		{id: "no-chain-at-all", signer: "middle", check: "enrollment", says: "sent its own certificate alone"},
		{id: "no-group", signer: "unused", check: "enrollment", says: "CN=unused, which no group names", ca: "-"},
		{id: "wrong-authority", signer: "stranger", send: []string{"stranger"}, check: "enrollment",
			says: "leads to the root CN=stranger"},
		{id: "authority-made-anew", signer: "root-again", check: "chain", says: "recreated under the same name"},
		{id: "unverified-authority", signer: "unverified", check: "certificate authority",
			says: "was replaced and is not verified", ca: "-"},
		{id: "expired-leaf", signer: "root", leaf: wish{days: "-1"}, check: "validity", says: "Make a new certificate"},
		{id: "expired-intermediate", signer: "old-middle", send: []string{"old-middle"}, check: "chain",
			says: "CN=old-middle, valid from"},
		{id: "expired-root", signer: "old-root", check: "chain", says: "CN=old-root, valid from", ca: "old-root"},
		{id: "leaf-as-authority", signer: "device-as-ca", send: []string{"device-as-ca"}, check: "chain",
			says: "CN=device-as-ca signs others and is not an authority"},
		{id: "no-ca-flag", signer: "no-ca", send: []string{"no-ca"}, check: "chain", says: "basicConstraints=CA:TRUE"},
		{id: "path-length", signer: "below-short", send: []string{"below-short"}, check: "chain", says: "pathlen",
			ca: "short"},
		{id: "name-constraint", signer: "named", leaf: wish{extensions: "subjectAltName=DNS:device.fabrikam.example"},
			check: "chain", says: "name constraints", ca: "named"},
		{id: "sha1", signer: "weak-middle", leaf: wish{digest: "sha1"}, send: []string{"weak-middle"}, check: "chain",
			says: "SHA-1"},
		{id: "tiny-key", signer: "root", leaf: wish{rsa: "1024"}, check: "key size", says: "1024 bits"},
		{id: "tiny-authority", signer: "tiny-middle", send: []string{"tiny-middle"}, check: "key size",
			says: "CN=tiny-middle has an RSA key of 1024 bits"},
		{id: "absurdly-long", signer: long[0], send: long, check: "client certificate", says: "18 certificates",
			ca: "--"},
		{id: "another-name", signer: "root", leaf: wish{name: "someone-else"}, check: "common name",
			says: "someone-else"},
	} {
		t.Run(c.id, func(t *testing.T) {
			p, f := pki{t, p.folder}, &files{t, f.server, f.data, f.folder}
			if c.leaf.name == "" {
				c.leaf.name = c.id
			}
			p.leaf(c.id, c.signer, c.leaf)
			certificate, text := p.chain(append([]string{c.id}, c.send...)...)
			_, err := device.Provision(within(t, 30*time.Second),
				device.ProvisioningOptions{Host: f.server.mqttHost("localhost"), IDScope: f.server.info.IDScope,
					RegistrationID: c.id, Certificate: &certificate, RootCAs: f.server.roots})
			if c.check == "" && err != nil || c.check != "" && !errors.Is(err, fault.UnauthorizedAccess) {
				t.Fatalf("answered %v", err)
			}
			attempts, err := f.server.provisioning.Attempts(within(t, time.Minute),
				attempts.Filter{RegistrationID: c.id, Max: 1})
			if err != nil || len(attempts) != 1 {
				t.Fatalf("%d attempts, error %v", len(attempts), err)
			}
			failedAs(t, "the operator sees", attempts[0].Checks, c.check, c.says)
			told[c.id], _ = attempts[0].Checks.Failed()
			saved := filepath.Join(f.folder, c.id+".json")
			f.must("attempts", c.id, "--save", saved)
			content, err := os.ReadFile(saved)
			if err != nil || strings.Contains(string(content), "PRIVATE") {
				t.Errorf("the saved attempt holds %s, error %v", content, err)
			}
			var again explained
			output, problems, code := f.run("explain", saved, "-o", "json")
			if err := json.Unmarshal([]byte(output), &again); err != nil || code != 0 || !again.SameAs ||
				again.Again.Admitted != (c.check == "") {
				t.Errorf("berth explain: exit code %d, %s%s, error %v", code, output, problems, err)
			}
			failedAs(t, "berth explain says", again.Again.Checks, c.check, c.says)

			chain := p.path(c.id + ".chain.pem")
			if err := os.WriteFile(chain, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.ca == "" {
				c.ca = "root"
			}
			for how, args := range map[string][]string{"by itself": {"--ca", p.path(c.ca + ".pem")},
				"by the server": nil} {
				if c.ca == "-" && how == "by itself" || c.ca == "--" {
					continue // what the server alone knows; and a file of so many is refused at once
				}
				var decision provisioning.Decision
				output, problems, code := f.run(append([]string{"cert", "check", chain, "--registration-id", c.id, "-o",
					"json"}, args...)...)
				if err := json.Unmarshal([]byte(output), &decision); err != nil || (code != 0) != (c.check != "") ||
					decision.Admitted != (c.check == "") {
					t.Errorf("berth cert check %s: exit code %d, %s%s, error %v", how, code, output, problems, err)
				}
				failedAs(t, "berth cert check "+how+" says", decision.Checks, c.check, c.says)
			}
		})
	}
	distinct(t, told)
}

// threads are what was behind ten public threads on the answer 401002, which never
// said what was wrong.
var threads = map[string]string{
	"azure-iot-sdk-csharp 1010: a group, and an authority that did not sign the devices":      "wrong-authority",
	"azure-iot-samples-csharp 69: the root is enrolled, and the intermediate is not sent":     "missing-intermediate",
	"azure-iot-sdk-java 1795: must the device send the intermediate?":                         "no-chain-at-all",
	"azure-iot-sdk-java 203: CA certificate not found":                                        "no-group",
	"AzureIoTDPSCertificates 3: scripts that made the authority anew":                         "authority-made-anew",
	"azure-iot-sdk-c 437: a device's certificate in the place of an authority's":              "leaf-as-authority",
	"azure-iot-sdk-c 273: the common name is not the registration id":                         "another-name",
	"vscode-iot-workbench 590: a certificate that has expired":                                "expired-leaf",
	"azure-iot-sdk-node 679: an intermediate that expired, so that some devices are let in":   "expired-intermediate",
	"azure-iot-sdk-node 869: everything seems right, but the authority is no longer verified": "unverified-authority",
}

// distinct checks that each thread's cause is told in words of its own.
func distinct(t *testing.T, told map[string]attest.Check) {
	t.Helper()
	seen := map[string]string{}
	for thread, id := range threads {
		check, ok := told[id]
		if !ok || check.Passed || check.Advice == "" {
			t.Errorf("%s: nothing is told", thread)
			continue
		}
		words := check.Name + check.Advice
		if other, ok := seen[words]; ok {
			t.Errorf("%s is told as %s is: %s", thread, other, words)
		}
		seen[words] = thread
	}
}

// failedAs checks which check failed, and what it tells.
func failedAs(t *testing.T, what string, checks attest.Trace, name, says string) {
	t.Helper()
	failed, _ := checks.Failed()
	if failed.Name != name || !strings.Contains(failed.Saw+" "+failed.Expected+" "+failed.Advice, says) {
		t.Errorf("%s %+v, want the check %q to fail and %q", what, failed, name, says)
	}
}

// TestBadTokens does the same for shared access signatures.
func TestBadTokens(t *testing.T) {
	t.Parallel()
	f := newFiles(t, buildBinary(t))
	var group enroll.Group
	if err := json.Unmarshal([]byte(f.must("group", "create", "meters", "--symmetric", "--keys", "-o", "json")),
		&group); err != nil {
		t.Fatal(err)
	}
	var single enroll.Enrollment
	if err := json.Unmarshal([]byte(f.must("enrollment", "create", "single", "--symmetric", "--keys", "--initial-twin",
		`{"tags":{"wifi":"open sesame"}}`, "-o", "json")), &single); err != nil {
		t.Fatal(err)
	}
	keys := group.Attestation.SymmetricKey
	scope := f.server.info.IDScope
	hour := time.Now().Add(time.Hour)
	derived := func(id string) string { return attest.DeriveKey(keys.PrimaryKey, id) }
	for _, c := range []struct {
		id, resource, keyName, key string
		expiry                     time.Time
		check, says                string
	}{
		{"single", scope + "/registrations/single", "registration", single.Attestation.SymmetricKey.PrimaryKey, hour,
			"", ""},
		{"single", scope + "/registrations/single", "registration", single.Attestation.SymmetricKey.SecondaryKey, hour,
			"", ""},
		{"meter", scope + "/registrations/meter", "registration", derived("meter"), hour, "", ""},
		{"meter", scope + "/registrations/meter", "registration", attest.DeriveKey(keys.SecondaryKey, "meter"), hour,
			"", ""},
		{"key-of-another", scope + "/registrations/key-of-another", "registration", derived("meter"), hour,
			"enrollment", "exactly this registration id"},
		{"group-key-itself", scope + "/registrations/group-key-itself", "registration", keys.PrimaryKey, hour,
			"enrollment", "berth group device-key"},
		{"replayed", scope + "/registrations/replayed", "registration", derived("replayed"), time.Now().Add(-time.Hour),
			"token expiry", "new token"},
		{"token-of-another", scope + "/registrations/meter", "registration", derived("meter"), hour, "token resource",
			"another ID scope or registration id"},
		{"token-of-a-hub", "127.0.0.1/devices/token-of-a-hub", "", derived("token-of-a-hub"), hour, "token resource",
			"or for a hub"},
		{"token-of-a-policy", scope + "/registrations/token-of-a-policy", "provisioningserviceowner",
			derived("token-of-a-policy"), hour, "token key name", "back ends"},
		{"single", scope + "/registrations/single", "registration", derived("single"), hour, "token signature",
			"made with another key"},
	} {
		t.Run(c.id, func(t *testing.T) {
			token, err := credential.NewToken(c.resource, c.keyName, c.key, c.expiry)
			if err != nil {
				t.Fatal(err)
			}
			_, err = device.Provision(within(t, 30*time.Second),
				device.ProvisioningOptions{Host: f.server.mqttHost("localhost"), IDScope: scope,
					RegistrationID: c.id, Token: token, RootCAs: f.server.roots})
			if c.check == "" && err != nil || c.check != "" && !errors.Is(err, fault.UnauthorizedAccess) {
				t.Fatalf("answered %v", err)
			}
			saved := filepath.Join(f.folder, "attempt.json")
			f.t = t
			f.must("attempts", c.id, "--save", saved)
			content, err := os.ReadFile(saved)
			_, signature, _ := strings.Cut(token, "sig=")
			signature, _, _ = strings.Cut(signature, "&")
			if err != nil || strings.Contains(string(content), signature) || strings.Contains(string(content), c.key) ||
				strings.Contains(string(content), "sesame") {
				t.Errorf("the saved attempt holds a secret: %s, error %v", content, err)
			}
			var attempt attest.Attempt
			if err := json.Unmarshal(content, &attempt); err != nil {
				t.Fatal(err)
			}
			failedAs(t, "the operator sees", attempt.Checks, c.check, c.says)
			var again explained
			output, problems, code := f.run("explain", saved, "-o", "json")
			if err := json.Unmarshal([]byte(output), &again); err != nil || code != 0 || !again.SameAs ||
				again.Again.Admitted != (c.check == "") {
				t.Errorf("berth explain: exit code %d, %s%s, error %v", code, output, problems, err)
			}
		})
	}
}
