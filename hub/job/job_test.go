package job

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// fixture are jobs that are being carried out.
type fixture struct {
	*Jobs
	*world
	t       *testing.T
	changed chan struct{}
}

func newFixture(t *testing.T, limits Limits) *fixture {
	f := &fixture{t: t, changed: make(chan struct{}, 1),
		world: &world{engine: memory.New(), clock: &clocktest.Clock{}, calls: make(map[string]int), devices: 3}}
	f.clock.Set(noon)
	documents := f.engine.Open()
	f.Jobs = f.open(documents, limits)
	documents.Watch(t.Context(), func() {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}, f.jobs.Collection)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		documents.Close()
	})
	return f
}

func (f *fixture) create(asked Specification) Job {
	f.t.Helper()
	if asked.Kind == "" {
		asked.Kind = UpdateTwin
	}
	created, err := f.Create(f.t.Context(), asked)
	if err != nil {
		f.t.Fatal(err)
	}
	return created
}

func (f *fixture) get(id string) Job {
	f.t.Helper()
	job, err := f.Get(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return job
}

// await returns a job once it is as it is wanted.
func (f *fixture) await(id string, wanted func(Job) bool) Job {
	f.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		if job := f.get(id); wanted(job) {
			return job
		}
		select {
		case <-f.changed:
		case <-timeout:
			f.t.Fatalf("the job stays %+v", f.get(id))
		}
	}
}

func is(status Status) func(Job) bool { return func(j Job) bool { return j.Status == status } }

func TestJobStartsWhenItsTimeHasCome(t *testing.T) {
	f := newFixture(t, Limits{})
	f.create(Specification{ID: "later", Start: noon.Add(time.Hour)})
	f.create(Specification{ID: "past", Start: noon.Add(-time.Hour)})
	if past := f.await("past", is(Completed)); !past.Start.Equal(noon) || past.Statistics != (Statistics{3, 3, 0, 0}) {
		t.Errorf("one that was to start before it was made is %+v", past)
	}
	if later := f.get("later"); later.Status != Scheduled || !later.Began.IsZero() {
		t.Errorf("one whose time has not come is %+v", later)
	}
	f.clock.Advance(time.Hour)
	if later := f.await("later", is(Completed)); !later.Began.Equal(noon.Add(time.Hour)) || later.Ended.IsZero() {
		t.Errorf("afterwards it is %+v", later)
	}
}

func TestJobIsRefused(t *testing.T) {
	f := newFixture(t, Limits{Active: 2})
	f.create(Specification{ID: "j1", Start: noon.Add(time.Hour)})
	for name, refused := range map[string]struct {
		asked Specification
		code  fault.Code
	}{
		"no id":                {Specification{}, fault.ArgumentInvalid},
		"an id with a slash":   {Specification{ID: "a/b"}, fault.ArgumentInvalid},
		"an id that is long":   {Specification{ID: string(make([]byte, 65))}, fault.ArgumentInvalid},
		"an id that is taken":  {Specification{ID: "j1"}, fault.JobAlreadyExists},
		"a start in 8 days":    {Specification{ID: "j2", Start: noon.Add(8 * 24 * time.Hour)}, fault.ArgumentInvalid},
		"less than no time":    {Specification{ID: "j2", Limit: -1}, fault.ArgumentInvalid},
		"more time than any":   {Specification{ID: "j2", Limit: 1 << 40}, fault.ArgumentInvalid},
		"a condition too long": {Specification{ID: "j2", Condition: string(make([]byte, 8193))}, fault.ArgumentInvalid},
	} {
		if _, err := f.Create(t.Context(), refused.asked); !errors.Is(err, refused.code) {
			t.Errorf("%s: %v, want %v", name, err, refused.code)
		}
	}
	f.create(Specification{ID: "j3", Start: noon.Add(7 * 24 * time.Hour)})
	third := Specification{ID: "j4", Kind: UpdateTwin}
	if _, err := f.Create(t.Context(), third); !errors.Is(err, fault.TooManyActiveJobs) {
		t.Errorf("a third job that has not ended: %v", err)
	}
	if _, err := f.Cancel(t.Context(), "j3", false); err != nil {
		t.Fatal(err)
	}
	f.create(third)
}

func TestJobFailsByItsCondition(t *testing.T) {
	f := newFixture(t, Limits{})
	f.create(Specification{ID: "j1", Condition: "nonsense"})
	failed := f.await("j1", is(Failed))
	if failed.Reason != "the condition can't be read" || failed.Ended.IsZero() {
		t.Errorf("it is %+v", failed)
	}
}

func TestJobIsCancelled(t *testing.T) {
	f := newFixture(t, Limits{Devices: 1})
	f.blocked = make(chan struct{})
	f.create(Specification{ID: "scheduled", Start: noon.Add(time.Hour)})
	f.create(Specification{ID: "running", Kind: InvokeMethod})
	f.await("running", func(j Job) bool { return j.Statistics.Running == 1 })
	if _, err := f.Cancel(t.Context(), "running", false); !errors.Is(err, fault.OperationNotAllowed) {
		t.Errorf("one that runs: %v", err)
	}
	for _, id := range []string{"scheduled", "running"} {
		cancelled, err := f.Cancel(t.Context(), id, true)
		if err != nil || cancelled.Status != Cancelled {
			t.Errorf("%s: %+v %v", id, cancelled, err)
		}
		if _, err := f.Cancel(t.Context(), id, true); !errors.Is(err, fault.OperationNotAllowed) {
			t.Errorf("%s again: %v", id, err)
		}
	}
	if _, err := f.Cancel(t.Context(), "none", true); !errors.Is(err, fault.JobNotFound) {
		t.Errorf("none: %v", err)
	}
	f.await("running", func(j Job) bool { return j.Statistics == Statistics{Devices: 3, Failed: 1} })
	devices, _, err := f.Devices(t.Context(), "running", "", 10)
	if err != nil || len(devices) != 3 || devices[0].Status != DeviceFailed || devices[1].Status != DeviceCancelled {
		t.Errorf("the devices are %+v: %v", devices, err)
	}
}

// TestJobRunsOutOfTime has a job end whose devices take too long.
func TestJobRunsOutOfTime(t *testing.T) {
	f := newFixture(t, Limits{Devices: 2})
	f.blocked = make(chan struct{})
	f.create(Specification{ID: "j1", Kind: InvokeMethod, Limit: 60})
	f.await("j1", func(j Job) bool { return j.Statistics.Running == 2 })
	f.clock.Advance(time.Minute)
	failed := f.await("j1", func(j Job) bool { return j.Statistics.Failed == 3 })
	if failed.Status != Failed || failed.Reason != "The job did not end within 60 seconds" {
		t.Errorf("it is %+v", failed)
	}
}

// TestJobsWaitForOthers has no more run at once than may.
func TestJobsWaitForOthers(t *testing.T) {
	f := newFixture(t, Limits{Running: 1})
	f.blocked = make(chan struct{})
	f.create(Specification{ID: "first", Kind: InvokeMethod})
	f.await("first", is(Running))
	f.create(Specification{ID: "second"})
	if second := f.get("second"); second.Status != Queued {
		t.Errorf("the second is %+v", second)
	}
	close(f.blocked)
	f.await("second", is(Completed))
	if first := f.get("first"); first.Status != Completed {
		t.Errorf("the first is %+v", first)
	}
}

// TestJobHistory has nothing left of a job that ended long ago.
func TestJobHistory(t *testing.T) {
	f := newFixture(t, Limits{})
	f.create(Specification{ID: "j1"})
	f.await("j1", is(Completed))
	f.create(Specification{ID: "j2", Start: noon.Add(time.Hour)})
	r := &runner{Jobs: f.Jobs, term: store.Term{}}
	f.Lease.Hold(t.Context(), func(_ context.Context, term store.Term) error { r.term = term; return nil })
	f.clock.Advance(30*24*time.Hour - 2*time.Hour)
	f.await("j2", is(Completed))
	for _, left := range []int{2, 1} {
		if err := r.forget(t.Context()); err != nil {
			t.Fatal(err)
		}
		jobs, _, err := f.List(t.Context(), "", 10, func(Job) bool { return true })
		devices, _, err2 := f.Devices(t.Context(), "", "", 10)
		if len(jobs) != left || len(devices) != 3*left || err != nil || err2 != nil {
			t.Errorf("%d jobs and %d devices are left, want %d jobs: %v %v", len(jobs), len(devices), left, err, err2)
		}
		f.clock.Advance(2 * time.Hour)
	}
}
