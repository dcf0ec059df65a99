package main

import (
	"strings"
	"testing"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/contract"
)

// TestJobs has the twins of devices updated, now and later, and looks at what became of it.
func TestJobs(t *testing.T) {
	s := newShell(t)
	for _, id := range []string{"pump", "valve"} {
		s.run(0, "device", "create", id)
	}
	done := read[contract.Job](s, "job", "create", "winter", "--desired", `{"interval":60}`, "--wait")
	if done.Status != "completed" || done.Statistics.SucceededCount != 2 {
		t.Errorf("the job that was waited for: %s", cli.CompactJSON(done))
	}
	if stdout, _ := s.run(0, "device", "twin", "valve"); !strings.Contains(stdout, `"interval":60`) {
		t.Errorf("the twin: %s", stdout)
	}
	devices := read[[]contract.DeviceJob](s, "job", "devices", "winter")
	if len(devices) != 2 || devices[0].DeviceID != "pump" || devices[1].Status != "completed" {
		t.Errorf("its devices: %s", cli.CompactJSON(devices))
	}
	if stdout, _ := s.run(0, "job", "devices", "winter", "--failed"); !strings.Contains(stdout, "no such devices") {
		t.Errorf("those that failed: %s", stdout)
	}
	s.run(0, "job", "create", "tonight", "--tags", `{"wave":2}`, "--start", "8h", "--query-condition", "*")
	if stdout, _ := s.run(0, "job", "list", "--job-status", "scheduled"); !strings.Contains(stdout, "tonight") ||
		strings.Contains(stdout, "winter") {
		t.Errorf("the jobs that are scheduled: %s", stdout)
	}
	if job := read[contract.Job](s, "job", "cancel", "tonight"); job.Status != "cancelled" {
		t.Errorf("cancelled: %s", cli.CompactJSON(job))
	}
	if stdout, _ := s.run(0, "job", "show", "winter"); !strings.Contains(stdout, "2 in all, 2 succeeded") {
		t.Errorf("shown: %s", stdout)
	}
	for words, refused := range map[string]struct {
		exit int
		says string
	}{
		"job create x --method-name m --tags {}": {2, "excludes"},
		"job create x":                           {2, "--desired or --method-name"},
		"job create x --tags {} --start x":       {2, "--start must be"},
		"job create x --tags {} --start 8d":      {2, "--start must be"},
		"job create x --tags {} --start 200h":    {1, "within 7 days"},
		"job create winter --tags {}":            {1, "already"},
		"job create x --tags {} --ttl 0":         {2, "--ttl"},
		"job show none":                          {1, "no job"},
		"job cancel winter --running":            {1, "is completed"},
		"job devices none":                       {1, "no job"},
	} {
		if _, stderr := s.run(refused.exit, strings.Fields(words)...); !strings.Contains(stderr, refused.says) {
			t.Errorf("berth %s: %s", words, stderr)
		}
	}
}
