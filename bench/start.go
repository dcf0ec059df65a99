package main

import (
	"context"
	"errors"
	"os"
)

// starts is how often a server is started.
const starts = 10

// measureStart measures the time from the start of the process, on an empty
// folder, to the first TLS connection, and the size of the binary.
func measureStart(ctx context.Context, s settings, r *report) error {
	for range starts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := startBerth(s)
		if err != nil {
			return err
		}
		memory, err := b.process.memory()
		if err := errors.Join(err, b.stop()); err != nil {
			return err
		}
		r.add(b, "Start with an empty folder to the first connection (ms)", milliseconds(b.startup))
		r.add(b, "Memory of a server that has just started (MiB)", memory/(1<<20))
		if binary, err := os.Stat(s.berth); err == nil {
			r.add(b, "Binary (MiB)", float64(binary.Size())/(1<<20))
		}
	}
	return nil
}
