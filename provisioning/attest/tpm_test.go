package attest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"

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
		"RSA":                  {publicArea(t, tpm2.RSAEKTemplate, nil), ""},
		"RSA, a storage root":  {publicArea(t, tpm2.RSASRKTemplate, nil), ""},
		"EC":                   {publicArea(t, tpm2.ECCEKTemplate, nil), ""},
		"EC, a storage root":   {publicArea(t, tpm2.ECCSRKTemplate, nil), ""},
		"nothing":              {"", "no TPM2B_PUBLIC"},
		"no base64":            {"%%%%", "not base64"},
		"too long":             {strings.Repeat("A", 4<<10), "longer than any"},
		"size alone":           {sized(nil), "public area can't be read"},
		"cut":                  {base64.StdEncoding.EncodeToString(whole[:100]), "first two bytes"},
		"cut, the size right":  {sized(whole[2:100]), "public area can't be read"},
		"something follows":    {sized(append(bytes.Clone(whole[2:]), 0)), "something follows"},
		"of an unknown kind":   {sized(append([]byte{0xff, 0xff}, whole[4:]...)), "public area can't be read"},
		"not restricted":       {publicArea(t, tpm2.RSAEKTemplate, func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Restricted = false }), "attributes"},
		"does not decrypt":     {publicArea(t, tpm2.RSAEKTemplate, func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Decrypt = false }), "attributes"},
		"may leave its TPM":    {publicArea(t, tpm2.RSAEKTemplate, func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedTPM = false }), "attributes"},
		"may change parents":   {publicArea(t, tpm2.RSAEKTemplate, func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedParent = false }), "attributes"},
		"named by SHA-1":       {publicArea(t, tpm2.RSAEKTemplate, func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgSHA1 }), "SHA-1"},
		"without a name":       {publicArea(t, tpm2.RSAEKTemplate, func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgNull }), "name algorithm"},
		"1024 bits":            {publicArea(t, tpm2.RSAEKTemplate, func(p *tpm2.TPMTPublic) { p.Unique = modulus(0xff, 128) }), "2048 bits"},
		"leading zeros":        {publicArea(t, tpm2.RSAEKTemplate, func(p *tpm2.TPMTPublic) { p.Unique = modulus(0x01, 256) }), "2048 bits"},
		"an even modulus":      {publicArea(t, tpm2.RSAEKTemplate, func(p *tpm2.TPMTPublic) { p.Unique = modulus(0xfe, 256) }), "2048 bits"},
		"a point off the line": {publicArea(t, tpm2.ECCEKTemplate, func(p *tpm2.TPMTPublic) { p.Unique = tpm2.ECCEKTemplate.Unique }), "NIST curves"},
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
		text := base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint16(nil, uint16(len(area))), area...))
		if key, err := ParseEndorsementKey(text); err == nil {
			if _, err := Activation(key, key, make([]byte, 32)); err != nil {
				t.Errorf("nothing can be enclosed for a key that is taken: %v", err)
			}
		}
	})
}
