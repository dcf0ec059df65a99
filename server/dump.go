package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

// StoredDocument is a document as it is stored.
type StoredDocument struct {
	Collection, Key, ETag string
	Value                 []byte // good until the function that got it returns
}

// StoredRecord is a record of a log as it is stored.
type StoredRecord struct {
	Partition        int
	Sequence, Offset int64
	Time             time.Time          // when it was written, UTC
	Value            []byte             // good until the function that got it returns
	Message          *telemetry.Message // what the value says, in a hub's telemetry; else nil
}

// DumpDocuments calls each with the documents that a stopped server keeps in its data
// folder: of one collection or, when that is "", of all, those whose keys start with
// prefix, in the order of collections and keys. The values hold keys and certificates as
// they are stored. It changes nothing, and ends at a document that is damaged.
func DumpDocuments(ctx context.Context, dataDir, collection, prefix string,
	each func(StoredDocument) error) error {
	if err := errors.Join(checkUsed(dataDir), checkDocuments(dataDir)); err != nil {
		return err
	}
	options, _ := quietOptions(dataDir)
	err := pebble.Dump(ctx, filepath.Join(dataDir, "documents"), options, collection, prefix,
		func(collection string, document store.Document) error {
			return each(StoredDocument{collection, document.Key, document.ETag, document.Value})
		})
	return readError(dataDir, err)
}

// DumpLog calls each with the records of one log that a stopped server keeps in its data
// folder, in the order in which they were written. It changes nothing, passes over what
// is damaged, and then returns an error that says what was.
func DumpLog(ctx context.Context, dataDir, name string, each func(StoredRecord) error) error {
	if err := checkUsed(dataDir); err != nil {
		return err
	}
	_, options := quietOptions(dataDir)
	folder := filepath.Join(dataDir, "logs")
	err := segment.Dump(ctx, folder, name, options, func(partition int, record store.Record) error {
		stored := StoredRecord{Partition: partition, Sequence: record.Sequence, Offset: record.Offset,
			Time: time.Unix(0, record.Time).UTC(), Value: record.Value}
		if hasMessages(name) {
			message := telemetry.Describe(partition, record)
			stored.Message = &message
		}
		return each(stored)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no log %q in %s, but: %s", name, folder, strings.Join(LogNames(dataDir), ", "))
	}
	return readError(dataDir, err)
}

// LogNames are the names of the logs in a data folder, in order.
func LogNames(dataDir string) []string {
	found, _ := filepath.Glob(filepath.Join(dataDir, "logs", "*", "log"))
	for i, path := range found {
		found[i] = filepath.Base(filepath.Dir(path))
	}
	return found
}

func readError(dataDir string, err error) error {
	if isLocked(err) {
		return inUseError(dataDir)
	}
	return err
}
