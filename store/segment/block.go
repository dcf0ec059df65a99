package segment

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/berth-iot/berth/store"
)

// A block is a run of records of one partition that were committed together:
//
//	 0  magic            4 bytes
//	 4  partition        2
//	 6  last             2   1 in the last block of a batch, else 0
//	 8  records          4
//	12  length           4   of the body
//	16  sequence         8   of the first record
//	24  time             8   of the commit, nanoseconds since 1970, UTC
//	32  batch            8   grows by one with each batch written to the log
//	40  body checksum    4
//	44  header checksum  4   of all the above
//	48  body: for each record its length (4) and its bytes
//
// Numbers are little-endian. Checksums are CRC-32C, begun with the secret of
// the log so that no record can be made to look like a block.
const (
	blockMagic  = 0x6b6c4242 // "BBlk"
	blockHeader = 48

	// blockBody is where a block ends and the next begins, so that a reader who
	// wants few records need not check many. A longer record has its own block.
	blockBody = 64 << 10

	// maxRecord bounds what a reader must hold in memory.
	maxRecord = 16 << 20

	lengthSize = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	partition int
	last      bool // in its batch
	records   int
	length    int // of the body, in bytes
	sequence  int64
	time      int64
	batch     uint64
	checksum  uint32 // of the body
}

// seal writes the header for the body that follows it in block.
func (h header) seal(block []byte, secret uint32) {
	body := block[blockHeader:]
	binary.LittleEndian.PutUint32(block[0:], blockMagic)
	binary.LittleEndian.PutUint16(block[4:], uint16(h.partition))
	binary.LittleEndian.PutUint16(block[6:], 0)
	if h.last {
		block[6] = 1
	}
	binary.LittleEndian.PutUint32(block[8:], uint32(h.records))
	binary.LittleEndian.PutUint32(block[12:], uint32(len(body)))
	binary.LittleEndian.PutUint64(block[16:], uint64(h.sequence))
	binary.LittleEndian.PutUint64(block[24:], uint64(h.time))
	binary.LittleEndian.PutUint64(block[32:], h.batch)
	binary.LittleEndian.PutUint32(block[40:], crc32.Update(secret, castagnoli, body))
	binary.LittleEndian.PutUint32(block[44:], crc32.Update(secret, castagnoli, block[:44]))
}

// parseHeader reads the header at the front of block and reports whether it is
// one. The body may be damaged all the same.
func parseHeader(block []byte, secret uint32) (h header, ok bool) {
	if len(block) < blockHeader || binary.LittleEndian.Uint32(block) != blockMagic ||
		binary.LittleEndian.Uint32(block[44:]) != crc32.Update(secret, castagnoli, block[:44]) {
		return header{}, false
	}
	h = header{
		partition: int(binary.LittleEndian.Uint16(block[4:])),
		last:      binary.LittleEndian.Uint16(block[6:]) == 1,
		records:   int(binary.LittleEndian.Uint32(block[8:])),
		length:    int(binary.LittleEndian.Uint32(block[12:])),
		sequence:  int64(binary.LittleEndian.Uint64(block[16:])),
		time:      int64(binary.LittleEndian.Uint64(block[24:])),
		batch:     binary.LittleEndian.Uint64(block[32:]),
		checksum:  binary.LittleEndian.Uint32(block[40:]),
	}
	// A body is one long record, or ends at the record that passes blockBody.
	ok = h.partition < maxPartitions && h.records >= 1 && h.sequence >= 0 &&
		h.length >= h.records*lengthSize && h.length <= max(blockBody, lengthSize+maxRecord)
	return h, ok
}

// intact reports whether body is what was written after the header.
func (h header) intact(body []byte, secret uint32) bool {
	if crc32.Update(secret, castagnoli, body) != h.checksum {
		return false
	}
	n := 0
	for rest := body; len(rest) > 0; n++ {
		if _, rest = nextRecord(rest); rest == nil {
			return false
		}
	}
	return n == h.records
}

// nextRecord parts the first record from the rest of a body. The rest is nil,
// and not just empty, when there is no whole record.
func nextRecord(body []byte) (record, rest []byte) {
	if len(body) < lengthSize {
		return nil, nil
	}
	n := uint64(binary.LittleEndian.Uint32(body))
	if n > uint64(len(body)-lengthSize) {
		return nil, nil
	}
	return body[lengthSize : lengthSize+n], body[lengthSize+n:]
}

// position is the place of the record with this index in a block that lies at
// offset in the log. A record is longer than a byte, so offsets only grow.
func (h header) position(offset int64, index int) store.Position {
	return store.Position{Sequence: h.sequence + int64(index), Offset: offset + int64(index), Time: h.time}
}

// size is the number of bytes of the whole block.
func (h header) size() int64 { return blockHeader + int64(h.length) }
