package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report gathers what was measured, in the order in which it came.
type report struct {
	settings settings
	columns  []string // the servers
	rows     []string // what was measured
	samples  map[[2]string][]float64
	notes    []string
}

func newReport(s settings) *report {
	return &report{settings: s, samples: make(map[[2]string][]float64)}
}

// add adds the value of one round, and shows it.
func (r *report) add(t target, row string, value float64) {
	column := t.name()
	if !slices.Contains(r.columns, column) {
		r.columns = append(r.columns, column)
	}
	if !slices.Contains(r.rows, row) {
		r.rows = append(r.rows, row)
	}
	cell := [2]string{row, column}
	r.samples[cell] = append(r.samples[cell], value)
	fmt.Printf("%-24s %s: %s\n", column, row, number(value))
}

// addNote adds a sentence that the reader of the table needs, once.
func (r *report) addNote(text string) {
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
		fmt.Println(text)
	}
}

// noteLoad warns when the machine is busy already: rates and latencies then say
// little, and CPU times and memory still something.
func (r *report) noteLoad() {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return // an old kernel in a container, say; nothing depends on it
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err == nil && load > 0.5 {
		r.addNote(fmt.Sprintf("The machine was busy when this began, with a load of %.1f: "+
			"rates and latencies are worse than it could do.", load))
	}
}

// table returns the medians as a Markdown table. With a peer, a last column says
// how many times the peer's figure Berth's is.
func (r *report) table() string {
	var b strings.Builder
	header := append([]string{"median"}, r.columns...)
	if len(r.columns) == 2 {
		header = append(header, "ratio")
	}
	fmt.Fprintf(&b, "| %s |\n|---|%s\n", strings.Join(header, " | "), strings.Repeat("---:|", len(header)-1))
	for _, row := range r.rows {
		line := []string{row}
		var medians []float64
		for _, column := range r.columns {
			if samples := r.samples[[2]string{row, column}]; len(samples) > 0 {
				medians = append(medians, median(samples))
				line = append(line, number(medians[len(medians)-1]))
			} else {
				line = append(line, "")
			}
		}
		if len(r.columns) == 2 {
			ratio := ""
			if len(medians) == 2 && medians[1] > 0 {
				ratio = fmt.Sprintf("%.2f", medians[0]/medians[1])
			}
			line = append(line, ratio)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
	}
	return b.String()
}

// page returns the table with what it takes to judge and to repeat it.
func (r *report) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\n")
	fmt.Fprintf(&b, "Medians of %d rounds of %s, on loopback, written by `make build && go run ./bench %s` on %s.\n\n",
		r.settings.rounds, r.settings.seconds, strings.Join(os.Args[1:], " "), time.Now().UTC().Format("2006-01-02"))
	fmt.Fprintf(&b, "- Machine: %s.\n", machine(r.settings.data))
	if pinned := r.settings.cores; pinned.server != "" {
		fmt.Fprintf(&b, "- Each server has the cores %s, the load generator %s.\n", pinned.server, pinned.generator)
	}
	fmt.Fprintln(&b, "- Servers take turns in every round, with the same certificates "+
		"(ECDSA P-256, mutual TLS, no session resumed) and the same load. "+
		"Other work on the machine moves the figures: the ratio says more than the rate.")
	fmt.Fprintln(&b, "- Berth acknowledges a message when it is durable on disk. "+
		"mosquitto has no subscriber here and persists nothing: its acknowledgement promises nothing on disk.")
	for _, note := range r.notes {
		fmt.Fprintf(&b, "- %s\n", note)
	}
	fmt.Fprintf(&b, "\n%s", r.table())
	return b.String()
}

// machine describes the machine: processor, cores, kernel, the data's file
// system, Go.
func machine(data string) string {
	processor := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name\t: "); ok {
			processor, _, _ = strings.Cut(rest, "\n")
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // left out when it is not there
	fileSystem, _ := exec.Command("stat", "-f", "-c", "%T", data).Output()
	return fmt.Sprintf("%s, %d cores, Linux %s, data on %s, %s", processor, runtime.NumCPU(),
		strings.TrimSpace(string(kernel)), strings.TrimSpace(string(fileSystem)), runtime.Version())
}

func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// quantile returns the time that the share q of all times does not exceed; 0 of
// none.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// number writes a figure with the three digits that it is worth, and thousands
// with commas.
func number(value float64) string {
	switch {
	case value < 10:
		return fmt.Sprintf("%.2f", value)
	case value < 100:
		return fmt.Sprintf("%.1f", value)
	}
	digits := fmt.Sprintf("%.0f", value)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
