package portal

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

// jobs are those under way, and the outcome of the latest.
type jobs struct {
	mutex  sync.Mutex
	latest []anyJob // the oldest first
}

// anyJob is a job of some kind.
type anyJob interface{ base() *job }

// job is work on many things, which goes on when the browser leaves.
type job struct {
	id string

	mutex        sync.Mutex
	done, failed int
	problems     []jobProblem
	ended        bool
	broken       *fault.Error // why it ended early
}

// jobProblem is a thing that the work was not done on.
type jobProblem struct {
	Line    int // of a file, 0 without one
	ID      string
	Problem *fault.Error
}

func newJob() job { return job{id: fault.NewTrackingID()} }

func (j *job) base() *job { return j }

func (j *job) over() bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.ended
}

// progress notes that the work was done on so many things more.
func (j *job) progress(things int) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.done += things
}

// fail notes that the work was not done on a thing, and why.
func (j *job) fail(line int, id string, why error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.failed++; len(j.problems) < jobProblems {
		j.problems = append(j.problems, jobProblem{line, id, fault.From(why)})
	}
}

// jobPage is how a job stands.
type jobPage struct {
	ID           string
	Done, Failed int
	Problems     []jobProblem // in the order of their lines
	More         int          // that failed and are not among Problems
	Ended        bool
	Broken       *fault.Error
}

// stand returns how the job stands. The caller holds the mutex.
func (j *job) stand() jobPage {
	page := jobPage{ID: j.id, Done: j.done, Failed: j.failed, Problems: slices.Clone(j.problems),
		More: j.failed - len(j.problems), Ended: j.ended, Broken: j.broken}
	slices.SortStableFunc(page.Problems, func(a, b jobProblem) int { return a.Line - b.Line })
	return page
}

// add keeps a job, as long as there are not too many.
func (j *jobs) add(job anyJob) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	running := 0
	for _, other := range j.latest {
		if !other.base().over() {
			running++
		}
	}
	if running >= jobsAtOnce {
		return fault.New(fault.Throttled, "%d imports or deletions are under way. Wait until one is done", running)
	}
	if j.latest = append(j.latest, job); len(j.latest) > jobsKept {
		oldest := slices.IndexFunc(j.latest, func(job anyJob) bool { return job.base().over() })
		j.latest = slices.Delete(j.latest, oldest, oldest+1)
	}
	return nil
}

func (j *jobs) find(id string) anyJob {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	for _, job := range j.latest {
		if job.base().id == id {
			return job
		}
	}
	return nil
}

// start begins a job, whose page is below path, and goes to that page.
func (c *call) start(job anyJob, path string, run func(context.Context) error) error {
	if err := c.jobs.add(job); err != nil {
		return err
	}
	// It ends with the server and not with the request.
	ctx, stop := context.WithCancel(context.WithoutCancel(c.r.Context()))
	detach := context.AfterFunc(c.stopped, stop)
	base := job.base()
	c.open.Go(func() {
		defer stop()
		defer detach()
		err := run(ctx)
		base.mutex.Lock()
		defer base.mutex.Unlock()
		base.ended = true
		if err != nil {
			base.broken = fault.From(err)
			c.config.Logger.Warn("work for the portal ended early", "of", path, "id", base.id, "done", base.done, "failed", base.failed, "error", err)
		}
	})
	return c.redirect(path + "/" + base.id)
}
