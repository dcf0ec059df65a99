package credential

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openssl runs openssl in a folder of the test's, and returns what it wrote to out.
type openssl struct {
	*testing.T
	folder string
}

func newOpenSSL(t *testing.T) openssl {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is needed, to make what people send in place of certificates")
	}
	return openssl{t, t.TempDir()}
}

func (o openssl) run(args string) {
	o.Helper()
	command := exec.Command("openssl", strings.Fields(args)...)
	command.Dir = o.folder
	if output, err := command.CombinedOutput(); err != nil {
		o.Fatalf("openssl %s: %v\n%s", args, err, output)
	}
}

func (o openssl) read(name string) []byte {
	o.Helper()
	content, err := os.ReadFile(filepath.Join(o.folder, name))
	if err != nil {
		o.Fatal(err)
	}
	return content
}

func (o openssl) make(args string) []byte {
	o.Helper()
	o.run(args + " -out made")
	return o.read("made")
}

// TestContainers recognizes what people send in place of a certificate, in whatever
// form, says what it is and what to do, and knows what holds a private key.
func TestContainers(t *testing.T) {
	o := newOpenSSL(t)
	o.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key")
	o.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key")
	o.run("genpkey -algorithm ED25519 -out ed.key")
	o.run("dsaparam -out dsa.param 1024") // longer ones take longer to find
	o.run("gendsa -out dsa.key dsa.param")
	o.run("req -x509 -key ec.key -subj /CN=d1 -days 30 -out d1.pem")
	o.run("req -x509 -key rsa.key -subj /CN=ca -days 30 -out ca.pem")
	const pass = "-passout pass:1234"
	for _, c := range []struct {
		name    string
		content []byte
		says    string
		private bool
	}{
		{"PKCS #12", o.make("pkcs12 -export -in d1.pem -inkey ec.key " + pass),
			"openssl pkcs12 -in FILE -clcerts -nokeys", true},
		{"PKCS #12 without a key", o.make("pkcs12 -export -nokeys -in d1.pem " + pass), "openssl pkcs12", true},
		{"PKCS #12 with a chain", o.make("pkcs12 -export -in d1.pem -inkey ec.key -certfile ca.pem " + pass),
			"openssl pkcs12", true},
		{"PKCS #12 in BER", []byte("\x30\x80\x02\x01\x03\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80"),
			"openssl pkcs12", true},
		{"PKCS #7", o.make("crl2pkcs7 -nocrl -certfile d1.pem -certfile ca.pem -outform DER"), "openssl pkcs7", false},
		{"PKCS #7 in PEM", o.make("crl2pkcs7 -nocrl -certfile d1.pem -certfile ca.pem"), "openssl pkcs7", false},
		{"PKCS #8", o.make("pkcs8 -topk8 -nocrypt -in ec.key -outform DER"), "private key", true},
		{"PKCS #8 with RSA", o.make("pkcs8 -topk8 -nocrypt -in rsa.key -outform DER"), "private key", true},
		{"PKCS #8 with Ed25519", o.make("pkcs8 -topk8 -nocrypt -in ed.key -outform DER"), "private key", true},
		{"PKCS #8, encrypted", o.make("pkcs8 -topk8 -in ec.key -outform DER " + pass), "private key", true},
		{"PKCS #8, encrypted as in PKCS #12", o.make("pkcs8 -topk8 -v1 PBE-SHA1-3DES -in ec.key -outform DER " +
			pass), "private key", true},
		{"PKCS #8, encrypted, in PEM", o.make("pkcs8 -topk8 -in ec.key " + pass), "private key", true},
		{"PKCS #1", o.make("rsa -traditional -in rsa.key -outform DER"), "private key", true},
		{"PKCS #1 in PEM", o.make("rsa -traditional -in rsa.key"), "private key", true},
		{"SEC 1", o.make("ec -in ec.key -outform DER"), "private key", true},
		{"SEC 1 in PEM, after its curve", o.make("ecparam -name prime256v1 -genkey"), "private key", true},
		{"DSA", o.make("dsa -in dsa.key -outform DER"), "private key", true},
		{"a request", o.make("req -new -key ec.key -subj /CN=d1 -outform DER"), "openssl x509 -req", false},
		{"a request in PEM", o.make("req -new -key ec.key -subj /CN=d1"), "openssl x509 -req", false},
		{"a public key", o.make("pkey -in ec.key -pubout -outform DER"), "public key", false},
		{"a public key in PEM", o.make("pkey -in ec.key -pubout"), "public key", false},
		{"a public RSA key", o.make("rsa -in rsa.key -RSAPublicKey_out -outform DER"), "public key", false},
		{"a list of revocations", revocations(t), "revocation list", false},
		{"a Java key store", []byte("\xfe\xed\xfe\xed\x00\x00\x00\x02\x00\x00\x00\x01"), "keytool -exportcert", true},
		{"a Java key store, JCEKS", []byte("\xce\xce\xce\xce\x00\x00\x00\x02\x00\x00\x00\x01"), "keytool -exportcert",
			true},
		{"OpenSSH",
			[]byte(
				"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
			"private key", true},
		{"OpenSSH without armour", []byte("openssh-key-v1\x00\x00\x00\x00\x04none"), "private key", true},
		{"a public key of OpenSSH", []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBQ7 me@here\n"), "public key", false},
		{"PuTTY", []byte("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n"), "private key", true},
		{"half of a private key", []byte("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n"), "private key", true},
		{"a certificate and a private key in DER", append(derOf(t, o.read("d1.pem")), derOf(t, o.read("ec.key"))...),
			"private key", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for form, content := range map[string][]byte{
				"itself": c.content, "base64": []byte(base64.StdEncoding.EncodeToString(c.content)),
				"a certificate in PEM by its label alone": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
					Bytes: derOf(t, c.content)}),
			} {
				if _, err := ParseCertificates(content); err == nil || !strings.Contains(err.Error(), c.says) ||
					errors.Is(err, ErrPrivateKey) != c.private {
					t.Errorf("as %s: %v, want %q", form, err, c.says)
				} else if c.private && !strings.Contains(err.Error(), "better replaced") {
					t.Errorf("as %s, nobody is warned: %v", form, err)
				}
				if HoldsPrivateKey(content) != c.private {
					t.Errorf("as %s, it holds a private key: %v", form, !c.private)
				}
			}
			large := append(bytes.Clone(c.content), make([]byte, maxCertificateBytes)...)
			if c.private && !HoldsPrivateKey(large) {
				t.Error("its private key is not seen in a large file")
			}
		})
	}
}

// derOf is what is in the last block of PEM, or the content itself.
func derOf(t *testing.T, content []byte) []byte {
	t.Helper()
	der := content
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		der = block.Bytes
	}
	return bytes.Clone(der)
}

func revocations(t *testing.T) []byte {
	t.Helper()
	authority, err := NewAuthority("Berth test authority", noon, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: noon,
		NextUpdate: noon.Add(time.Hour)}, authority.Certificate, authority.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestPadding reads DER up to its length: what fills an area of fixed size is no part of
// it, and anything else is counted.
func TestPadding(t *testing.T) {
	text, _ := deviceCertificate(t, "d1", "")
	other, _ := deviceCertificate(t, "d2", "")
	der := derOf(t, text)
	with := func(rest ...byte) []byte { return append(bytes.Clone(der), rest...) }
	for name, c := range map[string]struct {
		content []byte
		count   int // of certificates
		says    string
	}{
		"0":          {with(make([]byte, 1000)...), 1, ""},
		"0xff":       {with(bytes.Repeat([]byte{0xff}, 1600-len(der))...), 1, ""},
		"0 and 0xff": {with(0, 0, 0xff, 0xff), 1, ""},
		"one byte":   {with(0), 1, ""},
		"after two":  {append(with(derOf(t, other)...), 0xff, 0xff), 2, ""},
		"between two": {append(with(0, 0), derOf(t, other)...), 0, fmt.Sprintf("%d bytes follow",
			2+len(derOf(t, other)))},
		"other bytes":               {with([]byte("hello")...), 0, "5 bytes follow the certificate"},
		"other bytes after padding": {with(0xff, 0xff, 1), 0, "3 bytes follow the certificate"},
		"half a certificate":        {with(derOf(t, other)[:100]...), 0, "100 bytes follow the certificate"},
		"cut off":                   {der[:len(der)-7], 0, "7 bytes of it are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			for form, content := range map[string][]byte{
				"DER": c.content, "base64": []byte(base64.StdEncoding.EncodeToString(c.content)),
				"PEM": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.content}),
			} {
				if form == "PEM" && c.count > 1 {
					continue // which has each by itself
				}
				certificates, err := ParseCertificates(content)
				switch {
				case c.says == "" &&
					(err != nil || len(certificates) != c.count || !bytes.Equal(certificates[0].Raw, der)):
					t.Errorf("%s is read as %d certificates, error %v", form, len(certificates), err)
				case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
					t.Errorf("%s: %v, want %q", form, err, c.says)
				}
			}
		})
	}
}

// TestTrustedCertificates reads what OpenSSL writes with what a certificate is trusted
// for behind it.
func TestTrustedCertificates(t *testing.T) {
	o := newOpenSSL(t)
	o.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key")
	o.run("req -x509 -key ca.key -subj /CN=ca -days 30 -out ca.pem")
	certificates, err := ParseCertificates(o.make("x509 -in ca.pem -trustout -addtrust clientAuth"))
	if err != nil || len(certificates) != 1 || !bytes.Equal(certificates[0].Raw, derOf(t, o.read("ca.pem"))) {
		t.Errorf("read %v, error %v", certificates, err)
	}
}
