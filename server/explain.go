package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/store/pebble"
)

// Explain judges a saved case again, by the code that registers devices, in a
// temporary folder: no server is needed. Its errors are those of
// provisioning.Explain.
func Explain(ctx context.Context, c provisioning.Case) (judgement provisioning.Judgement, err error) {
	dir, err := os.MkdirTemp("", "berth-explain-")
	if err != nil {
		return judgement, fmt.Errorf("make a folder for the case: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	documents, err := openDocuments(ctx, dir, pebble.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return judgement, err
	}
	defer func() { err = errors.Join(err, documents.Close()) }()
	return provisioning.Explain(ctx, documents, c)
}
