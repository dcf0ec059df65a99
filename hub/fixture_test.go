package hub_test

import (
	"context"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/hubtest"
)

var ctx = context.Background()

// fixture is a hub with what the tests of this package do with one.
type fixture struct{ *hubtest.Hub }

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return &fixture{hubtest.New(t)}
}

// waitFor waits for what happens in the background.
func (f *fixture) waitFor(t testing.TB, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen within ten seconds")
		}
	}
}
