package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

// nested is an array in arrays, so many levels deep.
func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

// rest sends a body as it is to a service, with all rights, and returns the answer.
func (h *fixture) rest(connectionString, method, path, body string, header ...string) (status int, answer string) {
	h.t.Helper()
	connection, err := credential.ParseConnectionString(connectionString)
	if err != nil {
		h.t.Fatal(err)
	}
	token, err := credential.NewToken(connection.HostName, connection.SharedAccessKeyName, connection.SharedAccessKey,
		time.Now().Add(time.Hour))
	if err != nil {
		h.t.Fatal(err)
	}
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	address := fmt.Sprintf("https://127.0.0.1:%d%s%sapi-version=2021-10-01", h.Info().Ports.HTTPS, path, separator)
	request, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	request.Host = connection.HostName
	request.Header.Set("Authorization", token)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func (h *fixture) dps(method, path, body string, header ...string) (int, string) {
	h.t.Helper()
	return h.rest(h.Info().ProvisioningConnectionString, method, path, body, header...)
}

// works fails unless the lists of enrollments and registrations can be read and a
// device can register, before a restart and after it.
func (h *fixture) works() {
	h.t.Helper()
	for range 2 {
		for path, body := range map[string]string{"/enrollments/query": `{"query":"SELECT * FROM enrollments"}`,
			"/enrollmentGroups/query": `{"query":"SELECT * FROM enrollmentGroups"}`} {
			if status, answer := h.dps("POST", path, body); status != 200 {
				h.t.Fatalf("POST %s is answered %d %s", path, status, answer)
			}
		}
		for _, path := range []string{"/berth/provisioning/registrations", "/berth/provisioning/attempts"} {
			if status, answer := h.dps("GET", path, ""); status != 200 {
				h.t.Fatalf("GET %s is answered %d %s", path, status, answer)
			}
		}
		keys := validKeys(h.t, "honest")
		h.reenroll(keys)
		if registered := h.provision(&keys, h.Info().IDScope, "honest").ask(registerTopic,
			`{}`); !strings.Contains(registered.topic, "/res/200/") {
			h.t.Fatalf("an honest device is answered %+v", registered)
		}
		h.stop()
		h.start()
	}
}

func (h *fixture) reenroll(keys deviceKeys) {
	h.t.Helper()
	id := keys.Leaf.Subject.CommonName
	if _, err := h.provisioning.Enrollment(context.Background(), id); err == nil {
		if err := h.provisioning.DeleteEnrollment(context.Background(), id, "*"); err != nil {
			h.t.Fatal(err)
		}
	}
	h.enroll(keys)
}

const keyAttestation = `"attestation":{"type":"symmetricKey"}`

// TestDeepDocuments sends JSON that is nested too deep to every door. Nothing of it may
// be kept that can't be read, and nobody may fall over it.
func TestDeepDocuments(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "x")
	h.enroll(keys)
	certificate, err := json.Marshal(keys.pem)
	if err != nil {
		t.Fatal(err)
	}
	attestation := fmt.Sprintf(
		`"attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":%s}}}}`, certificate)
	register := func() answer {
		return h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{"registrationId":"x"}`)
	}
	for _, depth := range []int{33, 64, 9_998, 9_999, 10_000, 40_000} {
		deep := nested(depth)
		object := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
		for what, body := range map[string]string{
			"optionalDeviceInformation": fmt.Sprintf(`{"registrationId":"x",%s,"optionalDeviceInformation":%s}`,
				attestation, deep),
			"tags": fmt.Sprintf(`{"registrationId":"x",%s,"initialTwin":{"tags":%s}}`, attestation, object),
			"desired": fmt.Sprintf(`{"registrationId":"x",%s,"initialTwin":{"properties":{"desired":%s}}}`, attestation,
				object),
		} {
			if status, answer := h.dps("PUT", "/enrollments/x", body, "If-Match", "*"); status != 400 {
				t.Errorf("an enrollment with %s %d levels deep is answered %d %.200s", what, depth, status, answer)
			}
		}
		bulk := fmt.Sprintf(
			`{"mode":"create","enrollments":[{"registrationId":"b",%s,"optionalDeviceInformation":%s}]}`,
			keyAttestation, deep)
		if status, answer := h.dps("POST", "/enrollments", bulk); status == 200 &&
			!strings.Contains(answer, `"isSuccessful":false`) {
			t.Errorf("a bulk of enrollments %d levels deep is answered %d %.200s", depth, status, answer)
		}
		group := fmt.Sprintf(`{"enrollmentGroupId":"g",%s,"initialTwin":{"tags":%s}}`, keyAttestation, object)
		if status, answer := h.dps("PUT", "/enrollmentGroups/g", group); status != 400 {
			t.Errorf("a group %d levels deep is answered %d %.200s", depth, status, answer)
		}
		if status, answer := h.dps("POST", "/berth/provisioning/allocation",
			fmt.Sprintf(`{"registrationId":"x","payload":%s}`, deep)); status != 400 && status != 404 {
			t.Errorf("a preview with a payload %d levels deep is answered %d %.200s", depth, status, answer)
		}
		if refused := h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic,
			fmt.Sprintf(`{"registrationId":"x","payload":%s}`, deep)); !strings.Contains(refused.topic, "/res/400/") {
			t.Errorf("a registration with a payload %d levels deep is answered %+v", depth, refused)
		}
		if registered := register(); !strings.Contains(registered.topic, "/res/200/") {
			t.Fatalf("after %d levels a registration is answered %+v", depth, registered)
		}
		d := h.berth(&keys, "x")
		d.subscribe("$iothub/twin/res/#")
		if reported := d.ask("$iothub/twin/PATCH/properties/reported/?$rid=1",
			object); !strings.Contains(reported.topic, "/res/400/") {
			t.Errorf("reported properties %d levels deep are answered %+v", depth, reported)
		}
		twin := h.Info().Hubs[0].ConnectionString
		for method, body := range map[string]string{"PATCH": fmt.Sprintf(`{"properties":{"desired":%s}}`, object),
			"PUT": fmt.Sprintf(`{"tags":%s}`, object)} {
			if status, answer := h.rest(twin, method, "/twins/x", body); status != 400 {
				t.Errorf("%s of a twin %d levels deep is answered %d %.200s", method, depth, status, answer)
			}
		}
	}
	if status, answer := h.dps("PUT", "/enrollments/x",
		fmt.Sprintf(`{"registrationId":"x",%s,"optionalDeviceInformation":%s}`, attestation, nested(32)), "If-Match",
		"*"); status != 200 {
		t.Errorf("an enrollment with 32 levels is answered %d %.200s", status, answer)
	}
	h.works()
}

// TestDeepTelemetry sends a body that says it is JSON and is nested deeper than any
// parser goes. Readers get it as text, and what comes after it.
func TestDeepTelemetry(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "x")
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{}`)
	d := h.berth(&keys, "x")
	bodies := []string{nested(32), nested(33), nested(9_999), nested(10_000), nested(100_000), `{"a":1}`, "\"\xff\"",
		`{"last":true}`}
	for i, body := range bodies {
		if err := d.Publish("devices/x/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&n="+fmt.Sprint(i),
			[]byte(body), 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var read []telemetry.Message
	if err := h.hub.Telemetry(ctx, telemetry.Position{Earliest: true}, "x", len(bodies),
		func(m telemetry.Message) error {
			read = append(read, m)
			return nil
		}); err != nil || len(read) != len(bodies) {
		t.Fatalf("%d of %d messages were read: %v", len(read), len(bodies), err)
	}
	for i, message := range read {
		switch body := message.Body.(type) {
		case string:
			if body != bodies[i] {
				t.Errorf("message %d is %.40q, want %.40q", i, body, bodies[i])
			}
		case nil:
			if string(message.BodyBase64) != bodies[i] {
				t.Errorf("message %d is %.40q, want %.40q", i, message.BodyBase64, bodies[i])
			}
		default:
			if text, err := json.Marshal(body); err != nil || string(text) != bodies[i] {
				t.Errorf("message %d is %s, %v; want %.40q", i, text, err, bodies[i])
			}
		}
	}
}

// TestTimesBeyondTheCalendar writes times that are in the year 10000 of UTC, or in the
// year 0, to every door that takes times.
func TestTimesBeyondTheCalendar(t *testing.T) {
	h := newFixture(t)
	for _, moment := range []string{"9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "0000-06-01T00:00:00Z"} {
		body := fmt.Sprintf(`{"registrationId":"x","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"info":{
			"subjectName":"CN=x","sha1Thumbprint":"","sha256Thumbprint":"%s","issuerName":"CN=x","notBeforeUtc":"2020-01-01T00:00:00Z","notAfterUtc":"%s","serialNumber":"1","version":3}}}}}}`,
			strings.Repeat("AB", 32), moment)
		if status, answer := h.dps("PUT", "/enrollments/x", body); status != 400 ||
			!strings.Contains(answer, "1 to 9999") {
			t.Errorf("notAfterUtc %s is answered %d %s", moment, status, answer)
		}
	}
	// A token's expiry goes into the case of its attempt.
	token, err := credential.NewToken(h.Info().IDScope+"/registrations/nobody", "registration", credential.NewKey(32),
		time.Date(30000, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := h.rest(h.Info().ProvisioningConnectionString, "PUT", "/"+h.Info().IDScope+
		"/registrations/nobody/register", "{}", "Authorization", token); status != 401 {
		t.Errorf("a token of the year 30000 is answered %d %s", status, answer)
	}
	var attempts []struct{ Sequence int64 }
	status, answer := h.dps("GET", "/berth/provisioning/attempts?registrationId=nobody", "")
	if err := json.Unmarshal([]byte(answer), &attempts); err != nil || len(attempts) != 1 {
		t.Fatalf("attempts are answered %d %s", status, answer)
	}
	if status, answer = h.dps("GET", fmt.Sprintf("/berth/provisioning/attempts/%d", attempts[0].Sequence),
		""); status != 200 || !strings.Contains(answer, `"expiry":"9999-12-31T`) {
		t.Errorf("the attempt is answered %d %s", status, answer)
	}

	// A certificate of a group's authority says what it likes of its end.
	authority := newIssuer(t)
	group := enroll.Group{EnrollmentGroupID: "factory",
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509",
			X509: &enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: authority.pem}}}}}}
	if _, err := h.provisioning.PutGroup(t.Context(), group, ""); err != nil {
		t.Fatal(err)
	}
	keys := authority.issue("ageless", "20200101000000Z", "99991231235959-0100")
	if year := keys.Leaf.NotAfter.UTC().Year(); year != 10000 {
		t.Fatalf("the certificate ends in the year %d, and the test needs 10000", year)
	}
	if registered := h.provision(&keys, h.Info().IDScope, "ageless").ask(registerTopic,
		`{}`); !strings.Contains(registered.topic, "/res/200/") {
		t.Errorf("the device is answered %+v", registered)
	}
	for path, body := range map[string]string{"/registrations/ageless": "", "/berth/provisioning/registrations": "",
		"/registrations/factory/query": "{}"} {
		method := "GET"
		if body != "" {
			method = "POST"
		}
		if status, answer := h.dps(method, path, body); status != 200 || !strings.Contains(answer, "ageless") {
			t.Errorf("%s %s is answered %d %s", method, path, status, answer)
		}
	}
	// So it does as the certificate of an individual enrollment.
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: keys.Leaf.Raw}))
	encoded, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(
		`{"registrationId":"ageless","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":%s}}}}}`, encoded)
	if status, answer := h.dps("PUT", "/enrollments/ageless", body); status != 200 ||
		!strings.Contains(answer, "9999-12-31T23:59:59") {
		t.Errorf("the enrollment is answered %d %s", status, answer)
	}
	h.works()
	if status, answer := h.dps("GET", "/enrollments/ageless", ""); status != 200 {
		t.Errorf("the enrollment is answered %d %s", status, answer)
	}
	if status, answer := h.dps("DELETE", "/enrollments/ageless", ""); status != 204 {
		t.Errorf("deleting it is answered %d %s", status, answer)
	}
}

// issuer signs certificates that package x509 would not make.
type issuer struct {
	t           testing.TB
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "factory"},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t, certificate, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue makes a device's certificate whose times are written as they are given
// (GeneralizedTime).
func (i *issuer) issue(commonName, notBefore, notAfter string) deviceKeys {
	i.t.Helper()
	must := func(err error) {
		i.t.Helper()
		if err != nil {
			i.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, i.certificate, key.Public(), i.key)
	must(err)
	var whole struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	_, err = asn1.Unmarshal(der, &whole)
	must(err)
	var tbs struct {
		Version    int `asn1:"explicit,tag:0"`
		Serial     *big.Int
		Algorithm  asn1.RawValue
		Issuer     asn1.RawValue
		Validity   asn1.RawValue
		Subject    asn1.RawValue
		PublicKey  asn1.RawValue
		Extensions asn1.RawValue
	}
	_, err = asn1.Unmarshal(whole.TBS.FullBytes, &tbs)
	must(err)
	moment := func(text string) asn1.RawValue {
		return asn1.RawValue{Tag: asn1.TagGeneralizedTime, Bytes: []byte(text)}
	}
	validity, err := asn1.Marshal([]asn1.RawValue{moment(notBefore), moment(notAfter)})
	must(err)
	tbs.Validity = asn1.RawValue{FullBytes: validity}
	whole.TBS = asn1.RawValue{}
	whole.TBS.FullBytes, err = asn1.Marshal(tbs)
	must(err)
	sum := sha256.Sum256(whole.TBS.FullBytes)
	signature, err := ecdsa.SignASN1(rand.Reader, i.key, sum[:])
	must(err)
	whole.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	der, err = asn1.Marshal(whole)
	must(err)
	leaf, err := x509.ParseCertificate(der)
	must(err)
	return deviceKeys{Certificate: tls.Certificate{Certificate: [][]byte{der, i.certificate.Raw}, PrivateKey: key,
		Leaf: leaf}}
}

// TestDeepWebhookAnswers has the webhook of custom allocation answer with what can't be
// kept.
func TestDeepWebhookAnswers(t *testing.T) {
	var answer string
	webhook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
		_ *http.Request) {
		io.WriteString(w, answer)
	}))
	t.Cleanup(webhook.Close)
	h := newFixture(t)
	keys := validKeys(t, "x")
	h.enroll(keys, func(e *enroll.Enrollment) {
		e.AllocationPolicy = allocation.Custom
		e.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: webhook.URL, APIVersion: "2021-10-01"}
	})
	for _, depth := range []int{33, 9_990, 9_999, 20_000} {
		object := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
		for _, part := range []string{`"payload":` + nested(depth), `"initialTwin":{"tags":` + object + `}`, `"more":` +
			nested(max(depth, 70))} {
			answer = `{"iotHubHostName":"127.0.0.1",` + part + `}`
			registered := h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{}`)
			if state, _ := registered.body["registrationState"].(map[string]any); state["status"] != "failed" {
				t.Errorf("with %.20s… %d levels deep the device is answered %+v", part, depth, registered)
			}
		}
	}
	answer = `{"iotHubHostName":"127.0.0.1","payload":` + nested(32) + `}`
	registered := h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{}`)
	if state, _ := registered.body["registrationState"].(map[string]any); state["status"] != "assigned" {
		t.Errorf("with 32 levels the device is answered %+v", registered)
	}
	h.works()
}

// TestHubElsewhereThatAnswersTooMuch is a hub by connection string whose twins and
// identities can't be kept.
func TestHubElsewhereThatAnswersTooMuch(t *testing.T) {
	var body string
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	}))
	t.Cleanup(elsewhere.Close)
	_, port, _ := net.SplitHostPort(elsewhere.Listener.Addr().String())
	remote, err := newOutgoing(1).newRemoteHub(linkedhub.Link{HostName: "example.com", Address: "127.0.0.1:" + port,
		ConnectionString: credential.ConnectionString{HostName: "example.com", SharedAccessKeyName: "iothubowner",
			SharedAccessKey: credential.NewKey(32)}.String(),
		CACertificates: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
			Bytes: elsewhere.Certificate().Raw}))})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.(remoteHub).Close()
	for what, answer := range map[string]string{
		"9,990 levels": `{"deviceId":"x","tags":` + strings.Repeat(`{"a":`, 9_990) + "1" +
			strings.Repeat("}", 9_990) + `}`,
		"20,000 levels": `{"deviceId":"x","tags":` + strings.Repeat(`{"a":`, 20_000) + "1" +
			strings.Repeat("}", 20_000) + `}`, "no text": "{\"deviceId\":\"x\",\"tags\":{\"a\":\"K\xf6ln\"}}",
		"half of one":    `{"deviceId":"x","tags":{"a":"\ud800"}}`,
		"nine megabytes": `{"deviceId":"x","tags":{"a":"` + strings.Repeat("x", 9<<20) + `"}}`,
	} {
		body = answer
		if twin, err := remote.Twin(t.Context(), "x"); err == nil {
			t.Errorf("a twin with %s is taken: %.80s", what, twin.Tags)
		}
	}
	body = `{"deviceId":"x","tags":{"floor":3},"properties":{"desired":{"a":{"b":1},"$version":3}}}`
	if twin, err := remote.Twin(t.Context(), "x"); err != nil || string(twin.Tags) != `{"floor":3}` {
		t.Errorf("an ordinary twin is %v, %v", twin, err)
	}
}

// plant changes the data of a stopped server.
func (h *fixture) plant(change func(documents store.Documents, attempts store.Log)) {
	h.t.Helper()
	logger := slog.New(slog.DiscardHandler)
	marks := marksFolder(h.config.DataDir)
	documents, err := pebble.Open(filepath.Join(h.config.DataDir, "documents"), pebble.Options{Logger: logger,
		Mark: filepath.Join(marks, documentsMark)})
	if err != nil {
		h.t.Fatal(err)
	}
	logs, err := segment.Open(filepath.Join(h.config.DataDir, "logs"), segment.Options{Logger: logger, Marks: marks})
	if err != nil {
		h.t.Fatal(err)
	}
	attempts, err := logs.Open("provisioning.attempts", store.LogOptions{Partitions: 1})
	if err != nil {
		h.t.Fatal(err)
	}
	change(documents, attempts)
	if err := logs.Close(); err != nil {
		h.t.Fatal(err)
	}
	if err := documents.Close(); err != nil {
		h.t.Fatal(err)
	}
}

// appended waits for a record to be on disk.
type appended chan error

func (a appended) Committed(_ uint64, _ store.Position, err error) { a <- err }

// TestRecordsOfEarlierVersions starts on what a version kept that took any depth and
// any time: an attempt and an enrollment that nobody can decode or put into a list.
func TestRecordsOfEarlierVersions(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "x")
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{}`)
	h.stop()
	h.plant(func(documents store.Documents, attempts store.Log) {
		for _, attempt := range []string{
			`{"registrationId":"x","enrolled":true,"outcome":"assigned","case":{"enrollment":{"optionalDeviceInformation":` + nested(9_998) + `}}}`,
			`{"registrationId":"x","enrolled":true,"outcome":"assigned","case":` + nested(9_999) + `}`, "", "null", "{",
			"\xff",
		} {
			committed := make(appended, 1)
			attempts.Append(0, []byte(attempt), committed, 0)
			if err := <-committed; err != nil {
				t.Fatal(err)
			}
		}
		found, err := documents.Get(t.Context(), enroll.EnrollmentRecords, "x")
		if err != nil {
			t.Fatal(err)
		}
		for id, replaced := range map[string]string{"deep": `"optionalDeviceInformation":` + nested(9_999) +
			`,"attestation":`, "late": ""} {
			text := strings.ReplaceAll(string(found.Value), `"registrationId":"x"`, `"registrationId":"`+id+`"`)
			if replaced != "" {
				text = strings.Replace(text, `"attestation":`, replaced, 1)
			} else {
				at := strings.Index(text, `"notAfterUtc":"`) + len(`"notAfterUtc":"`)
				text = text[:at] + "10000-01-01T00:59:59.0000000Z" + text[at+len("2026-01-01T00:00:00.0000000Z"):]
			}
			if _, err := documents.Commit(t.Context(),
				store.Change{Collection: enroll.EnrollmentRecords, Key: id, Value: []byte(text)}); err != nil {
				t.Fatal(err)
			}
		}
	})
	h.start()
	h.works()
	status, answer := h.dps("GET", "/berth/provisioning/attempts", "")
	if n := strings.Count(answer, `"outcome":"unreadable"`); status != 200 || n != 6 {
		t.Errorf("%d attempts are shown as unreadable: %d %.2000s", n, status, answer)
	}
	for _, id := range []string{"deep", "late"} {
		if status, answer := h.dps("GET", "/enrollments/"+id, ""); status != 500 ||
			!strings.Contains(answer, "can't be read") || !strings.Contains(answer, id) {
			t.Errorf("GET of %s is answered %d %s", id, status, answer)
		}
		if status, answer := h.dps("GET", "/berth/provisioning/enrollments", ""); status != 200 ||
			!strings.Contains(answer, `"key":"`+id+`"`) {
			t.Errorf("the list does not tell of %s: %d %s", id, status, answer)
		}
	}
	if status, answer := h.dps("DELETE", "/enrollments/late", "", "If-Match", "*"); status != 204 {
		t.Errorf("DELETE is answered %d %s", status, answer)
	}
	if status, answer := h.dps("PUT", "/enrollments/deep", `{"registrationId":"deep",`+keyAttestation+`}`, "If-Match",
		"*"); status != 200 {
		t.Errorf("PUT is answered %d %s", status, answer)
	}
	if status, answer := h.dps("GET", "/berth/unreadable", ""); status != 200 || answer != "[]" {
		t.Errorf("still unreadable: %d %s", status, answer)
	}
}
