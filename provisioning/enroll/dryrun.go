package enroll

import (
	"context"
	"maps"
	"sync"
)

// DryRun returns a context in which Create, Put and Delete of Enrollments, and
// those of Groups, make all their checks, answer as they do, and write nothing: the
// same code runs up to the commit. What an earlier call in it would have written is not
// there for a later one, but counts against the limits on how many there may be. So does
// created, by the type of attestation: what an earlier part of the same dry run would
// have created. Keys that would be made are not those of the run.
func DryRun(ctx context.Context, created map[string]int) context.Context {
	run := &dryRun{created: make(map[string]int)}
	maps.Copy(run.created, created)
	return context.WithValue(ctx, dryRunKey{}, run)
}

// dryRun counts what would have been created, by the type of attestation.
type dryRun struct {
	mutex   sync.Mutex
	created map[string]int
}

type dryRunKey struct{}

// IsDryRun reports whether a context is one of DryRun.
func IsDryRun(ctx context.Context) bool { return dryRunOf(ctx) != nil }

// dryRunOf is the dry run that a context is of, nil for none.
func dryRunOf(ctx context.Context) *dryRun {
	run, _ := ctx.Value(dryRunKey{}).(*dryRun)
	return run
}

// create counts one more; replace is one in the place of another.
func (d *dryRun) create(mechanism string, replace bool) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if !replace {
		d.created[mechanism]++
	}
}

// count is how many with a mechanism would have been created, or all with "".
func (d *dryRun) count(mechanism string) (count int) {
	if d == nil {
		return 0
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for of, n := range d.created {
		if mechanism == "" || mechanism == of {
			count += n
		}
	}
	return count
}
