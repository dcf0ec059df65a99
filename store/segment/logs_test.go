package segment

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/storetest"
)

// small makes files small enough that tests fill many of them.
func small(t testing.TB, dir string) store.Logs {
	t.Helper()
	logs, err := Open(dir, Options{SegmentSize: 256 << 10, Marks: filepath.Join(dir, "marks")})
	if err != nil {
		t.Fatal(err)
	}
	return logs
}

func TestLogs(t *testing.T) {
	defer goleak.VerifyNone(t)
	storetest.RunLogs(t, small)
}

func TestCrash(t *testing.T) {
	t.Parallel()
	storetest.CrashLogs(t, small)
}
