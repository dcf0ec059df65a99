package store

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// A lease is two documents. The term says who holds it, and changes only when another
// takes it: commits of the holder check it. The beat changes with every renewal, so that
// others see that the holder lives; who takes the lease must find the beat as he has seen
// it for leaseExpiry. No clock is compared with another, and none of them may be set: each
// node measures by its own how long it has seen the same beat.
const (
	leaseRenewal = 5 * time.Second  // between two renewals, and between two looks of those who wait
	leaseRetry   = time.Second      // between two attempts at a renewal that fails
	leaseGiveUp  = 10 * time.Second // after the last renewal the holder stops
	leaseExpiry  = 15 * time.Second // after the same beat was seen for so long, another takes the lease
)

// ErrLeaseLost is the cause for which the context of work under a lease ends that this
// node no longer holds, or can no longer be sure to hold.
var ErrLeaseLost = errors.New("the lease of this node is over")

// Lease lets one of the nodes that share documents do what no two may do at once, such as
// a sweep. A node that dies, or can't reach the documents, is followed by another after 15
// to 20 seconds; one that stops, or is started again under its name, after 5 at most.
type Lease struct {
	name, node string
	terms      Table[leaseTerm]
	beats      Table[leaseBeat]
	logger     *slog.Logger
}

// leaseTerm is who holds a lease.
type leaseTerm struct {
	Node   string `json:"node"`
	Number int64  `json:"number"` // of terms so far
}

// leaseBeat is that the holder lives.
type leaseBeat struct {
	Number int64 `json:"number"` // of the term
}

// NewLease returns a lease by its name (such as provisioning/sweep). node is the name of
// this node, which no other may have; a node holds a lease once at a time. One without a
// name is alone, and holds every lease without asking the documents: work does not stop
// with a disk that is full. logger is told why a lease can't be taken or renewed.
func NewLease(documents Documents, name, node string, logger *slog.Logger) *Lease {
	return &Lease{name: name, node: node, logger: logger,
		terms: NewTable[leaseTerm](documents, "cluster/leases"),
		beats: NewTable[leaseBeat](documents, "cluster/beats")}
}

// Term is a time for which one node holds a lease.
type Term struct {
	// Number grows from term to term, by which who is asked by two nodes knows the later. It
	// is 0 for a node that is alone.
	Number int64

	check Change
}

// Check is for the commits of the holder: it makes them conflict once another node has
// taken the lease, whatever this one believes.
func (t Term) Check() Change { return t.check }

// Hold waits for the lease and calls work under it, and does so again each time that the
// lease is lost, until work returns with its context still alive, or ctx ends. The context
// of work ends with ctx, and with the cause ErrLeaseLost before another node can have the
// lease. Hold returns once work has, with the error of work or ctx, and gives the lease up.
func (l *Lease) Hold(ctx context.Context, work func(context.Context, Term) error) error {
	if l.node == "" {
		return work(ctx, Term{check: Change{Collection: l.terms.Collection, Key: l.name, Check: true}})
	}
	for {
		term, since, err := l.acquire(ctx)
		if err != nil {
			return err
		}
		held, end := context.WithCancelCause(ctx)
		renewing := make(chan struct{})
		go func() {
			defer close(renewing)
			l.renew(held, term, since, end)
		}()
		err = func() error {
			defer func() { end(nil); <-renewing }() // also when work panics
			return work(held, term)
		}()
		if errors.Is(context.Cause(held), ErrLeaseLost) && ctx.Err() == nil {
			continue
		}
		l.release(ctx, term)
		if err == nil {
			err = ctx.Err()
		}
		return err
	}
}

// acquire waits for the lease and takes it. since is when the holder's time began.
func (l *Lease) acquire(ctx context.Context) (term Term, since time.Time, err error) {
	var seen string // the beat that was there last
	var seenAt time.Time
	for {
		began := time.Now()
		term, beat, err := l.take(ctx, seen != "" && time.Since(seenAt) >= leaseExpiry, seen)
		switch _, conflict := IsConflict(err); {
		case err == nil && term.Number > 0:
			return term, began, nil
		case conflict:
			continue // somebody else was faster: look at what he wrote
		case ctx.Err() != nil:
			return Term{}, time.Time{}, ctx.Err()
		case err != nil:
			l.logger.Error("a lease can't be taken", "lease", l.name, "node", l.node, "error", err)
		case beat != seen:
			seen, seenAt = beat, time.Now()
		}
		if err := sleep(ctx, leaseRenewal); err != nil {
			return Term{}, time.Time{}, err
		}
	}
}

// take takes the lease if it is free, or has expired with the beat that was seen. Else the
// Term has no number, and beat is the one that is there.
func (l *Lease) take(ctx context.Context, expired bool, seen string) (term Term, beat string, err error) {
	present, etag, err := l.terms.Get(ctx, l.name)
	if err != nil && !errors.Is(err, ErrNotFound) && !IsUnreadable(err) {
		return Term{}, "", err
	}
	_, beat, err = l.beats.Get(ctx, l.name)
	if err != nil && !errors.Is(err, ErrNotFound) && !IsUnreadable(err) {
		return Term{}, "", err
	}
	if beat != "" && present.Node != l.node && !(expired && beat == seen) {
		return Term{}, beat, nil
	}
	number := present.Number + 1
	etags, err := l.terms.Documents.Commit(ctx,
		l.terms.Put(l.name, unchanged(etag), leaseTerm{Node: l.node, Number: number}),
		l.beats.Put(l.name, unchanged(beat), leaseBeat{Number: number}))
	if err != nil {
		return Term{}, "", err
	}
	return Term{Number: number, check: Change{Collection: l.terms.Collection, Key: l.name,
		Match: IfMatch(etags[0]), Check: true}}, beat, nil
}

// unchanged asks for the document with this ETag, or for none when it is "".
func unchanged(etag string) Match {
	if etag == "" {
		return Absent
	}
	return IfMatch(etag)
}

// renew keeps the lease until its context ends, or ends it with ErrLeaseLost. since is
// when the last renewal was begun.
func (l *Lease) renew(ctx context.Context, term Term, since time.Time, end context.CancelCauseFunc) {
	wait := leaseRenewal
	for sleep(ctx, wait) == nil {
		began := time.Now()
		bounded, cancel := context.WithDeadline(ctx, since.Add(leaseGiveUp))
		_, err := l.beats.Documents.Commit(bounded, term.check,
			l.beats.Put(l.name, Always, leaseBeat{Number: term.Number}))
		cancel()
		_, taken := IsConflict(err)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			since, wait = began, leaseRenewal
			continue
		case taken || time.Since(since) >= leaseGiveUp:
			l.logger.Warn("a lease is lost", "lease", l.name, "node", l.node, "error", err)
			end(ErrLeaseLost)
			return
		}
		l.logger.Warn("a lease can't be renewed", "lease", l.name, "node", l.node, "error", err)
		wait = min(leaseRetry, time.Until(since.Add(leaseGiveUp)))
	}
}

// release gives the lease up, so that nobody has to wait until it expires.
func (l *Lease) release(ctx context.Context, term Term) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseRetry)
	defer cancel()
	_, err := l.beats.Documents.Commit(ctx, term.check, l.beats.Delete(l.name, Always))
	if _, taken := IsConflict(err); err != nil && !taken {
		l.logger.Warn("a lease is left to expire", "lease", l.name, "node", l.node, "error", err)
	}
}

// sleep waits, and returns the error of a context that ends meanwhile.
func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
