package document

import (
	"encoding/json"
	"strings"
)

// Misspelled looks for a member of a JSON object whose name is one of these but for its
// case: names in JSON are exact, and package json takes others for the same. It returns
// the first that it finds, in the order of names, and what was meant; "" for none, and
// for what is no object.
func Misspelled(text []byte, names ...string) (found, meant string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return "", ""
	}
	for _, name := range names {
		for member := range members {
			if member != name && strings.EqualFold(member, name) {
				return member, name
			}
		}
	}
	return "", ""
}
