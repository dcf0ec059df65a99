package provisioningcmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// readInitialTwin reads the twin that a new device gets; "null" or nothing is
// none.
func readInitialTwin(value string) (*linkedhub.InitialTwin, error) {
	if value == "" {
		return nil, nil
	}
	text, err := cli.ReadJSON("initial-twin", value)
	if err != nil {
		return nil, err
	}
	var twin *linkedhub.InitialTwin
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&twin); err != nil {
		const form = `It is written {"tags":{…},"properties":{"desired":{…}}}, either part may be left out.`
		if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
			return nil, cli.Advise(cli.UsageError(fmt.Errorf("--initial-twin has %s, which is no part of a twin",
				name)), form)
		}
		return nil, cli.Advise(cli.UsageError(fmt.Errorf("--initial-twin is no twin: %w", err)), form)
	}
	return twin, nil
}
