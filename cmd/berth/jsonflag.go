package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/exchange"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// readJSON reads the value of a flag that is JSON, or @FILE with the name of a
// file that holds it.
func readJSON(flag, value string) (json.RawMessage, error) {
	source := "--" + flag
	text := []byte(value)
	if file, ok := strings.CutPrefix(value, "@"); ok {
		var err error
		if text, err = readText(file); errors.As(err, new(*fs.PathError)) {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		} else if err != nil {
			return nil, usageError{fmt.Errorf("--%s: %w", flag, err)}
		}
		source += " " + file
	}
	if err := document.CheckDepth(text, document.MaxFreeDepth); err != nil {
		return nil, usageError{fmt.Errorf("%s can't be taken: %w", source, err)}
	}
	if err := exchange.CheckJSON(text); err != nil {
		return nil, usageError{fmt.Errorf("%s can't be taken: %w", source, local(err))}
	}
	return text, nil
}

// readText reads a file in UTF-8, without the mark that some editors begin it with.
func readText(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text, err := exchange.Text(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, local(err))
	}
	return text, nil
}

// local is what is wrong with a file on this machine: without the code and the tracking
// id of a service, which nobody asked.
func local(err error) error {
	text := fault.From(err).Message
	return errors.New(strings.ToLower(text[:1]) + text[1:])
}

// readInitialTwin reads the twin that a new device gets; "null" or nothing is
// none.
func readInitialTwin(value string) (*linkedhub.InitialTwin, error) {
	if value == "" {
		return nil, nil
	}
	text, err := readJSON("initial-twin", value)
	if err != nil {
		return nil, err
	}
	var twin *linkedhub.InitialTwin
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&twin); err != nil {
		const form = `It is written {"tags":{…},"properties":{"desired":{…}}}, either part may be left out.`
		if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
			return nil, advise(usageError{fmt.Errorf("--initial-twin has %s, which is no part of a twin", name)}, form)
		}
		return nil, advise(usageError{fmt.Errorf("--initial-twin is no twin: %w", err)}, form)
	}
	return twin, nil
}
