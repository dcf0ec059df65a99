package portal

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
)

const (
	everyNamed   = 50     // ids that the page which asks names
	everyCounted = 10_000 // things that it counts
	everyPage    = 1000   // ids read at once
	everyPart    = 100    // deleted together: one part of the audit's bulk
	everyWriters = 16     // who delete, so that the disk syncs many at once
)

// everyRoutes are the deletions of all that match a search.
var everyRoutes = map[string]handler{"GET deletions/{id}": reading(showDeletion)}

// everyJob is a deletion of all that match, under way.
type everyJob struct {
	job
	deletion
	place
}

// all is the place from whose beginning all that match are found.
func (p place) all() place {
	p.After = ""
	return p
}

// each calls take with the ids of all that are found at a place, page by page, until one
// of them fails.
func (list lister) each(ctx context.Context, at place, take func(ids []string) error) error {
	for {
		ids, next, err := list(ctx, at, everyPage)
		if err != nil {
			return err
		}
		if err := take(ids); err != nil || next == "" {
			return err
		}
		at.After = next
	}
}

var errEnough = errors.New("enough")

// confirmEvery asks whether to delete all that match.
func (c *call) confirmEvery(d deletion) error {
	page := deletionPage{deletion: d, place: c.place(), Every: true}
	err := d.ids.each(c.r.Context(), page.all(), func(ids []string) error {
		page.IDs = append(page.IDs, ids[:min(len(ids), everyNamed-len(page.IDs))]...)
		if page.Count += len(ids); page.Count <= everyCounted {
			return nil
		}
		page.Count, page.More = everyCounted, true
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if page.Count == 0 {
		c.say("error", c.language.T("Nothing matches any more"))
		return c.redirect(page.List())
	}
	return c.render(http.StatusOK, "delete", page)
}

// deleteEvery begins to delete all that match, and goes to the page that says how far it is.
func (c *call) deleteEvery(d deletion) error {
	job := &everyJob{job: newJob(), deletion: d, place: c.place().all()}
	return c.start(job, "deletions", func(ctx context.Context) error {
		return c.config.Panics.Do(panics.Portal, func() error { return c.runEvery(ctx, job) })
	})
}

func (c *call) runEvery(ctx context.Context, job *everyJob) error {
	var bulk *audit.Bulk
	if job.kind != "" {
		bulk = c.config.Audit.Begin(ctx, audit.Deleted, job.kind)
	}
	err := job.ids.each(ctx, job.place, func(ids []string) error {
		for len(ids) > 0 {
			some := ids[:min(len(ids), everyPart)]
			ids = ids[len(some):]
			if err := c.deletePart(ctx, job, bulk, some); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, bulk.End(ctx))
}

// deletePart deletes some of the things, several at once. What can't be deleted is noted;
// an error is the server's own.
func (c *call) deletePart(ctx context.Context, job *everyJob, bulk *audit.Bulk, ids []string) error {
	ctx, part, err := bulk.Part(ctx, ids)
	if err != nil {
		return err
	}
	outcomes := make([]error, len(ids))
	var deleting sync.WaitGroup
	for first := range min(everyWriters, len(ids)) {
		deleting.Go(func() {
			for i := first; i < len(ids); i += everyWriters {
				outcomes[i] = c.config.Panics.Do(panics.Portal, func() error { return job.delete(ctx, ids[i]) })
			}
		})
	}
	deleting.Wait()
	part.End(func(i int) string {
		if outcomes[i] == nil {
			return ""
		}
		return fault.ForOperator(outcomes[i]).Message
	})
	for i, err := range outcomes {
		switch {
		case err == nil || errors.Is(err, job.gone): // somebody else may have been faster
			job.progress(1)
		case fault.From(err).Code.Status() < 500 || errors.Is(err, panics.ErrPanic):
			job.fail(0, ids[i], fault.ForOperator(err))
		default:
			return err
		}
	}
	return nil
}

// everyJobPage is how a deletion of all that match stands.
type everyJobPage struct {
	jobPage
	Deletion deletion
	List     string // its address
}

// showDeletion shows how a deletion stands, for as long as it goes on.
func showDeletion(c *call) error {
	job, ok := c.jobs.find(c.r.PathValue("id")).(*everyJob)
	if !ok {
		return fault.New(fault.NotFound, "What came of this deletion is not known any more")
	}
	page := func() any {
		job.mutex.Lock()
		defer job.mutex.Unlock()
		return everyJobPage{job.stand(), job.deletion, job.Back + job.query()}
	}
	return c.show("deletion", page, func() (any, error) { return page(), nil })
}
