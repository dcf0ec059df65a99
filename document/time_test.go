package document

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimeInJSON(t *testing.T) {
	east := time.FixedZone("", 2*60*60)
	for _, c := range []struct {
		time time.Time
		want string
	}{
		{time.Time{}, "0001-01-01T00:00:00Z"},
		{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), "2026-11-23T12:00:00.0000000Z"},
		{time.Date(2026, 11, 23, 12, 0, 0, 1_200_000, time.UTC), "2026-11-23T12:00:00.0012000Z"},
		{time.Date(2026, 11, 23, 12, 0, 0, 123_456_789, time.UTC), "2026-11-23T12:00:00.1234567Z"},
		{time.Date(2026, 11, 23, 14, 0, 0, 0, east), "2026-11-23T12:00:00.0000000Z"},
		{time.Date(12_026, 1, 1, 0, 0, 0, 0, time.UTC), "9999-12-31T23:59:59.9999999Z"},
		{time.Date(-44, 3, 15, 0, 0, 0, 0, time.UTC), "0001-01-01T00:00:00Z"},
	} {
		encoded, err := json.Marshal(Time{c.time})
		if err != nil || string(encoded) != `"`+c.want+`"` {
			t.Errorf("%v is written %s, error %v, want %s", c.time, encoded, err, c.want)
		}
		if got := FormatTime(c.time); got != c.want {
			t.Errorf("%v is formatted %s, want %s", c.time, got, c.want)
		}
	}
}

// TestTimeRoundTrip proves that what is written is read as the same tenth of a
// microsecond, and written again as it was.
func TestTimeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moment := time.Unix(rapid.Int64Range(-62_135_596_800, 253_402_300_799).Draw(t, "seconds"),
			rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		text, err := json.Marshal(Time{moment})
		if err != nil {
			t.Fatal(err)
		}
		var read Time
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatalf("%s can't be read: %v", text, err)
		}
		if lost := moment.Sub(read.Time); lost < 0 || lost >= 100 {
			t.Fatalf("%v is read as %v", moment, read)
		}
		if again, _ := json.Marshal(read); string(again) != string(text) {
			t.Fatalf("%s is written again as %s", text, again)
		}
	})
}

func TestTimeOfOthers(t *testing.T) {
	for text, want := range map[string]string{
		`"2026-11-23T12:00:00Z"`:             "2026-11-23T12:00:00.0000000Z",
		`"2026-11-23T14:00:00.5+02:00"`:      "2026-11-23T12:00:00.5000000Z",
		`"2026-11-23T12:00:00.123456789Z"`:   "2026-11-23T12:00:00.1234567Z",
		`"0001-01-01T00:00:00Z"`:             "0001-01-01T00:00:00Z",
		`"9999-12-31T23:59:59.9999999+0:00"`: "",
		`"9999-12-31T23:59:59-01:00"`:        "",
		`"yesterday"`:                        "",
		`1764158400`:                         "",
	} {
		var read Time
		err := json.Unmarshal([]byte(text), &read)
		if want == "" {
			if err == nil {
				t.Errorf("%s is read as %v", text, read)
			}
		} else if got := FormatTime(read.Time); err != nil || got != want {
			t.Errorf("%s is read as %s, error %v, want %s", text, got, err, want)
		}
	}
}
