package pebble

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
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
