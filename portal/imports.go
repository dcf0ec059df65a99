package portal

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/exchange"
)

const (
	importSize    = 8  // rows handed out together
	importWriters = 16 // who write rows, so that the disk syncs many at once
)

// importJob is an import under way.
type importJob struct {
	job
	kind   string // enrollments or groups
	name   string // of the file
	dryRun bool
	size   int64 // bytes
	read   atomic.Int64

	without exchange.Without
	unused  []string // hubs that the file does not name
}

// Write counts what was read of the file.
func (j *importJob) Write(p []byte) (int, error) {
	j.read.Add(int64(len(p)))
	return len(p), nil
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
	job := &importJob{job: newJob(), kind: kind, name: file.name, dryRun: file.dryRun, size: file.size}
	return c.start(job, "imports", func(ctx context.Context) error {
		err := c.config.Panics.Do(panics.Portal, func() error { return runImport(ctx, c.config.Panics, job, file, of) })
		err = errors.Join(err, file.Close())
		job.mutex.Lock()
		defer job.mutex.Unlock()
		job.without, job.unused = file.origin.Without(), file.origin.Unused()
		return err
	})
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
		Done:   job.progress,
		Failed: func(row exchange.Row[T], why error) { job.fail(row.Line, of.id(row.Item), why) },
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
	jobPage
	Kind, Name string
	DryRun     bool
	Percent    int
	Without    exchange.Without
	Members    []memberCount // of Without, by their names
	Unused     []string
}

// memberCount is in how many rows there is a member that is not known here.
type memberCount struct {
	Name string
	Rows int
}

// showImport shows how an import stands, for as long as it goes on.
func showImport(c *call) error {
	job, ok := c.jobs.find(c.r.PathValue("id")).(*importJob)
	if !ok {
		return fault.New(fault.NotFound, "This import is not known any more. The audit says what was changed")
	}
	return c.show("import", func() any { return job.page() }, func() (any, error) { return job.page(), nil })
}

func (j *importJob) page() importPage {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	page := importPage{jobPage: j.stand(), Kind: j.kind, Name: j.name, DryRun: j.dryRun, Percent: 100}
	if j.size > 0 {
		page.Percent = int(100 * j.read.Load() / j.size)
	}
	page.Without, page.Unused = j.without, j.unused
	for _, name := range slices.Sorted(maps.Keys(j.without.Members)) {
		page.Members = append(page.Members, memberCount{name, j.without.Members[name]})
	}
	return page
}
