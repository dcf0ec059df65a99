package contract

import (
	"strings"
	"testing"
	"time"
)

// A user name that is as long as one can be, and names the parameter wherever it can, is
// read in no more than one pass or so.
func TestModelsOfLongUserNames(t *testing.T) {
	username := strings.Repeat(modelParameter, 65535/len(modelParameter))
	best := time.Hour
	for range 10 {
		began := time.Now()
		ModelID(username)
		best = min(best, time.Since(began))
	}
	if best > 2*time.Millisecond {
		t.Errorf("it took %v", best)
	}
}
