package own

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
)

// TestAuthorityInUse deletes an authority that a group names: it is refused, with who
// names it, and done when it is asked for by force.
func TestAuthorityInUse(t *testing.T) {
	h := newFixture(t)
	token := h.DPSToken()
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
		httpstest.Request
		status int
		says   string
	}{
		{httpstest.Request{Method: "PUT", Path: one, Body: string(body)}, 200, `"isVerified":true`},
		{httpstest.Request{Method: "PUT", Path: "/enrollmentGroups/line-7", Body: strings.Replace(disabled,
			"disabled", "enabled",
			1)}, 200, "factory"},
		{httpstest.Request{Method: "DELETE", Path: one}, 409, "line-7"},
		{httpstest.Request{Method: "DELETE", Path: one + "?force=false"}, 409, "409000"},
		{httpstest.Request{Method: "GET", Path: one}, 200, "factory"},
		{httpstest.Request{Method: "DELETE", Path: one + "?force=true"}, 204, ""},
		{httpstest.Request{Method: "GET", Path: one}, 404, "404000"},
		{httpstest.Request{Method: "PUT", Path: "/enrollmentGroups/line-7", Body: disabled,
			Header: map[string][]string{"If-Match": {"*"}}}, 200, "disabled"},
		{httpstest.Request{Method: "PUT", Path: "/enrollmentGroups/line-8", Body: strings.ReplaceAll(disabled,
			"line-7", "line-8")},
			400, "no certificate authority"},
	} {
		c.Token = token
		if got := h.Do(c.Request); got.Status != c.status || !strings.Contains(got.Text, c.says) {
			t.Errorf("%s %s is answered %d %s, want %d that says %q", c.Method, c.Path, got.Status, got.Text,
				c.status, c.says)
		}
	}
}
