package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/provisioning/exchange"
)

// ReadJSON reads the value of a flag that is JSON, or @FILE with the name of a
// file that holds it.
func ReadJSON(flag, value string) (json.RawMessage, error) {
	source := "--" + flag
	text := []byte(value)
	if file, ok := strings.CutPrefix(value, "@"); ok {
		var err error
		if text, err = ReadText(file); errors.As(err, new(*fs.PathError)) {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		} else if err != nil {
			return nil, UsageError(fmt.Errorf("--%s: %w", flag, err))
		}
		source += " " + file
	}
	if err := document.CheckDepth(text, document.MaxFreeDepth); err != nil {
		return nil, UsageError(fmt.Errorf("%s can't be taken: %w", source, err))
	}
	if err := exchange.CheckJSON(text); err != nil {
		return nil, UsageError(fmt.Errorf("%s can't be taken: %w", source, LocalError(err)))
	}
	return text, nil
}
