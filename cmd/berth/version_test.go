package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVersion: a binary that `make build` made says which commit it is of, though Go was
// told to stamp nothing.
func TestVersion(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "berth")
	root := filepath.Join("..", "..")
	make := exec.Command("make", "-C", root, "build", "BINARY="+binary, "GOFLAGS=-buildvcs=false")
	if output, err := make.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, output)
	}
	head, err := exec.Command("git", "-C", root, "log", "-1", "--format=%H").Output()
	if err != nil {
		t.Fatalf("this test needs a git checkout: %v", err)
	}
	output, err := exec.Command(binary, "version", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found build
	if err := json.Unmarshal(output, &found); err != nil {
		t.Fatal(err)
	}
	if found.Commit != strings.TrimSpace(string(head)) || !strings.HasPrefix(found.Go, "go") {
		t.Errorf("berth version says %s of commit %s", output, head)
	}
	if _, err := time.Parse(time.RFC3339, found.Date); err != nil {
		t.Errorf("the date of the commit: %v", err)
	}
	if output, err := exec.Command(binary, "--version").Output(); err != nil ||
		!strings.Contains(string(output), found.Commit[:12]) {
		t.Errorf("berth --version says %s, error %v", output, err)
	}
}
