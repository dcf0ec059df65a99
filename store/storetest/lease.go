package storetest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/berth-iot/berth/store"
)

// lease takes a lease, and takes it again as a node does that was killed meanwhile: the
// commits of the first term are refused from then on. What has to do with time is tested
// beside the lease, with a clock that the test moves.
func lease(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	hold := func(ctx context.Context) (held chan store.Term, ended chan error) {
		held, ended = make(chan store.Term), make(chan error, 1)
		go func() {
			ended <- store.NewLease(d, "sweep", "a", slog.New(slog.DiscardHandler)).
				Hold(ctx, func(ctx context.Context, term store.Term) error {
					held <- term
					<-ctx.Done()
					return nil
				})
		}()
		return held, ended
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held, killed := hold(ctx)
	first := <-held
	commit(t, d, first.Check(), put("devices", "a", "one"))
	held, stopped := hold(ctx)
	second := <-held
	if second.Number <= first.Number {
		t.Errorf("term %d follows %d", second.Number, first.Number)
	}
	_, err := d.Commit(t.Context(), put("devices", "a", "two"), first.Check())
	wantConflict(t, err, 1, first.Check().Collection, first.Check().Key)
	commit(t, d, second.Check(), put("devices", "a", "three"))
	wantValue(t, d, "devices", "a", "three")
	cancel()
	<-killed
	<-stopped
}
