package main

import (
	"strings"
	"testing"
	"time"

	hubinject "github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/server"
)

// TestInject has a device meet each injected fault, and find a service without any
// afterwards.
func TestInject(t *testing.T) {
	s, folder := newShell(t), t.TempDir()
	s.run(0, "cert", "device", "d1", "--key-type", "ec256", "--out", folder)
	s.run(0, "enrollment", "create", "d1", "--x509", folder+"/d1.pem")
	t.Setenv("PROVISIONING_IDSCOPE", read[server.Info](s, "info").IDScope)
	device := []string{"device", "simulate", "--cert", folder + "/d1.pem", "--key", folder + "/d1.key.pem",
		"--messages", "1"}

	if stdout, _ := s.run(0, "inject", "list"); !strings.Contains(stdout, "No faults are injected.") {
		t.Errorf("before: %s", stdout)
	}
	if stdout, _ := s.run(0, "inject", "fail", "--device", "somebody-else"); !strings.Contains(stdout,
		"the next registration of somebody-else") {
		t.Errorf("injected once: %s", stdout)
	}
	if stdout, _ := s.run(0, "inject", "list"); !strings.Contains(stdout, "LEFT") ||
		strings.Join(strings.Fields(stdout)[6:], " ") != "fail 1 - somebody-else" {
		t.Errorf("listed as %s", stdout)
	}
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"fail", "--device", "D1"}, "500001"},
		{[]string{"throttle", "--for", "7s"}, "429001"},
		{[]string{"drop"}, ""},
		{[]string{"wrong-hub", "--hub-host", "wrong.example"}, "wrong.example"},
	} {
		s.run(0, append([]string{"inject"}, test.args...)...)
		if _, stderr := s.run(1, device...); !strings.Contains(stderr, test.says) {
			t.Errorf("%s: the device says %s, want %q", test.args[0], stderr, test.says)
		}
		s.run(0, device...) // used up
	}
	s.run(0, "inject", "delay", "--for", "1s")
	begun := time.Now()
	if s.run(0, device...); time.Since(begun) < time.Second {
		t.Errorf("the delayed registration took %v", time.Since(begun))
	}

	left := read[[]inject.Fault](s, "inject", "list")
	if len(left) != 1 || left[0].RegistrationID != "somebody-else" || left[0].Times != 1 {
		t.Fatalf("left are %+v", left)
	}
	if former := read[[]inject.Fault](s, "misbehave", "list"); len(former) != 1 || former[0] != left[0] {
		t.Errorf("under the command's former name are left %+v", former)
	}
	s.run(0, "inject", "stop", left[0].ID)
	if _, stderr := s.run(1, "inject", "stop", left[0].ID); !strings.Contains(stderr, "404000") {
		t.Errorf("stopped twice: %s", stderr)
	}
	if _, stderr := s.run(2, "inject", "wrong-hub"); !strings.Contains(stderr, "--hub-host names the hub") {
		t.Errorf("a wrong hub without a name: %s", stderr)
	}
	if stdout, _ := s.run(0, "attempts", "d1"); !strings.Contains(stdout, "injected fault") {
		t.Errorf("the attempts don't say it: %s", stdout)
	}
}

// TestInjectHub has a device meet a fault of its hub, and lists and removes others.
func TestInjectHub(t *testing.T) {
	s := newShell(t)
	s.run(0, "device", "create", "d1")
	if stdout, _ := s.run(0, "inject", "hub", "list"); !strings.Contains(stdout, "No faults are injected.") {
		t.Errorf("before: %s", stdout)
	}
	if stdout, _ := s.run(0, "inject", "hub", "delay", "--device", "d1", "--times", "2", "--for", "3s"); !strings.Contains(
		stdout, "delay is injected into the next 2 operations of d1.") {
		t.Errorf("injected: %s", stdout)
	}
	s.run(0, "inject", "hub", "refuse")
	if left := read[[]hubinject.DeviceFault](s, "inject", "hub", "list"); len(left) != 2 {
		t.Errorf("listed as %+v", left)
	}
	if _, stderr := s.run(1, "inject", "hub", "delay", "--for", "2m"); !strings.Contains(stderr, "from 1 to 60") {
		t.Errorf("too long a delay: %s", stderr)
	}
	s.run(1, "inject", "hub", "stop", "unknown")
	s.run(0, "inject", "hub", "stop")
	if left := read[[]hubinject.DeviceFault](s, "inject", "hub", "list"); len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
}
