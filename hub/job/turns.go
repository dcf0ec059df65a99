package job

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// turn is an identity on its way through a job.
type turn struct {
	key, etag string
	device    Device
	err       error // why it could not be done
	over      bool
}

// turns has each identity of a job have its turn, several at once, and saves how far that
// has come. Those that were begun are brought to an end before it returns.
func (r *runner) turns(ctx context.Context, job *Job) error {
	if err := r.startTurns(ctx, job); err != nil {
		return err
	}
	working, stop := context.WithCancelCause(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop(nil)
	w := &window{runner: r, job: job, after: job.Progress.After}
	over := make(chan *turn, r.Limits.Devices)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var failure error
	for {
		for failure == nil && w.running < r.Limits.Devices {
			next, err := w.next(ctx)
			if err != nil {
				failure = err
			}
			if next == nil {
				break
			}
			w.running++
			workers.Go(func() {
				err := r.Panics.Do(panics.Background, func() error { return r.do(working, job, next) })
				if problem, ok := refusal(err); ok {
					err = r.write(context.WithoutCancel(working), next, next.device.failed(problem, r.Now()))
				}
				next.err = err
				over <- next
			})
		}
		if w.running == 0 {
			break
		}
		select {
		case done := <-over:
			w.running--
			done.over = done.err == nil
			if done.err != nil && failure == nil {
				failure = done.err
			}
			continue
		case <-ctx.Done():
			failure = context.Cause(ctx)
		case <-ticker.C:
			if failure == nil {
				failure = r.checkTime(job)
			}
			if failure == nil {
				failure = w.save(ctx)
			}
		}
		if failure != nil {
			stop(failure)
			for ; w.running > 0; w.running-- {
				done := <-over
				done.over = done.err == nil
			}
		}
	}
	w.pass()
	return failure
}

// startTurns makes the beginning: from here on Progress.After is of those that had a turn.
func (r *runner) startTurns(ctx context.Context, job *Job) error {
	if job.Progress.Turns {
		return nil
	}
	job.Progress.Turns, job.Progress.After = true, ""
	return r.save(ctx, job)
}

// window is the part of the identities of a job that is under way: in order, so that all
// before it have had their turn.
type window struct {
	*runner
	job     *Job
	after   string                // the last that was read
	read    []store.Entry[Device] // and not yet begun
	end     bool                  // there are no more to read
	turns   []*turn
	running int
}

// next returns the next identity that is to have its turn, nil when there is none now.
func (w *window) next(ctx context.Context) (*turn, error) {
	for {
		w.pass()
		if len(w.turns) >= 4*w.Limits.Devices {
			return nil, nil // one that takes long holds up what is kept of the others
		}
		if len(w.read) == 0 {
			if w.end {
				return nil, nil
			}
			entries, err := w.devices.List(ctx, deviceKey(w.job.ID, ""), w.after, changesAtOnce)
			if err != nil {
				return nil, err
			}
			w.read, w.end = entries, len(entries) < changesAtOnce
			if len(entries) == 0 {
				return nil, nil
			}
			w.after = entries[len(entries)-1].Key
		}
		e := w.read[0]
		w.read = w.read[1:]
		t := &turn{key: e.Key, etag: e.ETag, device: e.Value, over: e.Value.Status.hasEnded()}
		t.device.ID = e.Key[len(deviceKey(w.job.ID, "")):]
		w.turns = append(w.turns, t)
		if !t.over {
			return t, nil
		}
	}
}

// pass counts those at the front that have had their turn, and forgets them.
func (w *window) pass() {
	counts := Statistics{Succeeded: w.job.Progress.Succeeded, Failed: w.job.Progress.Failed}
	for len(w.turns) > 0 && w.turns[0].over {
		counts.count(w.turns[0].device.Status)
		w.job.Progress.After = w.turns[0].key
		w.turns = w.turns[1:]
	}
	w.job.Progress.Succeeded, w.job.Progress.Failed = counts.Succeeded, counts.Failed
}

// save commits how far the job has come.
func (w *window) save(ctx context.Context) error {
	w.pass()
	shown := Statistics{Devices: w.job.Statistics.Devices, Succeeded: w.job.Progress.Succeeded,
		Failed: w.job.Progress.Failed, Running: w.running}
	for _, t := range w.turns {
		if t.over {
			shown.count(t.device.Status)
		}
	}
	w.job.Statistics = shown
	return w.runner.save(ctx, w.job)
}

// refusal is the fault that an identity's turn ended with, or what stands for one: a record
// that can't be read, and a panic, concern this identity and no other.
func refusal(err error) (*fault.Error, bool) {
	problem := new(fault.Error)
	if errors.As(err, &problem) || store.IsUnreadable(err) || errors.Is(err, panics.ErrPanic) {
		return fault.ForOperator(err), true
	}
	return nil, false
}

// do has an identity have its turn. An error that is no refusal is why it could not be found
// out, or written, what came of that.
func (r *runner) do(ctx context.Context, job *Job, t *turn) error {
	if t.device.Status == DeviceRunning { // when an earlier process ended
		return r.write(ctx, t, t.device.failed(errUnknownOutcome(), r.Now()))
	}
	if job.Kind == InvokeMethod {
		return r.invoke(ctx, job, t)
	}
	done := t.device.completed(nil, r.Now())
	err := r.PatchTwin(ctx, t.device.ID, job.Twin, r.devices.Put(t.key, store.IfMatch(t.etag), done), r.term.Check())
	if err == nil {
		t.device = done
	}
	return err
}

// invoke calls a method, at most once: that it will is committed before.
func (r *runner) invoke(ctx context.Context, job *Job, t *turn) error {
	begun := t.device
	begun.Status, begun.Began, begun.Updated = DeviceRunning, r.Now(), r.Now()
	if err := r.write(ctx, t, begun); err != nil {
		return err
	}
	answer, err := r.Invoke(ctx, t.device.ID, job.Method)
	if err != nil {
		return err // when it is no refusal, it stays as begun, and nobody calls again
	}
	return r.write(context.WithoutCancel(ctx), t, t.device.completed(&answer, r.Now()))
}

// write commits what has become of an identity.
func (r *runner) write(ctx context.Context, t *turn, d Device) error {
	etags, err := r.Documents.Commit(ctx, r.devices.Put(t.key, store.IfMatch(t.etag), d), r.term.Check())
	if err == nil {
		t.device, t.etag = d, etags[0]
	}
	return err
}

func errUnknownOutcome() *fault.Error {
	return fault.New(fault.JobCancelled, "The call was interrupted by the end of the job or of the server, so that "+
		"what came of it is not known. The device is not called again")
}

func (d Device) completed(answer *Answer, now time.Time) Device {
	if d.Began.IsZero() {
		d.Began = now
	}
	d.Status, d.Answer, d.Updated, d.Ended = DeviceCompleted, answer, now, now
	return d
}

func (d Device) failed(problem *fault.Error, now time.Time) Device {
	if d.Began.IsZero() {
		d.Began = now
	}
	d.Status, d.Updated, d.Ended = DeviceFailed, now, now
	d.Error = &DeviceError{Code: int(problem.Code), Description: problem.Message}
	return d
}
