package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

// documentsMark is the name of the documents' mark among the marks.
const documentsMark = "documents"

func marksFolder(dataDir string) string { return filepath.Join(dataDir, "marks") }

// IsLoss reports whether an error says that the data folder no longer has what the
// server once confirmed.
func IsLoss(err error) bool { return errors.As(err, new(*store.LossError)) }

// checkMissing returns an error for a data folder that has been used and has no
// documents, or no certificate authority that can be read: a start would make another
// service, with other keys.
func checkMissing(dataDir string) error {
	return errors.Join(checkDocuments(dataDir), checkAuthority(dataDir))
}

func checkDocuments(dataDir string) error {
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
		"%s holds none, though the folder has been used, as %s shows. Enrollments, devices and keys are in there: "+
			"restore it from the backup. To begin a new service, name an empty folder with --data",
		documents, strings.Join(used, ", "))}
}

// checkScope returns an error for documents of a folder that has been used which do
// not hold the ID scope any more: a start would draw another, and devices would not
// find the service again.
func checkScope(ctx context.Context, documents store.Documents, dataDir string) error {
	if _, err := os.Stat(infoFile(dataDir)); err != nil {
		return nil // no start has ended yet
	}
	_, err := documents.Get(ctx, settingsRecords, scopeRecord)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return &store.LossError{Of: "documents", Err: fmt.Errorf(
		"the ID scope, by which devices name this service, is not among them, though the folder has been used. "+
			"Restore the folder from the backup. "+
			"To begin a new service, name an empty folder with --data, or remove %s",
		infoFile(dataDir))}
}

func checkAuthority(dataDir string) error {
	if _, err := os.Stat(infoFile(dataDir)); err != nil {
		return nil // no start has ended yet
	}
	for _, name := range []string{"ca.pem", "ca.key.pem"} {
		path := filepath.Join(dataDir, "pki", name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return &store.LossError{Of: "certificate authority", Err: fmt.Errorf(
				"%s is missing, though the folder has been used. Devices and back ends trust that authority: "+
					"restore it from the backup. To make a new one, which all of them have to be given, remove %s",
				path, infoFile(dataDir))}
		}
	}
	certificate, key := filepath.Join(dataDir, "pki", "ca.pem"), filepath.Join(dataDir, "pki", "ca.key.pem")
	certificatePEM, keyPEM, err := readPair(certificate, key)
	if err != nil {
		return err
	}
	if _, err := credential.ParseAuthority(certificatePEM, keyPEM); err != nil {
		return &store.LossError{Of: "certificate authority", Err: fmt.Errorf(
			"%s and %s are no certificate with its key: %w. Devices and back ends trust that authority: "+
				"restore both from the backup. "+
				"To make a new one, which all of them have to be given, remove both and %s",
			certificate, key, err, infoFile(dataDir))}
	}
	return nil
}

// checkUsed returns an error when no server has ever started on the folder.
func checkUsed(dataDir string) error {
	for _, pattern := range []string{"documents/*", "logs/*", "marks/*", "pki/*", "info.json"} {
		if found, _ := filepath.Glob(filepath.Join(dataDir, filepath.FromSlash(pattern))); len(found) > 0 {
			return nil
		}
	}
	return neverUsedError(dataDir)
}

// DataReport is what there is in a data folder, and what is missing or damaged.
type DataReport struct {
	Documents int         `json:"documents"`
	Logs      []LogReport `json:"logs"`
	Problems  []string    `json:"problems"`        // what was confirmed and can't be read any more; one a sentence
	Aside     string      `json:"aside,omitempty"` // the folder with what a repair has dropped
}

// LogReport is what there is in a log.
type LogReport struct {
	Name    string `json:"name"`
	Records int64  `json:"records"` // that can be read
	Missing int64  `json:"missing"` // that were confirmed and can't be, as far as is known
}

func quietOptions(dataDir string) (pebble.Options, segment.Options) {
	quiet := slog.New(slog.DiscardHandler)
	return pebble.Options{Logger: quiet, Mark: filepath.Join(marksFolder(dataDir), documentsMark)},
		segment.Options{Logger: quiet, Marks: marksFolder(dataDir)}
}

// CheckData reads all that a stopped server keeps in its data folder and reports
// what is missing or damaged. It changes nothing.
func CheckData(ctx context.Context, dataDir string) (report DataReport, err error) {
	report.Logs, report.Problems = []LogReport{}, []string{}
	if err := checkUsed(dataDir); err != nil {
		return report, err
	}
	note := func(err error) error {
		if err != nil && IsLoss(err) {
			report.Problems = append(report.Problems, strings.ReplaceAll(err.Error(), "\n", "; "))
			return nil
		}
		return err
	}
	documents, logs := quietOptions(dataDir)
	if err := errors.Join(note(checkDocuments(dataDir)), note(checkAuthority(dataDir))); err != nil {
		return report, fmt.Errorf("check the data folder: %w", err)
	}
	report.Documents, err = pebble.Check(ctx, filepath.Join(dataDir, "documents"), documents)
	if err := note(err); err != nil {
		return report, checkError(dataDir, err)
	}
	checked, err := segment.Check(filepath.Join(dataDir, "logs"), logs)
	if err != nil {
		return report, checkError(dataDir, err)
	}
	for _, one := range checked {
		report.Logs = append(report.Logs, LogReport{one.Name, one.Records, one.Missing})
		note(one.Err)
	}
	return report, nil
}

func checkError(dataDir string, err error) error {
	if isLocked(err) {
		return inUseError(dataDir)
	}
	return fmt.Errorf("check the data folder: %w", err)
}

func inUseError(dataDir string) error {
	return fmt.Errorf("a server uses the data folder %s: stop it first", dataDir)
}

// isLocked reports whether an error is that of a file which another process has
// locked.
func isLocked(err error) bool {
	const sharingViolation, lockViolation = syscall.Errno(32), syscall.Errno(33) // of Windows
	var number syscall.Errno
	if !errors.As(err, &number) {
		// Pebble's, in a test or berthtest
		return err != nil && strings.Contains(err.Error(), "lock held by current process")
	}
	if runtime.GOOS == "windows" {
		return number == sharingViolation || number == lockViolation
	}
	return number == syscall.EAGAIN
}

// RepairData makes a data folder with damage one that a server starts on again: it
// drops what can't be read, and what came after it, and puts it aside. The servers
// that start on the folder say so until the folder with it is removed. It returns
// what was missing before, and what there is now.
func RepairData(ctx context.Context, dataDir string, now time.Time) (DataReport, error) {
	before, err := CheckData(ctx, dataDir)
	if err != nil || len(before.Problems) == 0 {
		return before, err
	}
	if err := checkMissing(dataDir); err != nil {
		return before, err
	}
	before.Aside = filepath.Join(lostFolder(dataDir), now.UTC().Format(lostLayout))
	// The report comes first: what a repair that was interrupted has dropped, the next
	// one does not find missing any more.
	if err := before.write(); err != nil {
		return before, err
	}
	documents, logs := quietOptions(dataDir)
	aside := filepath.Join(before.Aside, "documents")
	if _, err := pebble.Repair(ctx, filepath.Join(dataDir, "documents"), aside, documents); err != nil {
		return before, errors.Join(err, os.Remove(filepath.Join(before.Aside, lostReport))) // no server starts on them
	}
	if _, err := segment.Repair(filepath.Join(dataDir, "logs"), filepath.Join(before.Aside, "logs"), logs); err != nil {
		return before, err
	}
	after, err := CheckData(ctx, dataDir)
	if err != nil {
		return before, err
	}
	before.Documents = after.Documents
	for i, log := range before.Logs {
		for _, now := range after.Logs {
			if now.Name == log.Name {
				before.Logs[i].Records = now.Records
			}
		}
	}
	return before, before.write()
}

// write puts the report of a repair into the folder with what that drops.
func (r DataReport) write() error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Aside, 0o700); err != nil {
		return err
	}
	return writeFile(filepath.Join(r.Aside, lostReport), append(text, '\n'), 0o600)
}

const (
	lostLayout = "20060102T150405Z"
	lostReport = "report.json"
)

func lostFolder(dataDir string) string { return filepath.Join(dataDir, "lost") }

// reportLost says what the data folder goes on without, as far as nobody has dealt
// with it.
func (s *Server) reportLost() {
	found, err := filepath.Glob(filepath.Join(lostFolder(s.config.DataDir), "*", lostReport))
	if err != nil || len(found) == 0 {
		return
	}
	folder := filepath.Dir(found[0])
	if len(found) > 1 {
		folder = lostFolder(s.config.DataDir)
	}
	var problems []string
	for _, path := range found {
		var report DataReport
		if text, err := os.ReadFile(path); err != nil || json.Unmarshal(text, &report) != nil {
			report.Problems = []string{path}
		}
		problems = append(problems, report.Problems...)
	}
	s.health.Raise(dataLost, health.Warning, "The data folder was damaged. What was dropped is in %s: "+
		"remove that folder when it is dealt with. What was found: %s", folder, strings.Join(problems, "; "))
}
