package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMeasure puts a little of each load on a server, and every figure comes out: what
// nobody runs for months is broken when it is wanted.
func TestMeasure(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the figures are read in /proc")
	}
	s := settings{berth: filepath.Join(t.TempDir(), "berth"), data: t.TempDir(), seconds: 200 * time.Millisecond,
		rounds: 1, devices: 10, idle: 10}
	if output, err := exec.Command("go", "build", "-o", s.berth, "../cmd/berth").CombinedOutput(); err != nil {
		t.Fatalf("build berth: %v\n%s", err, output)
	}
	defer func(before []int) { others = before }(others)
	others = []int{10, 110} // more than one bulk operation
	for _, c := range []struct {
		part string
		rows []string // that Berth has, by their beginnings
	}{
		{"telemetry", []string{"Telemetry, 50 connections, 16 in flight", "Telemetry, 50 connections, 1 in flight"}},
		{"connections", []string{"Connect storm, mutual TLS: connections/s"}},
		{"registrations", []string{"First registrations, mutual TLS: registrations/s",
			"One device, connect to assigned: p99"}},
		{"methods", []string{"Direct methods, 1 at once: p99", "Direct methods, 16 at once: calls/s"}},
		{"scale", []string{"First registration among 10 enrollments", "First registration among 110 enrollments"}},
		{"start", []string{"Start with an empty folder", "Memory of a server", "Binary"}},
	} {
		t.Run(c.part, func(t *testing.T) {
			r := newReport(s)
			for _, part := range parts {
				if part.name == c.part {
					if err := part.run(t.Context(), s, r); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, row := range c.rows {
				if value, ok := r.first(row); !ok || value < 0 {
					t.Errorf("there is no figure of %q, or %g, in\n%s", row, value, r.table())
				}
			}
			page := r.page()
			if !strings.Contains(page, "Medians of 1 rounds of 200ms") || !strings.Contains(page, r.table()) {
				t.Errorf("the page is\n%s", page)
			}
		})
	}
	if left, err := os.ReadDir(s.data); err != nil || len(left) > 0 {
		t.Errorf("the servers left %v, error %v", left, err)
	}
}

// first is the median of the first row that begins so, of Berth.
func (r *report) first(beginning string) (value float64, ok bool) {
	for _, row := range r.rows {
		if strings.HasPrefix(row, beginning) {
			if samples := r.samples[[2]string{row, r.columns[0]}]; len(samples) > 0 {
				return median(samples), true
			}
		}
	}
	return 0, false
}

// TestServerThatEnds is told of with what it said, and not waited for.
func TestServerThatEnds(t *testing.T) {
	p, err := start(cores{}, t.TempDir(), "sh", "-c", "echo no port is free; exit 1")
	if err != nil {
		t.Fatal(err)
	}
	err = p.await(func() error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "no port is free") {
		t.Errorf("answered %v", err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if _, err := start(cores{}, t.TempDir(), "there-is-no-such-program"); err == nil {
		t.Error("a program that is not there has been started")
	}
}

// TestInParallel does all, no more at once than may be, and stops at the first error.
func TestInParallel(t *testing.T) {
	const n, width = 50, 4
	done := make(chan int, n)
	running := make(chan struct{}, width) // blocks nobody as long as there are no more
	if err := inParallel(t.Context(), n, width, func(_ context.Context, i int) error {
		select {
		case running <- struct{}{}:
		default:
			t.Errorf("more than %d are done at once", width)
		}
		done <- i
		<-running
		return nil
	}); err != nil || len(done) != n {
		t.Errorf("%d of %d are done, error %v", len(done), n, err)
	}
	broken := errors.New("broken")
	if err := inParallel(t.Context(), n, width, func(ctx context.Context, i int) error {
		if i == 3 {
			return broken
		}
		return nil
	}); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
}

// TestPin refuses what names no cores for one of the two.
func TestPin(t *testing.T) {
	for _, text := range []string{"0", ":1", "0:", "0-1"} {
		if pinned, err := pin(text); err == nil {
			t.Errorf("%q pins %+v", text, pinned)
		}
	}
	if pinned, err := pin(""); err != nil || pinned != (cores{}) {
		t.Errorf("without cores %+v are pinned, error %v", pinned, err)
	}
}
