package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/berth-iot/berth/provisioning"
)

// TestFilesThatAreNoCertificate are refused by every command that takes one, with what
// they are and the command that helps, before anything is sent.
func TestFilesThatAreNoCertificate(t *testing.T) {
	s, p := newShell(t), pki{t, t.TempDir()}
	p.root("root", wish{})
	p.leaf("d1", "root", wish{})
	p.openssl("pkcs12", "-export", "-in", "d1.pem", "-inkey", "d1.key", "-passout", "pass:1234", "-out", "d1.pfx")
	p.openssl("crl2pkcs7", "-nocrl", "-certfile", "d1.pem", "-outform", "DER", "-out", "d1.p7b")
	p.openssl("pkey", "-in", "d1.key", "-outform", "DER", "-out", "d1.key.der")
	p.openssl("genpkey", "-algorithm", "ED448", "-out", "ed448.key")
	p.leaf("ed448", "", wish{own: "ed448"})
	for file, says := range map[string]string{
		"d1.pfx": "openssl pkcs12 -in FILE -clcerts -nokeys", "d1.p7b": "openssl pkcs7 -in FILE -print_certs",
		"d1.csr": "openssl x509 -req",
		"d1.key": "better replaced", "d1.key.der": "better replaced", "ed448.pem": "a key of the kind Ed448",
	} {
		for _, line := range []string{"enrollment create d1 --x509 FILE", "group create g --x509 FILE",
			"authority create a --file FILE",
			"cert check FILE", "cert check FILE --ca " + p.path("root.pem"), "cert check " + p.path("d1.pem") +
				" --ca FILE"} {
			args := strings.Fields(line)
			for i, arg := range args {
				if arg == "FILE" {
					args[i] = p.path(file)
				}
			}
			if _, problems := s.run(1, args...); !strings.Contains(problems, says) {
				t.Errorf("berth %s with %s: %q, want %q", line, file, problems, says)
			}
		}
	}
	// What a secure element hands out is read to its length, by the server too.
	padded := p.path("padded.der")
	if err := os.WriteFile(padded, append(p.der("d1"), bytes.Repeat([]byte{0xff}, 600)...), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(0, "cert", "check", padded, "--ca", p.path("root.pem"))
	s.run(0, "enrollment", "create", "d1", "--x509", padded)
	if decision := read[provisioning.Decision](s, "cert", "check", padded); !decision.Admitted {
		t.Errorf("the server judges: %+v", decision)
	}
}

// TestCheckBlames the certificate that is wrong, as the server does.
func TestCheckBlames(t *testing.T) {
	s, p := newShell(t), pki{t, t.TempDir()}
	p.root("plant", wish{})
	p.between("line", "plant", wish{})
	p.between("line-again", "line", wish{name: "line"}) // its new key
	p.leaf("rolled", "line-again", wish{})
	p.between("unit", "plant", wish{extensions: "nameConstraints=critical,permitted;DNS:unit.example"})
	p.leaf("beside", "unit", wish{extensions: "subjectAltName=DNS:dev.other.example"})
	p.root("bare", wish{notCA: true})
	p.leaf("orphan", "bare", wish{})
	for _, c := range []struct {
		chain []string
		ca    string
		says  string // "" is let in
	}{
		{[]string{"rolled", "line-again", "line"}, "plant", ""},
		{[]string{"beside", "unit"}, "plant", `CN=unit does not allow the DNS name "dev.other.example" of CN=beside`},
		{[]string{"orphan"}, "bare", "CN=bare signs others and is not an authority"},
	} {
		_, text := p.chain(c.chain...)
		chain := p.path(c.chain[0] + ".chain.pem")
		if err := os.WriteFile(chain, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code := 1
		if c.says == "" {
			code = 0
		}
		if output, _ := s.run(code, "cert", "check", chain, "--ca", p.path(c.ca+".pem")); !strings.Contains(output,
			c.says) {
			t.Errorf("%s: %s, want %q", c.chain[0], output, c.says)
		}
	}
	if _, problems := s.run(1, "group", "create", "g", "--x509", p.path("bare.pem")); !strings.Contains(problems,
		"is not an authority") {
		t.Errorf("a group of it: %s", problems)
	}
}
