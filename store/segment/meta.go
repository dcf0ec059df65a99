package segment

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-iot/berth/store"
)

// meta is what a log is made with and keeps: a file of a magic word, version,
// partitions, secret and checksum.
type meta struct {
	partitions int
	secret     uint32 // begins the checksums of the log
}

const (
	metaName    = "log"
	metaMagic   = "BerthLog"
	metaVersion = 1
)

func (m meta) encode() []byte {
	b := []byte(metaMagic)
	b = binary.LittleEndian.AppendUint32(b, metaVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.partitions))
	b = binary.LittleEndian.AppendUint32(b, m.secret)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeMeta(b []byte) (meta, error) {
	if len(b) < 12 || string(b[:8]) != metaMagic {
		return meta{}, errors.New("it does not describe a log")
	}
	if version := binary.LittleEndian.Uint32(b[8:]); version != metaVersion {
		return meta{}, fmt.Errorf("its format is version %d, and this program knows version %d", version, metaVersion)
	}
	if len(b) != 24 || binary.LittleEndian.Uint32(b[20:]) != crc32.Checksum(b[:20], castagnoli) {
		return meta{}, errors.New("its checksum is wrong")
	}
	m := meta{
		partitions: int(binary.LittleEndian.Uint32(b[12:])),
		secret:     binary.LittleEndian.Uint32(b[16:]),
	}
	if m.partitions < 1 || m.partitions > maxPartitions {
		return meta{}, fmt.Errorf("it has %d partitions", m.partitions)
	}
	return m, nil
}

// loadMeta reads what the log in the folder was made with, or makes it.
func loadMeta(folder string, partitions int) (meta, error) {
	path := filepath.Join(folder, metaName)
	b, err := os.ReadFile(path)
	if err == nil {
		m, err := decodeMeta(b)
		if err != nil {
			return meta{}, damaged(path, 0, "%w", err)
		}
		return m, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return meta{}, err
	}
	if err := store.CheckPartitions(partitions); err != nil {
		return meta{}, err
	}
	var secret [4]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return meta{}, err
	}
	m := meta{partitions: partitions, secret: binary.LittleEndian.Uint32(secret[:])}
	return m, replaceFile(path, m.encode(), true)
}
