package attest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// A device with a TPM proves that it has the enrolled endorsement key by using
// another key: the service encloses an HMAC key so that only the TPM with that
// endorsement key, holding the storage root key that was shown, can import it
// (TPM2_ActivateCredential, TPM2_Import). The device signs its token with the
// imported key. Nothing is kept of a challenge: its key is derived anew when the
// answer comes.

// TPM is what a device shows of its TPM: the public areas of two keys, base64 of
// a TPM2B_PUBLIC (Azure, concepts-tpm-attestation).
type TPM struct {
	EndorsementKey string `json:"endorsementKey"`
	StorageRootKey string `json:"storageRootKey"`
}

// ChallengeTime is how long the answer to a challenge is taken at least; at most
// it is twice as long.
const ChallengeTime = 5 * time.Minute

// maxTPMKey bounds a TPM2B_PUBLIC in bytes; one with RSA of 4096 bits has about
// 600.
const maxTPMKey = 1 << 10

// TPMKey is the public area of an endorsement or storage root key.
type TPMKey struct {
	area []byte // TPMT_PUBLIC, in its only encoding
	name []byte // TPM2B_NAME without its size
	seal tpm2.LabeledEncapsulationKey
}

// Is reports whether two public areas are the same.
func (k *TPMKey) Is(other *TPMKey) bool { return bytes.Equal(k.area, other.area) }

// String describes the key for a trace.
func (k *TPMKey) String() string { return fmt.Sprintf("name %X", k.name) }

// ParseTPMKey reads an endorsement or storage root key: base64 of a
// TPM2B_PUBLIC. Its errors say what is wrong.
func ParseTPMKey(text string) (*TPMKey, error) {
	if len(text) > base64.StdEncoding.EncodedLen(maxTPMKey) {
		return nil, errors.New("it is longer than any such key")
	}
	encoded, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
		return nil, errors.New("it is not base64")
	case len(encoded) < 2 || int(binary.BigEndian.Uint16(encoded)) != len(encoded)-2:
		return nil, errors.New("it is not a TPM2B_PUBLIC: the size in its first two bytes is not that of the rest")
	}
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](encoded[2:])
	if err != nil {
		return nil, errors.New("it is not a TPM2B_PUBLIC: its public area can't be read")
	}
	if !bytes.Equal(tpm2.Marshal(area), encoded[2:]) {
		return nil, errors.New("it is not a TPM2B_PUBLIC: something follows its public area")
	}
	has := area.ObjectAttributes
	if !has.Restricted || !has.Decrypt || has.SignEncrypt || !has.FixedTPM || !has.FixedParent {
		return nil, errors.New("its attributes are not those of an endorsement or storage root key: " +
			"restricted, decrypt, fixedTPM and fixedParent")
	}
	if area.NameAlg == tpm2.TPMAlgSHA1 {
		return nil, errors.New("its name is a SHA-1 digest, which can be forged")
	}
	name, err := tpm2.ObjectName(area)
	if err != nil {
		return nil, errors.New("its name algorithm is not known")
	}
	if err := checkStrength(area); err != nil {
		return nil, err
	}
	seal, err := tpm2.ImportEncapsulationKey(area)
	if err != nil {
		return nil, errors.New("it is neither RSA nor a point on the NIST curves P-256, P-384 and P-521")
	}
	return &TPMKey{encoded[2:], name.Buffer, seal}, nil
}

// checkStrength refuses RSA keys that a TPM would not make.
func checkStrength(area *tpm2.TPMTPublic) error {
	if area.Type != tpm2.TPMAlgRSA {
		return nil
	}
	parameters, err := area.Parameters.RSADetail()
	if err != nil {
		return err
	}
	modulus, err := area.Unique.RSA()
	if err != nil {
		return err
	}
	size := len(modulus.Buffer)
	if size < 256 || size != int(parameters.KeyBits)/8 || modulus.Buffer[0]&0x80 == 0 || modulus.Buffer[size-1]&1 == 0 {
		return errors.New("its RSA modulus is not an odd number of 2048 bits or more, as long as it says")
	}
	if parameters.Exponent != 0 && parameters.Exponent != 65537 {
		return errors.New("its RSA exponent is not 65537")
	}
	return nil
}

// ParseEndorsementKey reads an endorsement key, and makes sure that something can
// be sealed to it.
func ParseEndorsementKey(text string) (*TPMKey, error) {
	key, err := ParseTPMKey(text)
	if err != nil {
		return nil, err
	}
	if _, _, err := tpm2.CreateCredential(rand.Reader, key.seal, key.name, make([]byte, 16)); err != nil {
		return nil, errors.New("nothing can be sealed to it, as it does not use AES in CFB mode")
	}
	return key, nil
}

// Activation encloses an HMAC-SHA256 key of at most 64 bytes for the TPM with
// this endorsement key that holds this storage root key. The parts are, as the
// device SDKs take them: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, which hold
// an AES key; TPM2B_PRIVATE, the HMAC key wrapped with it for TPM2_Import; an
// empty TPM2B_ENCRYPTED_SECRET, as there is no outer wrapper; TPM2B_PUBLIC of the
// HMAC key; an empty TPM2B_DATA.
func Activation(endorsement, storageRoot *TPMKey, key []byte) ([]byte, error) {
	var random [16 + sha256.Size]byte
	rand.Read(random[:]) // never fails, see crypto/rand
	wrapping, obfuscation := random[:16], random[16:]
	idObject, secret, err := tpm2.CreateCredential(rand.Reader, endorsement.seal, storageRoot.name, wrapping)
	if err != nil {
		return nil, fmt.Errorf("seal to the endorsement key: %w", err)
	}
	public := hmacKey(key, obfuscation)
	name, err := tpm2.ObjectName(&public)
	if err != nil {
		return nil, err
	}
	private, err := wrap(wrapping, name.Buffer, tpm2.TPMTSensitive{
		SensitiveType: tpm2.TPMAlgKeyedHash,
		SeedValue:     tpm2.TPM2BDigest{Buffer: obfuscation},
		Sensitive:     tpm2.NewTPMUSensitiveComposite(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BSensitiveData{Buffer: key}),
	})
	if err != nil {
		return nil, err
	}
	var blob []byte
	for _, part := range [][]byte{idObject, secret, private, nil, tpm2.Marshal(public), nil} {
		blob = append(binary.BigEndian.AppendUint16(blob, uint16(len(part))), part...)
	}
	return blob, nil
}

// hmacKey is the public area of an HMAC key. It may be imported, so it is fixed
// to no TPM; without a policy nothing can duplicate it further.
func hmacKey(key, obfuscation []byte) tpm2.TPMTPublic {
	unique := sha256.New()
	unique.Write(obfuscation)
	unique.Write(key)
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgKeyedHash,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{UserWithAuth: true, NoDA: true, SignEncrypt: true},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{
			Scheme: tpm2.TPMTKeyedHashScheme{
				Scheme: tpm2.TPMAlgHMAC,
				Details: tpm2.NewTPMUSchemeKeyedHash(tpm2.TPMAlgHMAC,
					&tpm2.TPMSSchemeHMAC{HashAlg: tpm2.TPMAlgSHA256}),
			},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{Buffer: unique.Sum(nil)}),
	}
}

// wrap makes the inner wrapper of a duplicated object (TPM 2.0 part 1,
// "Protection of duplicated objects").
func wrap(key, name []byte, sensitive tpm2.TPMTSensitive) ([]byte, error) {
	inner := tpm2.Marshal(tpm2.New2B(sensitive))
	integrity := sha256.New()
	integrity.Write(inner)
	integrity.Write(name)
	plain := append(tpm2.Marshal(tpm2.TPM2BDigest{Buffer: integrity.Sum(nil)}), inner...)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	// The TPM specification prescribes CFB; the integrity value authenticates.
	//lint:ignore SA1019 there is no other way to speak to a TPM
	cipher.NewCFBEncrypter(block, make([]byte, block.BlockSize())).XORKeyStream(plain, plain)
	return plain, nil
}

// Challenge is what the key of a challenge is derived from. Each is good for one
// answer: with it, Answered changes.
type Challenge struct {
	Secret         []byte // of the service
	RegistrationID string
	Endorsement    *TPMKey
	StorageRoot    *TPMKey
	Answered       int // challenges that the device has answered before
}

// Key returns the HMAC key of the challenge, as the device is given it now.
func (c Challenge) Key(now time.Time) []byte { return c.key(period(now)) }

func period(now time.Time) int64 { return now.Unix() / int64(ChallengeTime/time.Second) }

func (c Challenge) key(period int64) []byte {
	numbers := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(c.Answered)), uint64(period))
	return derive(c.Secret, []byte("challenge"), []byte(strings.ToLower(c.RegistrationID)),
		c.Endorsement.name, c.StorageRoot.name, numbers)
}

// HubKeys returns the keys, of 32 bytes, that a device with a TPM has in its hub;
// it is given the primary one. They stay the same as long as its endorsement key.
func HubKeys(secret []byte, registrationID string, endorsement *TPMKey) (primary, secondary []byte) {
	id := []byte(strings.ToLower(registrationID))
	primary = derive(secret, []byte("primary hub key"), id, endorsement.name)
	secondary = derive(secret, []byte("secondary hub key"), id, endorsement.name)
	return primary, secondary
}

// derive returns the HMAC-SHA256 of the parts, each with its length.
func derive(secret []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// signed reports whether the token was made with the key of this challenge as it
// was one of some periods ago, from the first to the last.
func (c Challenge) signed(token *credential.Token, now time.Time, first, last int64) bool {
	for ago := first; ago <= last; ago++ {
		if token.SignedBy(base64.StdEncoding.EncodeToString(c.key(period(now) - ago))) {
			return true
		}
	}
	return false
}

// checkTPM judges by itself what a device shows of its TPM.
func checkTPM(trace *Trace, evidence Evidence) (endorsement, storageRoot *TPMKey, _ Refusal, _ bool) {
	if evidence.Protocol != "https" {
		trace.Fail("protocol", fault.Say("%s", evidence.Protocol), fault.Say("%s", "https"),
			fault.Say("Let the device register over HTTPS: MQTT has no way to give it a challenge"))
		return nil, nil, "TPM attestation is offered over HTTPS only", false
	}
	endorsement, err := ParseTPMKey(evidence.TPM.EndorsementKey)
	if err != nil {
		trace.Fail("endorsement key", fault.TextOf(err), fault.Say("base64 of a TPM2B_PUBLIC"),
			fault.Say("Let the device SDK read the endorsement key from the TPM"))
		return nil, nil, Refusal(fmt.Sprintf("The endorsement key is malformed: %v", err)), false
	}
	trace.Pass("endorsement key", "%s", endorsement)
	storageRoot, err = ParseTPMKey(evidence.TPM.StorageRootKey)
	if err != nil {
		trace.Fail("storage root key", fault.TextOf(err), fault.Say("base64 of a TPM2B_PUBLIC"),
			fault.Say("Let the device SDK read the storage root key from the TPM"))
		return nil, nil, Refusal(fmt.Sprintf("The storage root key is malformed: %v", err)), false
	}
	trace.Pass("storage root key", "%s", storageRoot)
	return endorsement, storageRoot, "", true
}

// EnrolledTPM judges whether the keys that a device shows are those of its
// enrollment, of which storageRootKey may be empty. It returns them.
func EnrolledTPM(
	trace *Trace, evidence Evidence, endorsementKey, storageRootKey string,
) (endorsement, storageRoot *TPMKey, _ Refusal, _ bool) {
	if evidence.TPM == nil {
		trace.Fail("TPM", fault.Say("no keys of a TPM, by %s", evidence.Protocol),
			fault.Say("tpm.endorsementKey and tpm.storageRootKey in the register request, over https"),
			fault.Say("Let the device register with its TPM over HTTPS, or enroll it with what it has"))
		return nil, nil, NotAdmitted, false
	}
	shown := *trace
	endorsement, storageRoot, refusal, ok := checkTPM(&shown, evidence)
	if len(evidence.Certificates) > 0 || evidence.Token != "" || !ok { // else Sound has looked at them
		*trace = shown
	}
	if !ok {
		return nil, nil, refusal, false
	}
	if enrolled, err := ParseTPMKey(endorsementKey); err != nil || !enrolled.Is(endorsement) {
		trace.Fail("enrolled endorsement key", fault.Say("%s", endorsement), fault.Say("%v", enrolled),
			fault.Say("The device has another TPM than the enrollment, or its TPM was replaced. "+
				"Enroll the endorsement key it has"))
		return nil, nil, NotAdmitted, false
	}
	trace.Pass("enrolled endorsement key", "%s", endorsement)
	if storageRootKey == "" {
		return endorsement, storageRoot, "", true
	}
	if enrolled, err := ParseTPMKey(storageRootKey); err != nil || !enrolled.Is(storageRoot) {
		trace.Fail("enrolled storage root key", fault.Say("%s", storageRoot), fault.Say("%v", enrolled),
			fault.Say("The TPM was cleared since, or it is another. Enroll the storage root key it has, or none"))
		return nil, nil, NotAdmitted, false
	}
	trace.Pass("enrolled storage root key", "%s", storageRoot)
	return endorsement, storageRoot, "", true
}

// Answers judges whether the device's token was made with the key of its
// challenge. before is the challenge with the storage root key that the device
// had when it last came in, which may be nil.
func Answers(trace *Trace, evidence Evidence, now time.Time, challenge Challenge, before *TPMKey) (Refusal, bool) {
	if len(evidence.Certificates) > 0 { // then the token was not looked at yet
		if refusal, ok := checkToken(trace, evidence, now); !ok {
			return refusal, false
		}
	}
	token, err := credential.ParseToken(evidence.Token)
	if err != nil {
		return Refusal(fmt.Sprintf("The shared access signature is malformed: %v", err)), false
	}
	const hour = int64(time.Hour / ChallengeTime)
	used, other := challenge, challenge
	used.Answered--
	other.StorageRoot = before
	expected := fault.Say("made with the key of a challenge of the last %d minutes", 2*int(ChallengeTime/time.Minute))
	switch {
	case challenge.signed(token, now, 0, 1):
		trace.Pass("challenge", "answered with the key that was enclosed for this TPM")
		return "", true
	case challenge.signed(token, now, 2, hour):
		trace.Fail("challenge", fault.Say("the answer to a challenge that has expired"), expected,
			fault.Say("Let the device ask for a new challenge: register without a token"))
		return "The challenge has expired. Answer the new one", false
	case used.signed(token, now, 0, hour):
		trace.Fail("challenge", fault.Say("the answer to a challenge that was answered before"),
			fault.Say("an answer of its own for each registration"),
			fault.Say("A device that registers again is given a new challenge. "+
				"If this device did not send it twice, somebody has copied its token"))
		return "The challenge was answered before. Answer the new one", false
	case before != nil && !before.Is(challenge.StorageRoot) && other.signed(token, now, 0, hour):
		trace.Fail("challenge", fault.Say("the answer to a challenge for another storage root key"), expected,
			fault.Say("The device shows another storage root key than when it was given the challenge. "+
				"Restart the registration"))
		return "The challenge was for another storage root key. Answer the new one", false
	}
	trace.Fail("challenge", fault.Say("made with another key"), expected,
		fault.Say("Only the TPM with the enrolled endorsement key can open the challenge. "+
			"This answer comes from another TPM, or is older than an hour"))
	return NotAdmitted, false
}

// Answered judges a token by which a device that came in asks how its
// registration goes: it was made with the key of the challenge that it answered
// last. challenge is that one.
func Answered(trace *Trace, evidence Evidence, now time.Time, challenge Challenge) (Refusal, bool) {
	if len(evidence.Certificates) > 0 {
		if refusal, ok := checkToken(trace, evidence, now); !ok {
			return refusal, false
		}
	}
	if token, err := credential.ParseToken(evidence.Token); err == nil && challenge.signed(token, now, 0, 2) {
		trace.Pass("challenge", "the token with which the device came in")
		return "", true
	}
	trace.Fail("challenge", fault.Say("made with another key"),
		fault.Say("the token with which the device came in, for some minutes"),
		fault.Say("Let the device register again"))
	return NotAdmitted, false
}
