package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/provisioning"
)

// readJSON reads the value of a flag that is JSON, or @FILE with the name of a
// file that holds it.
func readJSON(flag, value string) (json.RawMessage, error) {
	source := "--" + flag
	text := []byte(value)
	if file, ok := strings.CutPrefix(value, "@"); ok {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		source += " " + file
	}
	if err := document.CheckDepth(text, document.MaxFreeDepth); err != nil {
		return nil, usageError{fmt.Errorf("%s can't be taken: %w", source, err)}
	}
	text = document.ValidUTF8(text)
	if !json.Valid(text) {
		var anything any
		return nil, usageError{fmt.Errorf("%s is not JSON: %w", source, json.Unmarshal(text, &anything))}
	}
	return text, nil
}

// readInitialTwin reads the twin that a new device gets; "null" or nothing is
// none.
func readInitialTwin(value string) (*provisioning.InitialTwin, error) {
	if value == "" {
		return nil, nil
	}
	text, err := readJSON("initial-twin", value)
	if err != nil {
		return nil, err
	}
	var twin *provisioning.InitialTwin
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&twin); err != nil {
		return nil, advise(usageError{fmt.Errorf("--initial-twin: %s", strings.TrimPrefix(err.Error(), "json: "))},
			`It is written {"tags":{…},"properties":{"desired":{…}}}, either part may be left out.`)
	}
	return twin, nil
}
