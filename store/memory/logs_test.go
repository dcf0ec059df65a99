package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/storetest"
)

func TestLogs(t *testing.T) {
	defer goleak.VerifyNone(t)
	of := new(stores).of
	storetest.RunLogs(t, func(_ testing.TB, dir string) store.Logs { return of(dir).OpenLogs(nil) })
}
