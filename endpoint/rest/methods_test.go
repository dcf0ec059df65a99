package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/method"
)

const invocation = "/twins/d1/methods"

// What a device answers is answered as it is, whatever JSON and status that is.
func TestMethodAnswers(t *testing.T) {
	h := newFixture(t)
	for i, status := range []string{"200", "-1", "2147483647"} {
		id := fmt.Sprint("d", i)
		h.Answerer(t.Context(), id, status)
		for _, payload := range []string{`{"b":1.0,"a":"<\u00fc>"}`, "null", "{}", "[1,null]", `"text"`, "1e3", "false"} {
			answer := h.Do(httpstest.Request{Method: "POST", Path: "/twins/" + id + "/methods", Token: h.HubToken(),
				Body: `{"methodName":"c*reboot","payload":` + payload + `}`})
			if want := `{"status":` + status + `,"payload":` + payload + "}"; answer.Status != 200 || answer.Text != want {
				t.Errorf("answered %d %s, want %s", answer.Status, answer.Text, want)
			}
		}
		answer := h.Do(httpstest.Request{Method: "POST", Path: "/twins/" + id + "/methods", Token: h.HubToken(),
			Body: `{"methodName":"m","responseTimeoutInSeconds":null,"connectTimeoutInSeconds":null,"timeoutInSeconds":9}`})
		if want := `{"status":` + status + `,"payload":null}`; answer.Status != 200 || answer.Text != want {
			t.Errorf("a call without payload is answered %d %s, want %s", answer.Status, answer.Text, want)
		}
	}
}

// Refusals of calls have their code in JSON in a string, and nothing else with it, as the
// Java client needs it, and in the header by its name, as C# does.
func TestMethodRefusals(t *testing.T) {
	h := newFixture(t)
	if _, err := h.Config.Hubs.All()[0].CreateDevice(t.Context(), identity.Device{DeviceID: "d1"}); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", method.MaxPayload)
	for _, c := range []struct {
		name, path, body string
		status, code     int
		header, info     string
	}{
		{"offline", invocation, `{"methodName":"m"}`, 404, 404103, "DeviceNotOnline", `{"timeout":"00:00:00"}`},
		{"unknown", "/twins/d2/methods", `{"methodName":"m"}`, 404, 404001, "DeviceNotFound", "{}"},
		{"no name", invocation, `{"payload":null}`, 400, 400005, "ArgumentNull", "{}"},
		{"no body", invocation, "", 400, 400005, "ArgumentNull", "{}"},
		{"no JSON", invocation, "{", 400, 400006, "IotHubFormatError", "{}"},
		{"no number", invocation, `{"methodName":"m","responseTimeoutInSeconds":"5"}`, 400, 400006, "IotHubFormatError",
			"{}"},
		{"short", invocation, `{"methodName":"m","responseTimeoutInSeconds":4}`, 400, 400004, "ArgumentInvalid", "{}"},
		{"zero", invocation, `{"methodName":"m","responseTimeoutInSeconds":0}`, 400, 400004, "ArgumentInvalid", "{}"},
		{"old name", invocation, `{"methodName":"m","timeoutInSeconds":301}`, 400, 400004, "ArgumentInvalid", "{}"},
		{"beyond time", invocation, `{"methodName":"m","responseTimeoutInSeconds":9223372036854775807}`, 400, 400004,
			"ArgumentInvalid", "{}"},
		{"connect longer", invocation, `{"methodName":"m","connectTimeoutInSeconds":31}`, 400, 400004, "ArgumentInvalid",
			"{}"},
		{"large", invocation, `{"methodName":"m","payload":"` + large + `"}`, 413, 413001, "MessageTooLarge", "{}"},
		{"larger", invocation, `{"methodName":"m","payload":"` + large + large + `"}`, 413, 413001, "MessageTooLarge", "{}"},
	} {
		answer := h.Do(httpstest.Request{Method: "POST", Path: c.path, Token: h.HubToken(), Body: c.body})
		var outer struct{ Message, ExceptionMessage *string }
		var inner struct {
			ErrorCode  int
			TrackingID string
			Info       json.RawMessage
		}
		if err := json.Unmarshal([]byte(answer.Text), &outer); err != nil || outer.Message == nil {
			t.Errorf("%s: answered %s", c.name, answer.Text)
			continue
		}
		if err := json.Unmarshal([]byte(*outer.Message), &inner); err != nil {
			t.Errorf("%s: the message is %s", c.name, *outer.Message)
		}
		if answer.Status != c.status || inner.ErrorCode != c.code || string(inner.Info) != c.info ||
			answer.Header.Get("iothub-errorcode") != c.header || answer.Header.Get("x-ms-request-id") != inner.TrackingID ||
			outer.ExceptionMessage == nil || *outer.ExceptionMessage != "" {
			t.Errorf("%s: answered %d %v %s", c.name, answer.Status, answer.Header, answer.Text)
		}
	}
	answer := h.Do(httpstest.Request{Method: "GET", Path: invocation, Token: h.HubToken()})
	if answer.Status != http.StatusMethodNotAllowed {
		t.Errorf("GET is answered %d", answer.Status)
	}
}
