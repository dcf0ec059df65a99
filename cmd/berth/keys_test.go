package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/hub/identity"
)

// TestKeysWhenAsked has every command that shows a thing with keys show them with --keys,
// and without it never, neither to people nor as JSON. Keys can be given where other
// users of the machine don't see them.
func TestKeysWhenAsked(t *testing.T) {
	s := newShell(t)
	const primary, secondary = "cHJpbWFyeXByaW1hcnlwcmltYXJ5", "c2Vjb25kYXJ5c2Vjb25kYXJ5c2Vj"
	file := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(file, []byte(primary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shows := func(id string, keys []string, args ...string) {
		t.Helper()
		for _, asked := range []bool{false, true} {
			for _, more := range [][]string{nil, {"-o", "json"}} {
				line := append(slices.Clone(args), more...)
				if asked {
					line = append(line, "--keys")
				}
				if args[1] == "create" {
					line[2] = id + strings.Join(more, "")
					if asked {
						line[2] += "-asked"
					}
				}
				stdout, _ := s.run(0, line...)
				for _, key := range keys {
					if strings.Contains(stdout, key) != asked {
						t.Errorf("berth %v shows the key %s: %t\n%s", line, key, !asked, stdout)
					}
				}
			}
		}
	}
	given := []string{primary, secondary}
	flags := []string{"--primary-key", "@" + file, "--secondary-key", secondary}
	for _, what := range []string{"enrollment", "group", "device"} {
		shows(what, given, append([]string{what, "create", "ID"}, flags...)...)
		shows("", given, append([]string{what, "update", what}, flags...)...)
		shows("", given, what, "show", what)
		status := map[string]string{"device": "--status"}[what]
		if status == "" {
			status = "--provisioning-status"
		}
		shows("", given, what, "update", what, status, "disabled")
		for _, more := range [][]string{nil, {"-o", "json"}} {
			if stdout, _ := s.run(0, append([]string{what, "list"}, more...)...); strings.Contains(stdout, primary) ||
				!strings.Contains(stdout, what) {
				t.Errorf("berth %s list %v: %s", what, more, stdout)
			}
		}
		s.run(1, what, "create", "other", "--primary-key", "@"+file+".gone", "--secondary-key", secondary)
	}
	for _, words := range []string{"device enable device", "device disable device"} {
		if stdout, _ := s.run(0, append(strings.Fields(words), "-o", "json")...); strings.Contains(stdout, primary) {
			t.Errorf("berth %s: %s", words, stdout)
		}
	}
	// Keys that the service makes.
	if d := read[identity.Device](s, "device", "create", "made",
		"--keys"); d.Authentication.SymmetricKey.PrimaryKey == nil {
		t.Errorf("berth device create --keys: %s", cli.CompactJSON(d))
	}
	if d := read[identity.Device](s, "device", "show", "made"); d.Authentication.SymmetricKey != (identity.KeyPair{}) {
		t.Errorf("berth device show: %s", cli.CompactJSON(d))
	}
	s.run(0, "policy", "create", "dashboard", "--rights", "EnrollmentRead")
	policy := read[access.Policy](s, "policy", "show", "dashboard", "--keys")
	shows("", []string{policy.PrimaryKey, policy.SecondaryKey}, "policy", "show", "dashboard")
	shows("", []string{policy.PrimaryKey, policy.SecondaryKey}, "policy", "rights", "dashboard", "--rights",
		"EnrollmentRead")
	for _, words := range []string{"policy regenerate-key dashboard primary",
		"policy create other --rights EnrollmentRead", "policy list"} {
		if stdout, _ := s.run(0, append(strings.Fields(words), "-o", "json")...); strings.Contains(stdout,
			"primaryKey") ||
			strings.Contains(stdout, policy.SecondaryKey) {
			t.Errorf("berth %s: %s", words, stdout)
		}
	}
}

// TestKeysFlagEverywhere: a command that makes, shows or changes what has keys has the
// flag that asks for them.
func TestKeysFlagEverywhere(t *testing.T) {
	c := &program{Env: cli.Env{Stdout: io.Discard, Stderr: new(bytes.Buffer)}}
	for _, what := range c.root().Commands() {
		if !slices.Contains([]string{"enrollment", "group", "device", "policy"}, what.Name()) {
			continue
		}
		for _, command := range what.Commands() {
			if slices.Contains([]string{"create", "show", "update", "rights", "regenerate-key"}, command.Name()) &&
				!hasFlag(command, "keys") {
				t.Errorf("%s has no --keys", command.CommandPath())
			}
		}
	}
}

// commandAt is the command with these words.
func commandAt(t *testing.T, c *program, words ...string) *cobra.Command {
	t.Helper()
	found, rest, err := c.root().Find(words)
	if err != nil || len(rest) > 0 {
		t.Fatalf("there is no command %q: %v", words, err)
	}
	return found
}

func hasFlag(command *cobra.Command, name string) bool { return command.Flags().Lookup(name) != nil }
