package segment

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
)

// gate holds up syncs while it is shut.
type gate struct {
	mu   sync.Mutex
	held chan struct{} // gets a value for each sync that arrives while shut
	pass chan struct{} // closed when it is open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held, g.pass = make(chan struct{}, 1), make(chan struct{})
}

// reached returns when a sync is held up.
func (g *gate) reached(t testing.TB) {
	select {
	case <-g.held:
	case <-t.Context().Done():
		t.Fatal("no sync came")
	}
}

func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.pass)
	g.held = nil
}

func (g *gate) open(path string, create bool) (file, error) {
	f, err := openDisk(path, create)
	return gatedFile{f, g}, err
}

type gatedFile struct {
	file
	*gate
}

func (f gatedFile) Sync() error {
	f.mu.Lock()
	held, pass := f.held, f.pass
	f.mu.Unlock()
	if held != nil {
		held <- struct{}{}
		<-pass
	}
	return f.file.Sync()
}

// failing is a disk that fails at what it is told to.
type failing struct {
	mu sync.Mutex
	faults
}

type faults struct{ create, reopen, reserve, write, sync error }

func (f *failing) set(f2 faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = f2
}

func (f *failing) now() faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults
}

func (f *failing) open(path string, create bool) (file, error) {
	if now := f.now(); create && now.create != nil || !create && now.reopen != nil {
		return nil, cmp.Or(now.create, now.reopen)
	}
	under, err := openDisk(path, create)
	return failingFile{under, f}, err
}

type failingFile struct {
	file
	disk *failing
}

func (f failingFile) Reserve(size int64) error {
	if err := f.disk.now().reserve; err != nil {
		return err
	}
	return f.file.Reserve(size)
}

func (f failingFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.disk.now().write; err != nil {
		n, _ := f.file.WriteAt(b[:len(b)/2], at)
		return n, err
	}
	return f.file.WriteAt(b, at)
}

func (f failingFile) Sync() error {
	if err := f.disk.now().sync; err != nil {
		return err
	}
	return f.file.Sync()
}

// TestFailure lets the disk fail: nothing is confirmed meanwhile, those who wait
// and those who read stay, and when the disk works again the log goes on by
// itself, without a gap or a double, and is whole when it is opened again.
func TestFailure(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is broken")
	for _, test := range []struct {
		name string
		faults
		size int // of the records that are refused: large ones need a segment of their own
		says string
	}{
		{"write", faults{write: broken}, 1, segmentName(1)},
		{"sync", faults{sync: broken}, 1, segmentName(1)},
		{"no descriptor for the next segment", faults{create: syscall.EMFILE}, 7000, "begin a segment"},
		{"no room for the next segment", faults{reserve: syscall.ENOSPC}, 7000, "begin a segment"},
		{"a next segment that can't be synced", faults{sync: broken}, 7000, "begin a segment"},
		{"a next segment that can't be opened again", faults{reopen: syscall.EMFILE}, 7000, "begin a segment"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			disk := &failing{}
			reports := make(chan error, 10)
			options := tiny
			options.open = disk.open
			options.retryTimeout = time.Millisecond
			options.Failing = func(log string, err error) {
				if log != "log" {
					t.Errorf("the log is called %q", log)
				}
				reports <- err
			}
			logs, log := openOne(t, dir, options, 2)
			filling := strings.Repeat("before", 500)
			appendEach(t, log, 0, filling)
			waiting := make(chan error, 1)
			go func() { waiting <- log.Wait(t.Context(), 0, 1) }()
			disk.set(test.faults)
			var a acknowledged
			for i := range 10 {
				a.append(log, i%2, strings.Repeat("x", test.size))
			}
			a.waiting.Wait()
			if len(a.at) != 0 || len(a.errs) != 10 {
				t.Fatalf("%d appends confirmed and %d refused, want 0 and 10", len(a.at), len(a.errs))
			}
			for _, err := range append(a.errs, <-reports) {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Fatalf("error %v, want one that says %q", err, test.says)
				}
			}
			if got := contents(t, log, 0); !slices.Equal(got, []string{filling}) {
				t.Fatalf("while it fails: %.100q", got)
			}
			disk.set(faults{})
			if err := <-reports; err != nil { // nobody appends meanwhile
				t.Fatalf("the disk works, and the log says %v", err)
			}
			appendEach(t, log, 0, "after")
			appendEach(t, log, 1, "after too")
			if err := <-waiting; err != nil {
				t.Fatalf("who waited for the next record got %v", err)
			}
			check := func(log store.Log) {
				t.Helper()
				if got := contents(t, log, 0); !slices.Equal(got, []string{filling, "after"}) {
					t.Fatalf("partition 0: %.100q", got)
				}
				if got := contents(t, log, 1); !slices.Equal(got, []string{"after too"}) {
					t.Fatalf("partition 1: %.100q", got)
				}
			}
			check(log)
			dir2 := photograph(t, dir).restore(t) // as a crash would leave it
			closeAll(t, logs)
			for _, dir := range []string{dir, dir2} {
				logs, log := openOne(t, dir, tiny, 2)
				check(log)
				closeAll(t, logs)
			}
		})
	}
}

// TestTransientWriteFailure lets the disk fail and work again while a record waits: it is
// confirmed as if nothing had been.
func TestTransientWriteFailure(t *testing.T) {
	for _, test := range []struct {
		name string
		faults
		size int // of the record: a large one needs a segment of its own
	}{
		{"write", faults{write: syscall.ENOSPC}, 1},
		{"sync", faults{sync: syscall.EIO}, 1},
		{"no descriptor for the next segment", faults{create: syscall.EMFILE}, 7000},
		{"no room for the next segment", faults{reserve: syscall.ENOSPC}, 7000},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk, logs, log, reports := openFailing(t)
			defer closeAll(t, logs)
			appendEach(t, log, 0, "before")
			disk.set(test.faults)
			var a acknowledged
			a.append(log, 0, strings.Repeat("x", test.size))
			if err := <-reports; err == nil {
				t.Fatal("it did not fail")
			}
			disk.set(faults{})
			a.waiting.Wait()
			if len(a.errs) > 0 {
				t.Fatal(a.errs[0])
			}
			if err := <-reports; err != nil {
				t.Fatal(err)
			}
			if got := contents(t, log, 0); len(got) != 2 {
				t.Fatalf("%d records, want 2", len(got))
			}
		})
	}
}

// TestFailureBetweenRecords lets the disk fail when nobody waits for it, at the start of a
// segment that retention asked for: a record that comes right after that is not refused
// for a failure that is no more.
func TestFailureBetweenRecords(t *testing.T) {
	disk, logs, log, reports := openFailing(t)
	defer closeAll(t, logs)
	appendEach(t, log, 0, "before")
	disk.set(faults{create: syscall.EMFILE})
	log.queue.askRoll()
	if err := <-reports; !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("the log reports %v, want that it could not begin a segment", err)
	}
	disk.set(faults{})
	appendEach(t, log, 0, "after")
	if err := <-reports; err != nil {
		t.Fatal(err)
	}
	if got := contents(t, log, 0); !slices.Equal(got, []string{"before", "after"}) {
		t.Fatalf("the log has %q", got)
	}
}

// openFailing opens a log on a disk that fails when it is told to, which is tried again
// for as long as a test can wait. The log reports each time that it fails, and works again.
func openFailing(t *testing.T) (*failing, *Logs, *Log, <-chan error) {
	t.Helper()
	disk, reports, options := &failing{}, make(chan error, 10), tiny
	options.open = disk.open
	options.retryTimeout = time.Hour
	options.Failing = func(_ string, err error) { reports <- err }
	logs, log := openOne(t, t.TempDir(), options, 1)
	return disk, logs, log, reports
}

// TestFailureWhileClosing ends a log whose disk fails, with records that wait.
func TestFailureWhileClosing(t *testing.T) {
	disk, logs, log, reports := openFailing(t)
	disk.set(faults{write: syscall.ENOSPC})
	var a acknowledged
	a.append(log, 0, "waiting")
	<-reports
	closeAll(t, logs)
	a.waiting.Wait()
	if len(a.errs) != 1 || !errors.Is(a.errs[0], syscall.ENOSPC) {
		t.Fatalf("confirmed %v, refused %v", a.at, a.errs)
	}
}

// forgetful is a disk that may lose any sector not synced when the power goes.
type forgetful struct {
	mu    sync.Mutex
	files map[string]*sectors
	off   bool
}

type sectors struct {
	file
	disk    *forgetful
	durable []byte
}

var errPower = errors.New("the power is off")

func (f *forgetful) open(path string, create bool) (file, error) {
	under, err := openDisk(path, create)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &sectors{file: under, disk: f}
	f.files[path] = s
	return s, s.remember(path)
}

func (s *sectors) remember(path string) (err error) {
	s.durable, err = os.ReadFile(path)
	return err
}

func (s *sectors) WriteAt(b []byte, at int64) (int, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if s.disk.off {
		return 0, errPower
	}
	return s.file.WriteAt(b, at)
}

func (s *sectors) Sync() error {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if s.disk.off {
		return errPower
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	return s.remember(s.file.(diskFile).Name())
}

// cut turns the power off in the middle of what is being written.
func (f *forgetful) cut(t testing.TB, random *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = true
	for path, s := range f.files {
		if strings.HasSuffix(path, temporarySuffix) {
			continue
		}
		now, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		keep := random.Float64()
		for at := 0; at < len(now); at += 512 {
			if random.Float64() > keep && at < len(s.durable) {
				copy(now[at:min(at+512, len(now))], s.durable[at:])
			}
		}
		if err := os.WriteFile(path, now, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerCut loses what was written and not synced, in random pieces.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	var confirmed [3]map[int64]string
	for p := range confirmed {
		confirmed[p] = map[int64]string{}
	}
	for round := range 25 {
		disk := &forgetful{files: map[string]*sectors{}}
		logs, log := openOne(t, dir,
			Options{SegmentSize: 64 << 10, open: disk.open, retryTimeout: time.Millisecond,
				Logger: slog.New(slog.DiscardHandler)}, 3)
		for p := range confirmed {
			got := contents(t, log, p)
			for sequence, want := range confirmed[p] {
				if sequence >= int64(len(got)) || got[sequence] != want {
					t.Fatalf("round %d: record %d of partition %d was confirmed and is lost", round, sequence, p)
				}
			}
		}
		var told [3]acknowledged
		var sent [3][]string
		n := 200 + random.IntN(400)
		for i := range n {
			p := random.IntN(3)
			record := fmt.Sprint(round, " ", i, strings.Repeat(" padding", random.IntN(100)))
			sent[p] = append(sent[p], record)
			told[p].append(log, p, record)
		}
		disk.cut(t, random)
		for p := range told {
			told[p].waiting.Wait()
			for i, at := range told[p].at {
				confirmed[p][at.Sequence] = sent[p][i]
			}
		}
		if err := logs.Close(); err != nil && !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		if files, err := filepath.Glob(filepath.Join(dir, "log", "*"+segmentSuffix)); err != nil || len(files) == 0 {
			t.Fatalf("segments: %v, %v", files, err)
		}
	}
	t.Logf("%d, %d, %d confirmed", len(confirmed[0]), len(confirmed[1]), len(confirmed[2]))
}
