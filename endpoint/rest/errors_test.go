package rest

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
)

var update = flag.Bool("update", false, "write docs/errors.md anew")

// Every code goes through the writers of both services, and what comes out is
// the documentation of the codes.
func TestErrorsAreDocumented(t *testing.T) {
	codes := fault.Codes()
	slices.Sort(codes)
	var page strings.Builder
	page.WriteString(errorsHead)
	for _, code := range codes {
		if code.Status() < 400 || code.Status() > 599 || strings.HasPrefix(code.Name(), "Error") {
			t.Errorf("the code %d has the status %d and the name %s", int(code), code.Status(), code.Name())
		}
		problem := &fault.Error{Code: code, Message: "What was wrong; what to do", TrackingID: "00000000-0000-4000-8000-000000000000", RetryAfter: 1500 * time.Millisecond}
		dps, iot := httptest.NewRecorder(), httptest.NewRecorder()
		writeFault(dps, provisioningAPI, problem)
		writeFault(iot, hubAPI, problem)
		var dpsBody provisioningErrorBody
		var hubBody hubErrorBody
		if err := json.Unmarshal(dps.Body.Bytes(), &dpsBody); err != nil {
			t.Error(err)
		}
		if err := json.Unmarshal(iot.Body.Bytes(), &hubBody); err != nil {
			t.Error(err)
		}
		if dps.Code != code.Status() || dpsBody.ErrorCode != int(code) || dps.Header().Get("x-ms-error-code") != fmt.Sprint(int(code)) || dps.Header().Get("Retry-After") != "1" {
			t.Errorf("%d of the provisioning service: %d %+v %v", int(code), dps.Code, dpsBody, dps.Header())
		}
		if iot.Code != code.Status() || hubBody.Message != "ErrorCode:"+code.Name()+";What was wrong, what to do" || iot.Header().Get("iothub-errorcode") != code.Name() {
			t.Errorf("%d of the hub: %d %+v %v", int(code), iot.Code, hubBody, iot.Header())
		}
		fmt.Fprintf(&page, "| %d | %s | %d |\n", int(code), code.Name(), code.Status())
	}
	const path = "../../docs/errors.md"
	if *update {
		if err := os.WriteFile(path, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != page.String() {
		t.Errorf("%s is not what the code says; write it anew: go test ./endpoint/rest -run Documented -update", path)
	}
}

const errorsHead = `# Error codes

A refusal has a code of six digits, whose first three are the HTTP status; codes
and names are Azure's. It has a message that says what to do, and a tracking id
that also stands in the server's log and, for a refused registration, in its
attempt (` + "`berth attempts`" + `).

The provisioning service answers over HTTPS with

    x-ms-error-code: 404201
    {"errorCode":404201,"trackingId":"…","message":"…","timestampUtc":"…"}

and over MQTT with the same body on ` + "`$dps/registrations/res/{status}/?$rid=…`" + `. A hub
answers over HTTPS with

    iothub-errorcode: DeviceNotFound
    {"Message":"ErrorCode:DeviceNotFound;…","ExceptionMessage":"Tracking ID:…"}

and over MQTT, for twins, with the provisioning service's body on
` + "`$iothub/twin/res/{status}/?$rid=…`" + `. A connection that is refused gets CONNACK 5
(not authorized), or 3 (server unavailable) when trying again may help; the
reason is in the server's log.

| code | name | HTTP status |
|---|---|---|
`

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

// evidenceOf is a device's own token.
func evidenceOf(t *testing.T, device hub.Device) credential.Evidence {
	t.Helper()
	token, err := credential.NewToken("hub.local/devices/"+device.DeviceID, "", *device.Authentication.SymmetricKey.PrimaryKey, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return credential.Evidence{Token: token}
}

// silent is a device that nothing is said to.
type silent struct{}

func (silent) Desired(int64, json.RawMessage) {}
func (silent) Close(error)                    {}
