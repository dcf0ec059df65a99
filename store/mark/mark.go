// Package mark keeps, beside an engine's files and outside of them, how far the
// engine had come when it last confirmed something. After a crash the end of a
// file of an engine may be torn, which is nobody's loss as nothing of it was
// confirmed. The mark tells that apart from damage to what was confirmed.
//
// A mark never runs ahead: it is written after what it tells of is durable. It
// is not synced each time, as that would cost as much as the confirmation did:
// it survives the end of the process, however that comes, and a loss of power
// but for the last second. So it is a lower bound, and exact unless the power
// went.
package mark

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A file of three slots: one that is durable, one that is being synced, and one
// that is written meanwhile. So one of them is whole whenever the power goes. A
// slot begins with
//
//	 0  magic     4 bytes
//	 4  length    4   of the value
//	 8  turn      8   grows by one with each write
//	16  checksum  4   CRC-32C of the above and the value
//	20  value
//
// in little-endian.
const (
	magic  = 0x6b724d42 // "BMrk"
	header = 20
	slot   = 8 << 10
	slots  = 3

	// MaxValue is the longest value of a mark in bytes.
	MaxValue = slot - header

	syncInterval = time.Second
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged is returned by Open and Read for a file without a whole slot.
var ErrDamaged = errors.New("it is damaged")

// File is a mark that is open. Its methods may be called at once from many
// goroutines.
type File struct {
	mutex   sync.Mutex
	file    *os.File
	slot    []byte // to write from
	turn    uint64
	writing int  // the slot for what is put
	durable int  // the slot that was synced last
	dirty   bool // put and not synced
	closed  bool

	syncing sync.Mutex // held by the one that syncs; taken before mutex

	closing chan struct{}
	done    chan struct{}
}

// Read returns the value of the mark at path. Without a mark the error is
// fs.ErrNotExist.
func Read(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	value, _, _, err := latest(b)
	if err != nil {
		return nil, fmt.Errorf("read the mark %s: %w", path, err)
	}
	return value, nil
}

// latest finds what was put last, and in which slot it is.
func latest(b []byte) (value []byte, turn uint64, index int, err error) {
	err = ErrDamaged
	for i := range slots {
		s := b[min(i*slot, len(b)):min((i+1)*slot, len(b))]
		if len(s) < header {
			break
		}
		length := binary.LittleEndian.Uint32(s[4:])
		if binary.LittleEndian.Uint32(s) != magic || uint64(length) > uint64(len(s)-header) {
			continue
		}
		sum := crc32.Update(crc32.Checksum(s[:16], castagnoli), castagnoli, s[header:header+length])
		n := binary.LittleEndian.Uint64(s[8:])
		if sum == binary.LittleEndian.Uint32(s[16:]) && (err != nil || n > turn) {
			value, turn, index, err = s[header:header+length], n, i, nil
		}
	}
	return value, turn, index, err
}

// Create makes a mark at path with a value, in place of one that may be there,
// durably, and opens it. The folder is made if need be.
func Create(path string, value []byte) (*File, error) {
	if len(value) > MaxValue {
		return nil, fmt.Errorf("the mark %s would have %d bytes, and at most %d are allowed",
			path, len(value), MaxValue)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	f := newFile(file)
	// All slots have their place on disk from now on.
	_, err = file.Write(make([]byte, slots*slot))
	if err == nil {
		err = f.write(value)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil { // not every system renames an open file
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(temporary))
	}
	if err := SyncFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return Open(path)
}

// Open opens the mark at path to write it anew. Without a mark the error is
// fs.ErrNotExist.
func Open(path string) (*File, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	f := newFile(file)
	b, err := io.ReadAll(file)
	if err == nil {
		_, f.turn, f.durable, err = latest(b)
	}
	if err == nil {
		err = file.Sync() // a process that was killed may have left it to the system
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the mark %s: %w", path, err), file.Close())
	}
	f.writing = (f.durable + 1) % slots
	go f.keepSynced()
	return f, nil
}

func newFile(file *os.File) *File {
	return &File{file: file, slot: make([]byte, slot), closing: make(chan struct{}), done: make(chan struct{})}
}

// Put writes a value, which survives the end of the process from now on, and the
// loss of power from the next Sync on or after a second.
func (f *File) Put(value []byte) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	return f.write(value)
}

func (f *File) write(value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("a mark of %d bytes, and at most %d are allowed", len(value), MaxValue)
	}
	s := f.slot[:header+len(value)]
	turn := f.turn + 1
	binary.LittleEndian.PutUint32(s, magic)
	binary.LittleEndian.PutUint32(s[4:], uint32(len(value)))
	binary.LittleEndian.PutUint64(s[8:], turn)
	copy(s[header:], value)
	binary.LittleEndian.PutUint32(s[16:], crc32.Update(crc32.Checksum(s[:16], castagnoli), castagnoli, value))
	if _, err := f.file.WriteAt(s, int64(f.writing)*slot); err != nil {
		return err
	}
	f.turn, f.dirty = turn, true
	return nil
}

// Sync returns when what was put is durable.
func (f *File) Sync() error {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	f.mutex.Lock()
	if f.closed || !f.dirty {
		defer f.mutex.Unlock()
		if f.closed {
			return fs.ErrClosed
		}
		return nil
	}
	// What is put from now on goes into the slot that is neither of the two.
	syncing := f.writing
	f.writing = slots - f.writing - f.durable
	f.dirty = false
	f.mutex.Unlock()

	err := f.file.Sync()

	f.mutex.Lock()
	defer f.mutex.Unlock()
	if err != nil {
		f.dirty = true
		return err
	}
	f.durable = syncing
	return nil
}

// keepSynced syncs each second what was put meanwhile. What the disk can't take
// is tried again: until then the mark says less than it could.
func (f *File) keepSynced() {
	defer close(f.done)
	ticker := time.NewTicker(syncInterval)
	defer ticker.Stop()
	for {
		select {
		case <-f.closing:
			return
		case <-ticker.C:
			f.Sync()
		}
	}
}

// Close makes durable what was put, and closes the mark.
func (f *File) Close() error {
	err := f.Sync()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	close(f.closing)
	f.mutex.Unlock()
	<-f.done
	f.mutex.Lock()
	return errors.Join(err, f.file.Close())
}
