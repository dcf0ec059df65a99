package hub

import (
	"encoding/base64"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// The hub shows ETags as base64, without quotes in JSON, as Azure does.
func etagOf(stored string) string { return base64.StdEncoding.EncodeToString([]byte(stored)) }

// precondition holds an If-Match ("", "*" or an ETag, quoted or not) against
// the present ETag of a thing.
func precondition(thing, ifMatch, etag string) error {
	given := strings.Trim(ifMatch, `"`)
	if ifMatch == "" || given == "*" || given == etag {
		return nil
	}
	return fault.New(fault.PreconditionFailed, "The %s was changed since: its ETag is %s, not %.64s. Read it again and repeat the change", fault.Word(thing), etag, given)
}

// storeMatch is the store's condition for an ETag as etagOf shows it.
func storeMatch(etag string) store.Match {
	decoded, err := base64.StdEncoding.DecodeString(etag)
	if err != nil || len(decoded) == 0 {
		return store.Absent
	}
	return store.ETag(string(decoded))
}
