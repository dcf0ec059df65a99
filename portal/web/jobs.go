package web

import (
	"context"
	"slices"
	"sync"

	"github.com/berth-iot/berth/fault"
)

const (
	jobsAtOnce  = 2   // under way
	jobsKept    = 20  // whose outcome is shown
	jobProblems = 200 // of one, that are shown
)

// jobs are those under way, and the outcome of the latest. They are of this node, as the
// work and the files that it reads are: a balancer keeps a browser at one node.
type jobs struct {
	mutex  sync.Mutex
	latest []*Job // the oldest first
}

// Job is work on many things, which goes on when the browser leaves. This process keeps
// it, for those who look at its page: what it did is in the documents and the audit.
type Job struct {
	id     string
	detail any

	mutex        sync.Mutex
	done, failed int
	problems     []JobProblem
	ended        bool
	broken       *fault.Error // why it ended early
}

// JobProblem is a thing that the work was not done on.
type JobProblem struct {
	Line    int // of a file, 0 without one
	ID      string
	Problem *fault.Error
}

// over reports whether the job has ended.
func (j *Job) over() bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.ended
}

// Progress notes that the work was done on so many things more.
func (j *Job) Progress(things int) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.done += things
}

// Fail notes that the work was not done on a thing, which stands in this line of a file,
// 0 for none, and why.
func (j *Job) Fail(line int, id string, why error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.failed++; len(j.problems) < jobProblems {
		j.problems = append(j.problems, JobProblem{line, id, fault.From(why)})
	}
}

// JobStatus is how a job stands.
type JobStatus struct {
	ID           string
	Done, Failed int
	Problems     []JobProblem // in the order of their lines
	More         int          // that failed and are not among Problems
	Ended        bool
	Broken       *fault.Error // why it ended early, nil when it did not
}

// Status returns how the job stands.
func (j *Job) Status() JobStatus {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	status := JobStatus{ID: j.id, Done: j.done, Failed: j.failed, Problems: slices.Clone(j.problems),
		More: j.failed - len(j.problems), Ended: j.ended, Broken: j.broken}
	slices.SortStableFunc(status.Problems, func(a, b JobProblem) int { return a.Line - b.Line })
	return status
}

// end notes that the job is over, early when err is not nil.
func (j *Job) end(err error) JobStatus {
	j.mutex.Lock()
	j.ended = true
	if err != nil {
		j.broken = fault.From(err)
	}
	j.mutex.Unlock()
	return j.Status()
}

// add keeps a job, as long as there are not too many.
func (j *jobs) add(job *Job) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	running := 0
	for _, other := range j.latest {
		if !other.over() {
			running++
		}
	}
	if running >= jobsAtOnce {
		return fault.New(fault.Throttled, "%d imports or deletions are under way. Wait until one is done", running)
	}
	if j.latest = append(j.latest, job); len(j.latest) > jobsKept {
		oldest := slices.IndexFunc(j.latest, (*Job).over)
		j.latest = slices.Delete(j.latest, oldest, oldest+1)
	}
	return nil
}

func (j *jobs) find(id string) *Job {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	for _, job := range j.latest {
		if job.id == id {
			return job
		}
	}
	return nil
}

// StartJob begins a job, whose page is below path, and goes to that page. detail is what
// FindJob returns to the page: what the job is about. run ends with the server, and not
// with the request; an error that it returns is why it ended early. Of jobs that are
// under way at once there are 2; another one is fault 429001.
func (c *Call) StartJob(path string, detail any, run func(context.Context, *Job) error) error {
	job := &Job{id: fault.NewTrackingID(), detail: detail}
	if err := c.site.jobs.add(job); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(c.Context()))
	detach := context.AfterFunc(c.site.stopped, stop)
	logger := c.Logger()
	c.site.running.Go(func() {
		defer stop()
		defer detach()
		err := run(ctx, job)
		if status := job.end(err); err != nil {
			logger.Warn("work for the portal ended early", "of", path, "id", status.ID,
				"done", status.Done, "failed", status.Failed, "error", err)
		}
	})
	return c.Redirect(path + "/" + job.id)
}

// FindJob returns the job of an id, and what it is about. ok is false when it is not
// among the latest any more, or about something else.
func FindJob[T any](c *Call, id string) (job *Job, detail T, ok bool) {
	if job = c.site.jobs.find(id); job != nil {
		detail, ok = job.detail.(T)
	}
	return job, detail, ok
}
