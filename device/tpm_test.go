package device

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
)

// noTPM answers no command. What a TPM does takes one: conformance/tpm_test.go.
type noTPM struct{}

func (noTPM) Send([]byte) ([]byte, error) { return nil, errors.New("no TPM here") }

func unreachableTPM() *TPM {
	return &TPM{through: noTPM{}, endorsement: loaded{public: []byte("endorsement")},
		storageRoot: loaded{public: []byte("storage root")}}
}

func TestSplitActivation(t *testing.T) {
	whole := []byte("\x00\x01a\x00\x02bb\x00\x03ccc\x00\x00\x00\x04dddd\x00\x00")
	got, err := splitActivation(whole)
	if err != nil || string(got.idObject) != "a" || string(got.secret) != "bb" || string(got.private) != "ccc" ||
		len(got.seed) != 0 || string(got.public) != "dddd" {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range len(whole) - 2 { // the last part is for nobody
		if _, err := splitActivation(whole[:n]); err == nil {
			t.Errorf("%d bytes of %d are taken", n, len(whole))
		}
	}
}

func TestTPMWithoutAKey(t *testing.T) {
	if _, err := OpenTPM(noTPM{}, TPMRSA); err == nil || !strings.Contains(err.Error(), "endorsement key") {
		t.Errorf("opened a TPM that is not there: %v", err)
	}
	tpm := unreachableTPM()
	if id := tpm.RegistrationID(); len(id) != 52 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		t.Errorf("the registration id is %q", id)
	}
	if _, err := Connect(t.Context(), HubOptions{Host: "127.0.0.1", DeviceID: "d1", TPM: tpm}); err == nil ||
		!strings.Contains(err.Error(), "register first") {
		t.Errorf("connected without a key: %v", err)
	}
}

// TestProvisionTPMAnswers lets a service say what a device with a TPM does not
// expect.
func TestProvisionTPMAnswers(t *testing.T) {
	tpm := unreachableTPM()
	for name, c := range map[string]struct {
		status int
		body   string
		says   string
		code   fault.Code
	}{
		"refused":        {401, `{"errorCode":401002,"message":"go away"}`, "go away", 401002},
		"throttled":      {429, `{"errorCode":429001,"message":"slower"}`, "slower", 429001},
		"not challenged": {202, `{"operationId":"o","status":"assigning"}`, "does not challenge", 0},
		"challenged with junk": {401, `{"errorCode":401002,"message":"x","authenticationKey":"AAAA"}`, "ends too early",
			0},
		"for another TPM": {401, `{"errorCode":401002,"message":"x","authenticationKey":"AAAAAAAAAAAAAA=="}`,
			"does not open", 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var body struct {
					RegistrationID string
					TPM            struct{ EndorsementKey, StorageRootKey string }
				}
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Method != "PUT" ||
					r.URL.Path != "/0ne1/registrations/d1/register" ||
					r.Header.Get("Authorization") != "" || body.RegistrationID != "d1" ||
					body.TPM.EndorsementKey != base64.StdEncoding.EncodeToString([]byte("endorsement")) ||
					body.TPM.StorageRootKey != base64.StdEncoding.EncodeToString([]byte("storage root")) {
					t.Errorf("asked %s %s with %+v, %v", r.Method, r.URL, body, err)
				}
				w.WriteHeader(c.status)
				w.Write([]byte(c.body))
			}))
			defer server.Close()
			options := ProvisioningOptions{Host: server.Listener.Addr().String(), IDScope: "0ne1", RegistrationID: "d1",
				TPM: tpm, RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
			_, err := Provision(context.Background(), options)
			var refusal *fault.Error
			if err == nil || !strings.Contains(err.Error(), c.says) || errors.As(err, &refusal) != (c.code != 0) ||
				refusal != nil && refusal.Code != c.code {
				t.Errorf("got %v, want %d and %q", err, c.code, c.says)
			}
		})
	}
	if _, err := Provision(context.Background(), ProvisioningOptions{Host: "127.0.0.1:1", TPM: tpm}); err == nil ||
		!strings.Contains(err.Error(), "ask the provisioning service") {
		t.Errorf("got %v", err)
	}
}
