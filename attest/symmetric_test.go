package attest

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
)

var (
	ownKey   = base64.StdEncoding.EncodeToString([]byte("the device's own key, of 32 byte"))
	otherKey = base64.StdEncoding.EncodeToString([]byte("a key that somebody else has got"))
)

func token(t *testing.T, resource, keyName, key string, expiry time.Time) string {
	t.Helper()
	made, err := credential.NewToken(resource, keyName, key, expiry)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestTokens(t *testing.T) {
	const own = "0ne1/registrations/Meter-1"
	soon := noon.Add(time.Hour)
	for name, test := range map[string]struct {
		token string
		check string // that fails; "" for a token that passes
		told  string
	}{
		"the primary key":        {token(t, own, "registration", ownKey, soon), "", ""},
		"the secondary key":      {token(t, own, "registration", otherKey, soon), "", ""},
		"without a key name":     {token(t, own, "", ownKey, soon), "", ""},
		"an id in another case":  {token(t, "0NE1/registrations/METER-1", "registration", ownKey, soon), "", ""},
		"a clock that runs late": {token(t, own, "", ownKey, noon.Add(-time.Minute)), "", ""},
		"malformed":              {"SharedAccessSignature sr=x", "token", "malformed"},
		"another scope": {token(t, "0ne2/registrations/Meter-1", "", ownKey, soon), "token resource",
			"is for"},
		"another device": {token(t, "0ne1/registrations/Meter-2", "", ownKey, soon), "token resource", "Meter-2"},
		"a hub":          {token(t, "hub.example/devices/Meter-1", "", ownKey, soon), "token resource", "hub.example"},
		"a policy": {token(t, own, "provisioningserviceowner", ownKey, soon), "token key name",
			"provisioningserviceowner"},
		"expired":     {token(t, own, "", ownKey, noon.Add(-time.Hour)), "token expiry", "expired"},
		"a third key": {token(t, own, "", DeriveKey(ownKey, "Meter-1"), soon), "token signature", "tracking id"},
	} {
		t.Run(name, func(t *testing.T) {
			evidence := Evidence{IDScope: "0ne1", RegistrationID: "Meter-1",
				Evidence: credential.Evidence{Token: test.token}}
			var trace Trace
			refusal, ok := Sound(&trace, evidence, noon)
			if ok {
				refusal, ok = Signed(&trace, evidence, noon, ownKey, otherKey)
			}
			failed, _ := trace.Failed()
			switch {
			case test.check == "" && !ok:
				t.Errorf("refused: %s, %+v", refusal, failed)
			case test.check == "":
			case ok || failed.Name != test.check || failed.Advice == "" ||
				!strings.Contains(string(refusal), test.told):
				t.Errorf("passed: %v, check %+v, told %q; want check %q", ok, failed, refusal, test.check)
			}
			for _, check := range trace {
				if strings.Contains(check.Saw+check.Expected, "sig=") || strings.Contains(check.Saw, ownKey) {
					t.Errorf("a secret stands in the trace: %+v", check)
				}
			}
		})
	}
}

// TestDeriveKey holds it against a known answer of HMAC-SHA256.
func TestDeriveKey(t *testing.T) {
	group := base64.StdEncoding.EncodeToString([]byte("key"))
	const want = "97yD9DBThCSxMpjmqm+xQ+9NWaFJRhdZl0edvC0aPNg="
	if got := DeriveKey(group, "The quick brown fox jumps over the lazy dog"); got != want {
		t.Errorf("derived %s, want %s", got, want)
	}
	if DeriveKey(group, "Meter-1") == DeriveKey(group, "meter-1") {
		t.Error("the case of the registration id makes no difference")
	}
	if got := DeriveKey("not base64!", "Meter-1"); got != "" {
		t.Errorf("from a key that is none: %q", got)
	}
}
