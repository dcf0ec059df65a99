package provisioningpages

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/exchange"
)

const (
	importSize    = 8  // rows handed out together
	importWriters = 16 // who write rows, so that the disk syncs many at once
)

// importJob is an import under way.
type importJob struct {
	kind   string // enrollments or groups
	dryRun bool   // only look at it
	file   *web.Upload
	format exchange.Format
	mode   exchange.Mode
	origin exchange.Origin
	read   atomic.Int64 // bytes

	mutex   sync.Mutex // guards what follows, which is known at the end
	without exchange.Without
	unused  []string // hubs that the file does not name
}

// newImport reads what a form asks to be done with a file.
func newImport(c *web.Call, kind string, file *web.Upload) (job *importJob, err error) {
	job = &importJob{kind: kind, dryRun: c.Value("check") != "", file: file}
	if job.format, err = exchange.FormatOf("", file.FileName); err != nil {
		return nil, err
	}
	if job.mode, err = exchange.ParseMode(c.Value("mode")); err != nil {
		return nil, err
	}
	job.origin.IgnoreHubs = c.Value("ignoreHubs") != ""
	pairs := slices.DeleteFunc(
		strings.Split(c.Text("hubs"), "\n"),
		func(line string) bool { return strings.TrimSpace(line) == "" },
	)
	job.origin.Hubs, err = exchange.ParseHubs(pairs)
	return job, err
}

// Write counts what was read of the file.
func (j *importJob) Write(p []byte) (int, error) {
	j.read.Add(int64(len(p)))
	return len(p), nil
}

// importer is how things of one kind are imported.
type importer[T any] struct {
	read   func(reader io.Reader, each func(exchange.Row[T]) error) error
	id     func(T) string
	adapt  func(func(exchange.Row[T]) error) func(exchange.Row[T]) error // to this service
	create func(context.Context, T) (T, error)
	put    func(ctx context.Context, item T, ifMatch string) (T, error)
}

// startImport begins an import and goes to its page. It then owns the file.
func startImport[T any](c *web.Call, job *importJob, of importer[T]) error {
	recorder := c.Panics()
	return c.StartJob("imports", job, func(ctx context.Context, progress *web.Job) error {
		err := recorder.Do(panics.Portal, func() error { return runImport(ctx, recorder, progress, job, of) })
		err = errors.Join(err, job.file.Close())
		job.mutex.Lock()
		defer job.mutex.Unlock()
		job.without, job.unused = job.origin.Without(), job.origin.Unused()
		return err
	})
}

func runImport[T any](
	ctx context.Context, recorder *panics.Recorder, progress *web.Job, job *importJob, of importer[T],
) error {
	apply := of.create
	switch job.mode {
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
		Done:   progress.Progress,
		Failed: func(row exchange.Row[T], why error) { progress.Fail(row.Line, of.id(row.Item), why) },
	}
	if job.dryRun { // by the very code of the run
		ctx = enroll.DryRun(ctx, nil)
		if job.mode == exchange.Create {
			importing.ID = of.id
		}
	}
	return importing.Run(ctx, func(each func(exchange.Row[T]) error) error {
		return of.read(io.TeeReader(job.file, job), of.adapt(each))
	})
}

// importPage is how an import stands.
type importPage struct {
	web.JobStatus
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
func (p *Pages) showImport(c *web.Call) error {
	progress, job, ok := web.FindJob[*importJob](c, c.PathValue("id"))
	if !ok {
		return fault.New(fault.NotFound, "This import is not known any more. The audit says what was changed")
	}
	page := func() any { return job.page(progress.Status()) }
	return c.Show("import", page, func() (any, error) { return page(), nil })
}

func (j *importJob) page(status web.JobStatus) importPage {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	page := importPage{JobStatus: status, Kind: j.kind, Name: j.file.FileName, DryRun: j.dryRun, Percent: 100}
	if j.file.Size > 0 {
		page.Percent = int(100 * j.read.Load() / j.file.Size)
	}
	page.Without, page.Unused = j.without, j.unused
	for _, name := range slices.Sorted(maps.Keys(j.without.Members)) {
		page.Members = append(page.Members, memberCount{name, j.without.Members[name]})
	}
	return page
}
