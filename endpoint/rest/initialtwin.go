package rest

import (
	"encoding/json"
	"strings"

	"github.com/berth-iot/berth/fault"
)

// checkInitialTwin refuses an initial twin with properties where none of it are looked
// for: they would be lost, as what is not known in a request is left aside.
func checkInitialTwin(text json.RawMessage) error {
	var twin map[string]json.RawMessage
	if json.Unmarshal(text, &twin) != nil {
		return nil // who reads it says what it is
	}
	for name, part := range twin {
		switch strings.ToLower(name) {
		case "desired", "reported":
			if hasMembers(part) {
				return fault.New(fault.ArgumentInvalid,
					"initialTwin has %s beside tags, and must be {\"tags\":{…},\"properties\":{\"desired\":{…}}}",
					strings.ToLower(name))
			}
		case "properties":
			var properties map[string]json.RawMessage
			if json.Unmarshal(part, &properties) != nil {
				continue
			}
			for name, part := range properties {
				if strings.EqualFold(name, "reported") && hasMembers(part) {
					return fault.New(fault.ArgumentInvalid,
						"initialTwin.properties.reported is for the device to write. Leave it out")
				}
			}
		}
	}
	return nil
}
