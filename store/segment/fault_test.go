package segment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
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

// failing is a disk whose writes or syncs fail once it is told to.
type failing struct {
	mu          sync.Mutex
	write, sync error
}

func (f *failing) fail(write, sync error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.write, f.sync = write, sync
}

func (f *failing) open(path string, create bool) (file, error) {
	under, err := openDisk(path, create)
	return failingFile{under, f}, err
}

type failingFile struct {
	file
	disk *failing
}

func (f failingFile) WriteAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.write != nil {
		n, _ := f.file.WriteAt(b[:len(b)/2], at)
		return n, f.disk.write
	}
	return f.file.WriteAt(b, at)
}

func (f failingFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.sync != nil {
		return f.disk.sync
	}
	return f.file.Sync()
}

func TestFailStop(t *testing.T) {
	broken := errors.New("the disk is broken")
	for _, test := range []struct {
		name        string
		write, sync error
	}{{"write", broken, nil}, {"sync", nil, broken}} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			disk := &failing{}
			options := tiny
			options.open = disk.open
			logs, log := openOne(t, dir, options, 2)
			appendEach(t, log, 0, "before")
			waiting := make(chan error, 1)
			go func() { waiting <- log.Wait(t.Context(), 0, 1) }()
			disk.fail(test.write, test.sync)
			var a acknowledged
			for i := range 10 {
				a.append(log, i%2, "refused")
			}
			a.waiting.Wait()
			disk.fail(nil, nil) // the disk recovers, but what it holds is not known
			a.append(log, 0, strings.Repeat("refused too", 1000))
			a.append(log, 1, "refused too")
			a.waiting.Wait()
			if len(a.at) != 0 || len(a.errs) != 12 {
				t.Fatalf("%d appends confirmed and %d refused, want 0 and 12", len(a.at), len(a.errs))
			}
			for _, err := range append(a.errs, <-waiting) {
				if !errors.Is(err, broken) || !strings.Contains(err.Error(), segmentName(1)) {
					t.Fatalf("error %v, want one that names the cause and the file", err)
				}
			}
			if got := contents(t, log, 0); !slices.Equal(got, []string{"before"}) {
				t.Fatalf("after the failure: %q", got)
			}
			if err := logs.Close(); !errors.Is(err, broken) {
				t.Fatalf("close: %v", err)
			}
			logs, log = openOne(t, dir, tiny, 2)
			defer closeAll(t, logs)
			if got := contents(t, log, 0); len(got) == 0 || got[0] != "before" {
				t.Fatalf("after opening again: %q", got)
			}
			appendEach(t, log, 1, "after")
		})
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
		logs, log := openOne(t, dir, Options{SegmentSize: 64 << 10, open: disk.open}, 3)
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
