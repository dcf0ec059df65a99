package server

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning"
)

// newLimited is a server with these limits, whose time stands still, so that the
// time to come back at is the same in each run.
func newLimited(t *testing.T, limits provisioning.Limits) *fixture {
	now := time.Now()
	h := &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
			Limits: limits, Pace: provisioning.Paced, Now: func() time.Time { return now }}}
	h.start()
	t.Cleanup(h.stop)
	return h
}

// reply is an answer over HTTPS.
type reply struct {
	status int
	header http.Header
	body   map[string]any
}

// send asks over HTTPS; keys are a device's certificate, token a back end's.
func (h *fixture) send(keys *deviceKeys, token, method, path, body string) reply {
	h.t.Helper()
	config := &tls.Config{RootCAs: h.roots}
	if keys != nil {
		config.Certificates = []tls.Certificate{keys.Certificate}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(h.t.Context(), method,
		fmt.Sprintf("https://localhost:%d%s?api-version=2021-10-01", h.Info().Ports.HTTPS, path),
		strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", token)
	}
	answer, err := client.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	got := reply{answer.StatusCode, answer.Header, map[string]any{}}
	if len(text) > 0 && text[0] == '{' {
		err = errors.Join(err, json.Unmarshal(text, &got.body))
	}
	if err != nil {
		h.t.Fatalf("%s %s is answered %s: %v", method, path, text, err)
	}
	return got
}

// is checks an error in the form of the service: the status, the code in body and
// header, and after how many seconds to come back; 0 for no word of it.
func (r reply) is(t *testing.T, code, after int, says string) {
	t.Helper()
	retry := ""
	if after > 0 {
		retry = fmt.Sprint(after)
	}
	message, _ := r.body["message"].(string)
	if r.status != code/1000 || r.body["errorCode"] != float64(code) ||
		r.header.Get("x-ms-error-code") != fmt.Sprint(code) ||
		r.header.Get("Retry-After") != retry || r.body["trackingId"] == "" || !strings.Contains(message, says) {
		t.Errorf("answered %d %v %v, want the code %d, Retry-After %q and %q", r.status, r.header, r.body, code, retry,
			says)
	}
}

// is does the same for an answer over MQTT.
func (a answer) is(t *testing.T, code, after int, says string) {
	t.Helper()
	topic := fmt.Sprintf("$dps/registrations/res/%d/?$rid=r1", code/1000)
	if after > 0 {
		topic += fmt.Sprintf("&retry-after=%d", after)
	}
	message, _ := a.body["message"].(string)
	if a.topic != topic || a.body["errorCode"] != float64(code) || a.body["trackingId"] == "" ||
		!strings.Contains(message, says) {
		t.Errorf("answered %+v, want %s with the code %d and %q", a, topic, code, says)
	}
}

const (
	assigningTopic = "$dps/registrations/res/202/?$rid=r1&retry-after=3"
	pollTopic      = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=r1&operationId="
)

// A registration too many, of the service or of one device, is answered 429 with the
// time to come back at, over either protocol, and what is not limited goes on.
func TestTooManyRegistrations(t *testing.T) {
	for name, c := range map[string]struct {
		limits provisioning.Limits
		after  int
		says   string
	}{
		"of the service": {provisioning.Limits{RegistrationsPerMinute: 2}, 30,
			"The service takes 2 registrations a minute"},
		"of one device": {provisioning.Limits{DevicePerMinute: 2}, 30, "A device may register 2 times a minute"},
		"of both": {provisioning.Limits{DevicePerMinute: 2, RegistrationsPerMinute: 2}, 30,
			"The service takes 2"},
	} {
		t.Run(name, func(t *testing.T) {
			h, keys := newLimited(t, c.limits), validKeys(t, "d1")
			h.enroll(keys)
			d := h.provision(&keys, h.Info().IDScope, "d1")
			first := d.ask(registerTopic, "")
			if first.topic != assigningTopic {
				t.Fatalf("the first is answered %+v", first)
			}
			path := "/" + h.Info().IDScope + "/registrations/d1/register"
			second := h.send(&keys, "", "PUT", path, `{"registrationId":"d1"}`)
			if second.status != 202 || second.header.Get("Retry-After") != "3" {
				t.Fatalf("the second is answered %+v", second)
			}
			d.ask(registerTopic, "").is(t, 429001, c.after, c.says)
			h.send(&keys, "", "PUT", path, `{"registrationId":"d1"}`).is(t, 429001, c.after, c.says)
			if poll := d.ask(pollTopic+second.body["operationId"].(string), ""); poll.body["status"] == nil {
				t.Errorf("a poll is answered %+v", poll)
			}
		})
	}
}

// A device polls and looks itself up 5 times in 10 seconds, together over both
// protocols.
func TestTooManyPolls(t *testing.T) {
	h, keys, other := newLimited(t, provisioning.AzureLimits), validKeys(t, "d1"), validKeys(t, "d2")
	h.enroll(keys)
	h.enroll(other)
	scope := h.Info().IDScope
	d := h.provision(&keys, scope, "d1")
	operation := d.ask(registerTopic, "").body["operationId"].(string)
	status, lookUp := "/"+scope+"/registrations/d1/operations/"+operation, "/"+scope+"/registrations/d1"
	for i, ok := range []bool{
		d.ask(pollTopic+operation, "").body["status"] != nil,
		d.ask(pollTopic+operation, "").body["status"] != nil,
		h.send(&keys, "", "GET", status, "").body["status"] != nil,
		h.send(&keys, "", "GET", status, "").body["status"] != nil,
		h.send(&keys, "", "POST", lookUp, `{"registrationId":"d1"}`).body["registrationId"] == "d1",
	} {
		if !ok {
			t.Errorf("poll %d is not answered", i)
		}
	}
	const says = "A device may ask 5 times in 10 seconds"
	d.ask(pollTopic+operation, "").is(t, 429001, 2, says)
	h.send(&keys, "", "GET", status, "").is(t, 429001, 2, says)
	h.send(&keys, "", "POST", lookUp, `{"registrationId":"d1"}`).is(t, 429001, 2, says)
	d2 := h.provision(&other, scope, "d2")
	if got := d2.ask(pollTopic+d2.ask(registerTopic, "").body["operationId"].(string), ""); got.body["status"] == nil {
		t.Errorf("another device is answered %+v", got)
	}
}

// The limits of the service API: operations a minute, bulk operations, and how many
// there may be; and the size of a message, of devices.
func TestServiceLimits(t *testing.T) {
	limits := provisioning.AzureLimits
	limits.OperationsPerMinute, limits.Enrollments, limits.KeyGroups, limits.Registrations = 12, 11, 1, 1
	h := newLimited(t, limits)
	dps, err := credential.ParseConnectionString(h.Info().ProvisioningConnectionString)
	if err != nil {
		t.Fatal(err)
	}
	token, err := credential.NewToken(dps.HostName, dps.SharedAccessKeyName, dps.SharedAccessKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	keys, other := validKeys(t, "d1"), validKeys(t, "d2")
	h.enroll(keys) // the first operation
	h.enroll(other)
	bulk := func(from, to int) string {
		var entries []string
		for i := from; i < to; i++ {
			entries = append(entries, fmt.Sprintf(`{"registrationId":"b%d","attestation":{"type":"symmetricKey"}}`, i))
		}
		return `{"mode":"create","enrollments":[` + strings.Join(entries, ",") + `]}`
	}
	h.send(nil, token, "POST", "/enrollments", bulk(0, 11)).is(t, 400205, 0,
		"takes 1 to 10 enrollments, this one has 11")
	h.send(nil, token, "POST", "/enrollments", `{"mode":"create","enrollments":[]}`).is(t, 400205, 0, "this one has 0")
	got := h.send(nil, token, "POST", "/enrollments", bulk(0, 10))
	if failed, _ := got.body["errors"].([]any); got.status != 200 || got.body["isSuccessful"] != false ||
		len(failed) != 1 ||
		failed[0].(map[string]any)["errorCode"] != float64(403002) {
		t.Errorf("of ten enrollments, one too many, is answered %+v", got)
	}
	h.send(nil, token, "PUT", "/enrollments/d3", `{"registrationId":"d3","attestation":{"type":"symmetricKey"}}`).is(t,
		403002, 0, "There are 11 individual enrollments")
	group := `{"enrollmentGroupId":"%s","attestation":{"type":"symmetricKey"}}`
	if got := h.send(nil, token, "PUT", "/enrollmentGroups/g1", fmt.Sprintf(group, "g1")); got.status != 200 {
		t.Errorf("the first group is answered %+v", got)
	}
	h.send(nil, token, "PUT", "/enrollmentGroups/g2", fmt.Sprintf(group, "g2")).is(t, 403002, 0,
		"There are 1 enrollment groups")

	scope := h.Info().IDScope
	d := h.provision(&keys, scope, "d1")
	large := `{"registrationId":"d1","payload":""}`
	large = strings.Replace(large, `""`, `"`+strings.Repeat("x", 96<<10-len(large))+`"`, 1)
	d.ask(registerTopic, large+" ").is(t, 400004, 0, "The request has 98305 bytes, the limit is 98304")
	h.send(&keys, "", "PUT", "/"+scope+"/registrations/d1/register", large+" ").is(t, 400004, 0, "the limit is 98304")
	if got := d.ask(registerTopic, large); got.topic != assigningTopic {
		t.Errorf("a message of 96 KB is answered %+v", got)
	}
	h.provision(&other, scope, "d2").ask(registerTopic, "").is(t, 403002, 0, "There are 1 registrations")

	for used := 8; used < limits.OperationsPerMinute; used++ { // as many as were counted above
		if got := h.send(nil, token, "GET", "/enrollments/d1", ""); got.status != 200 {
			t.Fatalf("operation %d is answered %+v", used+1, got)
		}
	}
	h.send(nil, token, "GET", "/enrollments/d1", "").is(t, 429001, 5, "The service takes 12 operations a minute")
	h.send(nil, token, "POST", "/enrollments/query", `{"query":"*"}`).is(t, 429001, 5, "The service takes 12")
	if got := h.send(nil, token, "GET", "/berth/provisioning/hubs", ""); got.status != 200 {
		t.Errorf("what Azure has elsewhere is answered %+v", got)
	}
}
