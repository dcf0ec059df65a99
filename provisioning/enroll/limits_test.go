package enroll

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/berth-iot/berth/fault"
)

// Enrollments that are made at once take no place twice.
func TestThereAreNoMoreWhenManyComeAtOnce(t *testing.T) {
	h := newFixture(t, "hub.local").limited(Limits{Enrollments: 5, KeyGroups: 3})
	ctx := context.Background()
	var all sync.WaitGroup
	var made, full atomic.Int64
	count := func(err error) {
		if err == nil {
			made.Add(1)
		} else if errors.Is(err, fault.QuotaExceeded) {
			full.Add(1)
		}
	}
	keys := AttestationMechanism{Type: SymmetricKey}
	for i := range 20 {
		all.Go(func() {
			_, err := h.enrollments.Put(ctx, Enrollment{RegistrationID: fmt.Sprintf("d%d", i),
				Settings: Settings{Attestation: keys}}, "")
			count(err)
		})
		all.Go(func() {
			_, err := h.groups.Put(ctx, Group{EnrollmentGroupID: fmt.Sprintf("g%d", i),
				Settings: Settings{Attestation: keys}}, "")
			count(err)
		})
	}
	all.Wait()
	if made.Load() != 8 || full.Load() != 32 {
		t.Errorf("%d were made and %d had no place, want 8 and 32", made.Load(), full.Load())
	}
}
