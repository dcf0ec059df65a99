package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/exchange"
)

// ReadText reads a file in UTF-8, without the mark that some editors begin it with.
func ReadText(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text, err := exchange.Text(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, LocalError(err))
	}
	return text, nil
}

// LocalError is what is wrong with a file on this machine: without the code and the tracking
// id of a service, which nobody asked.
func LocalError(err error) error {
	text := fault.From(err).Message
	return errors.New(strings.ToLower(text[:1]) + text[1:])
}

// ReplaceFile writes a new file with this mode in the place of whatever is
// there: a key must not inherit the mode of an older file.
func ReplaceFile(path string, content []byte, mode fs.FileMode) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}
