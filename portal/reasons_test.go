package portal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"go/ast"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// TestReasonsAreTranslated has what devices, webhooks and people send that is wrong: what
// is said of it is translated as a whole, with what it quotes of other errors.
func TestReasonsAreTranslated(t *testing.T) {
	french := languages[1].Messages()
	for what, err := range wrongInputs(t) {
		if err == nil {
			t.Errorf("%s is taken", what)
			continue
		}
		said := fault.New(fault.ArgumentInvalid, "%v", err).Text()
		if formats := formatsOf(t, said); len(formats) < 2 { // that of the fault, and the reason's
			t.Errorf("%s: %q is data, and no text to be translated", what, said)
		} else {
			for _, format := range formats {
				words := strings.TrimSpace(strings.Trim(verb.ReplaceAllString(format, ""), ": "))
				if _, ok := french[format]; !ok && words != "" {
					t.Errorf("%s: no French for %q", what, format)
				}
			}
		}
		if translated := said.In(languages[1].Translate); translated == said.String() {
			t.Errorf("%s: French says %q", what, translated)
		}
	}
}

// formatsOf are the formats of a text, and of those in it.
func formatsOf(t *testing.T, text fault.Text) (formats []string) {
	encoded, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	var collect func(encoded []byte)
	collect = func(encoded []byte) {
		var parts struct {
			Format string            `json:"format"`
			Args   []json.RawMessage `json:"args"`
		}
		if json.Unmarshal(encoded, &parts) != nil {
			return // data
		}
		formats = append(formats, parts.Format)
		for _, arg := range parts.Args {
			collect(arg)
		}
	}
	collect(encoded)
	return formats
}

func wrongInputs(t *testing.T) map[string]error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "d"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "d"}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificateRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(old, other []byte) []byte { return bytes.Replace(request, old, other, 1) }
	curve := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}    // P-256
	sha256 := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}   // ecdsa-with-SHA256
	strange := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 17} // none
	tampered := bytes.Clone(request)
	tampered[bytes.Index(request, parsed.RawSubject)+len(parsed.RawSubject)-1] = 'e'
	armoured := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})
	inputs := map[string]error{
		"no csr in a line": credential.CheckCSREncoding(string(armoured), true),
	}
	for what, csr := range map[string]string{
		"empty": "", "not base64": "?", "too long": strings.Repeat("A", credential.MaxCSR+1),
		"a private key": base64.StdEncoding.EncodeToString(private), "PEM": string(armoured[:60]),
		"a certificate":    base64.StdEncoding.EncodeToString(certificate),
		"PEM in base64":    base64.StdEncoding.EncodeToString(armoured[:60]),
		"cut":              base64.StdEncoding.EncodeToString(request[:20]),
		"with more":        base64.StdEncoding.EncodeToString(append(bytes.Clone(request), 1)),
		"something else":   base64.StdEncoding.EncodeToString([]byte{0x30, 0}),
		"an unknown curve": base64.StdEncoding.EncodeToString(changed(curve, strange)),
		"unknown signing":  base64.StdEncoding.EncodeToString(changed(sha256, strange)),
		"changed":          base64.StdEncoding.EncodeToString(tampered),
	} {
		_, inputs["csr, "+what] = credential.ParseCSR(csr)
	}
	const fields = "SharedAccessSignature sr=h&sig=AAAA&se="
	for _, token := range []string{"", "Bearer eyJ0", strings.Repeat("x", 1<<16), "SharedAccessSignature x",
		"SharedAccessSignature sr=a&sr=b", "SharedAccessSignature sr=a", "SharedAccessSignature sr=a&sig=?&se=1",
		"SharedAccessSignature sr=%&sig=AAAA&se=1", fields + "1&skn=%", fields + "x", fields + "-1"} {
		_, inputs["token "+token[:min(len(token), 60)]] = credential.ParseToken(token)
	}
	for _, connection := range []string{"x", "SharedAccessKey=k", "HostName=h", "HostName=h;SharedAccessKey=k"} {
		_, inputs["connection string "+connection] = credential.ParseConnectionString(connection)
	}
	_, inputs["a device's connection string"] = backend.NewHub("HostName=h;DeviceId=d;SharedAccessKey=AAAA",
		backend.Options{})
	deep := strings.Repeat("[", 99) + strings.Repeat("]", 99)
	for _, text := range []string{"\xff", `"\ud800"`, deep, "[]", "", "{} x", "{\n?", "{"} {
		_, inputs["JSON "+text[:min(len(text), 9)]] = document.Parse([]byte(text), document.MaxDepth)
	}
	inputs["a number"] = document.CheckNumbers([]byte("1e400"))
	inputs["depth"] = document.CheckFreeDepth("payload", []byte(deep))
	inputs["a time"] = new(document.Time).UnmarshalJSON([]byte(`"0000-01-01T00:00:00Z"`))
	for _, text := range []string{`"\ud800"`, "1e400", deep, "{"} {
		inputs["free "+text[:min(len(text), 9)]] = linkedhub.CheckFree("payload", []byte(text))
	}
	return inputs
}

// TestReasonsAreTexts reads the program: what is wrong with something that somebody sent
// is a reason or a fault, which can be translated, and is quoted as such, not as its
// English message.
func TestReasonsAreTexts(t *testing.T) {
	for _, file := range []string{"../document/*.go", "../credential/csr.go", "../credential/sas.go",
		"../credential/connection_string.go", "../credential/request.go"} {
		readGo(t, filepath.Dir(file), func(where string, node ast.Node) {
			if ok, _ := filepath.Match(file, where); !ok {
				return
			}
			receiver, name, args := called(node)
			if receiver == "errors" && name == "New" ||
				receiver == "fmt" && name == "Errorf" && !strings.Contains(literal(args[0]), "%w") {
				t.Errorf("%s: %q is an error in English: make it a fault.NewReason", where, literal(args[0]))
			}
		})
	}
	for _, root := range []string{"../provisioning", "../hub/twin", "../hub/identity", "../issuance", "../authority",
		"../access", "."} {
		err := filepath.WalkDir(root, func(folder string, entry fs.DirEntry, err error) error {
			found, _ := filepath.Glob(filepath.Join(folder, "*.go"))
			if err != nil || !entry.IsDir() || len(found) == 0 {
				return err
			}
			if strings.HasSuffix(folder, "testdata") || strings.HasSuffix(folder, "portaltest") {
				return nil
			}
			readGo(t, folder, func(where string, node ast.Node) { quotesMessage(t, where, node) })
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// quotesMessage reports texts that quote the message of an error in English.
func quotesMessage(t *testing.T, where string, node ast.Node) {
	receiver, name, args := called(node)
	if receiver != "fault" || name != "New" && name != "NewReason" && name != "Say" {
		return
	}
	for _, arg := range args {
		if selector, ok := arg.(*ast.SelectorExpr); ok && selector.Sel.Name == "Message" {
			t.Errorf("%s: a text quotes a Message: give it fault.ReasonOf(err)", where)
		}
		if _, method, none := called(arg); method == "Error" && len(none) == 0 {
			t.Errorf("%s: a text quotes Error(): give it the error", where)
		}
	}
}
