package server

import (
	"context"
	"errors"

	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/snapshot"
	"github.com/berth-iot/berth/store/memory"
)

// Explain judges a saved case again, by the code that registers devices, in memory: no
// server is needed. Its errors are those of provisioning.Explain.
func Explain(ctx context.Context, c *snapshot.Snapshot) (decision provisioning.Decision, err error) {
	documents := memory.New().Open()
	defer func() { err = errors.Join(err, documents.Close()) }()
	return provisioning.Explain(ctx, documents, c)
}
