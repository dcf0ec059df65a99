//go:build conformance

package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// TestQuickstartDocs does what docs/quickstart.md and docs/demarrage-rapide.md
// say, as a reader does who has berth on the PATH, an empty home and one shell:
// every ```sh block is run in order, and a ```console block after it is what it
// prints. A comment before a block tells what a reader knows from the text:
// <!-- terminal: server --> that it runs beside the others from then on, and
// <!-- fails --> that its last command does.
func TestQuickstartDocs(t *testing.T) {
	requirePorts(t, 8883, 443, 8080)
	binary, sample := build(t), sampleRepository(t)
	var english []string
	for _, name := range []string{"quickstart.md", "demarrage-rapide.md"} {
		blocks := readBlocks(t, filepath.Join("..", "docs", name))
		t.Run(name, func(t *testing.T) { follow(t, blocks, binary, sample) })
		var commands []string
		for _, b := range blocks {
			commands = append(commands, b.commands)
		}
		if english == nil {
			english = commands
		} else if !slices.Equal(commands, english) {
			t.Errorf("%s has other commands than quickstart.md:\n%s", name, strings.Join(commands, "\n"))
		}
	}
}

// block is a ```sh block of a document.
type block struct {
	line     int
	mark     string // of the comment before it: "terminal: server", "fails", or none
	commands string
	printed  string // the ```console block that follows it; empty when there is none
}

// readBlocks reads the ```sh blocks of a document.
func readBlocks(t *testing.T, file string) []block {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fence := regexp.MustCompile("(?ms)(?:^<!-- ([^\n]*) -->\n)?^```(\\w+)\n(.*?)^```$")
	var blocks []block
	for _, at := range fence.FindAllSubmatchIndex(text, -1) {
		group := func(n int) string {
			if at[2*n] < 0 {
				return ""
			}
			return string(text[at[2*n]:at[2*n+1]])
		}
		switch mark, language, inside := group(1), group(2), group(3); {
		case language == "sh":
			line := 1 + strings.Count(string(text[:at[0]]), "\n")
			blocks = append(blocks, block{line: line, mark: mark, commands: inside})
		case language == "console" && len(blocks) > 0 && blocks[len(blocks)-1].printed == "":
			blocks[len(blocks)-1].printed = inside
		case language != "text":
			t.Fatalf("%s: a ```%s block that no command prints:\n%s", file, language, inside)
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no ```sh block", file)
	}
	return blocks
}

// follow does what the blocks say, and checks what the document promises.
func follow(t *testing.T, blocks []block, binary, sample string) {
	home, work := t.TempDir(), t.TempDir()
	environment := readersEnvironment(t, home, binary, sample)
	reader := openTerminal(t, work, environment, false)
	var server *terminal
	var promised []string
	for _, b := range blocks {
		var printed string
		if b.mark == "terminal: server" {
			server = openTerminal(t, work, environment, true)
			printed = server.run(t, b, "ready")
		} else {
			printed = reader.run(t, b, ended)
		}
		if b.printed != "" && !shownAs(b.printed, home).MatchString(readable(printed, home)) {
			t.Errorf("line %d:\n%s\nprinted\n%s\nand the document shows\n%s", b.line, b.commands, printed, b.printed)
		}
		for promise, pattern := range promises {
			if strings.Contains(b.commands, promise) && b.mark == "" {
				promised = append(promised, promise)
				tenTimes(t, b, printed, pattern)
			}
		}
	}
	if len(promised) != len(promises) {
		t.Errorf("of %v the document has %v", promises, promised)
	}
	if server == nil {
		t.Fatal("the document starts no server")
	}
	nothingLeft(t, binary, environment, work)
	server.interrupt(t)
}

// promises are the commands that send or show the quickstart's ten messages, and
// how each line begins that stands for one.
var promises = map[string]string{
	"provision_x509.py":     "done sending message #",
	"berth device simulate": "done sending message #",
	"berth telemetry tail":  ".*  Python-device-01  test wind speed ",
}

func tenTimes(t *testing.T, b block, printed, pattern string) {
	t.Helper()
	seen := regexp.MustCompile("(?m)^"+pattern+`(\d+)$`).FindAllStringSubmatch(printed, -1)
	numbers := map[string]bool{}
	for i := 1; i <= 10; i++ {
		numbers[fmt.Sprint(i)] = true
	}
	for _, line := range seen {
		delete(numbers, line[1])
	}
	if len(seen) != 10 || len(numbers) > 0 {
		t.Errorf("line %d:\n%s\nwas to show ten messages, and has printed\n%s", b.line, b.commands, printed)
	}
}

// nothingLeft checks that the reader has cleaned up: no enrollment, device or
// registration, and no file.
func nothingLeft(t *testing.T, binary string, environment []string, work string) {
	t.Helper()
	for _, kind := range []string{"enrollment", "device", "registration"} {
		list := exec.Command(binary, kind, "list", "-o", "json")
		list.Env = environment
		output, err := list.Output()
		var left []json.RawMessage
		if err == nil {
			err = json.Unmarshal(output, &left)
		}
		if err != nil {
			t.Errorf("berth %s list: %v in %s", kind, err, output)
		}
		if len(left) > 0 {
			t.Errorf("berth %s list: %s is left", kind, output)
		}
	}
	files, err := os.ReadDir(work)
	if err != nil || len(files) > 0 {
		t.Errorf("files are left: %v (%v)", files, err)
	}
}

// sampleRepository is the address of a repository that stands in for
// https://github.com/Azure/azure-iot-sdk-python.git, because tests have no
// network but the package registries. Where Azure's sample is in that one, it
// has python/quickstart.py, which goes the same way with the same SDK; Azure's
// own is run by hand.
func sampleRepository(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	samples := filepath.Join(folder, "samples", "async-hub-scenarios")
	if err := os.MkdirAll(samples, 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"quickstart.py": "provision_x509.py", "polling_log.py": "polling_log.py"} {
		text, err := os.ReadFile(filepath.Join("python", from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(samples, to), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"add", "."},
		{"-c", "user.name=Berth", "-c", "user.email=berth@localhost", "commit", "--quiet", "--message", "The sample"},
	} {
		git := exec.Command("git", args...)
		git.Dir = folder
		if output, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, output)
		}
	}
	return "file://" + folder
}

// readersEnvironment is the environment of a reader with berth on the PATH and
// an empty home, in which the address of Azure's repository leads to the sample.
// pip takes the pinned versions, and what it has fetched before.
func readersEnvironment(t *testing.T, home, binary, sample string) []string {
	t.Helper()
	pins, err := filepath.Abs(filepath.Join("python", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	environment := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "BERTH_") || strings.HasPrefix(variable, "XDG_") ||
			strings.HasPrefix(variable, "GIT_CONFIG_")
	})
	return append(environment,
		"HOME="+home,
		"PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"),
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=url."+sample+".insteadOf",
		"GIT_CONFIG_VALUE_0=https://github.com/Azure/azure-iot-sdk-python.git",
		"PIP_CONSTRAINT="+pins,
		"PIP_CACHE_DIR="+filepath.Join(cache, "pip"),
		"PIP_DISABLE_PIP_VERSION_CHECK=1",
		"PYTHONWARNINGS=ignore",
	)
}

// varying are the parts of what is printed that are others each time.
var varying = []struct {
	what *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?`), "TIME"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`\b[0-9A-F]{64}\b`), "THUMBPRINT"},
	{regexp.MustCompile(`\b0ne[0-9A-F]{8}\b`), "ID-SCOPE"},
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "TRACKING-ID"},
	{regexp.MustCompile(`\b127\.0\.0\.1:\d{5}\b`), "ADDRESS"},
	{regexp.MustCompile(`(message #|wind speed )\d+`), "${1}NUMBER"}, // sent at once, so in any order
	{regexp.MustCompile(` {2,}`), "  "},
}

// readable is what was printed, without what varies and without empty lines at
// the end; the reader's home is called as the documents do.
func readable(printed, home string) string {
	text := strings.ReplaceAll(printed, home, "/home/me")
	for _, v := range varying {
		text = v.what.ReplaceAllString(text, v.name)
	}
	return strings.TrimRight(text, "\n") + "\n"
}

// shownAs matches what may be printed where a document shows this: "…" stands
// for any lines or, within a line, for any text.
func shownAs(shown, home string) *regexp.Regexp {
	pattern := regexp.QuoteMeta(readable(shown, home))
	pattern = regexp.MustCompile(`(?m)^…\n`).ReplaceAllString(pattern, `(?:.*\n)*`)
	return regexp.MustCompile(`\A` + strings.ReplaceAll(pattern, "…", ".*") + `\z`)
}

// terminal is a shell that runs blocks one after another, until one fails.
type terminal struct {
	shell  *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
	folder string // of the blocks, as files
}

// openTerminal starts a shell in the folder. The test ends it with everything
// that it has started. With a screen, what is printed goes to a real terminal: there
// berth up shows what it does not show elsewhere.
func openTerminal(t *testing.T, work string, environment []string, screen bool) *terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*programTimeout)
	term := &terminal{shell: exec.CommandContext(ctx, "bash", "--norc", "-e"), folder: t.TempDir()}
	term.shell.Dir, term.shell.Env = work, environment
	term.shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	term.shell.Cancel = func() error { return syscall.Kill(-term.shell.Process.Pid, syscall.SIGKILL) }
	reader, writer, err := os.Pipe()
	if screen {
		reader, writer, err = pty.Open()
	}
	if err != nil {
		t.Fatal(err)
	}
	term.shell.Stdout, term.shell.Stderr = writer, writer // as a terminal shows both
	if screen {
		term.shell.Stderr = t.Output() // the log, which nobody reads on: a terminal holds little
	}
	term.output = bufio.NewReader(reader)
	if term.input, err = term.shell.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := term.shell.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close() // the shell has it
	t.Cleanup(func() {
		cancel()
		term.shell.Wait()
		reader.Close()
	})
	return term
}

// ended is what the shell says when a block has ended.
const ended = "-- the block has ended --"

// run gives the block to the shell and returns what it prints until it has ended,
// or up to the line last.
func (term *terminal) run(t *testing.T, b block, last string) string {
	t.Helper()
	file := filepath.Join(term.folder, fmt.Sprintf("line-%d.sh", b.line))
	if err := os.WriteFile(file, []byte(b.commands), 0o644); err != nil {
		t.Fatal(err)
	}
	source := fmt.Sprintf(". %s </dev/null", file)
	if b.mark == "fails" {
		source = fmt.Sprintf("if %s; then echo 'This was to fail.'; exit 1; fi", source)
	}
	if _, err := fmt.Fprintf(term.input, "%s\necho %s\n", source, ended); err != nil {
		t.Fatalf("line %d: %v", b.line, err)
	}
	var printed strings.Builder
	for {
		line, err := term.output.ReadString('\n')
		line = strings.ReplaceAll(line, "\r", "") // that terminals add
		if line == last+"\n" {
			if last != ended {
				printed.WriteString(line)
			}
			return printed.String()
		}
		printed.WriteString(line)
		if err != nil || line == ended+"\n" {
			t.Fatalf("line %d:\n%s\nended (%v) having printed\n%s", b.line, b.commands, err, &printed)
		}
	}
}

// interrupt does what Ctrl-C does, and expects the program to end in good order.
func (term *terminal) interrupt(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-term.shell.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	term.input.Close() // what the shell does next is end
	rest, _ := io.ReadAll(term.output)
	if err := term.shell.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v\n%s", err, rest)
	}
}
