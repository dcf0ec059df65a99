package provisioning

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[storedRegistration](t)
	storetest.RoundTrip[intent](t)
	storetest.RoundTrip[owner](t)
	storetest.RoundTrip[attest.Attempt](t)
	storetest.RoundTrip[DeviceRegistration](t)
	storetest.RoundTrip[allocationRequest](t)
}

// TestAnyTimeIsWritten proves that a Time is written and read back whatever it is, and
// is itself unless it is beyond the calendar.
func TestAnyTimeIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "offset"))
		seconds := rapid.OneOf(rapid.Int64Range(-1<<40, 1<<40),
			rapid.SampledFrom([]int64{253402300799, 253402300800, -62135596800, -62135596801})).Draw(t, "seconds")
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
