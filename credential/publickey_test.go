package credential

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestKeysOfNoUse names the keys whose signatures can't be verified, in certificates and
// in requests for them, and says which can.
func TestKeysOfNoUse(t *testing.T) {
	o := newOpenSSL(t)
	o.run("dsaparam -out dsa.param 2048")
	for _, c := range []struct{ name, key, says string }{
		{"Ed448", "genpkey -algorithm ED448", "a key of the kind Ed448"},
		{"DSA", "gendsa dsa.param", "a key of the kind DSA"},
		{"RSASSA-PSS", "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048", "a key of the kind RSASSA-PSS"},
		{"secp256k1", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "a key on the curve secp256k1"},
		{"brainpool", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1",
			"a key on the curve brainpoolP256r1"},
		{"P-192", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-192", "a key on the curve P-192"},
		{"a curve without a name here", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:sect233k1",
			"a key on the curve 1.3.132.0.26"},
		{"a curve spelled out", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
			"spells its curve out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := openssl{t, o.folder}
			name, rest, _ := strings.Cut(c.key, " ")
			o.run(name + " -out key.pem " + rest)
			certificate := o.make("req -x509 -key key.pem -subj /CN=d1 -days 30")
			_, err := ParseCertificates(certificate)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(),
				"P-256, P-384 or P-521, Ed25519, or RSA") {
				t.Errorf("a certificate: %v, want %q", err, c.says)
			}
			request := o.make("req -new -key key.pem -subj /CN=d1 -outform DER")
			_, err = ParseCSR(base64.StdEncoding.EncodeToString(request))
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), UsableKeys) {
				t.Errorf("a request: %v, want %q", err, c.says)
			}
		})
	}
	for _, key := range []string{"EC -pkeyopt ec_paramgen_curve:P-256", "EC -pkeyopt ec_paramgen_curve:P-384",
		"EC -pkeyopt ec_paramgen_curve:P-521",
		"ED25519", "RSA -pkeyopt rsa_keygen_bits:2048"} {
		o.run("genpkey -out key.pem -algorithm " + key)
		certificates, err := ParseCertificates(o.make("req -x509 -key key.pem -subj /CN=d1 -days 30"))
		if err != nil || CheckKeyLength(certificates[0].PublicKey) != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}
