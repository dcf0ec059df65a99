package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRepairIsInterrupted ends a repair after it has dropped documents, and before it
// is done with the logs: what was dropped is on record all the same.
func TestRepairIsInterrupted(t *testing.T) {
	h := &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1"}}
	h.start()
	h.furnish()
	data := h.config.DataDir
	h.stop()
	segments, _ := filepath.Glob(filepath.Join(data, "logs", "hub.*.telemetry", "*.segment"))
	logs, _ := filepath.Glob(filepath.Join(data, "documents", "*.log"))
	if len(segments) == 0 || len(logs) == 0 {
		t.Fatal("there is nothing to damage")
	}
	info, err := os.Stat(logs[len(logs)-1])
	if err == nil {
		err = os.Truncate(logs[len(logs)-1], info.Size()/2)
	}
	if err == nil {
		err = os.Remove(segments[0])
	}
	now := time.Now()
	aside := filepath.Join(lostFolder(data), now.UTC().Format(lostLayout))
	if err == nil {
		err = os.MkdirAll(aside, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(aside, "logs"), nil, 0o600) // where the folder should be
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RepairData(t.Context(), data, now); err == nil {
		t.Fatal("the repair was not interrupted")
	}
	text, err := os.ReadFile(filepath.Join(aside, lostReport))
	if err != nil || !strings.Contains(string(text), "documents") {
		t.Errorf("of the documents that were dropped, the report says %q, %v", text, err)
	}
}
