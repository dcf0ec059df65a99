package attempts

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/store"
)

// Search is a search for attempts that can be repeated: it keeps what it has
// found and reads only what is new. It is for one goroutine at a time.
type Search struct {
	attempts *Attempts
	filter   Filter
	found    []attest.Attempt // newest first, without their cases
	next     int64            // the sequence up to which the log was searched
}

// Search returns a search that has not looked yet.
func (a *Attempts) Search(filter Filter) *Search {
	if filter.Max <= 0 {
		filter.Max = 100
	}
	return &Search{attempts: a, filter: filter}
}

// End returns the sequence that the next attempt in the log will get. While it
// stays, every search finds what it found before.
func (a *Attempts) End() int64 { return a.config.Log.Bounds(0).Next }

// Look returns what there is now, as Find does, for the one who asks.
func (s *Search) Look(ctx context.Context) ([]attest.Attempt, error) {
	found, err := s.find(ctx)
	shown := make([]attest.Attempt, len(found))
	for i, attempt := range found {
		shown[i] = s.attempts.shown(ctx, attempt)
	}
	return shown, err
}

func (s *Search) find(ctx context.Context) ([]attest.Attempt, error) {
	s.attempts.awaitAppends()
	if s.filter.RegistrationID != "" {
		sequences, err := s.attempts.sequencesOf(ctx, strings.ToLower(s.filter.RegistrationID))
		if err != nil {
			return nil, err
		}
		if len(sequences) > 0 {
			return s.read(ctx, sequences)
		}
	}
	return s.search(ctx)
}

// read returns the attempts with these sequences, newest first.
func (s *Search) read(ctx context.Context, sequences []int64) ([]attest.Attempt, error) {
	found := []attest.Attempt{}
	for _, sequence := range slices.Backward(sequences) {
		if len(found) == s.filter.Max {
			break
		}
		same := func(a attest.Attempt) bool { return a.Sequence == sequence }
		if known := slices.IndexFunc(s.found, same); known >= 0 {
			found = append(found, s.found[known])
			continue
		}
		if sequence < s.next { // it was read and not wanted
			continue
		}
		records, err := s.attempts.config.Log.Read(ctx, 0, sequence, 1, 0)
		if err != nil {
			return nil, err
		}
		if len(records) == 0 || records[0].Sequence != sequence {
			break // older ones have left the log
		}
		found = s.filter.add(found, records[0])
	}
	s.found = found
	if len(found) < s.filter.Max { // all were looked at
		s.next = sequences[len(sequences)-1] + 1
	}
	return found, nil
}

// search goes back through the log from its end to where the last search began.
func (s *Search) search(ctx context.Context) ([]attest.Attempt, error) {
	stride := int64(200)
	if s.filter.wantsAll() {
		stride = int64(s.filter.Max)
	}
	bounds := s.attempts.config.Log.Bounds(0)
	newest := bounds.Next
	if s.filter.Before != 0 {
		newest = min(newest, s.filter.Before)
	}
	oldest := max(bounds.First, newest-attemptsSearched)
	found := []attest.Attempt{}
	for end := newest; end > max(oldest, s.next) && len(found) < s.filter.Max; end -= stride {
		records, err := store.ReadBetween(ctx, s.attempts.config.Log, 0, max(oldest, s.next, end-stride), end)
		if err != nil {
			return nil, err
		}
		for _, record := range slices.Backward(records) {
			if found = s.filter.add(found, record); len(found) == s.filter.Max {
				break
			}
		}
	}
	for _, known := range s.found {
		if known.Sequence >= oldest && len(found) < s.filter.Max {
			found = append(found, known)
		}
	}
	s.found, s.next = found, newest
	return found, nil
}

// wantsAll reports whether the filter takes each attempt there is, up to Before.
func (f Filter) wantsAll() bool {
	return f.RegistrationID == "" && !f.Refused && f.Outcome == ""
}

// add appends the attempt in the record if the filter wants it.
func (f Filter) add(found []attest.Attempt, record store.Record) []attest.Attempt {
	attempt := decodeAttempt(record)
	switch {
	case f.RegistrationID != "" && !f.isNamed(attempt):
	case f.Refused && attempt.Outcome == attest.Assigned:
	case f.Outcome != "" && attempt.Outcome != f.Outcome:
	case f.Before != 0 && attempt.Sequence >= f.Before:
	default:
		attempt.Snapshot = nil
		found = append(found, attempt)
	}
	return found
}

// isNamed reports whether the filter's id is the attempt's registration id or, being a
// GUID, its tracking id.
func (f Filter) isNamed(attempt attest.Attempt) bool {
	return strings.EqualFold(f.RegistrationID, attempt.RegistrationID) ||
		IsTrackingID(f.RegistrationID) && strings.EqualFold(f.RegistrationID, attempt.TrackingID)
}

// IsTrackingID reports whether an id has the form of a tracking id, a GUID. A registration
// id may have it too.
func IsTrackingID(id string) bool { return trackingID.MatchString(id) }

var trackingID = regexp.MustCompile(`^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
