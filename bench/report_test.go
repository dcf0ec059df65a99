package main

import (
	"slices"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(100-i)*time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(times, q); got != want*time.Millisecond {
			t.Errorf("quantile %v is %s, want %d ms", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("the quantile of nothing is %s", got)
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{0: "0.00", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234: "1,234",
		1234567: "1,234,567"} {
		if got := number(value); got != want {
			t.Errorf("number(%v) is %s, want %s", value, got, want)
		}
	}
}

func TestParseCPU(t *testing.T) {
	const stat = "4711 (a (odd) name) S 1 4711 4711 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 9 0 1 1 1"
	if got, err := parseCPU(stat); err != nil || got != 2 {
		t.Errorf("the CPU time is %v and %v, want 2 s", got, err)
	}
	if _, err := parseCPU("4711 (short) S 1"); err == nil {
		t.Error("a short line is taken")
	}
}

// title is a target that has nothing but its name.
type title struct {
	target
	text string
}

func (t title) name() string { return t.text }

func TestTable(t *testing.T) {
	r := newReport(settings{})
	berth, peer := title{text: "Berth"}, title{text: "peer"}
	for _, value := range []float64{300, 100, 200} {
		r.add(berth, "messages/s", value)
	}
	r.add(peer, "messages/s", 50)
	r.add(peer, "messages/s", 150)
	r.add(berth, "registrations/s", 7)
	want := "| median | Berth | peer | ratio |\n|---|---:|---:|---:|\n| messages/s | 200 | 100 | 2.00 |\n| registrations/s | 7.00 |  |  |\n"
	if got := r.table(); got != want {
		t.Errorf("the table is\n%swant\n%s", got, want)
	}
	r.addNote("once")
	r.addNote("once")
	if !slices.Equal(r.notes, []string{"once"}) {
		t.Errorf("the notes are %q", r.notes)
	}
}
