package document

import (
	"encoding/json"
	"strings"
)

// HasMembers reports whether a JSON object has members besides those of these names. Null
// has none, and what is no object counts as one that has.
func HasMembers(text []byte, besides ...string) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return len(text) > 0
	}
	for _, name := range besides {
		delete(members, name)
	}
	return len(members) > 0
}

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
