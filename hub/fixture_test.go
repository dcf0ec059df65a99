package hub_test

import (
	"context"
	"testing"

	"github.com/berth-iot/berth/hub/hubtest"
)

var ctx = context.Background()

// fixture is a hub with what the tests of this package do with one.
type fixture struct{ *hubtest.Hub }

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return &fixture{hubtest.New(t)}
}
