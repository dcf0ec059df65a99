package identity

import (
	"encoding/base64"

	"github.com/berth-iot/berth/store"
)

// ETag returns an ETag of the store as the hub shows it: base64, without quotes in JSON,
// as Azure does.
func ETag(stored string) string { return base64.StdEncoding.EncodeToString([]byte(stored)) }

// match returns the store's condition for an ETag as it is shown.
func match(etag string) store.Match {
	decoded, err := base64.StdEncoding.DecodeString(etag)
	if err != nil || len(decoded) == 0 {
		return store.Absent
	}
	return store.IfMatch(string(decoded))
}
