package provisioning

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// softTPM does what a TPM does with an activation, in software. A real one, or
// as good as, takes part in conformance/tpm_test.go.
type softTPM struct {
	t                 *testing.T
	endorsement       *rsa.PrivateKey
	endorsementPublic string // base64 of TPM2B_PUBLIC
	storageRoot       tpm2.TPMTPublic
}

func newSoftTPM(t *testing.T) *softTPM {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := tpm2.RSAEKTemplate
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: key.N.Bytes()})
	tpm := &softTPM{t: t, endorsement: key, endorsementPublic: encoded(public)}
	tpm.clear()
	return tpm
}

// clear gives the TPM another storage root key, as TPM2_Clear does.
func (s *softTPM) clear() {
	modulus := make([]byte, 256) // nobody needs its factors
	rand.Read(modulus)
	modulus[0] |= 0x80
	modulus[255] |= 1
	s.storageRoot = tpm2.RSASRKTemplate
	s.storageRoot.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: modulus})
}

func encoded(public tpm2.TPMTPublic) string {
	return base64.StdEncoding.EncodeToString(tpm2.Marshal(tpm2.New2B(public)))
}

func (s *softTPM) keys() attest.TPM {
	return attest.TPM{EndorsementKey: s.endorsementPublic, StorageRootKey: encoded(s.storageRoot)}
}

func (s *softTPM) enrollment(id string) enroll.Enrollment {
	return enroll.Enrollment{RegistrationID: id,
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "tpm",
			TPM: &enroll.TPMAttestation{EndorsementKey: s.endorsementPublic}}}}
}

// activate does TPM2_ActivateCredential and TPM2_Import and returns the HMAC key
// in base64, which no TPM would.
func (s *softTPM) activate(activation []byte) (key string, ok bool) {
	s.t.Helper()
	rest := bytes.NewBuffer(activation)
	sized := func(from *bytes.Buffer) []byte {
		size := from.Next(2)
		return bytes.Clone(from.Next(int(size[0])<<8 | int(size[1])))
	}
	idObject := sized(rest)
	secret := sized(rest)
	private := sized(rest)
	seed := sized(rest)
	public := sized(rest)
	data := sized(rest)
	if rest.Len() != 0 || len(seed) != 0 || len(data) != 0 {
		s.t.Fatalf("%d bytes follow, the outer seed has %d and the data %d", rest.Len(), len(seed), len(data))
	}
	identity, err := rsa.DecryptOAEP(sha256.New(), nil, s.endorsement, secret, []byte("IDENTITY\x00"))
	if err != nil {
		return "", false
	}
	name, err := tpm2.ObjectName(&s.storageRoot)
	if err != nil {
		s.t.Fatal(err)
	}
	object := bytes.NewBuffer(idObject)
	claimed := sized(object)
	mac := hmac.New(sha256.New, tpm2.KDFa(crypto.SHA256, identity, "INTEGRITY", nil, nil, 256))
	mac.Write(object.Bytes())
	mac.Write(name.Buffer)
	if !hmac.Equal(claimed, mac.Sum(nil)) {
		return "", false
	}
	wrapping := sized(bytes.NewBuffer(s.decrypt(tpm2.KDFa(crypto.SHA256, identity, "STORAGE", name.Buffer, nil, 128),
		object.Bytes())))

	imported, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		s.t.Fatal(err)
	}
	importedName, err := tpm2.ObjectName(imported)
	if err != nil {
		s.t.Fatal(err)
	}
	inner := bytes.NewBuffer(s.decrypt(wrapping, private))
	integrity := sized(inner)
	if digest := sha256.Sum256(append(bytes.Clone(inner.Bytes()), importedName.Buffer...)); !bytes.Equal(integrity,
		digest[:]) {
		s.t.Fatal("the imported key has no integrity")
	}
	sensitive, err := tpm2.Unmarshal[tpm2.TPMTSensitive](sized(inner))
	if err != nil {
		s.t.Fatal(err)
	}
	bits, err := sensitive.Sensitive.Bits()
	if err != nil {
		s.t.Fatal(err)
	}
	unique, err := imported.Unique.KeyedHash()
	if err != nil {
		s.t.Fatal(err)
	}
	if digest := sha256.Sum256(append(bytes.Clone(sensitive.SeedValue.Buffer),
		bits.Buffer...)); !bytes.Equal(unique.Buffer, digest[:]) {
		s.t.Error("the public area is not that of the key")
	}
	return base64.StdEncoding.EncodeToString(bits.Buffer), true
}

func (s *softTPM) decrypt(key, text []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		s.t.Fatal(err)
	}
	plain := make([]byte, len(text))
	//lint:ignore SA1019 there is no other way to speak to a TPM
	cipher.NewCFBDecrypter(block, make([]byte, block.BlockSize())).XORKeyStream(plain, text)
	return plain
}

// registerTPM registers with the keys of a TPM and a token, which may be empty.
func (h *fixture) registerTPM(id string, keys attest.TPM, token string) (Operation, error) {
	body, err := json.Marshal(map[string]any{"registrationId": id, "tpm": keys})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.OpenSession(scope, id,
		credential.Evidence{Token: token, Protocol: "https",
			RemoteAddr: "127.0.0.1:4711"}).Register(context.Background(), body)
}

// challenged lets a device ask for a challenge and returns the token that
// answers it.
func (h *fixture) challenged(id string, tpm *softTPM) string {
	h.t.Helper()
	return h.token(id, h.challengeKey(id, tpm))
}

// challengeKey lets a device ask for a challenge and returns the key inside.
func (h *fixture) challengeKey(id string, tpm *softTPM) string {
	h.t.Helper()
	_, err := h.registerTPM(id, tpm.keys(), "")
	var challenge *TPMChallenge
	if !errors.As(err, &challenge) || challenge.KeyName != "registration" || !errors.Is(err, fault.UnauthorizedAccess) {
		h.t.Fatalf("got %v, want a challenge", err)
	}
	key, ok := tpm.activate(challenge.Activation)
	if !ok {
		h.t.Fatal("the TPM does not open its challenge")
	}
	return key
}

func (h *fixture) token(id, key string) string {
	h.t.Helper()
	token, err := credential.NewToken(scope+"/registrations/"+id, "registration", key, h.clock.Now().Add(time.Hour))
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

func TestTPM(t *testing.T) {
	h := newFixture(t, "hub.local")
	tpm := newSoftTPM(t)
	h.enroll(tpm.enrollment("Gateway-1"))
	if mechanism, err := h.Enrollments().AttestationMechanism(context.Background(), "gateway-1"); err != nil ||
		mechanism.TPM.EndorsementKey != tpm.endorsementPublic || mechanism.SymmetricKey != nil {
		t.Errorf("the mechanism is %+v, error %v", mechanism, err)
	}

	token := h.challenged("gateway-1", tpm)
	if attempts, err := h.Attempts().Find(context.Background(),
		attempts.Filter{RegistrationID: "gateway-1"}); err != nil || len(attempts) != 0 {
		t.Errorf("a challenge is no attempt, but there are %d, error %v", len(attempts), err)
	}
	h.reopen() // a challenge lives through a restart
	operation, err := h.registerTPM("gateway-1", tpm.keys(), token)
	if err != nil || operation.Status != StatusAssigned {
		t.Fatalf("got %+v, %v", operation, err)
	}
	key, ok := tpm.activate(operation.RegistrationState.TPM.AuthenticationKey)
	if admitted, there := h.hub(0).device("Gateway-1"); !ok || !there || admitted.PrimaryKey != key ||
		!credential.ValidKey(admitted.SecondaryKey) || admitted.SecondaryKey == key {
		t.Errorf("the hub was told %+v, the TPM has %s", admitted, key)
	}

	// The token stays good for asking how it went, and for nothing else.
	returning := h.OpenSession(scope, "gateway-1", credential.Evidence{Token: token, Protocol: "https"})
	polled, err := returning.Operation(context.Background(), operation.OperationID)
	if err != nil || polled.RegistrationState.TPM == nil {
		t.Fatalf("got %+v, %v", polled, err)
	}
	if again, ok := tpm.activate(polled.RegistrationState.TPM.AuthenticationKey); !ok || again != key {
		t.Error("the poll gives another key")
	}
	if _, err := returning.Register(context.Background(), nil); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("registered without the TPM's keys: %v", err)
	}

	// Again, after the TPM was cleared: the key in the hub stays.
	tpm.clear()
	if operation, err = h.registerTPM("gateway-1", tpm.keys(), h.challenged("gateway-1", tpm)); err != nil {
		t.Fatal(err)
	}
	if again, ok := tpm.activate(operation.RegistrationState.TPM.AuthenticationKey); !ok || again != key {
		t.Error("the key in the hub has changed")
	}
}

// A device that has to ask how its registration goes gets the key in the end.
func TestTPMPaced(t *testing.T) {
	h := newFixture(t, "hub.local")
	h.pace = Paced
	h.reopen()
	tpm := newSoftTPM(t)
	h.enroll(tpm.enrollment("gateway-1"))
	token := h.challenged("gateway-1", tpm)
	operation, err := h.registerTPM("gateway-1", tpm.keys(), token)
	for deadline := time.Now().Add(10 * time.Second); err == nil && operation.Status == StatusAssigning &&
		time.Now().Before(deadline); {
		operation, err = h.OpenSession(scope, "gateway-1",
			credential.Evidence{Token: token, Protocol: "https"}).Operation(context.Background(), operation.OperationID)
	}
	if err != nil || operation.Status != StatusAssigned || operation.RegistrationState.TPM == nil {
		t.Fatalf("got %+v, %v", operation, err)
	}
}

// Of the same answer sent many times at once, one counts.
func TestTPMAnswersRace(t *testing.T) {
	h := newFixture(t, "hub.local")
	tpm := newSoftTPM(t)
	h.enroll(tpm.enrollment("gateway-1"))
	for range 20 {
		token := h.challenged("gateway-1", tpm)
		var came atomic.Int32
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if _, err := h.registerTPM("gateway-1", tpm.keys(), token); err == nil {
					came.Add(1)
				} else if !errors.Is(err, fault.UnauthorizedAccess) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := came.Load(); n != 1 {
			t.Fatalf("%d came in", n)
		}
	}
}

func TestTPMRefusals(t *testing.T) {
	tpm, other := newSoftTPM(t), newSoftTPM(t)
	signing := tpm2.RSAEKTemplate
	signing.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: tpm.endorsement.N.Bytes()})
	signing.ObjectAttributes.SignEncrypt = true
	shown := func(change func(*attest.TPM)) func(h *fixture) (attest.TPM, string) {
		return func(h *fixture) (attest.TPM, string) {
			keys := tpm.keys()
			change(&keys)
			return keys, ""
		}
	}
	cut := func(text string) string { return text[:len(text)/8*4] }

	for _, c := range []struct {
		name       string
		change     func(*enroll.Enrollment)
		show       func(h *fixture) (attest.TPM, string)
		check      string // that fails
		saw        string // what it says
		challenged bool   // and may try again
	}{
		{"no endorsement key", nil, shown(func(k *attest.TPM) { k.EndorsementKey = "" }), "endorsement key",
			"TPM2B_PUBLIC", false},
		{"no storage root key", nil, shown(func(k *attest.TPM) { k.StorageRootKey = "" }), "storage root key",
			"TPM2B_PUBLIC", false},
		{"no base64", nil, shown(func(k *attest.TPM) { k.EndorsementKey = "?" }), "endorsement key", "base64", false},
		{"a key cut short", nil, shown(func(k *attest.TPM) { k.EndorsementKey = cut(k.EndorsementKey) }),
			"endorsement key", "first two bytes", false},
		{"a storage root key cut short", nil, shown(func(k *attest.TPM) { k.StorageRootKey = cut(k.StorageRootKey) }),
			"storage root key", "first two bytes", false},
		{"a key of a megabyte", nil, shown(func(k *attest.TPM) { k.EndorsementKey = strings.Repeat("A", 1<<20) }),
			"endorsement key", "longer than any", false},
		{"a key that signs", nil, shown(func(k *attest.TPM) { k.EndorsementKey = encoded(signing) }), "endorsement key",
			"attributes", false},
		{"another TPM", nil, func(h *fixture) (attest.TPM, string) { return other.keys(), "" },
			"enrolled endorsement key", "name", false},
		{"another storage root key than enrolled",
			func(e *enroll.Enrollment) { e.Attestation.TPM.StorageRootKey = encoded(other.storageRoot) },
			shown(func(*attest.TPM) {}), "enrolled storage root key", "name", false},
		{"the answer of another TPM", nil, func(h *fixture) (attest.TPM, string) {
			h.challenged("d1", tpm)
			return tpm.keys(), h.token("d1", credential.NewKey(32))
		}, "challenge", "another key", true},
		{"the answer to the challenge of another device with this TPM", nil, func(h *fixture) (attest.TPM, string) {
			h.enroll(tpm.enrollment("d2"))
			return tpm.keys(), h.token("d1", h.challengeKey("d2", tpm))
		}, "challenge", "another key", true},
		{"an answer twice", nil, func(h *fixture) (attest.TPM, string) {
			token := h.challenged("d1", tpm)
			if _, err := h.registerTPM("d1", tpm.keys(), token); err != nil {
				h.t.Fatal(err)
			}
			return tpm.keys(), token
		}, "challenge", "answered before", true},
		{"a challenge that expired", nil, func(h *fixture) (attest.TPM, string) {
			token := h.challenged("d1", tpm)
			h.clock.Advance(2 * attest.ChallengeTime)
			return tpm.keys(), token
		}, "challenge", "expired", true},
		{"another storage root key than challenged", nil, func(h *fixture) (attest.TPM, string) {
			if _, err := h.registerTPM("d1", tpm.keys(), h.challenged("d1", tpm)); err != nil {
				h.t.Fatal(err)
			}
			token := h.challenged("d1", tpm)
			swapped := *tpm
			swapped.clear()
			return swapped.keys(), token
		}, "challenge", "another storage root key", true},
		{"a token that expired", nil, func(h *fixture) (attest.TPM, string) {
			token := h.challenged("d1", tpm)
			h.clock.Advance(2 * time.Hour)
			return tpm.keys(), token
		}, "token expiry", "until", true},
		{"a token for another device", nil, func(h *fixture) (attest.TPM, string) {
			return tpm.keys(), h.token("d2", credential.NewKey(32))
		}, "token resource", "d2", true},
		{"a malformed token", nil, func(h *fixture) (attest.TPM, string) { return tpm.keys(), "Basic x" }, "token",
			"SharedAccessSignature", true},
		{"disabled", func(e *enroll.Enrollment) { e.ProvisioningStatus = enroll.Disabled },
			func(h *fixture) (attest.TPM, string) {
				return tpm.keys(), h.challenged("d1", tpm)
			}, "provisioning status", "disabled", true},
		{"enrolled with a symmetric key",
			func(e *enroll.Enrollment) { e.Attestation = enroll.AttestationMechanism{Type: "symmetricKey"} },
			shown(func(*attest.TPM) {}), "enrollment", "symmetric key", false},
		{"enrolled with a certificate",
			func(e *enroll.Enrollment) { e.Attestation = valid(t, "d1").enrollment().Attestation },
			shown(func(*attest.TPM) {}), "enrollment", "X.509", false},
		{"not enrolled", func(e *enroll.Enrollment) { e.RegistrationID = "d3" }, shown(func(*attest.TPM) {}),
			"enrollment", "none", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newFixture(t, "hub.local")
			enrollment := tpm.enrollment("d1")
			if c.change != nil {
				c.change(&enrollment)
			}
			h.enroll(enrollment)
			keys, token := c.show(h)
			_, err := h.registerTPM("d1", keys, token)
			if !errors.Is(err, fault.UnauthorizedAccess) {
				t.Fatalf("got %v, want a refusal", err)
			}
			var challenge *TPMChallenge
			if errors.As(err, &challenge) != c.challenged {
				t.Errorf("challenged: %t, want %t", !c.challenged, c.challenged)
			}
			attempt := h.lastAttempt("d1")
			failed, _ := attempt.Checks.Failed()
			if failed.Name != c.check || !strings.Contains(failed.Saw, c.saw) || failed.Advice == "" {
				t.Errorf("failed at %+v, want %q that saw %q", failed, c.check, c.saw)
			}
			if attempt.TrackingID != fault.From(err).TrackingID {
				t.Error("the attempt has another tracking id than the device")
			}
		})
	}
}

// Over MQTT a device can't be challenged, and is told so.
func TestTPMOverMQTT(t *testing.T) {
	h := newFixture(t, "hub.local")
	tpm := newSoftTPM(t)
	h.enroll(tpm.enrollment("d1"))
	for check, body := range map[string]string{
		"protocol":           `{"tpm":{"endorsementKey":"` + tpm.endorsementPublic + `"}}`,
		"client certificate": `{}`,
	} {
		_, err := h.OpenSession(scope, "d1", credential.Evidence{Protocol: "mqtt"}).Register(context.Background(),
			[]byte(body))
		if failed, _ := h.lastAttempt("d1").Checks.Failed(); !errors.Is(err, fault.UnauthorizedAccess) ||
			failed.Name != check {
			t.Errorf("got %v at %+v, want %q", err, failed, check)
		}
	}
	_, err := h.OpenSession(scope, "d1",
		credential.Evidence{Protocol: "mqtt",
			Token: h.token("d1", credential.NewKey(32))}).Register(context.Background(), nil)
	if failed, _ := h.lastAttempt("d1").Checks.Failed(); !errors.Is(err, fault.UnauthorizedAccess) ||
		failed.Name != "TPM" {
		t.Errorf("got %v at %+v, want the TPM", err, failed)
	}
}

// A device that shows a TPM beside what it is enrolled with comes in by that.
func TestTPMBesideACertificate(t *testing.T) {
	h := newFixture(t, "hub.local")
	device := valid(t, "d1")
	h.enroll(device.enrollment())
	operation, err := h.OpenSession(scope, "d1", device.evidence).Register(context.Background(),
		[]byte(`{"tpm":{"endorsementKey":"AA=="}}`))
	if err != nil || operation.RegistrationState.TPM != nil || operation.RegistrationState.X509 == nil {
		t.Errorf("got %+v, %v", operation.RegistrationState, err)
	}
}

func TestNoGroupOfTPMs(t *testing.T) {
	h := newFixture(t, "hub.local")
	_, err := h.Groups().Put(context.Background(),
		enroll.Group{EnrollmentGroupID: "g",
			Settings: enroll.Settings{Attestation: newSoftTPM(t).enrollment("d").Attestation}}, "")
	if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), "one by one") {
		t.Errorf("got %v", err)
	}
}
