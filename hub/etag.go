package hub

import (
	"encoding/base64"

	"github.com/berth-iot/berth/store"
)

// The hub shows ETags as base64, without quotes in JSON, as Azure does.
func etagOf(stored string) string { return base64.StdEncoding.EncodeToString([]byte(stored)) }

// storeMatch is the store's condition for an ETag as etagOf shows it.
func storeMatch(etag string) store.Match {
	decoded, err := base64.StdEncoding.DecodeString(etag)
	if err != nil || len(decoded) == 0 {
		return store.Absent
	}
	return store.ETag(string(decoded))
}
