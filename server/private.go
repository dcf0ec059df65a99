package server

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ours are the folders and files that a server keeps in its data folder. All of them
// but the certificates hold secrets.
var ours = []string{"documents", "logs", "marks", "lost", "pki", "info.json"}

// public are files that others may read.
var public = []string{"ca.pem", "server.pem"}

// hideFromOthers takes from what is in the data folder the rights of all but its
// owner. An earlier version, or a person, may have given more. The data folder itself
// is closed as well when there is nothing in it of anybody else.
func hideFromOthers(dataDir string, logger *slog.Logger) {
	entries, err := os.ReadDir(dataDir)
	if err != nil {
		return // what follows says it better
	}
	alone := !slices.ContainsFunc(entries, func(entry fs.DirEntry) bool { return !isOurs(entry.Name()) })
	errs := []error{}
	if alone {
		errs = append(errs, hideFromOther(dataDir))
	}
	for _, name := range ours {
		hide := func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && slices.Contains(public, entry.Name()) {
				return nil
			}
			if err != nil {
				return err
			}
			return hideFromOther(path)
		}
		errs = append(errs, filepath.WalkDir(filepath.Join(dataDir, name), hide))
	}
	if err := errors.Join(errs...); err != nil {
		logger.Warn("others can read what the server keeps", "folder", dataDir, "error", err)
	}
}

// isOurs also takes what a server was writing when it was killed.
func isOurs(name string) bool {
	return slices.Contains(ours, name) || strings.HasPrefix(name, "upload-") || strings.HasPrefix(name, "info.json.")
}

func hideFromOther(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink != 0 || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()&0o700)
}
