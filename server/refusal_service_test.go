package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
)

// Every refusal of a back end over the real wire: HTTPS with a token, the
// documented status and code, and a server that still serves.
func TestRefusedBackEnds(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "d1")
	h.enroll(keys)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}}}
	defer client.CloseIdleConnections()
	dps, err := credential.ParseConnectionString(h.Info().ProvisioningConnectionString)
	if err != nil {
		t.Fatal(err)
	}
	hubPolicies, err := h.hubs.All()[0].Access().List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	hubKeys := map[string]string{}
	for _, policy := range hubPolicies {
		hubKeys[policy.Name] = policy.PrimaryKey
	}
	token := func(resource, policy, key string, expiry time.Duration) string {
		t.Helper()
		made, err := credential.NewToken(resource, policy, key, time.Now().Add(expiry))
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	const owner = "provisioningserviceowner"
	good := token(dps.HostName, owner, dps.SharedAccessKey, time.Hour)
	hubGood := token("127.0.0.1", "iothubowner", hubKeys["iothubowner"], time.Hour)
	enrollment := func(id, certificate string) string {
		encoded, _ := json.Marshal(certificate) // a string is JSON
		return `{"registrationId":"` + id +
			`","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + string(encoded) +
			`}}}}}`
	}
	_, keyPEM, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "d1",
		KeyType: credential.EC256, NotBefore: time.Now(), Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, host, path, token, ifMatch, body string
		status                                         int
		says                                           string
	}{
		{"no token", "GET", "localhost", "/enrollments/d1", "", "", "", 401, "401002"},
		{"expired token", "GET", "localhost", "/enrollments/d1",
			token("localhost", owner, dps.SharedAccessKey, -time.Hour), "", "", 401, "401003"},
		{"wrong resource", "GET", "localhost", "/enrollments/d1",
			token("127.0.0.1", owner, dps.SharedAccessKey, time.Hour), "", "", 401, "127.0.0.1"},
		{"wrong signature", "GET", "localhost", "/enrollments/d1",
			token("localhost", owner, credential.NewKey(32), time.Hour), "", "", 401, "401002"},
		{"unknown policy", "GET", "localhost", "/enrollments/d1",
			token("localhost", "nobody", dps.SharedAccessKey, time.Hour), "", "", 401, "policy"},
		{"policy without the right", "PUT", "127.0.0.1", "/devices/x",
			token("127.0.0.1", "registryRead", hubKeys["registryRead"], time.Hour), "", `{"deviceId":"x"}`, 401,
			"RegistryWrite"},
		{"malformed JSON", "PUT", "localhost", "/enrollments/d2", good, "", `{"registrationId":`, 400, "400006"},
		{"oversized JSON", "PUT", "localhost", "/enrollments/d2", good, "", `{"x":"` + strings.Repeat("x", 300<<10) +
			`"}`, 413, "413001"},
		{"unreadable certificate", "PUT", "localhost", "/enrollments/d2", good, "", enrollment("d2", "hello"), 400,
			"no certificate"},
		{"a private key", "PUT", "localhost", "/enrollments/d2", good, "", enrollment("d2", string(keyPEM)), 400,
			"private key"},
		{"wrong ETag", "PUT", "localhost", "/enrollments/d1", good, `"other"`, enrollment("d1", keys.pem), 412,
			"412001"},
		{"id that breaks the rules", "PUT", "localhost", "/enrollments/d%2F2", good, "", enrollment("d/2", keys.pem),
			400, "400202"},
		{"unknown enrollment", "GET", "localhost", "/enrollments/d2", good, "", "", 404, "404201"},
		{"unknown device", "GET", "127.0.0.1", "/devices/d2", hubGood, "", "", 404, "ErrorCode:DeviceNotFound;"},
		{"device id that breaks the rules", "PUT", "127.0.0.1", "/devices/a%20b", hubGood, "", `{"deviceId":"a b"}`,
			400, "ErrorCode:ArgumentInvalid;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := fmt.Sprintf("https://%s:%d%s?api-version=2021-10-01", c.host, h.Info().Ports.HTTPS, c.path)
			request, err := http.NewRequest(c.method, address, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", c.token)
			if c.ifMatch != "" {
				request.Header.Set("If-Match", c.ifMatch)
			}
			answer, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != c.status || !strings.Contains(string(body), c.says) {
				t.Errorf("answered %d %s, error %v; want %d with %q", answer.StatusCode, body, err, c.status, c.says)
			}
			if answer.Header.Get("x-ms-request-id") == "" {
				t.Error("there is no x-ms-request-id")
			}
		})
	}
	if _, err := h.provisioning.Enrollment(context.Background(), "d1"); err != nil {
		t.Errorf("afterwards a good request is answered %v", err)
	}
}
