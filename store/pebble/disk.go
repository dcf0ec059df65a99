package pebble

import (
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is the file system as the database sees it. Pebble ends the process when
// it can't write its log or its manifest, and tries a flush that failed again
// without a pause. So a write that finds no room waits here until there is some,
// while reads go on; Options.Full keeps further commits away meanwhile. A failed
// sync is passed on: what it left behind is not known.
//
// disk also notes how much of the journals is durable; see journal.go.
type disk struct {
	vfs.FS
	options  Options
	journals journals

	ending chan struct{} // closed when the database closes: nothing waits any more

	mutex   sync.Mutex
	waiting int // writes that wait
	ended   bool
}

const (
	firstPause = 10 * time.Millisecond
	lastPause  = 500 * time.Millisecond

	damagePause = 100 * time.Millisecond // after a table was found damaged
)

func newDisk(fs vfs.FS, options Options) *disk {
	return &disk{FS: fs, options: options, ending: make(chan struct{})}
}

// end lets nothing wait any more.
func (d *disk) end() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if !d.ended {
		d.ended = true
		close(d.ending)
	}
}

// scarce reports whether an error says that there is too little of something that
// may come back: room, or file descriptors.
func scarce(err error) bool {
	for _, scarcity := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, scarcity) {
			return true
		}
	}
	return false
}

// persist does something again and again while what it needs is scarce.
func (d *disk) persist(do func() error) error {
	err := do()
	if err == nil || !scarce(err) {
		return err
	}
	d.count(1, err)
	defer d.count(-1, nil)
	for pause := firstPause; scarce(err); pause = min(2*pause, lastPause) {
		select {
		case <-d.ending:
			return err
		case <-time.After(pause):
			err = do()
		}
	}
	return err
}

// count keeps the number of writes that wait, and says when the first one begins
// to and when none does any more.
func (d *disk) count(more int, err error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	was := d.waiting
	d.waiting += more
	if d.options.Failing != nil && (was == 0 || d.waiting == 0) {
		d.options.Failing(err)
	}
}

// Create implements vfs.FS.
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	journal := isJournal(name)
	if journal {
		if err := d.journals.forget(name); err != nil {
			return nil, err
		}
	}
	err = d.persist(func() (err error) {
		f, err = d.FS.Create(name, category)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.file(name, f, journal), nil
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	for _, name := range []string{oldname, newname} {
		if isJournal(name) {
			if err := d.journals.forget(name); err != nil {
				return nil, err
			}
		}
	}
	first := true
	err = d.persist(func() (err error) {
		if !first {
			// It has its new name already: renaming is what came first.
			f, err = d.FS.OpenReadWrite(newname, category)
			return err
		}
		f, err = d.FS.ReuseForWrite(oldname, newname, category)
		if _, stat := d.FS.Stat(oldname); err != nil && errors.Is(stat, os.ErrNotExist) {
			first = false
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.file(newname, f, isJournal(newname)), nil
}

// Remove implements vfs.FS.
func (d *disk) Remove(name string) error {
	if isJournal(name) {
		if err := d.journals.forget(name); err != nil {
			return err
		}
	}
	return d.FS.Remove(name)
}

// Rename implements vfs.FS.
func (d *disk) Rename(oldname, newname string) error {
	return d.persist(func() error { return d.FS.Rename(oldname, newname) })
}

// Open implements vfs.FS. Pebble tries at once again what it could not do for
// want of a descriptor.
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	if scarce(err) {
		d.pause(firstPause)
	}
	return f, err
}

// pause waits, unless the database closes.
func (d *disk) pause(length time.Duration) {
	select {
	case <-d.ending:
	case <-time.After(length):
	}
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

func (d *disk) file(name string, f vfs.File, journal bool) vfs.File {
	patient := &patientFile{File: f, disk: d}
	if !journal {
		return patient
	}
	return &journalFile{File: patient, journals: &d.journals, name: base(name)}
}

// base is the name of a file without its folders.
func base(name string) string { return name[strings.LastIndexAny(name, `/\`)+1:] }

// patientFile waits for room.
type patientFile struct {
	vfs.File
	disk *disk
}

// Write implements vfs.File.
func (f *patientFile) Write(p []byte) (n int, err error) {
	err = f.disk.persist(func() error {
		more, err := f.File.Write(p[n:])
		n += more
		return err
	})
	return n, err
}

// WriteAt implements vfs.File.
func (f *patientFile) WriteAt(p []byte, offset int64) (n int, err error) {
	err = f.disk.persist(func() error {
		more, err := f.File.WriteAt(p[n:], offset+int64(n))
		n += more
		return err
	})
	return n, err
}
