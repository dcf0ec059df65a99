//go:build torture

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTorture has strangers attack one server in every way that hostile_test
// knows, while honest devices work and the server is killed again and again. It
// runs for TORTURE (two minutes when that is empty) and prints a table. What the
// server acknowledged must be there, once; every device must come back; every kind
// of attack must have happened; and while nobody kills the server, its memory and
// its file descriptors may not grow. How long the honest wait is printed, and
// judged only when TORTURE_P99 gives a limit: no timing decides in a short run.
func TestTorture(t *testing.T) {
	length := durationFrom(t, "TORTURE", 2*time.Minute)
	limit := durationFrom(t, "TORTURE_P99", 0)
	binary, data := buildBinary(t), t.TempDir()
	flags := []string{"--log-level", "WARN",
		"--mqtt-port", strconv.Itoa(freePort(t)), "--https-port", strconv.Itoa(freePort(t))}

	p := startProcess(t, binary, data, flags...)
	work := newHonestWork(t, p)
	attack := prepareAttack(t, p)
	work.begin(t, p)
	hostile := attack.start(t, length+time.Minute)
	figures := new(tortureFigures)
	begun := time.Now()

	// The first third of the time has the kills; the rest shows whether anything
	// grows.
	kills := max(3, int(length/(3*time.Minute)))
	for kill := range kills {
		wait(t, p, length/3/time.Duration(kills))
		work.expectKill()
		p.kill()
		work.stop()
		figures.end(p)
		p = startProcess(t, binary, data, flags...)
		work.verify(t, p)
		work.begin(t, p)
		if t.Failed() {
			t.Fatalf("after kill %d; the server's log ends:\n%s", kill+1, tail(p))
		}
	}
	figures.killed = kills
	calm := time.Now()
	for time.Since(begun) < length {
		wait(t, p, time.Second)
		figures.sample(t, p, time.Since(calm))
	}
	made := hostile.stop(t)
	work.stop()
	work.verify(t, p)
	figures.afterwards(t, p)
	p.terminate(t)
	figures.end(p)

	table := figures.table(time.Since(begun), work, made)
	t.Log("\n" + table)
	if file := os.Getenv("TORTURE_TABLE"); file != "" {
		if err := os.WriteFile(file, []byte(table), 0o644); err != nil {
			t.Error(err)
		}
	}
	work.judge(t, length, limit)
	figures.judge(t)
	for _, kind := range attack.kinds() {
		if made[kind] == 0 {
			t.Errorf("no attack of the kind %q was made: the test proves nothing of it", kind)
		}
	}
}

// wait waits while the server runs.
func wait(t *testing.T, p *process, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-p.ended:
		t.Fatalf("the server ended by itself: %v; its log ends:\n%s", p.err, tail(p))
	}
}

// tail is the end of a server's log. The server must have ended.
func tail(p *process) string {
	p.command.Process.Kill()
	<-p.ended
	const most = 8 << 10
	text := p.log.String()
	return text[max(0, len(text)-most):]
}

// durationFrom reads an environment variable.
func durationFrom(t *testing.T, name string, otherwise time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s is %q: it is a duration such as 1h or 100ms", name, text)
	}
	return d
}

// freePort returns a port of loopback that nobody uses now, and that the system
// gives to nobody who asks for any: below 32768, where its own choice begins. The
// server comes back to it after each kill.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err == nil {
			defer listener.Close()
			return listener.Addr().(*net.TCPAddr).Port
		}
	}
	t.Fatal("none of 100 ports from 20000 to 31999 can be listened on")
	return 0
}

// tortureFigures is what the server costs while it is attacked.
type tortureFigures struct {
	killed  int
	samples []tortureSample // of the last life of the server, a second each
	after   tortureSample   // when the attack is over
	cpu     float64         // seconds, of all lives
	panics  int
	log     int // bytes, of all lives
}

type tortureSample struct {
	at          time.Duration
	memory      float64 // resident, in MiB
	descriptors int
}

func (f *tortureFigures) sample(t *testing.T, p *process, at time.Duration) {
	t.Helper()
	f.samples = append(f.samples, measure(t, p, at))
}

func measure(t *testing.T, p *process, at time.Duration) tortureSample {
	t.Helper()
	pid := p.command.Process.Pid
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatalf("the server's memory: %v", err)
	}
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatalf("the server's file descriptors: %v", err)
	}
	sample := tortureSample{at: at, descriptors: len(descriptors)}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			sample.memory = kilobytes / 1024
		}
	}
	return sample
}

// end takes what a server leaves that has ended.
func (f *tortureFigures) end(p *process) {
	f.panics += strings.Count(p.log.String(), "panic")
	f.log += p.log.Len()
	if state := p.command.ProcessState; state != nil {
		f.cpu += (state.UserTime() + state.SystemTime()).Seconds()
	}
}

// afterwards waits until the descriptors of the attack are closed, for at most a
// minute.
func (f *tortureFigures) afterwards(t *testing.T, p *process) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) { // a poll with a deadline
		f.after = measure(t, p, 0)
		if f.after.descriptors <= descriptorsAtRest || time.Since(begun) > time.Minute {
			return
		}
	}
}

// descriptorsAtRest is how many file descriptors a server without connections may
// have open: its files, its listeners, and a few connections of this test.
const descriptorsAtRest = 100

// growth compares the median of the last sixth of a life with that of the second:
// in the first one caches fill.
func (f *tortureFigures) growth(of func(tortureSample) float64) (early, late float64) {
	sixth := len(f.samples) / 6
	if sixth == 0 {
		return 0, 0
	}
	median := func(some []tortureSample) float64 {
		values := make([]float64, len(some))
		for i, sample := range some {
			values[i] = of(sample)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return median(f.samples[sixth : 2*sixth]), median(f.samples[len(f.samples)-sixth:])
}

func memoryOf(s tortureSample) float64      { return s.memory }
func descriptorsOf(s tortureSample) float64 { return float64(s.descriptors) }

func (f *tortureFigures) judge(t *testing.T) {
	t.Helper()
	if early, late := f.growth(memoryOf); early == 0 || late > 1.25*early+32 {
		t.Errorf("the server's memory grew from %.0f to %.0f MiB", early, late)
	}
	if early, late := f.growth(descriptorsOf); early == 0 || late > 1.25*early+64 {
		t.Errorf("the server's file descriptors grew from %.0f to %.0f", early, late)
	}
	if f.after.descriptors > descriptorsAtRest {
		t.Errorf("a minute after the attack the server has %d file descriptors open", f.after.descriptors)
	}
	if f.panics > 0 {
		t.Errorf("the server's log tells of %d panics", f.panics)
	}
}

func (f *tortureFigures) table(length time.Duration, work *honestWork, made map[string]int64) string {
	var b strings.Builder
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	row("what", "measured")
	b.WriteString("|---|---|\n")
	row("length, kills", "%v, %d", length.Round(time.Second), f.killed)
	work.rows(row)
	early, late := f.growth(memoryOf)
	row("memory without kills, early and late", "%.0f and %.0f MiB", early, late)
	early, late = f.growth(descriptorsOf)
	row("descriptors without kills, early and late; after the attack", "%.0f and %.0f; %d", early, late,
		f.after.descriptors)
	row("CPU of the server", "%.0f s", f.cpu)
	row("log of the server at WARN", "%d KiB", f.log>>10)
	row("panics in the log", "%d", f.panics)
	var kinds []string
	for kind, times := range made {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, times))
	}
	slices.Sort(kinds)
	row("attacks", "%s", strings.Join(kinds, ", "))
	return b.String()
}

// untilEnd returns a context that ends with the test at the latest.
func untilEnd(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}
