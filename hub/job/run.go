package job

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

const (
	lookEvery     = time.Second     // for jobs whose time has come, and whether one's time is over
	retryAfter    = 5 * time.Second // when a job could not go on, as with a disk that is full
	forgetEvery   = time.Minute     // jobs whose history is over
	changesAtOnce = 500             // of identities in one commit
)

// Run carries jobs out until ctx ends: on one node of several, by the lease. A job that was
// under way when a process ended goes on where it was. What it commits for an identity holds
// as long as this node has the lease and nobody else has had that identity's turn.
func (j *Jobs) Run(ctx context.Context) {
	j.Lease.Hold(ctx, func(ctx context.Context, term store.Term) error {
		r := &runner{Jobs: j, term: term, running: make(map[string]context.CancelCauseFunc),
			waiting: make(map[string]time.Time), over: make(chan outcome)}
		r.work(ctx)
		return nil
	})
}

// runner carries jobs out for as long as its node has the lease.
type runner struct {
	*Jobs
	term    store.Term
	running map[string]context.CancelCauseFunc // by id
	waiting map[string]time.Time               // until when, by the process's clock; those that could not go on
	over    chan outcome
}

// outcome is how it went with a job.
type outcome struct {
	id  string
	err error // why it could not go on
}

var (
	errCancelled = errors.New("the job was cancelled")
	errTimeUp    = errors.New("the job's time is over")
)

func (r *runner) work(ctx context.Context) {
	wake := make(chan struct{}, 1)
	r.Documents.Watch(ctx, func() {
		select {
		case wake <- struct{}{}:
		default: // it is awake
		}
	}, r.index.Collection)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var jobs sync.WaitGroup
	defer func() {
		go func() { jobs.Wait(); close(r.over) }()
		for range r.over { // nobody is started any more
		}
	}()
	var forgotten time.Time
	for ctx.Err() == nil {
		if err := r.startDue(ctx, &jobs); err != nil && ctx.Err() == nil {
			r.Logger.Error("the jobs that are due can't be read", "jobs", r.jobs.Collection, "error", err)
		}
		if time.Since(forgotten) >= forgetEvery {
			forgotten = time.Now()
			if err := r.forget(ctx); err != nil && ctx.Err() == nil {
				r.Logger.Error("jobs whose history is over can't be deleted", "jobs", r.jobs.Collection, "error", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-ticker.C:
		case o := <-r.over:
			delete(r.running, o.id)
			if o.err != nil {
				r.waiting[o.id] = time.Now().Add(retryAfter)
				r.Logger.Error("a job can't go on, and is tried again", "job", o.id, "error", o.err)
			}
		}
	}
}

// startDue starts the jobs whose time has come, as many as may run at once, and ends those
// that were cancelled.
func (r *runner) startDue(ctx context.Context, jobs *sync.WaitGroup) error {
	entries, err := r.index.List(ctx, activePrefix, "", maxActive)
	if err != nil {
		return err
	}
	now := r.Now()
	for _, e := range entries {
		at, id := parseIndexKey(e.Key)
		cancel, running := r.running[id]
		switch {
		case running && e.Value.Cancelled:
			cancel(errCancelled)
		case running, time.Now().Before(r.waiting[id]), at.After(now):
		case e.Value.Cancelled || len(r.running) < r.Limits.Running:
			delete(r.waiting, id)
			running, cancel := context.WithCancelCause(ctx)
			r.running[id] = cancel
			jobs.Go(func() {
				defer cancel(nil)
				err := r.Panics.Do(panics.Background, func() error { return r.run(running, id, e.Key) })
				if ctx.Err() != nil || errors.Is(context.Cause(running), errCancelled) || isConflict(err) {
					err = nil // what is left is done by who comes next, at once
				}
				r.over <- outcome{id, err}
			})
		}
	}
	return nil
}

// isConflict reports whether what was read of a job is not so any more: it was cancelled, or
// this node has lost the lease.
func isConflict(err error) bool {
	_, conflict := store.IsConflict(err)
	return conflict || errors.As(err, new(*store.OthersError))
}

// run carries a job out, from where it is to its end.
func (r *runner) run(ctx context.Context, id, indexKey string) error {
	job, err := r.begin(ctx, id)
	if errors.Is(err, store.ErrNotFound) { // an operator has deleted it
		return r.remove(ctx, id, indexKey)
	}
	if err != nil {
		return err
	}
	if !job.Status.HasEnded() {
		if job.IsTransfer() {
			err = r.transfer(ctx, &job)
		} else if err = r.selectDevices(ctx, &job); err == nil {
			err = r.turns(ctx, &job)
		}
		switch problem := new(fault.Error); {
		case errors.Is(err, errTimeUp):
			job.fail(fault.New(fault.JobCancelled, "The job did not end within %d seconds", job.Limit))
		case errors.As(err, &problem):
			job.fail(problem)
		case err != nil:
			return err
		default:
			job.Status = Completed
		}
	}
	return r.end(ctx, job)
}

func (j *Job) fail(problem *fault.Error) {
	j.Status, j.Reason = Failed, problem.Message
}

// begin returns a job that is to be carried out, from now on if it was not before.
func (r *runner) begin(ctx context.Context, id string) (Job, error) {
	job, etag, err := r.jobs.Get(ctx, id)
	if err != nil {
		return Job{}, err
	}
	job.etag = etag
	if job.Status == Scheduled {
		job.Status, job.Began = Running, r.Now()
		err = r.save(ctx, &job)
	}
	return job, err
}

// save commits a job as it is now, together with changes of its identities. Nobody but a
// runner and who cancels it changes a job that has begun, so that a conflict means that this
// one has to stop.
func (r *runner) save(ctx context.Context, job *Job, changes ...store.Change) error {
	changes = append([]store.Change{r.jobs.Put(job.ID, store.IfMatch(job.etag), *job)}, changes...)
	etags, err := r.Documents.Commit(ctx, append(changes, r.term.Check())...)
	if err != nil {
		return fmt.Errorf("save the job: %w", err)
	}
	job.etag = etags[0]
	return nil
}

// checkTime returns errTimeUp when a job has run for as long as it may.
func (r *runner) checkTime(job *Job) error {
	if r.Now().Before(job.Began.Add(time.Duration(job.Limit) * time.Second)) {
		return nil
	}
	return errTimeUp
}

// selectDevices writes down the identities that have a turn. They are chosen once: what the
// job itself changes of them makes no difference.
func (r *runner) selectDevices(ctx context.Context, job *Job) error {
	for !job.Progress.Selected {
		if err := r.checkTime(job); err != nil {
			return err
		}
		ids, next, err := r.Select(ctx, job.Condition, job.Progress.After, changesAtOnce)
		if err != nil {
			return err
		}
		now := r.Now()
		pending := Device{Kind: job.Kind, Status: DevicePending, Created: now, Updated: now}
		changes := make([]store.Change, len(ids))
		for i, id := range ids {
			changes[i] = r.devices.Put(deviceKey(job.ID, id), store.Always, pending)
		}
		job.Statistics.Devices += len(ids)
		job.Progress.After, job.Progress.Selected = next, next == ""
		if err := r.save(ctx, job, changes...); err != nil {
			return err
		}
	}
	return nil
}

// end settles the identities that have had no turn, and moves a job to those that have ended.
func (r *runner) end(ctx context.Context, job Job) error {
	if job.Ended.IsZero() {
		job.Ended = r.Now()
	}
	if job.Status != Completed {
		// How it ends is committed first, so that it ends so whatever happens.
		if err := r.save(ctx, &job); err != nil {
			return err
		}
	}
	if job.IsTransfer() {
		return r.save(ctx, &job, r.prepareEnded(job)...)
	}
	statistics := Statistics{Devices: job.Statistics.Devices, Succeeded: job.Progress.Succeeded,
		Failed: job.Progress.Failed}
	after := ""
	if job.Progress.Turns {
		after = job.Progress.After
	}
	for more := true; more; {
		entries, err := r.devices.List(ctx, deviceKey(job.ID, ""), after, changesAtOnce)
		if err != nil {
			return err
		}
		var changes []store.Change
		for _, e := range entries {
			after = e.Key
			if settled := r.settled(e.Value, job); settled != nil {
				e.Value = *settled
				changes = append(changes, r.devices.Put(e.Key, store.IfMatch(e.ETag), e.Value))
			}
			statistics.count(e.Value.Status)
		}
		if len(changes) > 0 {
			if _, err := r.Documents.Commit(ctx, append(changes, r.term.Check())...); err != nil {
				return err
			}
		}
		more = len(entries) == changesAtOnce
	}
	job.Statistics = statistics
	return r.save(ctx, &job, r.prepareEnded(job)...)
}

func (s *Statistics) count(status DeviceStatus) {
	switch status {
	case DeviceCompleted:
		s.Succeeded++
	case DeviceFailed:
		s.Failed++
	}
}

// settled is what becomes of an identity when its job has ended, nil when it stays as it is.
func (r *runner) settled(d Device, of Job) *Device {
	switch {
	case d.Status.hasEnded():
		return nil
	case d.Status == DeviceRunning:
		return new(d.failed(errUnknownOutcome(), r.Now()))
	case of.Status == Cancelled:
		d.Status, d.Updated, d.Ended = DeviceCancelled, r.Now(), r.Now()
		return &d
	}
	return new(d.failed(fault.New(fault.JobCancelled, "The job ended before it was this device's turn"), r.Now()))
}

// forget deletes jobs whose history is over.
func (r *runner) forget(ctx context.Context) error {
	for {
		entries, err := r.index.List(ctx, endedPrefix, "", changesAtOnce)
		if err != nil {
			return err
		}
		for _, e := range entries {
			at, id := parseIndexKey(e.Key)
			if r.Now().Sub(at) < r.Limits.History {
				return nil
			}
			if err := r.remove(ctx, id, e.Key); err != nil {
				return err
			}
		}
		if len(entries) < changesAtOnce {
			return nil
		}
	}
}

// remove deletes a job with all that there is of it.
func (r *runner) remove(ctx context.Context, id, indexKey string) error {
	for _, collection := range []string{r.devices.Collection, r.lines.Collection} {
		for id != "" {
			items, err := r.Documents.List(ctx, collection, deviceKey(id, ""), "", changesAtOnce)
			if err != nil {
				return err
			}
			if len(items) == 0 {
				break
			}
			changes := []store.Change{r.term.Check()}
			for _, item := range items {
				changes = append(changes, store.Change{Collection: collection, Key: item.Key, Delete: true})
			}
			if _, err := r.Documents.Commit(ctx, changes...); err != nil {
				return err
			}
		}
	}
	changes := []store.Change{r.term.Check(), r.index.Delete(indexKey, store.Always)}
	if id != "" {
		changes = append(changes, r.jobs.Delete(id, store.Always))
	}
	_, err := r.Documents.Commit(ctx, changes...)
	return err
}
