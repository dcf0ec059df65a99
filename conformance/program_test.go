//go:build conformance

package conformance

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// programTimeout is how long a program, or one line of it, may take.
const programTimeout = 2 * time.Minute

// program is a Python or Node program that uses an SDK: its folder and its
// command line.
type program struct {
	folder string
	args   []string
}

func python(args ...string) program {
	return program{"python", append([]string{filepath.Join("..", ".venv", "bin", "python")}, args...)}
}

func node(args ...string) program { return program{"node", append([]string{"node"}, args...)} }

// command prepares the program with the environment of a person who follows the
// quickstart, the authority trusted as each SDK's documentation says.
func (s *server) command(ctx context.Context, p program, environment ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	command.Dir = p.folder
	command.Env = append(os.Environ(),
		"SSL_CERT_FILE="+s.info.CAFile,
		"REQUESTS_CA_BUNDLE="+s.info.CAFile,
		"NODE_EXTRA_CA_CERTS="+s.info.CAFile,
		"PROVISIONING_HOST="+s.info.ProvisioningHost,
		"PROVISIONING_IDSCOPE="+s.info.IDScope,
		"DPS_X509_REGISTRATION_ID="+quickstartID,
		"X509_CERT_FILE="+filepath.Join(s.certificates, "python-device.pem"),
		"X509_KEY_FILE="+filepath.Join(s.certificates, "python-device.key.pem"),
		"PASS_PHRASE=1234",
		// What the quickstart does not have: the back end's side, and more devices.
		"PROVISIONING_CONNECTION_STRING="+s.info.ProvisioningConnectionString,
		"IOTHUB_CONNECTION_STRING="+s.info.Hubs[0].ConnectionString,
		"CERTIFICATES="+s.certificates,
		"PYTHONDONTWRITEBYTECODE=1",
		"PYTHONWARNINGS=ignore",
	)
	command.Env = append(command.Env, environment...)
	return command
}

// run runs the program to its end and returns the lines of its standard output.
// The test fails when the program does.
func (s *server) run(t *testing.T, p program, environment ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programTimeout)
	defer cancel()
	command := s.command(ctx, p, environment...)
	var output, problems strings.Builder
	command.Stdout, command.Stderr = &output, &problems
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", p.args, err, &output, &problems)
	}
	return strings.Split(strings.TrimSpace(output.String()), "\n")
}

// running is a program that has not ended yet.
type running struct {
	lines    chan string
	problems *strings.Builder
}

// begin starts the program; the test stops it at its end.
func (s *server) begin(t *testing.T, p program, environment ...string) *running {
	t.Helper()
	command := s.command(t.Context(), p, environment...)
	r := &running{lines: make(chan string, 100), problems: new(strings.Builder)}
	command.Stderr = r.problems
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			r.lines <- lines.Text()
		}
		close(r.lines)
		command.Wait()
	}()
	t.Cleanup(func() {
		command.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%v wrote to standard error:\n%s", p.args, r.problems)
		}
	})
	return r
}

// says waits for the program's next line, which must be this one.
func (r *running) says(t *testing.T, want string) {
	t.Helper()
	select {
	case line, open := <-r.lines:
		if !open || line != want {
			t.Fatalf("the program wrote %q, want %q", line, want)
		}
	case <-time.After(programTimeout):
		t.Fatalf("the program did not write %q in %v", want, programTimeout)
	}
}
