//go:build unix

package mark

import (
	"errors"
	"os"
)

// SyncFolder makes the names in a folder durable, for marks and for the files of
// engines.
func SyncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
