package provisioning

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// resume takes up what is unfinished of a device, when nobody in this process
// works on it: its assignment, or the identities it left behind.
func (s *Service) resume(ctx context.Context, registrationID string) *job {
	job, isNew := s.jobs.begin(registrationID)
	if !isNew {
		return job
	}
	defer s.jobs.endIfPanicking(job)
	intent, _, err := s.intents.Get(ctx, key(registrationID))
	var pending storedRegistration
	if err == nil {
		pending, err = s.loadRegistration(ctx, registrationID)
	}
	switch {
	case err == nil && pending.Status == StatusAssigning && pending.OperationID == intent.OperationID:
		job.intent = intent
		close(job.known)
		s.run(job, pending)
		return job
	case err == nil && pending.Status != StatusAssigning && len(pending.Stale) > 0:
		job.intent.GroupID, job.intent.OperationID = pending.GroupID, pending.OperationID
		close(job.known)
		s.active.Go(func() {
			ctx, cancel := context.WithTimeout(s.work, assignmentTimeout)
			defer cancel()
			err := s.config.Panics.Do(panics.Background, func() error { s.removeStale(ctx, pending); return nil })
			s.jobs.end(job, pending.operation(), err)
		})
		return job
	case err == nil, errors.Is(err, fault.RegistrationNotFound):
		// The record was deleted, and perhaps made anew, since: the intent is void.
		_, err = s.config.Documents.Commit(ctx, s.intents.Delete(key(registrationID), store.Always))
	case errors.Is(err, store.ErrNotFound):
		err = nil // it was finished this moment
	}
	s.jobs.end(job, Operation{}, err)
	return job
}

const (
	sweepEvery  = 15 * time.Second
	sweepAtOnce = 16 // unfinished registrations that the sweep works on

	// othersTimeout is how long the node that has begun an assignment is left alone with it.
	othersTimeout = time.Minute + assignmentTimeout
)

// runSweeps takes up what is unfinished, at the start and from time to time:
// what a crash interrupted and no device may come back for, and what a hub that
// did not answer kept from being finished.
//
// One node of several does it, by a lease. What it commits is compare-and-swap on what it
// has read, so that a node that has lost the lease meanwhile does no harm.
func (s *Service) runSweeps() {
	ctx, cancel := context.WithCancel(s.work)
	defer cancel()
	s.always.Go(func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	lease := store.NewLease(s.config.Documents, "provisioning/sweep", s.config.Node, s.config.Logger)
	lease.Hold(ctx, func(ctx context.Context, _ store.Term) error { // it ends with the service
		s.sweepUntil(ctx)
		return nil
	})
}

// sweepUntil sweeps until the context ends.
func (s *Service) sweepUntil(ctx context.Context) {
	others := make(map[string]time.Time)
	for ctx.Err() == nil {
		s.runLogged("unfinished registrations can't be read", func() error { return s.sweep(ctx, others) })
		if s.config.trusted() {
			s.runLogged("the audit can't be pruned", func() error { return s.config.Audit.Prune(s.work) })
		}
		s.runLogged("past lock-outs can't be removed", func() error { _, err := s.lockouts.List(s.work); return err })
		timer := time.NewTimer(sweepEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// runLogged does a part of what has to be done again and again. One that fails, or
// panics, is in the log and keeps nothing else from being done.
func (s *Service) runLogged(failure string, do func() error) {
	if err := s.config.Panics.Do(panics.Background, do); err != nil && s.work.Err() == nil {
		s.config.Logger.Error(failure, "error", err)
	}
}

// sweep takes up all that is unfinished. What other nodes have begun it leaves to them for
// othersTimeout, so that hub and webhook are not asked by both; others says since when it
// has been seen, by the operation, and is kept from sweep to sweep. It is measured here, so
// that no two clocks are compared. What one of them fails by is its own.
func (s *Service) sweep(ctx context.Context, others map[string]time.Time) error {
	seen := make(map[string]time.Time)
	defer func() { clear(others); maps.Copy(others, seen) }()
	free := make(chan struct{}, sweepAtOnce)
	for after := ""; ; {
		entries, err := s.intents.List(s.work, "", after, 100)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
		for _, entry := range entries {
			after = entry.Key
			if intent := entry.Value; intent.Node != s.config.Node {
				now := time.Now()
				since, known := others[intent.OperationID]
				if !known {
					since = now
				}
				seen[intent.OperationID] = since
				if now.Sub(since) < othersTimeout {
					continue
				}
			}
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			var job *job
			if s.config.Panics.Do(panics.Background, func() error {
				job = s.resume(s.work, entry.Value.RegistrationID)
				return nil
			}) != nil {
				<-free
				continue
			}
			s.active.Go(func() {
				<-job.finished
				<-free
				if job.err != nil && s.work.Err() == nil {
					s.config.Logger.Error("an unfinished registration can't be taken up",
						"registrationId", entry.Value.RegistrationID, "error", job.err)
				}
			})
		}
	}
}
