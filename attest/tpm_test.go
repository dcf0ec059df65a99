package attest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// publicArea is an endorsement key of a kind, with a change.
func publicArea(t testing.TB, template tpm2.TPMTPublic, change func(*tpm2.TPMTPublic)) string {
	t.Helper()
	if template.Type == tpm2.TPMAlgRSA {
		template.Unique = modulus(0xff, 256)
	} else {
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point := key.PublicKey().Bytes()
		template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]}})
	}
	if change != nil {
		change(&template)
	}
	return base64.StdEncoding.EncodeToString(tpm2.Marshal(tpm2.New2B(template)))
}

// modulus is a number of size bytes that all are the same.
func modulus(value byte, size int) tpm2.TPMUPublicID {
	return tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: bytes.Repeat([]byte{value}, size)})
}

func TestParseTPMKey(t *testing.T) {
	whole, err := base64.StdEncoding.DecodeString(publicArea(t, tpm2.RSAEKTemplate, nil))
	if err != nil {
		t.Fatal(err)
	}
	sized := func(area []byte) string {
		return base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint16(nil, uint16(len(area))), area...))
	}
	for name, test := range map[string]struct {
		text, wrong string // "" for a key that is taken
	}{
		"RSA":                 {publicArea(t, tpm2.RSAEKTemplate, nil), ""},
		"RSA, a storage root": {publicArea(t, tpm2.RSASRKTemplate, nil), ""},
		"EC":                  {publicArea(t, tpm2.ECCEKTemplate, nil), ""},
		"EC, a storage root":  {publicArea(t, tpm2.ECCSRKTemplate, nil), ""},
		"nothing":             {"", "not a TPM2B_PUBLIC"},
		"no base64":           {"%%%%", "not base64"},
		"too long":            {strings.Repeat("A", 4<<10), "longer than any"},
		"size alone":          {sized(nil), "public area can't be read"},
		"cut":                 {base64.StdEncoding.EncodeToString(whole[:100]), "first two bytes"},
		"cut, the size right": {sized(whole[2:100]), "public area can't be read"},
		"something follows":   {sized(append(bytes.Clone(whole[2:]), 0)), "something follows"},
		"of an unknown kind":  {sized(append([]byte{0xff, 0xff}, whole[4:]...)), "public area can't be read"},
		"not restricted": {publicArea(t, tpm2.RSAEKTemplate,
			func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Restricted = false }), "attributes"},
		"does not decrypt": {publicArea(t, tpm2.RSAEKTemplate,
			func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Decrypt = false }), "attributes"},
		"may leave its TPM": {publicArea(t, tpm2.RSAEKTemplate,
			func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedTPM = false }), "attributes"},
		"may change parents": {publicArea(t, tpm2.RSAEKTemplate,
			func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedParent = false }), "attributes"},
		"named by SHA-1": {publicArea(t, tpm2.RSAEKTemplate,
			func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgSHA1 }), "SHA-1"},
		"without a name": {publicArea(t, tpm2.RSAEKTemplate,
			func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgNull }), "name algorithm"},
		"1024 bits": {publicArea(t, tpm2.RSAEKTemplate,
			func(p *tpm2.TPMTPublic) { p.Unique = modulus(0xff, 128) }), "2048 bits"},
		"leading zeros": {publicArea(t, tpm2.RSAEKTemplate,
			func(p *tpm2.TPMTPublic) { p.Unique = modulus(0x01, 256) }), "2048 bits"},
		"an even modulus": {publicArea(t, tpm2.RSAEKTemplate,
			func(p *tpm2.TPMTPublic) { p.Unique = modulus(0xfe, 256) }), "2048 bits"},
		"a point off the line": {publicArea(t, tpm2.ECCEKTemplate,
			func(p *tpm2.TPMTPublic) { p.Unique = tpm2.ECCEKTemplate.Unique }), "NIST curves"},
	} {
		key, err := ParseTPMKey(test.text)
		switch {
		case test.wrong == "" && (err != nil || !key.Is(key) || len(key.name) != 34):
			t.Errorf("%s: refused: %v", name, err)
		case test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)):
			t.Errorf("%s: got %v, want %q", name, err, test.wrong)
		}
	}
}

// TestParseEndorsementKey refuses a key to which nothing can be sealed when it is
// enrolled, and not when its device comes.
func TestParseEndorsementKey(t *testing.T) {
	if _, err := ParseEndorsementKey(publicArea(t, tpm2.ECCEKTemplate, nil)); err != nil {
		t.Error(err)
	}
	camellia := publicArea(t, tpm2.ECCEKTemplate, func(p *tpm2.TPMTPublic) {
		p.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256,
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull}})
	})
	if _, err := ParseEndorsementKey(camellia); err == nil || !strings.Contains(err.Error(), "AES") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseTPMKey(f *testing.F) {
	for _, template := range []tpm2.TPMTPublic{tpm2.RSAEKTemplate, tpm2.ECCSRKTemplate} {
		encoded, err := base64.StdEncoding.DecodeString(publicArea(f, template, nil))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded[2:])
	}
	f.Fuzz(func(t *testing.T, area []byte) {
		text := base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint16(nil, uint16(len(area))),
			area...))
		if key, err := ParseEndorsementKey(text); err == nil {
			if _, err := Activation(key, key, make([]byte, 32)); err != nil {
				t.Errorf("nothing can be enclosed for a key that is taken: %v", err)
			}
		}
	})
}

// tpmKey is a new endorsement or storage root key.
func tpmKey(t *testing.T, template tpm2.TPMTPublic) (text string, key *TPMKey) {
	t.Helper()
	text = publicArea(t, template, nil)
	key, err := ParseTPMKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return text, key
}

// TestEnrolledTPM holds the keys that a device shows against those of its enrollment.
func TestEnrolledTPM(t *testing.T) {
	endorsement, endorsementKey := tpmKey(t, tpm2.ECCEKTemplate)
	storageRoot, storageRootKey := tpmKey(t, tpm2.ECCSRKTemplate)
	other, _ := tpmKey(t, tpm2.ECCEKTemplate)
	shown := &TPM{endorsement, storageRoot}
	for _, c := range []struct {
		name                  string
		tpm                   *TPM
		protocol              string
		enrolled, enrolledSRK string
		check                 string // that fails; "" for keys that pass
		told                  string
	}{
		{"the enrolled keys", shown, "https", endorsement, storageRoot, "", ""},
		{"any storage root key", shown, "https", endorsement, "", "", ""},
		{"no TPM", nil, "https", endorsement, "", "TPM", string(NotAdmitted)},
		{"over MQTT", shown, "mqtt", endorsement, "", "protocol", "over HTTPS only"},
		{"another TPM", shown, "https", other, "", "enrolled endorsement key", string(NotAdmitted)},
		{"cleared since", shown, "https", endorsement, other, "enrolled storage root key", string(NotAdmitted)},
		{"no endorsement key", &TPM{"", storageRoot}, "https", endorsement, "", "endorsement key", "malformed"},
		{"no storage root key", &TPM{endorsement, "x"}, "https", endorsement, "", "storage root key", "malformed"},
	} {
		var trace Trace
		evidence := Evidence{RegistrationID: "Meter-1", TPM: c.tpm}
		evidence.Protocol = c.protocol
		refusal, ok := NotAdmitted, true
		if c.tpm != nil { // as it is judged before any enrollment is looked up
			refusal, ok = Sound(&trace, evidence, noon)
		}
		if ok {
			var ek, srk *TPMKey
			if ek, srk, refusal, ok = EnrolledTPM(&trace, evidence, c.enrolled, c.enrolledSRK); ok &&
				(!ek.Is(endorsementKey) || !srk.Is(storageRootKey)) {
				t.Errorf("%s: the keys are %s and %s", c.name, ek, srk)
			}
		}
		failed, _ := trace.Failed()
		if ok != (c.check == "") || failed.Name != c.check || !strings.Contains(string(refusal), c.told) ||
			!ok && failed.Advice == "" {
			t.Errorf("%s: %v, told %q, check %+v", c.name, ok, refusal, failed)
		}
	}
}

// TestChallengeAnswers are good for one registration, for some minutes, and for the storage
// root key that the challenge was made for.
func TestChallengeAnswers(t *testing.T) {
	_, endorsement := tpmKey(t, tpm2.ECCEKTemplate)
	_, storageRoot := tpmKey(t, tpm2.ECCSRKTemplate)
	_, former := tpmKey(t, tpm2.ECCSRKTemplate)
	challenge := Challenge{Secret: []byte("of the service"), RegistrationID: "Meter-1", Endorsement: endorsement,
		StorageRoot: storageRoot, Answered: 3}
	used, another, stranger := challenge, challenge, challenge
	used.Answered, another.StorageRoot, stranger.Secret = 2, former, []byte("of another service")
	answer := func(c Challenge, ago time.Duration) Evidence {
		key := base64.StdEncoding.EncodeToString(c.Key(noon.Add(-ago)))
		evidence := Evidence{IDScope: "0ne1", RegistrationID: "Meter-1"}
		evidence.Token = token(t, "0ne1/registrations/Meter-1", "registration", key, noon.Add(time.Hour))
		return evidence
	}
	withCertificate := answer(challenge, 0)
	withCertificate.Certificates = []*x509.Certificate{issued(t, "Meter-1", nil).Certificate}
	expired := withCertificate
	expired.Token = token(t, "0ne1/registrations/Meter-1", "registration", ownKey, noon.Add(-time.Hour))
	for _, c := range []struct {
		name      string
		evidence  Evidence
		told, saw string // "" for an answer that passes
		polls     bool   // it is good for asking how the registration goes
	}{
		{"the answer", answer(challenge, 0), "", "answered", true},
		{"after some minutes", answer(challenge, ChallengeTime), "", "answered", true},
		{"beside a certificate", withCertificate, "", "answered", true},
		{"an expired token beside a certificate", expired, "expired", "until", false},
		{"late", answer(challenge, 2*ChallengeTime), "The challenge has expired", "expired", true},
		{"very late", answer(challenge, 2*time.Hour), string(NotAdmitted), "another key", false},
		{"twice", answer(used, 0), "answered before", "answered before", false},
		{"for another storage root key", answer(another, 0), "another storage root key", "another storage", false},
		{"of another TPM", answer(stranger, 0), string(NotAdmitted), "another key", false},
		{"no token", Evidence{}, "malformed", "", false},
	} {
		var trace Trace
		refusal, ok := Answers(&trace, c.evidence, noon, challenge, former)
		if ok != (c.told == "") || !strings.Contains(string(refusal), c.told) {
			t.Errorf("%s: %v, told %q", c.name, ok, refusal)
		}
		if c.saw != "" && !strings.Contains(trace[len(trace)-1].Saw, c.saw) {
			t.Errorf("%s: the check is %+v", c.name, trace[len(trace)-1])
		}
		trace = nil
		if _, ok := Answered(&trace, c.evidence, noon, challenge); ok != c.polls {
			t.Errorf("%s: may ask how its registration goes: %v, %+v", c.name, ok, trace)
		}
	}
}

// TestHubKeys stay the same for a device and its TPM, and are nobody else's.
func TestHubKeys(t *testing.T) {
	_, endorsement := tpmKey(t, tpm2.ECCEKTemplate)
	_, other := tpmKey(t, tpm2.ECCEKTemplate)
	primary, secondary := HubKeys([]byte("secret"), "Meter-1", endorsement)
	again, _ := HubKeys([]byte("secret"), "METER-1", endorsement)
	if len(primary) != 32 || len(secondary) != 32 || !bytes.Equal(primary, again) {
		t.Errorf("the keys are %x and %x, then %x", primary, secondary, again)
	}
	neighbour, _ := HubKeys([]byte("secret"), "Meter-2", endorsement)
	moved, _ := HubKeys([]byte("secret"), "Meter-1", other)
	elsewhere, _ := HubKeys([]byte("another"), "Meter-1", endorsement)
	for name, key := range map[string][]byte{"secondary": secondary, "another device's": neighbour,
		"another TPM's": moved, "another service's": elsewhere} {
		if bytes.Equal(primary, key) {
			t.Errorf("the %s key is the same", name)
		}
	}
}
