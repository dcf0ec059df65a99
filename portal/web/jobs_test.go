package web

import (
	"fmt"
	"testing"
)

// The outcomes that are kept are bounded, and so are the jobs under way.
func TestJobsKept(t *testing.T) {
	var kept jobs
	for i := range 2 * jobsKept {
		if err := kept.add(&Job{id: fmt.Sprint(i), ended: true}); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept.latest) != jobsKept || kept.find("0") != nil || kept.find(fmt.Sprint(2*jobsKept-1)) == nil {
		t.Errorf("%d are kept", len(kept.latest))
	}
	for i := range jobsAtOnce + 1 {
		if err := kept.add(&Job{id: "running"}); (err != nil) != (i == jobsAtOnce) {
			t.Errorf("the job %d under way: %v", i+1, err)
		}
	}
	if len(kept.latest) != jobsKept {
		t.Errorf("%d are kept", len(kept.latest))
	}
}
