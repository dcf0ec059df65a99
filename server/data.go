package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-iot/berth/store"
)

// documentsMark is the name of the documents' mark among the marks.
const documentsMark = "documents"

func marksFolder(dataDir string) string { return filepath.Join(dataDir, "marks") }

// IsLoss reports whether an error says that the data folder no longer has what the
// server once confirmed.
func IsLoss(err error) bool { return errors.As(err, new(*store.LossError)) }

// missing returns an error for a data folder that has been used and has no
// documents, or no certificate authority: a start would make another service, with
// other keys.
func missing(dataDir string) error {
	return errors.Join(missingDocuments(dataDir), missingAuthority(dataDir))
}

func missingDocuments(dataDir string) error {
	documents := filepath.Join(dataDir, "documents")
	entries, err := os.ReadDir(documents)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "MANIFEST-") || strings.HasPrefix(entry.Name(), "marker.manifest.") {
			return nil // what of it is missing is seen when it is opened
		}
	}
	var used []string
	for _, pattern := range []string{"pki/ca.pem", "logs/*/log", "info.json"} {
		if found, _ := filepath.Glob(filepath.Join(dataDir, filepath.FromSlash(pattern))); len(found) > 0 {
			used = append(used, found[0])
		}
	}
	if len(used) == 0 {
		return nil
	}
	return &store.LossError{Of: "documents", Err: fmt.Errorf(
		"%s holds none, though the folder has been used, as %s shows. Enrollments, devices and keys are in there: restore it from the backup. To begin a new service, name an empty folder with --data",
		documents, strings.Join(used, ", "))}
}

func missingAuthority(dataDir string) error {
	if _, err := os.Stat(infoFile(dataDir)); err != nil {
		return nil // no start has ended yet
	}
	for _, name := range []string{"ca.pem", "ca.key.pem"} {
		path := filepath.Join(dataDir, "pki", name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return &store.LossError{Of: "certificate authority", Err: fmt.Errorf(
				"%s is missing, though the folder has been used. Devices and back ends trust that authority: restore it from the backup. To make a new one, which all of them have to be given, remove %s",
				path, infoFile(dataDir))}
		}
	}
	return nil
}
