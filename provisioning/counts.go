package provisioning

import (
	"context"
	"sync/atomic"

	"github.com/berth-iot/berth/attest"
)

// Counts says how much the service holds.
type Counts struct {
	Enrollments   int `json:"enrollments"`
	Registrations int `json:"registrations"`
}

// Counts counts the service's documents; that may cost a read of their keys the first time.
func (s *Service) Counts(ctx context.Context) (counts Counts, err error) {
	if counts.Enrollments, err = s.enrollments.Count(ctx); err != nil {
		return counts, err
	}
	counts.Registrations, err = s.registrations.Count(ctx)
	return counts, err
}

// Tally is how many registrations ended in each way since the service opened.
type Tally struct{ Assigned, Refused, Failed uint64 }

// Tally returns the present figures.
func (s *Service) Tally() Tally {
	return Tally{s.tally.assigned.Load(), s.tally.refused.Load(), s.tally.failed.Load()}
}

type tally struct{ assigned, refused, failed atomic.Uint64 }

func (t *tally) count(outcome attest.Outcome) {
	switch outcome {
	case attest.Assigned:
		t.assigned.Add(1)
	case attest.Refused:
		t.refused.Add(1)
	case attest.Failed:
		t.failed.Add(1)
	}
}

// Work is what judging devices has cost since the service opened.
type Work struct {
	Signatures  uint64 // of certificates that were checked
	GroupsTried uint64 // whose keys were tried on tokens
}

// Work returns the present figures.
func (s *Service) Work() Work { return Work{s.signatures.Checks(), s.groups.KeysTried()} }

// Summary is what there is to know of a service without its secrets.
type Summary struct {
	IDScope    string   `json:"idScope"`
	Host       string   `json:"host"`
	LinkedHubs []string `json:"linkedHubs"`
	Pace       Pace     `json:"registration"`
	Counts
}

// Summary returns the service's summary; it counts as Counts does.
func (s *Service) Summary(ctx context.Context) (Summary, error) {
	counts, err := s.Counts(ctx)
	return Summary{s.config.IDScope, s.config.Host, s.Links().Hosts(), s.config.Pace, counts}, err
}
