package segment

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// panicking is somebody who panics when told.
type panicking struct{}

func (panicking) Committed(uint64, store.Position, error) { panic("told") }

type told chan error

func (t told) Committed(_ uint64, _ store.Position, err error) { t <- err }

// Who panics when told of a commit keeps nobody else from being told, whether the
// record was written, refused, or came too late.
func TestWaiterPanics(t *testing.T) {
	recorder := panics.NewRecorder(slog.New(slog.DiscardHandler))
	logs, err := Open(t.TempDir(), Options{Panics: recorder})
	if err != nil {
		t.Fatal(err)
	}
	log, err := logs.Open("log", store.LogOptions{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	others := make(told, 10)
	tooLarge := make([]byte, maxRecord+1)
	for range 2 {
		log.Append(0, []byte("a"), panicking{}, 1)
		log.Append(0, []byte("b"), others, 2)
		log.Append(1, tooLarge, panicking{}, 3)
		log.Append(1, []byte("c"), others, 4)
		for range 2 {
			if err := <-others; err != nil {
				t.Error(err)
			}
		}
	}
	if next := log.Bounds(0).Next; next != 4 {
		t.Errorf("the log has %d records, want 4", next)
	}
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
	log.Append(0, []byte("d"), panicking{}, 5)
	log.Append(0, []byte("e"), others, 6)
	if err := <-others; !errors.Is(err, store.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	for recorder.Count(panics.Background) < 5 { // the last on a goroutine of its own
		if t.Context().Err() != nil {
			t.Fatal("a panic is not counted")
		}
	}
}

// A panic of the engine itself is a failure of the log, and not of the process.
func TestDiskPanics(t *testing.T) {
	disk := new(panickingDisk)
	logs, err := Open(t.TempDir(), Options{open: disk.open})
	if err != nil {
		t.Fatal(err)
	}
	log, err := logs.Open("log", store.LogOptions{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	done := make(told, 1)
	log.Append(0, []byte("a"), done, 0)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	disk.armed.Store(true)
	log.Append(0, []byte("b"), done, 0)
	if err := <-done; !errors.Is(err, panics.ErrPanic) {
		t.Errorf("a record on a disk that panics: %v", err)
	}
	disk.armed.Store(false)
	log.Append(0, []byte("c"), done, 0)
	if err := <-done; !errors.Is(err, panics.ErrPanic) {
		t.Errorf("a record after that, when nobody knows what was left half done: %v", err)
	}
	logs.Close()
}

type panickingDisk struct{ armed atomic.Bool }

type panickingFile struct {
	file
	*panickingDisk
}

func (d *panickingDisk) open(path string, create bool) (file, error) {
	under, err := openDisk(path, create)
	return panickingFile{under, d}, err
}

func (f panickingFile) Sync() error {
	if f.armed.Load() {
		panic("sync")
	}
	return f.file.Sync()
}
