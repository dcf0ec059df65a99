package pebble

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/berth-iot/berth/store"
)

// The limits that store.Change names.
const (
	maxCollection = 64
	maxKey        = 1024
	maxValue      = 1 << 20
)

// A document lies under its collection, a zero byte and its key. Neither holds
// a zero byte, so no two documents share a place and a collection is one range.
func appendKey(dst []byte, collection, key string) []byte {
	dst = append(dst, collection...)
	dst = append(dst, 0)
	return append(dst, key...)
}

// revisionSize is the length of the prefix of every stored value: the epoch (4
// bytes) and the count of the change in it (8 bytes), big-endian. The ETag is
// the revision in hexadecimal digits.
const revisionSize = 4 + 8

func (d *Documents) appendRevision(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, d.epoch)
	return binary.BigEndian.AppendUint64(dst, d.count.Add(1))
}

// split parts a stored value into its ETag and the bytes of the document.
func split(stored []byte) (etag string, value []byte, err error) {
	if len(stored) < revisionSize {
		return "", nil, fmt.Errorf("a stored document has no revision: %x", stored)
	}
	return hex.EncodeToString(stored[:revisionSize]), stored[revisionSize:], nil
}

// named reports whether there can be a document with this name.
func named(collection, key string) bool {
	return validName(collection, maxCollection) && validName(key, maxKey)
}

func validName(name string, limit int) bool {
	return len(name) >= 1 && len(name) <= limit && strings.IndexByte(name, 0) < 0
}

// validate says what in a change is beyond the limits of the contract.
func validate(change store.Change) error {
	switch {
	case change.Err != nil:
		return change.Err
	case !validName(change.Collection, maxCollection):
		return fmt.Errorf("collection %.80q must be 1 to %d bytes, none of them zero", change.Collection, maxCollection)
	case !validName(change.Key, maxKey):
		return fmt.Errorf("a key of %d bytes in %s, %.80q, must be 1 to %d bytes, none of them zero",
			len(change.Key), change.Collection, change.Key, maxKey)
	case change.Delete && change.Check:
		return fmt.Errorf("the change of %s %.80q is both a delete and a check", change.Collection, change.Key)
	case len(change.Value) > maxValue:
		return fmt.Errorf("the value of %s %.80q has %d bytes, and at most %d are allowed",
			change.Collection, change.Key, len(change.Value), maxValue)
	}
	return nil
}
