package attempts

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
)

// sequences are those of attempts, in their order.
func sequences(found []attest.Attempt) string {
	var all []int64
	for _, attempt := range found {
		all = append(all, attempt.Sequence)
	}
	return fmt.Sprint(all)
}

// Attempts are found newest first, by what the filter says: those of an enrolled device by
// its index, others in the log.
func TestFind(t *testing.T) {
	j := newJournal(t)
	a, err := Open(t.Context(), Config{Documents: j.documents, Log: j.log, Logger: slog.New(slog.DiscardHandler),
		Shown: func(_ context.Context, attempt attest.Attempt) attest.Attempt {
			attempt.Message = "as it may be seen"
			return attempt
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	record := func(id string, enrolled bool, outcome attest.Outcome) {
		a.Record(attest.Attempt{Time: noon, RegistrationID: id, Enrolled: enrolled, Outcome: outcome,
			Snapshot: []byte(`{}`)})
	}
	record("pump-1", true, attest.Refused)    // 0
	record("stranger", false, attest.Refused) // 1
	record("pump-1", true, attest.Assigned)   // 2
	record("PUMP-1", true, attest.Failed)     // 3
	record("stranger", false, attest.Refused) // 4
	every := a.Search(Filter{})
	refused := a.Search(Filter{RegistrationID: "pump-1", Refused: true})
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, "[4 3 2 1 0]"},
		{Filter{Max: 2}, "[4 3]"},
		{Filter{Max: 2, Before: 3}, "[2 1]"},
		{Filter{RegistrationID: "Pump-1"}, "[3 2 0]"},
		{Filter{RegistrationID: "pump-1", Max: 1}, "[3]"},
		{Filter{RegistrationID: "pump-1", Refused: true}, "[3 0]"},
		{Filter{RegistrationID: "stranger"}, "[4 1]"},
		{Filter{RegistrationID: "nobody"}, "[]"},
		{Filter{Refused: true}, "[4 3 1 0]"},
		{Filter{Outcome: attest.Failed}, "[3]"},
	} {
		found, err := a.Find(t.Context(), c.filter)
		if err != nil || sequences(found) != c.want {
			t.Errorf("%+v finds %s, error %v, want %s", c.filter, sequences(found), err, c.want)
		}
		for _, attempt := range found {
			if attempt.Snapshot != nil || attempt.Message != "as it may be seen" {
				t.Errorf("%+v finds %+v", c.filter, attempt)
			}
		}
	}
	// A search that is repeated has what came since, too.
	for range 2 {
		for search, want := range map[*Search]string{every: "[4 3 2 1 0]", refused: "[3 0]"} {
			if found, err := search.Look(t.Context()); err != nil || sequences(found) != want {
				t.Errorf("the search finds %s, error %v, want %s", sequences(found), err, want)
			}
		}
	}
	record("pump-1", true, attest.Assigned) // 5
	record("pump-1", true, attest.Refused)  // 6
	for search, want := range map[*Search]string{every: "[6 5 4 3 2 1 0]", refused: "[6 3 0]"} {
		if found, err := search.Look(t.Context()); err != nil || sequences(found) != want {
			t.Errorf("the search finds %s now, error %v, want %s", sequences(found), err, want)
		}
	}
	if a.End() != 7 {
		t.Errorf("the next attempt is %d", a.End())
	}
	counts, err := a.Outcomes(t.Context(), noon.Add(-time.Hour))
	if err != nil || len(counts) != 1 || counts[0] != (Count{Time: noon, Assigned: 2, Refused: 4, Failed: 1}) {
		t.Errorf("the outcomes are %+v, error %v", counts, err)
	}
	if counts, err := a.Outcomes(t.Context(), noon.Add(time.Hour)); err != nil || len(counts) != 0 {
		t.Errorf("the later outcomes are %+v, error %v", counts, err)
	}
}

// A GUID finds the attempt with that tracking id: it is all that a device was told of why
// it was refused. A device that has a GUID as its registration id is found by it as before.
func TestFindByTrackingID(t *testing.T) {
	j := newJournal(t)
	a, err := Open(t.Context(), Config{Documents: j.documents, Log: j.log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	const device = "0a1b2c3d-0000-4000-8000-00000000000f"
	tracked := func(i int) string { return fmt.Sprintf("0a1b2c3d-0000-4000-8000-00000000000%d", i) }
	record := func(id string, enrolled bool) {
		a.Record(attest.Attempt{Time: noon, RegistrationID: id, Enrolled: enrolled, Outcome: attest.Refused,
			TrackingID: tracked(int(j.log.Bounds(0).Next))})
		a.awaitAppends()
	}
	record("pump-1", true)    // 0
	record("stranger", false) // 1
	record(device, true)      // 2
	record("pump-1", true)    // 3
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{RegistrationID: tracked(0)}, "[0]"},
		{Filter{RegistrationID: strings.ToUpper(tracked(1))}, "[1]"},
		{Filter{RegistrationID: tracked(3), Refused: true}, "[3]"},
		{Filter{RegistrationID: tracked(3), Outcome: attest.Assigned}, "[]"},
		{Filter{RegistrationID: tracked(9)}, "[]"},
		{Filter{RegistrationID: device}, "[2]"},
		{Filter{RegistrationID: "pump-1"}, "[3 0]"},
	} {
		if found, err := a.Find(t.Context(), c.filter); err != nil || sequences(found) != c.want {
			t.Errorf("%+v finds %s, error %v, want %s", c.filter, sequences(found), err, c.want)
		}
	}
}

// What a stranger sends is kept as far as it can be shown, and no further.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"pump-1": "pump-1", "Pumpe €": "Pumpe €", "a\x1b[31m\nb\u202e": "a?[31m?b?", "K\xf6ln": "K?ln",
		strings.Repeat("x", 200): strings.Repeat("x", 128),
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q is kept as %q, want %q", text, got, want)
		}
	}
}
