package provisioning

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/storetest"
	"pgregory.net/rapid"
)

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[Enrollment](t)
	storetest.RoundTrip[storedGroup](t)
	storetest.RoundTrip[record](t)
	storetest.RoundTrip[intent](t)
	storetest.RoundTrip[storedAuthority](t)
	storetest.RoundTrip[signer](t)
	storetest.RoundTrip[storedLink](t)
	storetest.RoundTrip[Network](t)
	storetest.RoundTrip[guard.LockedOut](t)
	storetest.RoundTrip[inject.Fault](t)
	storetest.RoundTrip[owner](t)
	storetest.RoundTrip[tpmState](t)
	storetest.RoundTrip[hour](t)
	storetest.RoundTrip[places](t)
	storetest.RoundTrip[attest.Attempt](t)
	storetest.RoundTrip[Case](t)
	storetest.RoundTrip[DeviceRegistration](t)
	storetest.RoundTrip[allocationRequest](t)
}

// TestAnyTimeIsWritten proves that a Time is written and read back whatever it is, and
// is itself unless it is beyond the calendar.
func TestAnyTimeIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "offset"))
		seconds := rapid.OneOf(rapid.Int64Range(-1<<40, 1<<40), rapid.SampledFrom([]int64{253402300799, 253402300800, -62135596800, -62135596801})).Draw(t, "seconds")
		moment := Time{Time: time.Unix(seconds, 0).In(zone)}
		text, err := json.Marshal(moment)
		if err != nil {
			t.Fatal(err)
		}
		var read Time
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatalf("%v is written %s: %v", moment, text, err)
		}
		if year := moment.UTC().Year(); year >= 1 && year <= 9999 && !read.Equal(moment.Time) {
			t.Fatalf("%v is read as %v", moment, read)
		}
	})
}

// TestAttemptsAreKept writes attempts with what no other code should make: something of
// each is kept, and says what could not be.
func TestAttemptsAreKept(t *testing.T) {
	deep := make(json.RawMessage, 0, 20_000)
	for range 10_000 {
		deep = append(deep, '[')
	}
	for range 10_000 {
		deep = append(deep, ']')
	}
	whole := attest.Attempt{Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), RegistrationID: "x", Outcome: attest.Assigned, Enrolled: true}
	for name, change := range map[string]func(*attest.Attempt){
		"a case that is no JSON": func(a *attest.Attempt) { a.Case = json.RawMessage("{") },
		"a case without end":     func(a *attest.Attempt) { a.Case = deep },
		"a case of megabytes":    func(a *attest.Attempt) { a.Case = json.RawMessage(`"` + largeText(2<<20) + `"`) },
		"a check of megabytes":   func(a *attest.Attempt) { a.Checks = attest.Trace{{Name: "check", Saw: largeText(2 << 20)}} },
		"a year without digits":  func(a *attest.Attempt) { a.Time = time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a message of megabytes": func(a *attest.Attempt) { a.Message = largeText(2 << 20) },
	} {
		attempt := whole
		change(&attempt)
		kept := decodeAttempt(store.Record{Position: store.Position{Sequence: 7}, Value: encodeAttempt(attempt)})
		failed, _ := kept.Checks.Failed()
		if kept.RegistrationID != "x" || kept.Outcome != attest.Assigned || kept.Sequence != 7 || failed.Name != "attempt" {
			t.Errorf("%s: kept is %.300v", name, kept)
		}
	}
	if kept := decodeAttempt(store.Record{Value: encodeAttempt(whole)}); !reflect.DeepEqual(kept, whole) {
		t.Errorf("an ordinary attempt is kept as %+v", kept)
	}
}

func largeText(size int) string {
	text := make([]byte, size)
	for i := range text {
		text[i] = 'x'
	}
	return string(text)
}
