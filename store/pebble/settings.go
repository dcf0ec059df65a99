package pebble

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble writes its settings into a file OPTIONS-* and refuses to open a database whose
// latest file it can't read. The settings are always Berth's, so that such a file tells
// nothing that is needed: a database opens without it, as it does when it is missing.

// settled hides the files of settings that can't be read.
type settled struct {
	vfs.FS
	settings *pebble.Options
}

// List implements vfs.FS.
func (s settled) List(dir string) ([]string, error) {
	names, err := s.FS.List(dir)
	kept := names[:0]
	for _, name := range names {
		if !isSettings(name) || s.readable(dir, name) {
			kept = append(kept, name)
		}
	}
	return kept, err
}

// Unwrap implements vfs.FS.
func (s settled) Unwrap() vfs.FS { return s.FS }

func isSettings(name string) bool { return strings.HasPrefix(name, "OPTIONS-") }

// readable reports whether Pebble takes the settings of a file.
func (s settled) readable(dir, name string) bool {
	file, err := s.Open(filepath.Join(dir, name))
	if err != nil {
		return false
	}
	text, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return false
	}
	return s.settings.CheckCompatibility(dir, string(text)) == nil
}

// dropSettings removes the files of settings that can't be read. Pebble writes others.
func (o Options) dropSettings(dir string) error {
	names, err := o.fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	known := o.settled()
	for _, name := range names {
		if !isSettings(name) || known.readable(dir, name) {
			continue
		}
		o.Logger.Warn("the settings of the documents are damaged and are written again: nothing depends on them",
			"file", filepath.Join(dir, name))
		if err := o.fs.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// settled is the file system without the settings that can't be read.
func (o Options) settled() settled {
	settings := o.settings(o.fs)
	settings.EnsureDefaults()
	return settled{o.fs, settings}
}
