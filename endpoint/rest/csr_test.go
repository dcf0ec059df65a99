package rest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// requestOf is a certificate signing request in DER.
func requestOf(t testing.TB, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// registering is a device with a symmetric key that registers by HTTPS, and whose
// enrollment names a credential policy.
type registering struct {
	*httpstest.Fixture
	id, token string
}

func newRegistering(t *testing.T, id string) registering {
	h := newFixture(t)
	key := credential.NewKey(32)
	enrollment := enroll.Enrollment{RegistrationID: id, Settings: enroll.Settings{CredentialPolicyName: "default",
		Attestation: enroll.AttestationMechanism{
			Type: "symmetricKey", SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: key, SecondaryKey: key}}}}
	if _, err := h.Config.Provisioning.Enrollments().Create(t.Context(), enrollment); err != nil {
		t.Fatal(err)
	}
	token, err := credential.NewToken(httpstest.Scope+"/registrations/"+id, "registration", key,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return registering{h, id, token}
}

func (r registering) register(body string) httpstest.Response {
	r.T.Helper()
	return r.Do(httpstest.Request{Method: "PUT", Path: "/" + httpstest.Scope + "/registrations/" + r.id + "/register",
		Token: r.token,
		Body:  body})
}

func (r registering) lookUp(body string) httpstest.Response {
	r.T.Helper()
	return r.Do(httpstest.Request{Method: "POST", Path: "/" + httpstest.Scope + "/registrations/" + r.id,
		Token: r.token, Body: body})
}

// A look-up is of what there is: it shows no chain and takes no request. The chain is in
// the answer to the registration and to a poll.
func TestALookUpHasNoChain(t *testing.T) {
	d := newRegistering(t, "d1")
	csr := base64.StdEncoding.EncodeToString(requestOf(t, "d1"))
	registered := d.register(`{"registrationId":"d1","csr":"` + csr + `"}`)
	state, _ := registered.Fields["registrationState"].(map[string]any)
	if chain, _ := state["issuedCertificateChain"].([]any); registered.Status != 202 || len(chain) != 3 {
		t.Fatalf("registering is answered %d: %s", registered.Status, registered.Text)
	}
	polled := d.Do(httpstest.Request{Method: "GET", Path: "/" + httpstest.Scope + "/registrations/d1/operations/" +
		registered.Fields["operationId"].(string), Token: d.token})
	state, _ = polled.Fields["registrationState"].(map[string]any)
	if chain, _ := state["issuedCertificateChain"].([]any); polled.Status != 200 || len(chain) != 3 {
		t.Errorf("a poll is answered %d: %s", polled.Status, polled.Text)
	}
	for _, body := range []string{"", `{"registrationId":"d1"}`, `{"registrationId":"d1","payload":{"a":1}}`} {
		found := d.lookUp(body)
		if _, has := found.Fields["issuedCertificateChain"]; found.Status != 200 || has ||
			found.Fields["assignedHub"] != "hub.local" {
			t.Errorf("a look-up with %q is answered %d: %s", body, found.Status, found.Text)
		}
	}
	for _, body := range []string{`{"csr":"` + csr + `"}`, `{"registrationId":"d1","csr":"x"}`} {
		if refused := d.lookUp(body); refused.Status != 400 || !strings.Contains(refused.Text, "takes no csr") {
			t.Errorf("a look-up with %.40q is answered %d: %s", body, refused.Status, refused.Text)
		}
	}
}

// Names in the bodies of devices are exact. What differs only in case is refused, as it
// is never what its sender thinks.
func TestNamesOfARegistrationAreExact(t *testing.T) {
	d := newRegistering(t, "d1")
	csr := base64.StdEncoding.EncodeToString(requestOf(t, "d1"))
	for body, says := range map[string]string{
		`{"CSR":"` + csr + `"}`:                       "written csr",
		`{"Csr":"` + csr + `","registrationId":"d1"}`: "written csr",
		`{"RegistrationID":"d1"}`:                     "written registrationId",
		`{"PayLoad":{}}`:                              "written payload",
		`{"TPM":{}}`:                                  "written tpm",
		`{"csr":17}`:                                  "csr must be a string, not a number",
		`["d1"]`:                                      "not a JSON array",
		`{"registrationId":"d1"`:                      "breaks off",
	} {
		for name, send := range map[string]func(string) httpstest.Response{"registering": d.register,
			"looking up": d.lookUp} {
			if name == "looking up" {
				d.register(`{}`)
			}
			if refused := send(body); refused.Status != 400 || !strings.Contains(refused.Text, says) ||
				strings.Contains(refused.Text, "json:") {
				t.Errorf("%s with %.40q is answered %d, want 400 that says %q: %s", name, body, refused.Status, says,
					refused.Text)
			}
		}
	}
	if taken := d.register(`{"registrationId":"d1","later":{"than":"this"}}`); taken.Status != 202 {
		t.Errorf("a field of a later version is answered %d: %s", taken.Status, taken.Text)
	}
}

// What is no request is said in a sentence, and not in the words of a library.
func TestMalformedCertificateRequests(t *testing.T) {
	d := newRegistering(t, "d1")
	good := requestOf(t, "d1")
	key, err := credential.NewPrivateKey(credential.EC256)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _ := httpstest.CertificatePEM(t, "d1")
	block, _ := pem.Decode([]byte(certificate))
	for name, c := range map[string]struct {
		der  []byte
		says string
	}{
		"a text":                {[]byte("hello"), "as PKCS #10"},
		"the half of one":       {good[:len(good)/2], "breaks off"},
		"more than one":         {append(good[:len(good):len(good)], 7), "1 bytes follow"},
		"an empty sequence":     {[]byte{0x30, 0}, "RFC 2986"},
		"a number":              {[]byte{2, 1, 7}, "RFC 2986"},
		"a certificate":         {block.Bytes, "this is a certificate"},
		"a private key":         {private, "this is a private key"},
		"a request of a length": {[]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, "breaks off"},
	} {
		refused := d.register(`{"csr":"` + base64.StdEncoding.EncodeToString(c.der) + `"}`)
		if refused.Status != 400 || !strings.Contains(refused.Text, c.says) || strings.Contains(refused.Text, "asn1") ||
			strings.Contains(refused.Text, "x509") {
			t.Errorf("%s is answered %d, want 400 that says %q: %s", name, refused.Status, c.says, refused.Text)
		}
	}
}

// A policy that is gone, and an authority that can't sign, are the operator's to put
// right: the device is told to come again, and the attempt says whose fault it is.
func TestMissingCredentialPolicy(t *testing.T) {
	d := newRegistering(t, "d1")
	csr := base64.StdEncoding.EncodeToString(requestOf(t, "d1"))
	ctx := t.Context()
	for name, breaking := range map[string]func() error{
		"a revoked authority": func() error { _, err := d.Issuer.RevokeAuthority(ctx, "default", ""); return err },
		"a deleted policy":    func() error { return d.Issuer.DeletePolicy(ctx, "default", "", true) },
	} {
		if err := breaking(); err != nil {
			t.Fatal(err)
		}
		refused := d.register(`{"csr":"` + csr + `"}`)
		if refused.Status != 503 || refused.Fields["errorCode"] != 503001.0 ||
			!strings.Contains(refused.Text, "Whoever runs the service") {
			t.Errorf("with %s a request is answered %d: %s", name, refused.Status, refused.Text)
		}
		attempts, err := d.Config.Provisioning.Attempts().Find(ctx, attempts.Filter{RegistrationID: "d1", Max: 1})
		if err != nil || len(attempts) != 1 {
			t.Fatalf("the attempts are %+v, error %v", attempts, err)
		}
		if failed, ok := attempts[0].Checks.Failed(); !ok || failed.Name != "credential policy" ||
			attempts[0].Code != 503001 || !strings.Contains(failed.Advice, "berth credential policy set default") {
			t.Errorf("with %s the attempt says %+v", name, attempts[0])
		}
	}
	// Without a request the device comes in as before.
	if taken := d.register(`{}`); taken.Status != 202 || taken.Fields["status"] != "assigned" {
		t.Errorf("without a request it is answered %d: %s", taken.Status, taken.Text)
	}
}
