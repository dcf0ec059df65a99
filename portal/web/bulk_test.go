package web

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
)

// What can't be deleted is named, and the rest is deleted; a fault of the server's own
// ends the deletion.
func TestBulkDeletionThatFails(t *testing.T) {
	recorder := panics.NewRecorder(slog.New(slog.DiscardHandler))
	ctx := context.Background()
	d := Deletion{Gone: fault.DeviceNotFound,
		IDs: func(context.Context, Position, int) (ids []string, next string, err error) {
			return []string{"d-0", "d-1", "d-2", "d-3", "d-4"}, "", nil
		},
		Delete: func(_ context.Context, id string) error {
			switch id {
			case "d-2":
				return fault.New(fault.PreconditionFailed, "It was changed meanwhile")
			case "d-3":
				return fault.New(fault.DeviceNotFound, "It is gone")
			case "d-4":
				panic("a bug")
			}
			return nil
		}}
	var job Job
	if err := (&bulkDeletion{Deletion: d}).run(ctx, &job, recorder); err != nil || job.done != 3 || job.failed != 2 ||
		job.problems[0].ID != "d-2" || job.problems[0].Problem.Message != "It was changed meanwhile" ||
		job.problems[1].ID != "d-4" {
		t.Errorf("%d are deleted and %d not, error %v: %+v", job.done, job.failed, err, job.problems)
	}
	d.Delete = func(context.Context, string) error { return errors.New("the disk is full") }
	job = Job{}
	if err := (&bulkDeletion{Deletion: d}).run(ctx, &job, recorder); err == nil || job.done+job.failed != 0 {
		t.Errorf("%d are deleted and %d not, error %v", job.done, job.failed, err)
	}
}
