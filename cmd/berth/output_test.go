package main

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
)

// brokenOutput fails with an error.
type brokenOutput struct{ error }

func (b brokenOutput) Write([]byte) (int, error) { return 0, b.error }

// TestNoRoomForTheAnswer: who writes what a command prints to a full disk is told, once,
// and who reads no more of it is not.
func TestNoRoomForTheAnswer(t *testing.T) {
	s := newShell(t)
	s.run(0, "group", "create", "meters", "--symmetric")
	for _, words := range []string{"info", "info --trust -o json", "version", "group show meters",
		"group show meters -o json",
		"group device-key meters meter-17", "credential authority request factory", "group list",
		"group list -o json"} {
		for problem, want := range map[error]int{syscall.ENOSPC: 1, syscall.EPIPE: 0} {
			var stderr bytes.Buffer
			line := append(strings.Fields(words), "--data", s.data)
			code := run(t.Context(), line, brokenOutput{problem}, &stderr)
			if code != want || strings.Count(stderr.String(), "no space left") != want {
				t.Errorf("berth %s without room, %v: exit code %d\n%s", words, problem, code, &stderr)
			}
		}
	}
}

// TestEmptyLists: a list of which a part was asked for does not say that there is nothing
// at all.
func TestEmptyLists(t *testing.T) {
	s := newShell(t)
	s.run(0, "enrollment", "create", "d1", "--symmetric")
	for words, want := range map[string]string{
		"enrollment list --prefix x": `There is none with an id that starts with "x".`,
		"device list --prefix x":     `There is none with an id that starts with "x".`,
		"attempts d1":                `The device "d1" has not tried to register.`,
		"attempts d1 --refused":      `No attempt of "d1" was refused.`,
		"attempts --refused":         "No attempt was refused.",
		"attempts":                   "Nobody has tried to register.",
		"audit --id x": "Nothing of that was changed. What is done in a hub, with devices and twins, is " +
			"not in the audit.",
		"credential list --device x": `No operational certificate was issued to "x".`,
	} {
		if stdout, _ := s.run(0, strings.Fields(words)...); strings.TrimSpace(stdout) != want {
			t.Errorf("berth %s says %s, want %s", words, stdout, want)
		}
	}
}

// TestHintsNameTheCommand: a refusal that another command or flag gets around names it.
func TestHintsNameTheCommand(t *testing.T) {
	s := newShell(t)
	s.run(0, "device", "create", "d1")
	s.run(0, "inject", "fail")
	for words, want := range map[string]string{
		"device create d1":          "berth device update d1",
		"allocate nobody --dry-run": "berth allocate nobody --dry-run --group GROUP",
	} {
		if _, stderr := s.run(1, strings.Fields(words)...); !strings.Contains(stderr, want) {
			t.Errorf("berth %s says %s, want %q in it", words, stderr, want)
		}
	}
	if stdout, _ := s.run(0, "audit", "--kind", "misbehaviour"); !strings.Contains(stdout, "injected fault") {
		t.Errorf("the audit of an injected fault: %s", stdout)
	}
}
