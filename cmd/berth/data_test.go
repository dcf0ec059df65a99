package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/server"
)

// TestLostData damages the data folder of a server that was stopped or killed, in
// every way that would otherwise go unnoticed: the next start says so and ends with
// exit code 3, and so does berth data check.
func TestLostData(t *testing.T) {
	t.Parallel()
	binary, data := buildBinary(t), t.TempDir()
	p := startProcess(t, binary, data)
	const enrollments = 60
	fillData(t, p, enrollments)
	p.kill()
	killed := copyFolder(t, data)
	again := startProcess(t, binary, data)
	again.terminate(t)
	if code, output := runBinary(t, binary, "data", "check", "--data", data); code != 0 {
		t.Fatalf("a folder that is whole: exit code %d\n%s", code, output)
	}
	for state, data := range map[string]string{"killed": killed, "stopped": data} {
		for name, damage := range map[string]struct {
			do         func(t *testing.T, data string)
			repairable bool
		}{
			"a flipped byte in the documents' log": {flip("documents/*.log"), true},
			"the documents' log cut":               {cut("documents/*.log"), true},
			"the documents' log gone":              {remove("documents/*.log"), true},
			"no documents":                         {remove("documents"), false},
			"the last telemetry segment flipped":   {flipLast("logs/hub.berth.telemetry/*.segment"), true},
			"the last telemetry segment cut":       {cut("logs/hub.berth.telemetry/*.segment"), true},
			"the last telemetry segment gone":      {remove("logs/hub.berth.telemetry/*.segment"), true},
			"the telemetry gone":                   {remove("logs/hub.berth.telemetry"), true},
			"all logs gone":                        {remove("logs"), true},
			"the authority gone":                   {remove("pki"), false},
			"the authority's certificate cut":      {cut("pki/ca.pem"), false},
			"the key of another authority":         {foreignKey, false},
			"the manifest gone":                    {remove("documents/MANIFEST-*"), false},
			"the format of the documents gone":     {remove("documents/marker.format-version.*"), false},
			"all marks gone":                       {remove("marks"), true},
			"the mark of the documents gone":       {remove("marks/documents"), true},
			"the mark of the telemetry emptied":    {empty("marks/log.hub.berth.telemetry"), true},
		} {
			t.Run(state+", "+name, func(t *testing.T) {
				data := copyFolder(t, data)
				damage.do(t, data)
				for _, command := range [][]string{
					{"up", "--data", data, "--mqtt-port", "0", "--https-port", "0", "--portal-port", "0"},
					{"data", "check", "--data", data},
				} {
					code, output := runBinary(t, binary, command...)
					if code != cli.LossCode || !strings.Contains(output, data) {
						t.Fatalf("berth %s: exit code %d, want %d and what is missing\n%s", command[0], code,
							cli.LossCode, output)
					}
				}
				code, output := runBinary(t, binary, "data", "repair", "--data", data)
				if !damage.repairable {
					if code != cli.LossCode || !strings.Contains(output, "backup") ||
						strings.Contains(output, "berth data repair") {
						t.Fatalf("berth data repair: exit code %d\n%s", code, output)
					}
					return
				}
				if code != 0 {
					t.Fatalf("berth data repair: exit code %d\n%s", code, output)
				}
				if code, output := runBinary(t, binary, "data", "check", "--data", data); code != 0 {
					t.Fatalf("after the repair: exit code %d\n%s", code, output)
				}
				if strings.Contains(name, "the documents' log") { // the ID scope may be lost with them
					sameServiceOrNone(t, binary, data, p.info.IDScope)
					return
				}
				p := startProcess(t, binary, data)
				if status, text := p.readyz(t); status != 200 || !strings.Contains(text, "data-lost") {
					t.Errorf("/readyz says %d %s", status, text)
				}
				fillData(t, p, 0)
				p.terminate(t)
				if !strings.Contains(p.log.String(), "level=WARN") || !strings.Contains(p.log.String(), "data-lost") {
					t.Errorf("the log says nothing of it:\n%s", &p.log)
				}
			})
		}
	}
}

// TestDataInUse are folders that there is nothing to check in.
func TestDataInUse(t *testing.T) {
	t.Parallel()
	binary, data := buildBinary(t), t.TempDir()
	p := startProcess(t, binary, data)
	defer p.kill()
	empty := t.TempDir()
	for _, c := range []struct {
		folder string
		words  []string
		says   string
	}{
		{data, []string{"data", "check"}, "a server uses the data folder " + data + ": stop it first"},
		{data, []string{"data", "repair"}, "a server uses the data folder " + data + ": stop it first"},
		{data, []string{"up", "--mqtt-port", "0", "--https-port", "0", "--portal-port", "0"},
			"another server uses the data folder " + data},
		{empty, []string{"data", "check"}, "no server has used the folder " + empty},
		{filepath.Join(empty, "nowhere"), []string{"data", "repair"}, "no server has used the folder"},
	} {
		code, output := runBinary(t, binary, append(c.words, "--data", c.folder)...)
		if code != 1 || !strings.Contains(output, c.says) {
			t.Errorf("berth %s: exit code %d, want 1, and that it says %q\n%s", strings.Join(c.words, " "), code,
				c.says, output)
		}
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) > 0 {
		t.Errorf("an empty folder holds %v, error %v", left, err)
	}
}

// sameServiceOrNone starts a server on a repaired folder: it has the ID scope that it
// had, or it does not start and says that this is lost.
func sameServiceOrNone(t *testing.T, binary, data, scope string) {
	t.Helper()
	command := exec.CommandContext(within(t, time.Minute), binary, "up", "--data", data,
		"--mqtt-port", "0", "--https-port", "0", "--portal-port", "0")
	var log strings.Builder
	command.Stderr = &log
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ready := false
	for lines := bufio.NewScanner(output); !ready && lines.Scan(); {
		ready = lines.Text() == "ready"
	}
	if ready {
		command.Process.Signal(syscall.SIGTERM)
		io.Copy(io.Discard, output)
	}
	err = command.Wait()
	if ready {
		if info, readErr := server.ReadInfo(data); err != nil || readErr != nil || info.IDScope != scope {
			t.Errorf("after the repair the ID scope is %s, it was %s; errors %v, %v", info.IDScope, scope, err, readErr)
		}
		return
	}
	code := command.ProcessState.ExitCode()
	if code != cli.LossCode || !strings.Contains(log.String(), "the ID scope") {
		t.Errorf("berth up after the repair: exit code %d, want %d and that the ID scope is lost\n%s", code,
			cli.LossCode, &log)
	}
}

// fillData makes enrollments, and a device that sends telemetry.
func fillData(t *testing.T, p *process, enrollments int) {
	t.Helper()
	ctx := within(t, time.Minute)
	for i := range enrollments {
		_, enrollment, err := newDevice(fmt.Sprintf("filling-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.provisioning.CreateEnrollment(ctx, enrollment); err != nil {
			t.Fatal(err)
		}
	}
	id := fmt.Sprintf("device-%d", time.Now().UnixNano())
	certificate, enrollment, err := newDevice(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.provisioning.CreateEnrollment(ctx, enrollment); err != nil {
		t.Fatal(err)
	}
	if err := p.register(ctx, id, certificate); err != nil {
		t.Fatal(err)
	}
	client, err := p.dial(ctx, id, certificate)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 5 {
		if err := client.Send(ctx, device.Message{Payload: []byte("telemetry")}); err != nil {
			t.Fatal(err)
		}
	}
}

// matching are the files that a pattern below the data folder names, in order.
func matching(t *testing.T, data, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(data, filepath.FromSlash(pattern)))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	slices.Sort(found)
	return found
}

func rewrite(pattern string, how func(b []byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		found := matching(t, data, pattern)
		path := found[len(found)-1]
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, how(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// written is how much of a file is not reserved space.
func written(b []byte) int { return len(strings.TrimRight(string(b), "\x00")) }

func flip(pattern string) func(*testing.T, string) {
	return rewrite(pattern, func(b []byte) []byte { b[written(b)/2] ^= 1; return b })
}

func flipLast(pattern string) func(*testing.T, string) {
	return rewrite(pattern, func(b []byte) []byte { b[written(b)-1] ^= 1; return b })
}

func cut(pattern string) func(*testing.T, string) {
	return rewrite(pattern, func(b []byte) []byte { return b[:written(b)*2/3] })
}

func empty(pattern string) func(*testing.T, string) {
	return rewrite(pattern, func([]byte) []byte { return nil })
}

func remove(pattern string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		found := matching(t, data, pattern)
		if err := os.RemoveAll(found[len(found)-1]); err != nil {
			t.Fatal(err)
		}
	}
}

// foreignKey puts the server's key in place of the authority's.
func foreignKey(t *testing.T, data string) {
	if err := os.Rename(filepath.Join(data, "pki", "server.key.pem"),
		filepath.Join(data, "pki", "ca.key.pem")); err != nil {
		t.Fatal(err)
	}
}

func copyFolder(t *testing.T, from string) (to string) {
	t.Helper()
	to = filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// runBinary runs the real binary to its end.
func runBinary(t *testing.T, binary string, args ...string) (code int, output string) {
	t.Helper()
	command := exec.CommandContext(within(t, time.Minute), binary, args...)
	text, err := command.CombinedOutput()
	if command.ProcessState == nil {
		t.Fatalf("%v: %v", args, err)
	}
	return command.ProcessState.ExitCode(), string(text)
}

// readyz asks the server whether it is ready.
func (p *process) readyz(t *testing.T) (status int, text string) {
	t.Helper()
	response, err := http.Get(strings.TrimSuffix(p.info.PortalURL, "/") + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
