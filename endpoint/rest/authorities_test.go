package rest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
)

// TestAuthorityInUse deletes an authority that a group names: it is refused, with who
// names it, and done when it is asked for by force.
func TestAuthorityInUse(t *testing.T) {
	h := newHouse(t)
	token := h.dpsToken()
	made, err := credential.NewAuthority("Factory", time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := made.PEM()
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"certificate": string(certificate), "isVerified": true})
	if err != nil {
		t.Fatal(err)
	}
	const one = "/berth/provisioning/certificates/factory"
	disabled := `{"enrollmentGroupId":"line-7","provisioningStatus":"disabled",` +
		`"attestation":{"type":"x509","x509":{"caReferences":{"primary":"factory"}}}}`
	for _, c := range []struct {
		request
		status int
		says   string
	}{
		{request{method: "PUT", path: one, body: string(body)}, 200, `"isVerified":true`},
		{request{method: "PUT", path: "/enrollmentGroups/line-7", body: strings.Replace(disabled, "disabled", "enabled",
			1)}, 200, "factory"},
		{request{method: "DELETE", path: one}, 409, "line-7"},
		{request{method: "DELETE", path: one + "?force=false"}, 409, "409000"},
		{request{method: "GET", path: one}, 200, "factory"},
		{request{method: "DELETE", path: one + "?force=true"}, 204, ""},
		{request{method: "GET", path: one}, 404, "404000"},
		{request{method: "PUT", path: "/enrollmentGroups/line-7", body: disabled,
			header: map[string][]string{"If-Match": {"*"}}}, 200, "disabled"},
		{request{method: "PUT", path: "/enrollmentGroups/line-8", body: strings.ReplaceAll(disabled, "line-7", "line-8")},
			400, "no certificate authority"},
	} {
		c.token = token
		if got := h.do(c.request); got.status != c.status || !strings.Contains(got.text, c.says) {
			t.Errorf("%s %s is answered %d %s, want %d that says %q", c.method, c.path, got.status, got.text, c.status, c.says)
		}
	}
}
