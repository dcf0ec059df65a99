package httpstest

import (
	"context"
	"io"
	"strings"

	"github.com/berth-iot/berth/fault"
)

// Blobs are containers that take everything and hold nothing, but for those that have refused
// in their addresses.
type Blobs struct{}

// Check implements job.Blobs.
func (Blobs) Check(container string) error {
	if strings.Contains(container, "refused") {
		return fault.New(fault.InvalidContainer, "The container is refused")
	}
	return nil
}

// Get implements job.Blobs.
func (Blobs) Get(context.Context, string, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("")), nil
}

// Put implements job.Blobs.
func (Blobs) Put(_ context.Context, _, _ string, write func(io.Writer) error) error {
	return write(io.Discard)
}
