package rest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
)

// A digital twin is read, changed under its ETag, and commanded.
func TestDigitalTwins(t *testing.T) {
	h := newFixture(t)
	h.Answerer(t.Context(), "d1", "203")
	const path = "/digitaltwins/d1"
	do := func(method, path, body, ifMatch string) httpstest.Response {
		t.Helper()
		header := http.Header{}
		if ifMatch != "" {
			header.Set("If-Match", ifMatch)
		}
		return h.Do(httpstest.Request{Method: method, Path: path, Token: h.HubToken(), Body: body, Header: header})
	}
	first := do("GET", path, "", "")
	if want := `{"$dtId":"d1","$metadata":{"$model":""}}`; first.Status != 200 || first.Text != want ||
		first.Header.Get("ETag") == "" {
		t.Errorf("answered %d %v %s, want %s", first.Status, first.Header, first.Text, want)
	}
	const patch = `[{"op":"add","path":"/thermostat1/target","value":21.50}]`
	changed := do("PATCH", path, patch, first.Header.Get("ETag"))
	if changed.Status != 202 || changed.Text != "" || changed.Header.Get("ETag") == first.Header.Get("ETag") ||
		!strings.HasSuffix(changed.Header.Get("Location"), path) {
		t.Errorf("the patch is answered %d %v %s", changed.Status, changed.Header, changed.Text)
	}
	if again := do("PATCH", path, patch, first.Header.Get("ETag")); again.Status != 412 {
		t.Errorf("under the former ETag a patch is answered %d", again.Status)
	}
	const nothing = `[{"op":"remove","path":"/none"}]`
	if same := do("PATCH", path, nothing, ""); same.Status != 202 ||
		same.Header.Get("ETag") != changed.Header.Get("ETag") {
		t.Errorf("a patch of nothing is answered %d %v", same.Status, same.Header)
	}
	if again := do("PATCH", path, nothing, first.Header.Get("ETag")); again.Status != 412 {
		t.Errorf("under the former ETag a patch of nothing is answered %d", again.Status)
	}
	want := `{"$dtId":"d1","thermostat1":{"$metadata":{"target":{"desiredValue":21.50,"desiredVersion":2}}},` +
		`"$metadata":{"$model":""}}`
	if seen := do("GET", path, "", ""); seen.Text != want {
		t.Errorf("changed to %s, want %s", seen.Text, want)
	}
	if twin := do("GET", "/twins/d1", "", ""); !strings.Contains(twin.Text,
		`"desired":{"thermostat1":{"__t":"c","target":21.50}`) {
		t.Errorf("the twin is %s", twin.Text)
	}

	for command, c := range map[string]struct{ body, want string }{
		"/commands/reboot": {"", "null"}, "/commands/reboot?responseTimeoutInSeconds=5": {`{"a":1.0}`, `{"a":1.0}`},
		"/components/thermostat1/commands/report?connectTimeoutInSeconds=5": {"null", "null"},
	} {
		answer := do("POST", path+command, c.body, "")
		if answer.Status != 200 || answer.Text != c.want || answer.Header.Get("x-ms-command-statuscode") != "203" {
			t.Errorf("%s is answered %d %v %s", command, answer.Status, answer.Header, answer.Text)
		}
	}
	for request, code := range map[string]int{
		"GET /digitaltwins/d2": 404001, "PATCH /digitaltwins/d2 " + patch: 404001,
		"POST /digitaltwins/d2/commands/reboot":                              404001,
		"POST /digitaltwins/d1/commands/reboot?responseTimeoutInSeconds=4":   400004,
		"POST /digitaltwins/d1/commands/reboot?connectTimeoutInSeconds=soon": 400004,
		`PATCH /digitaltwins/d1 []`:                                          400505,
		`PATCH /digitaltwins/d1 [{"op":"add","path":"/a","value":[]}]`:       400506,
		`PATCH /digitaltwins/d1 [{"op":"copy","path":"/a","from":"/b"}]`:     400507,
		`PATCH /digitaltwins/d1 [{"op":"remove","path":"/a/b/c"}]`:           400508,
	} {
		words := append(strings.SplitN(request, " ", 3), "")
		answer := do(words[0], words[1], words[2], "")
		if answer.Status != code/1000 || answer.Header.Get("iothub-errorcode") == "" {
			t.Errorf("%s is answered %d %v %s, want %d", request, answer.Status, answer.Header, answer.Text, code)
		}
		if nested := strings.Contains(answer.Text, fmt.Sprintf(`\"errorCode\":%d`, code)); nested != (words[0] == "POST") {
			t.Errorf("%s is answered in the form %s", request, answer.Text)
		}
	}
}
