package mark

import (
	"errors"
	"os"
	"path/filepath"
)

// notedName is the file in the folder of an engine that says that its mark is kept.
const notedName = "marked"

const notedText = "How much of these files is durable is noted in a mark, outside of this folder.\n"

// Note notes durably in the folder of an engine that its mark is there: from then on a
// mark that is missing was removed. Folders from before there were marks have no such
// note.
func Note(folder string) error {
	path := filepath.Join(folder, notedName)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(notedText)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return SyncFolder(folder)
}

// Noted reports whether Note was called for the folder.
func Noted(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, notedName))
	return err == nil
}
