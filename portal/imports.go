package portal

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/exchange"
)

const (
	importsAtOnce = 2   // under way
	importsKept   = 20  // whose outcome is shown
	importShown   = 200 // rows of one that failed
	importSize    = 8   // rows handed out together
	importWriters = 16  // who write rows, so that the disk syncs many at once
)

// imports are those under way, and the outcome of the latest.
type imports struct {
	mutex  sync.Mutex
	latest []*importJob // the oldest first
}

// importJob is an import on its way, which goes on when the browser leaves.
type importJob struct {
	id     string
	kind   string // enrollments or groups
	name   string // of the file
	dryRun bool
	size   int64 // bytes
	read   atomic.Int64

	mutex        sync.Mutex
	done, failed int
	problems     []importProblem
	ended        bool
	broken       *fault.Error // why it ended early
	without      exchange.Without
	unused       []string // hubs that the file does not name
}

// importProblem is a row that was not imported.
type importProblem struct {
	Line    int
	ID      string
	Problem *fault.Error
}

// Write counts what was read of the file.
func (j *importJob) Write(p []byte) (int, error) {
	j.read.Add(int64(len(p)))
	return len(p), nil
}

// add keeps a job, as long as there are not too many.
func (i *imports) add(job *importJob) error {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	running := 0
	for _, other := range i.latest {
		if !other.over() {
			running++
		}
	}
	if running >= importsAtOnce {
		return fault.New(fault.Throttled, "%d imports are under way. Wait until one is done", running)
	}
	if i.latest = append(i.latest, job); len(i.latest) > importsKept {
		oldest := slices.IndexFunc(i.latest, (*importJob).over)
		i.latest = slices.Delete(i.latest, oldest, oldest+1)
	}
	return nil
}

func (i *imports) find(id string) *importJob {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	for _, job := range i.latest {
		if job.id == id {
			return job
		}
	}
	return nil
}

func (j *importJob) over() bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.ended
}

// importOf is how things of one kind are imported.
type importOf[T any] struct {
	read   func(reader io.Reader, each func(exchange.Row[T]) error) error
	id     func(T) string
	fit    func(func(exchange.Row[T]) error) func(exchange.Row[T]) error // to this service
	create func(context.Context, T) (T, error)
	put    func(ctx context.Context, item T, ifMatch string) (T, error)
}

// startImport begins an import and goes to its page. It then owns the file.
func startImport[T any](c *call, file *upload, kind string, of importOf[T]) error {
	job := &importJob{id: fault.NewTrackingID(), kind: kind, name: file.name, dryRun: file.dryRun, size: file.size}
	if err := c.imports.add(job); err != nil {
		return err
	}
	// It ends with the server and not with the request.
	ctx, stop := context.WithCancel(context.WithoutCancel(c.r.Context()))
	detach := context.AfterFunc(c.stopped, stop)
	c.open.Go(func() {
		defer stop()
		defer detach()
		err := c.config.Panics.Do(panics.Portal, func() error { return runImport(ctx, c.config.Panics, job, file, of) })
		err = errors.Join(err, file.Close())
		job.mutex.Lock()
		defer job.mutex.Unlock()
		job.ended, job.without, job.unused = true, file.origin.Without(), file.origin.Unused()
		if err != nil {
			job.broken = fault.From(err)
			c.config.Logger.Warn("import ended early", "kind", kind, "file", job.name, "done", job.done, "failed", job.failed, "error", err)
		}
	})
	return c.redirect("imports/" + job.id)
}

func runImport[T any](ctx context.Context, recorder *panics.Recorder, job *importJob, file *upload, of importOf[T]) error {
	apply := of.create
	switch file.mode {
	case exchange.Update:
		apply = func(ctx context.Context, item T) (T, error) { return of.put(ctx, item, "*") }
	case exchange.Upsert:
		apply = func(ctx context.Context, item T) (T, error) { return of.put(ctx, item, "") }
	}
	importing := exchange.Import[T]{Size: importSize, AtOnce: importWriters,
		Send: func(ctx context.Context, rows []exchange.Row[T]) (map[int]error, error) {
			failed := make(map[int]error)
			for i, row := range rows {
				var problem *fault.Error
				err := recorder.Do(panics.Portal, func() error { _, err := apply(ctx, row.Item); return err })
				switch {
				case errors.As(err, &problem) && problem.Code.Status() < 500, errors.Is(err, panics.ErrPanic):
					failed[i] = err
				case err != nil:
					return nil, err
				}
			}
			return failed, nil
		},
		Done: func(rows int) {
			job.mutex.Lock()
			defer job.mutex.Unlock()
			job.done += rows
		},
		Failed: func(row exchange.Row[T], why error) {
			job.mutex.Lock()
			defer job.mutex.Unlock()
			if job.failed++; len(job.problems) < importShown {
				job.problems = append(job.problems, importProblem{row.Line, of.id(row.Item), fault.From(why)})
			}
		},
	}
	if file.dryRun { // by the very code of the run
		ctx = provisioning.DryRun(ctx, nil)
		if file.mode == exchange.Create {
			importing.ID = of.id
		}
	}
	return importing.Run(ctx, func(each func(exchange.Row[T]) error) error { return of.read(io.TeeReader(file, job), of.fit(each)) })
}

// importPage is how an import stands.
type importPage struct {
	ID, Kind, Name string
	DryRun         bool
	Percent        int
	Done, Failed   int
	Problems       []importProblem // in the order of their lines
	More           int             // that failed and are not among Problems
	Ended          bool
	Broken         *fault.Error
	Without        exchange.Without
	Members        []memberCount // of Without, by their names
	Unused         []string
}

// memberCount is in how many rows there is a member that is not known here.
type memberCount struct {
	Name string
	Rows int
}

// showImport shows how an import stands, for as long as it goes on.
func showImport(c *call) error {
	job := c.imports.find(c.r.PathValue("id"))
	if job == nil {
		return fault.New(fault.NotFound, "This import is not known any more. The audit says what was changed")
	}
	return c.show("import", func() any { return job.page() }, func() (any, error) { return job.page(), nil })
}

func (j *importJob) page() importPage {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	page := importPage{ID: j.id, Kind: j.kind, Name: j.name, DryRun: j.dryRun, Done: j.done, Failed: j.failed, Problems: slices.Clone(j.problems),
		More: j.failed - len(j.problems), Ended: j.ended, Broken: j.broken, Percent: 100}
	if j.size > 0 {
		page.Percent = int(100 * j.read.Load() / j.size)
	}
	page.Without, page.Unused = j.without, j.unused
	for _, name := range slices.Sorted(maps.Keys(j.without.Members)) {
		page.Members = append(page.Members, memberCount{name, j.without.Members[name]})
	}
	slices.SortStableFunc(page.Problems, func(a, b importProblem) int { return a.Line - b.Line })
	return page
}
