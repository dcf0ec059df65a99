package main

import (
	"bytes"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/inject"
)

// completed is what a shell offers after some words, the last of which is begun, and
// whether it offers files as well.
func completed(t *testing.T, words ...string) (offered []string, files bool) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), append([]string{"__complete"}, words...), &stdout, &stderr); code != 0 {
		t.Fatalf("berth __complete %s: exit code %d, %s", strings.Join(words, " "), code, &stderr)
	}
	if said := stderr.String(); strings.Count(said, "\n") != 1 || !strings.HasPrefix(said,
		"Completion ended with directive") {
		t.Errorf("berth __complete %s writes to the terminal:\n%s", strings.Join(words, " "), said)
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	for _, line := range lines[:len(lines)-1] {
		name, _, _ := strings.Cut(line, "\t")
		offered = append(offered, name)
	}
	return offered, lines[len(lines)-1] == ":0"
}

// TestEveryArgumentCompletes: of each argument of each command it is known what it is.
func TestEveryArgumentCompletes(t *testing.T) {
	for _, command := range leaves((&program{}).root()) {
		for _, argument := range argumentsOf(command) {
			if _, known := argumentNames[commandPath(command)+" "+argument]; !known {
				t.Errorf("how does %s of berth %s complete? Say so in argumentNames", argument, commandPath(command))
			}
		}
		command.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			name, _ := pflag.UnquoteUsage(flag)
			_, chosen := choices[flag.Name]
			_, known := flagNames[flag.Name]
			if slices.Contains([]string{"id", "name", "names", "group"}, name) && !chosen && !known {
				t.Errorf("how does --%s of berth %s complete? Say so in flagNames", flag.Name, commandPath(command))
			}
		})
	}
}

// TestCompletion asks a server with one thing of each sort for their names.
func TestCompletion(t *testing.T) {
	s := newShell(t)
	s.run(0, "enrollment", "create", "Enrolled-1", "--symmetric")
	s.run(0, "group", "create", "group-1", "--symmetric")
	s.run(0, "device", "create", "device-1")
	s.run(0, "hub", "create", "east")
	s.run(0, "device", "create", "device-east", "--hub", "east")
	s.run(0, "policy", "create", "policy-1", "--rights", "EnrollmentRead")
	s.run(0, "credential", "policy", "set", "credentials-1")
	s.run(0, "credential", "authority", "create", "issuer-1")
	s.run(0, "network", "set", "10.1.0.0/16", "--latency", "westeurope=8")
	injected := read[inject.Fault](s, "inject", "fail")
	for _, c := range []struct {
		words string // before what is begun
		begun string
		want  string
	}{
		{"enrollment show", "", "Enrolled-1"},
		{"enrollment show", "Enr", "Enrolled-1"},
		{"enrollment show", "x", ""},
		{"enrollment delete", "", "Enrolled-1"},
		{"enrollment show Enrolled-1", "", ""},
		{"enrollment create", "", ""},
		{"group update", "gr", "group-1"},
		{"group device-key", "", "group-1"},
		{"device show", "", "device-1 device-east"},
		{"device show --hub east", "", "device-east"},
		{"device twin", "device-1", "device-1"},
		{"device show --hub", "", "berth east"},
		{"telemetry tail --hub", "e", "east"},
		{"telemetry tail --device", "", "device-1 device-east"},
		{"enrollment create x --hub", "b", "berth"},
		{"enrollment create x --hubs", "berth,ea", "berth,east"},
		{"enrollment create x --credential-policy", "c", "credentials-1"},
		{"credential policy set x --authority", "i", "issuer-1"},
		{"credential policy delete", "c", "credentials-1"},
		{"credential authority revoke", "i", "issuer-1"},
		{"hub show", "e", "east"},
		{"policy show", "po", "policy-1"},
		{"policy regenerate-key policy-1", "", "primary secondary"},
		{"network delete", "", "10.1.0.0/16"},
		{"inject stop", "", injected.ID},
		{"inject fail --group", "", "group-1"},
		{"allocate", "E", "Enrolled-1"},
		{"enrollment update Enrolled-1 --provisioning-status", "", "disabled enabled"},
		{"up --fidelity", "", "azure berth"},
		{"portal link --role", "", "operator reader"},
		{"audit --kind", "lock", "lockout"},
		{"help enroll", "", ""},
		{"help", "enroll", "enrollment"},
		{"help enrollment", "sh", "show"},
	} {
		t.Run(c.words+" "+c.begun, func(t *testing.T) {
			// What is given with = or not at all comes before the word that is begun.
			words := append([]string{"--data", s.data}, strings.Fields(c.words)...)
			offered, files := completed(t, append(words, c.begun)...)
			slices.Sort(offered)
			if got := strings.Join(offered, " "); got != c.want || files {
				t.Errorf("it offers %q, and files: %v", got, files)
			}
		})
	}
	if _, files := completed(t, "enrollment", "import", ""); !files {
		t.Error("a file does not complete")
	}
}

// TestCompletionWithoutServer: where there is nobody to ask, or nobody who answers,
// nothing is offered, nothing is said, and no shell waits for long.
func TestCompletionWithoutServer(t *testing.T) {
	for _, command := range leaves((&program{}).root()) {
		words := append([]string{"--data", filepath.Join(t.TempDir(), "nowhere")},
			strings.Fields(commandPath(command))...)
		for _, argument := range argumentsOf(command) {
			if offered, _ := completed(t, append(words, "")...); len(offered) > 0 && argument != "primary|secondary" &&
				argument != "COMMAND" {
				t.Errorf("berth %s offers %q", strings.Join(words, " "), offered)
			}
			words = append(words, "x1")
		}
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := &program{Env: cli.Env{Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)},
		completionTimeout: 50 * time.Millisecond}
	c.Target.ConnectionString = "HostName=127.0.0.1;SharedAccessKeyName=n;SharedAccessKey=AAAA"
	c.Target.Address = silent.Addr().String()
	for name, of := range map[string]names{"enrollments": enrollmentNames, "devices": deviceIDs, "hubs": linkedHubNames,
		"unreadable": unreadableCollections} {
		begun := time.Now()
		offered, directive := c.complete(of, &cobra.Command{}, "")
		if took := time.Since(begun); len(offered) > 0 || directive != cobra.ShellCompDirectiveNoFileComp ||
			took > completionTimeout {
			t.Errorf("%s: %q after %v", name, offered, took)
		}
	}
}
