package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

// DumpDocuments calls each with the documents that a stopped server keeps in its data
// folder: of one collection or, when that is "", of all, those whose keys start with
// prefix, in the order of collections and keys. The values hold keys and certificates as
// they are stored. It changes nothing, and ends at a document that is damaged.
func DumpDocuments(ctx context.Context, dataDir, collection, prefix string,
	each func(collection string, document store.Document) error) error {
	if err := errors.Join(used(dataDir), missingDocuments(dataDir)); err != nil {
		return err
	}
	options, _ := quietly(dataDir)
	err := pebble.Dump(ctx, filepath.Join(dataDir, "documents"), options, collection, prefix, each)
	return notRead(dataDir, err)
}

// DumpLog calls each with the records of one log that a stopped server keeps in its data
// folder, in the order in which they were written. It changes nothing, passes over what
// is damaged, and then returns an error that says what was.
func DumpLog(ctx context.Context, dataDir, name string, each func(partition int, record store.Record) error) error {
	if err := used(dataDir); err != nil {
		return err
	}
	_, options := quietly(dataDir)
	folder := filepath.Join(dataDir, "logs")
	err := segment.Dump(ctx, folder, name, options, each)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no log %q in %s, but: %s", name, folder, strings.Join(LogNames(dataDir), ", "))
	}
	return notRead(dataDir, err)
}

// LogNames are the names of the logs in a data folder, in order.
func LogNames(dataDir string) []string {
	found, _ := filepath.Glob(filepath.Join(dataDir, "logs", "*", "log"))
	for i, path := range found {
		found[i] = filepath.Base(filepath.Dir(path))
	}
	return found
}

func notRead(dataDir string, err error) error {
	if isLocked(err) {
		return inUse(dataDir)
	}
	return err
}
