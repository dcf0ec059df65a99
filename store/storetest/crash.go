package storetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
)

// crashFolder, when set, makes a crash test the process that is killed.
const crashFolder = "BERTH_STORETEST_CRASH"

// crash runs the test that calls it in another process, which must work in the
// folder $crashFolder and print a line for each change that was confirmed, and
// kills that process. check is called then with all lines of all rounds, which are
// returned in the end.
func crash(t *testing.T, rounds int, check func(dir string, confirmed []string)) (confirmed []string) {
	dir := t.TempDir()
	for round := range rounds {
		lines := 1 + rand.IntN(1+1<<rand.IntN(13)) // often early, sometimes late
		t.Logf("round %d: killed after %d lines", round, lines)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+regexp.QuoteMeta(t.Name())+"$")
		child.Env = append(os.Environ(), crashFolder+"="+dir)
		var complaints bytes.Buffer
		child.Stderr = &complaints
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(out)
		for n := 0; ; n++ {
			line, err := reader.ReadString('\n')
			if errors.Is(err, io.EOF) && n >= lines {
				break // a line without its end says nothing
			}
			if err != nil {
				t.Fatalf("the process ended after %d lines, before it was killed: %v\n%s%s",
					n, err, line, complaints.String())
			}
			confirmed = append(confirmed, strings.TrimSuffix(line, "\n"))
			if n+1 == lines {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.ExitCode() == refusedCode {
			t.Fatalf("the process ended before it was killed: %v\n%s", err, complaints.String())
		}
		cancel()
		check(dir, confirmed)
	}
	t.Logf("%d changes were confirmed", len(confirmed))
	return confirmed
}

// refusedCode is how the process ends that is refused a change.
const refusedCode = 70

// refused ends the process that is to be killed: a writer that goes quiet among
// others would be lost with it.
func refused(err error) {
	fmt.Fprintln(os.Stderr, "a change was refused:", err)
	os.Exit(refusedCode)
}

// everyWriter fails unless each writer was confirmed something.
func everyWriter(t *testing.T, writers int, confirmed []string, writer func(line string) int) {
	counts := make([]int, writers)
	for _, line := range confirmed {
		counts[writer(line)]++
	}
	t.Logf("each writer was confirmed: %v", counts)
	if slices.Contains(counts, 0) {
		t.Errorf("some writers were confirmed nothing: %v", counts)
	}
}

// padding is what a record or document holds after its name: some bytes that
// follow from it.
func padding(name string) string {
	n := 0
	for _, c := range []byte(name) {
		n = n*31 + int(c)
	}
	return strings.Repeat(name+",", n%97)
}

// CrashLogs kills a process that appends, again and again, and fails unless
// every record that was confirmed is there afterwards, whole and in its place.
// The test that calls it may do nothing else: it is also what the process runs.
func CrashLogs(t *testing.T, open func(t testing.TB, dir string) store.Logs) {
	const partitions, writers, outstanding = 3, 4, 64
	options := store.LogOptions{Partitions: partitions}
	if dir := os.Getenv(crashFolder); dir != "" {
		log := openLog(t, open(t, dir), "telemetry", options)
		var appending sync.WaitGroup
		for w := range writers {
			appending.Go(func() {
				p := printing{slots: make(chan struct{}, outstanding)}
				for i := uint64(0); ; i++ {
					p.slots <- struct{}{}
					partition := int(i+uint64(w)) % partitions
					name := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
					log.Append(partition, []byte(name+" "+padding(name)), &named{&p, partition, name}, i)
				}
			})
		}
		appending.Wait()
		return
	}
	confirmed := crash(t, 15, func(dir string, confirmed []string) {
		logs := open(t, dir)
		log := openLog(t, logs, "telemetry", options)
		there := map[string]bool{}
		for p := range partitions {
			for n, record := range readAll(t, log, p) {
				name, rest, _ := strings.Cut(string(record.Value), " ")
				if record.Sequence != int64(n) || rest != padding(name) {
					t.Fatalf("record %d of partition %d is %d, %.200q", n, p, record.Sequence, record.Value)
				}
				line := fmt.Sprintf("%d %d %s", p, n, name)
				if there[name] {
					t.Fatalf("record %s is there twice", line)
				}
				there[name], there[line] = true, true
			}
		}
		for _, line := range confirmed {
			if !there[line] {
				t.Fatalf("record %q was confirmed and is not there", line)
			}
		}
		if err := logs.Close(); err != nil {
			t.Fatal(err)
		}
	})
	everyWriter(t, writers, confirmed, func(line string) (w int) {
		var partition, sequence, process int
		if _, err := fmt.Sscanf(line, "%d %d %d-%d-", &partition, &sequence, &process, &w); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		return w
	})
}

// printing prints what is confirmed.
type printing struct{ slots chan struct{} }

type named struct {
	*printing
	partition int
	name      string
}

func (n *named) Committed(_ uint64, at store.Position, err error) {
	if err != nil {
		refused(err)
	}
	fmt.Printf("%d %d %s\n", n.partition, at.Sequence, n.name)
	<-n.slots
}

// CrashDocuments kills a process that commits, again and again, and fails
// unless every commit that was confirmed is there afterwards and none in part.
// The test that calls it may do nothing else: it is also what the process runs.
func CrashDocuments(t *testing.T, open func(t testing.TB, dir string) store.Documents) {
	const writers = 6
	counted := []string{"left", "right", "steps", "flags"}
	if dir := os.Getenv(crashFolder); dir != "" {
		d := open(t, dir)
		if _, err := d.Count(t.Context(), counted...); err != nil {
			refused(err)
		}
		var committing sync.WaitGroup
		for w := range writers {
			committing.Go(func() {
				for {
					n, err := commitPair(t.Context(), d, w)
					if err != nil {
						refused(err)
					}
					fmt.Printf("%d %d\n", w, n)
				}
			})
		}
		committing.Wait()
		return
	}
	confirmed := crash(t, 15, func(dir string, confirmed []string) {
		d := open(t, dir)
		wantCounts(t, d, counted...)
		for w := range writers {
			a, err := pairCount(t.Context(), d, "left", w)
			if err != nil {
				t.Fatal(err)
			}
			b, err := pairCount(t.Context(), d, "right", w)
			if err != nil {
				t.Fatal(err)
			}
			steps, err := d.List(t.Context(), "steps", strconv.Itoa(w)+"/", "", 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			if a.n != b.n || a.n != len(steps) {
				t.Fatalf("writer %d: part of a commit: %d, %d, and %d steps", w, a.n, b.n, len(steps))
			}
			for _, step := range steps {
				if string(step.Value) != padding(step.Key) {
					t.Fatalf("step %s holds %.200q", step.Key, step.Value)
				}
			}
		}
		for _, line := range confirmed {
			var w, n int
			if _, err := fmt.Sscan(line, &w, &n); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Get(t.Context(), "steps", stepKey(w, n)); err != nil {
				t.Fatalf("step %q was confirmed: %v", line, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	})
	everyWriter(t, writers, confirmed, func(line string) (w int) {
		if _, err := fmt.Sscan(line, &w); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		return w
	})
}

func stepKey(writer, n int) string { return fmt.Sprintf("%d/%09d", writer, n) }

// wantCounts fails unless the documents are as many as they are counted.
func wantCounts(t *testing.T, d store.Documents, collections ...string) {
	t.Helper()
	counts, err := d.Count(t.Context(), collections...)
	if err != nil {
		t.Fatal(err)
	}
	for i, collection := range collections {
		listed, err := d.List(t.Context(), collection, "", "", 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if counts[i] != len(listed) {
			t.Fatalf("%s has %d documents, and %d are counted", collection, len(listed), counts[i])
		}
	}
}

// commitPair counts a writer's two documents up by one, adds a step, and puts or
// deletes a flag, which may be there or not.
func commitPair(ctx context.Context, d store.Documents, writer int) (n int, err error) {
	a, err := pairCount(ctx, d, "left", writer)
	if err != nil {
		return 0, err
	}
	b, err := pairCount(ctx, d, "right", writer)
	if err != nil {
		return 0, err
	}
	key := strconv.Itoa(writer)
	value := strconv.AppendInt(nil, int64(a.n+1), 10)
	step := stepKey(writer, a.n+1)
	_, err = d.Commit(ctx,
		store.Change{Collection: "left", Key: key, Match: a.match, Value: value},
		store.Change{Collection: "steps", Key: step, Match: store.Absent, Value: []byte(padding(step))},
		store.Change{Collection: "right", Key: key, Match: b.match, Value: value},
		store.Change{Collection: "flags", Key: fmt.Sprintf("%d/%d", writer, a.n%7), Value: value, Delete: a.n%3 == 0})
	return a.n + 1, err
}

// counted is a count and the state of the document that it is in.
type counted struct {
	n     int
	match store.Match
}

func pairCount(ctx context.Context, d store.Documents, collection string, writer int) (counted, error) {
	document, err := d.Get(ctx, collection, strconv.Itoa(writer))
	if errors.Is(err, store.ErrNotFound) {
		return counted{0, store.Absent}, nil
	}
	if err != nil {
		return counted{}, err
	}
	n, err := strconv.Atoi(string(document.Value))
	return counted{n, store.IfMatch(document.ETag)}, err
}
