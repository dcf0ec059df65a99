package twin

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
)

// maxModelID is the size of the longest model id in bytes: those of DTDL have 128
// characters, and more with a version.
const maxModelID = 256

// CheckModelID returns fault 400004 for what can't be the model id of IoT Plug and Play.
func CheckModelID(id string) error {
	if len(id) > maxModelID {
		return fault.New(fault.ArgumentInvalid, "The model id has %d bytes, the limit is %d", len(id), maxModelID)
	}
	if !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fault.New(fault.ArgumentInvalid,
			"The model id %.64q has a character that does not print: it must be like dtmi:com:example:Thermostat;1",
			id)
	}
	return nil
}
