package rest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
)

// A device with an enrolled TPM is challenged in the form that device SDKs read:
// a refusal with authenticationKey and keyName.
func TestTPMChallenge(t *testing.T) {
	h := newFixture(t)
	public := tpm2.RSAEKTemplate
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA,
		&tpm2.TPM2BPublicKeyRSA{Buffer: bytes.Repeat([]byte{0xff}, 256)})
	key := base64.StdEncoding.EncodeToString(tpm2.Marshal(tpm2.New2B(public)))

	enrollment := fmt.Sprintf(`{"registrationId":"d1","attestation":{"type":"tpm","tpm":{"endorsementKey":%q}}}`, key)
	for _, path := range []httpstest.Request{
		{Method: "PUT", Path: "/enrollments/d1", Body: enrollment},
		{Method: "GET", Path: "/enrollments/d1"},
		{Method: "POST", Path: "/enrollments/d1/attestationmechanism"},
	} {
		path.Token = h.DPSToken()
		if got := h.Do(path); got.Status != 200 || !strings.Contains(got.Text,
			fmt.Sprintf(`"type":"tpm","tpm":{"endorsementKey":%q}`, key)) {
			t.Errorf("%s %s is answered %d %s", path.Method, path.Path, got.Status, got.Text)
		}
	}

	ask := func(key string) httpstest.Response {
		return h.Do(httpstest.Request{Method: "PUT", Path: "/" + httpstest.Scope + "/registrations/d1/register",
			Body: fmt.Sprintf(`{"registrationId":"d1","tpm":{"endorsementKey":%q,"storageRootKey":%q}}`, key, key)})
	}
	got := ask(key)
	var body struct {
		ErrorCode                    int
		TrackingID, Message, KeyName string
		AuthenticationKey            []byte
	}
	if err := json.Unmarshal([]byte(got.Text), &body); err != nil {
		t.Fatalf("%s: %v", got.Text, err)
	}
	if got.Status != 401 || got.Header.Get("x-ms-error-code") != "401002" || got.Header.Get("WWW-Authenticate") == "" ||
		got.Header.Get("x-ms-request-id") != body.TrackingID ||
		body.ErrorCode != 401002 || body.TrackingID == "" || body.Message == "" || body.KeyName != "registration" ||
		len(body.AuthenticationKey) < 400 {
		t.Errorf("answered %d %v %s", got.Status, got.Header, got.Text)
	}
	other := strings.Replace(key, "////", "//7/", 1)
	if got := ask(other); got.Status != 401 || strings.Contains(got.Text, "authenticationKey") {
		t.Errorf("another TPM is answered %d %s", got.Status, got.Text)
	}
}
