// Command bench puts load on a Berth server and, where it is installed, on
// mosquitto, one after the other with the same certificates and the same load,
// and prints the medians side by side as a Markdown table:
//
//	go run ./bench -berth bin/berth -only telemetry,idle -rounds 5
//
// Server and generator run on cores of their own. Everything stays on loopback
// and in a temporary folder. It reads /proc, so it runs on Linux.
//
// Devices agree on keys by X25519, as those of the Azure SDKs do: none of them
// offers ML-KEM, as Go would.
//
//go:debug tlsmlkem=0
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are what the flags say.
type settings struct {
	berth   string        // the binary
	data    string        // folder in which servers keep their data
	seconds time.Duration // how long a load lasts
	rounds  int           // how often each is measured
	cores   cores
	devices int // registered in a round
	idle    int // connections that do nothing
}

// part is a group of measurements that can be run by its name.
type part struct {
	name string
	run  func(context.Context, settings, *report) error
}

var parts = []part{
	{"telemetry", measureTelemetry},
	{"messages", measureMessages},
	{"connections", measureConnections},
	{"registrations", measureRegistrations},
	{"methods", measureMethods},
	{"scale", measureScale},
	{"idle", measureIdle},
	{"start", measureStart},
}

func main() {
	debug.SetGCPercent(800) // the generator has one core and much memory: the server must be the bottleneck
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	names := make([]string, len(parts))
	for i, part := range parts {
		names[i] = part.name
	}
	var s settings
	flag.StringVar(&s.berth, "berth", "bin/berth", "the `binary` to measure; make build makes it")
	flag.StringVar(&s.data, "data", os.TempDir(),
		"`folder` for temporary data; on the disk to be measured, not in memory")
	only := flag.String("only", strings.Join(names, ","), "which `parts` to run")
	seconds := flag.Int("seconds", 5, "how many `seconds` a load lasts")
	flag.IntVar(&s.rounds, "rounds", 5, "how often each is measured; the table shows medians")
	pinning := flag.String("cores", "0:1", "`server:generator` cores as taskset takes them; empty pins nothing")
	flag.IntVar(&s.devices, "devices", 2000, "how many devices register in a round")
	flag.IntVar(&s.idle, "idle", 3000, "how many idle connections are held")
	output := flag.String("o", "", "also write the table, with date and machine, to this `file`")
	flag.Parse()

	s.seconds = time.Duration(*seconds) * time.Second
	if s.rounds < 1 || *seconds < 1 || s.devices < 1 || s.idle < 1 {
		return errors.New("-rounds, -seconds, -devices and -idle are at least 1")
	}
	chosen := strings.Split(*only, ",")
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no part %q: the parts are %s", name, strings.Join(names, ", "))
		}
	}
	var err error
	if s.cores, err = pin(*pinning); err != nil {
		return err
	}
	r := newReport(s)
	r.noteLoad()
	for _, part := range parts {
		if !slices.Contains(chosen, part.name) {
			continue
		}
		if err := part.run(ctx, s, r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	fmt.Println()
	fmt.Print(r.table())
	if *output != "" {
		return os.WriteFile(*output, []byte(r.page()), 0o644)
	}
	return nil
}
