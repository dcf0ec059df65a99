package rest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// A device with an enrolled TPM is challenged in the form that device SDKs read:
// a refusal with authenticationKey and keyName.
func TestADeviceWithATPMIsChallenged(t *testing.T) {
	h := newHouse(t)
	public := tpm2.RSAEKTemplate
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: bytes.Repeat([]byte{0xff}, 256)})
	key := base64.StdEncoding.EncodeToString(tpm2.Marshal(tpm2.New2B(public)))

	enrollment := fmt.Sprintf(`{"registrationId":"d1","attestation":{"type":"tpm","tpm":{"endorsementKey":%q}}}`, key)
	for _, path := range []request{
		{method: "PUT", path: "/enrollments/d1", body: enrollment},
		{method: "GET", path: "/enrollments/d1"},
		{method: "POST", path: "/enrollments/d1/attestationmechanism"},
	} {
		path.token = h.dpsToken()
		if got := h.do(path); got.status != 200 || !strings.Contains(got.text, fmt.Sprintf(`"type":"tpm","tpm":{"endorsementKey":%q}`, key)) {
			t.Errorf("%s %s is answered %d %s", path.method, path.path, got.status, got.text)
		}
	}

	ask := func(key string) response {
		return h.do(request{method: "PUT", path: "/" + scope + "/registrations/d1/register",
			body: fmt.Sprintf(`{"registrationId":"d1","tpm":{"endorsementKey":%q,"storageRootKey":%q}}`, key, key)})
	}
	got := ask(key)
	var body struct {
		ErrorCode                    int
		TrackingID, Message, KeyName string
		AuthenticationKey            []byte
	}
	if err := json.Unmarshal([]byte(got.text), &body); err != nil {
		t.Fatalf("%s: %v", got.text, err)
	}
	if got.status != 401 || got.header.Get("x-ms-error-code") != "401002" || got.header.Get("WWW-Authenticate") == "" || got.header.Get("x-ms-request-id") != body.TrackingID ||
		body.ErrorCode != 401002 || body.TrackingID == "" || body.Message == "" || body.KeyName != "registration" || len(body.AuthenticationKey) < 400 {
		t.Errorf("answered %d %v %s", got.status, got.header, got.text)
	}
	other := strings.Replace(key, "////", "//7/", 1)
	if got := ask(other); got.status != 401 || strings.Contains(got.text, "authenticationKey") {
		t.Errorf("another TPM is answered %d %s", got.status, got.text)
	}
}
