package contract

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/berth-iot/berth/document"
)

// The forms of a registration are these bytes, which devices read.
func TestRegistrationOnTheWire(t *testing.T) {
	at := document.Time{Time: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	for _, c := range []struct {
		form any
		want string
	}{
		{RegistrationRequest{RegistrationID: "d1"}, `{"registrationId":"d1"}`},
		{RegistrationRequest{RegistrationID: "d1", TPM: &TPMKeys{"e", "s"}, Payload: json.RawMessage(`{"a":1}`),
			CSR: []byte{1, 2}},
			`{"registrationId":"d1","tpm":{"endorsementKey":"e","storageRootKey":"s"},"payload":{"a":1},"csr":"AQI="}`},
		{Operation{OperationID: "o1", Status: StatusAssigning, RetryAfter: time.Second},
			`{"operationId":"o1","status":"assigning"}`},
		{Operation{OperationID: "o1", Status: StatusAssigned, RegistrationState: &DeviceRegistration{
			Registration: Registration{RegistrationID: "d1", CreatedDateTimeUTC: at, AssignedHub: "hub.local",
				DeviceID: "d1", Status: StatusAssigned, Substatus: InitialAssignment, ETag: "e"},
			SymmetricKey: &SymmetricKeyResult{"g"}, TPM: &TPMResult{[]byte{1, 2}},
			IssuedCertificateChain: []string{"AQI="}}},
			`{"operationId":"o1","status":"assigned","registrationState":{"registrationId":"d1",` +
				`"createdDateTimeUtc":"2026-11-27T12:00:00.0000000Z","assignedHub":"hub.local","deviceId":"d1",` +
				`"status":"assigned","substatus":"initialAssignment",` +
				`"lastUpdatedDateTimeUtc":"0001-01-01T00:00:00Z","etag":"e",` +
				`"symmetricKey":{"enrollmentGroupId":"g"},"tpm":{"authenticationKey":"AQI="},` +
				`"issuedCertificateChain":["AQI="]}}`},
	} {
		if got, err := json.Marshal(c.form); err != nil || string(got) != c.want {
			t.Errorf("it is written %s, error %v; want %s", got, err, c.want)
		}
	}
}
