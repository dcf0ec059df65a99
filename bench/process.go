package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cores are lists of cores as taskset takes them; empty ones pin nothing.
type cores struct{ server, generator string }

// pin puts this process on the cores of the generator. Where there is no
// taskset it says so and pins nothing.
func pin(text string) (cores, error) {
	if text == "" {
		return cores{}, nil
	}
	server, generator, ok := strings.Cut(text, ":")
	if !ok || server == "" || generator == "" {
		return cores{}, fmt.Errorf("-cores %q is not server:generator, such as 0:1", text)
	}
	if _, err := exec.LookPath("taskset"); err != nil {
		fmt.Println("taskset is not installed: server and generator share the cores")
		return cores{}, nil
	}
	pin := exec.Command("taskset", "-a", "-c", "-p", generator, strconv.Itoa(os.Getpid()))
	if said, err := pin.CombinedOutput(); err != nil {
		return cores{}, fmt.Errorf("pin the generator to the cores %s: %s", generator, strings.TrimSpace(string(said)))
	}
	return cores{server, generator}, nil
}

// process is a server that was started to be measured.
type process struct {
	command *exec.Cmd
	log     *os.File
	ended   chan struct{}
}

// start starts a server on its cores. What it prints goes to a file in folder.
func start(pinned cores, folder, name string, arguments ...string) (*process, error) {
	if pinned.server != "" {
		name, arguments = "taskset", append([]string{"-c", pinned.server, name}, arguments...)
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return nil, err
	}
	p := &process{command: exec.Command(name, arguments...), log: log, ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.command.Wait() // how it ended shows in what follows
		close(p.ended)
	}()
	return p, nil
}

// stop ends the server as an operator does, by force after 20 seconds.
func (p *process) stop() error {
	p.command.Process.Signal(syscall.SIGTERM) // may have ended on its own
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		p.command.Process.Kill()
		<-p.ended
		return errors.New("the server did not end within 20 seconds")
	}
	return p.log.Close()
}

// await tries until something holds of the server, for at most 20 seconds.
func (p *process) await(try func() error) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			said, _ := os.ReadFile(p.log.Name())
			return fmt.Errorf("the server ended: %s", said)
		case <-time.After(200 * time.Microsecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server is not there after 20 seconds: %w", err)
		}
	}
}

// ticks is how many clock ticks /proc counts in a second: 100 on every Linux
// that Go runs on.
const ticks = 100

// cpu returns the CPU time that the server has used, in seconds.
func (p *process) cpu() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parseCPU(string(text))
}

// measureCPU calls do, and returns the CPU time in seconds that the server used
// meanwhile, and how long it took.
func (p *process) measureCPU(do func() error) (cpu float64, elapsed time.Duration, err error) {
	before, err := p.cpu()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	elapsed = time.Since(began)
	after, err := p.cpu()
	return after - before, elapsed, err
}

// parseCPU reads user and system time, the fields 14 and 15 of proc(5)'s stat.
// The second field, a name in parentheses, may hold spaces.
func parseCPU(stat string) (float64, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("the process's stat is %q", stat)
	}
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticks, err
}

// memory returns the server's resident memory in bytes.
func (p *process) memory() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kilobytes * 1024, err
		}
	}
	return 0, errors.New("the process's status has no VmRSS")
}

// freePort returns a port of loopback that nobody uses now.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
