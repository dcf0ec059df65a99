package web

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
)

const (
	bulkNamed   = 50     // ids that the page which asks names
	bulkCounted = 10_000 // things that it counts
	bulkPage    = 1000   // ids read at once
	bulkPart    = 100    // deleted together: one part of what is recorded
	bulkWriters = 16     // who delete, so that the disk syncs many at once
)

// deletionRoutes are the pages of deletions of all that match a search.
var deletionRoutes = Routes{"GET deletions/{id}": RequireSession(showDeletion)}

// bulkDeletion is a deletion of all that match.
type bulkDeletion struct {
	Deletion
	at Position
}

var errEnough = errors.New("enough")

// confirmEvery asks whether to delete all that match.
func (c *Call) confirmEvery(d Deletion) error {
	page := deletionPage{Deletion: d, Position: c.position(), Every: true}
	err := d.IDs.each(c.Context(), page.start(), func(ids []string) error {
		page.IDs = append(page.IDs, ids[:min(len(ids), bulkNamed-len(page.IDs))]...)
		if page.Count += len(ids); page.Count <= bulkCounted {
			return nil
		}
		page.Count, page.More = bulkCounted, true
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if page.Count == 0 {
		c.Notify("error", c.T("Nothing matches any more"))
		return c.Redirect(page.List())
	}
	return c.Render(http.StatusOK, "delete", page)
}

// deleteEvery begins to delete all that match, and goes to the page that says how far it is.
func (c *Call) deleteEvery(d Deletion) error {
	bulk, recorder := &bulkDeletion{Deletion: d, at: c.position().start()}, c.Panics()
	return c.StartJob("deletions", bulk, func(ctx context.Context, job *Job) error {
		return recorder.Do(panics.Portal, func() error { return bulk.run(ctx, job, recorder) })
	})
}

// run deletes all that match, part by part.
func (b *bulkDeletion) run(ctx context.Context, job *Job, recorder *panics.Recorder) error {
	record := BulkRecord(unrecorded{})
	if b.Record != nil {
		record = b.Record(ctx)
	}
	err := b.IDs.each(ctx, b.at, func(ids []string) error {
		for len(ids) > 0 {
			part := ids[:min(len(ids), bulkPart)]
			ids = ids[len(part):]
			if err := b.deletePart(ctx, job, record, recorder, part); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, record.End(ctx))
}

// unrecorded is the BulkRecord of what is recorded nowhere.
type unrecorded struct{}

func (unrecorded) Part(ctx context.Context, _ []string) (context.Context, func(func(i int) string), error) {
	return ctx, func(func(i int) string) {}, nil
}

func (unrecorded) End(context.Context) error { return nil }

// deletePart deletes some of the things, several at once. What can't be deleted is noted
// in the job; an error is the server's own.
func (b *bulkDeletion) deletePart(
	ctx context.Context, job *Job, record BulkRecord, recorder *panics.Recorder, ids []string,
) error {
	ctx, end, err := record.Part(ctx, ids)
	if err != nil {
		return err
	}
	outcomes := make([]error, len(ids))
	var deleting sync.WaitGroup
	for first := range min(bulkWriters, len(ids)) {
		deleting.Go(func() {
			for i := first; i < len(ids); i += bulkWriters {
				outcomes[i] = recorder.Do(panics.Portal, func() error { return b.Delete(ctx, ids[i]) })
			}
		})
	}
	deleting.Wait()
	end(func(i int) string {
		if outcomes[i] == nil {
			return ""
		}
		return fault.ForOperator(outcomes[i]).Message
	})
	for i, err := range outcomes {
		switch {
		case err == nil || errors.Is(err, b.Gone): // somebody else may have been faster
			job.Progress(1)
		case fault.From(err).Code.Status() < 500 || errors.Is(err, panics.ErrPanic):
			job.Fail(0, ids[i], fault.ForOperator(err))
		default:
			return err
		}
	}
	return nil
}

// bulkDeletionPage is how a deletion of all that match stands.
type bulkDeletionPage struct {
	JobStatus
	Deletion Deletion
	List     string // its address
}

// showDeletion shows how a deletion stands, for as long as it goes on.
func showDeletion(c *Call) error {
	job, bulk, ok := FindJob[*bulkDeletion](c, c.PathValue("id"))
	if !ok {
		return fault.New(fault.NotFound, "What came of this deletion is not known any more")
	}
	page := func() any {
		return bulkDeletionPage{job.Status(), bulk.Deletion, bulk.Back + bulk.at.query()}
	}
	return c.Show("deletion", page, func() (any, error) { return page(), nil })
}
