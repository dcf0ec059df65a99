package server

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/store"
)

// The conditions of a server. Those of the disk are cleared when there is room or
// the disk works again; nothing has to be restarted.
const (
	diskLow          = "disk-low"          // less is free than the reserve
	documentsWaiting = "documents-waiting" // a write of documents waits for the disk
	documentsDamaged = "documents-damaged" // some of them can't be read
	logFailing       = "log-failing-"      // and the name of the log: it takes no records
	logDamaged       = "log-damaged-"      // and the name of the log: records can't be read and are passed over
	clockJumped      = "clock-jumped"
	dataLost         = "data-lost" // an operator has let the server go on without
)

// disk watches the room on the disk of the data folder.
type disk struct {
	folder  string
	reserve int64 // bytes that are left to what must be written for the server to go on
	free    func(folder string) (int64, error)
	health  *health.Set
	logger  *slog.Logger

	low     atomic.Bool
	waiting atomic.Bool // documents for room
}

const (
	lookInterval = 500 * time.Millisecond
	retryAfter   = 10 * time.Second
)

// look compares what is free with the reserve. So that a disk at the edge does not
// come and go, there must be a little more than the reserve again.
func (d *disk) look() {
	free, err := d.free(d.folder)
	switch {
	case err != nil || d.reserve <= 0: // what can't be measured is not refused
	case free < d.reserve:
		d.low.Store(true)
		d.health.Raise(diskLow, health.Failure,
			"The disk of the data folder has %s free, less than the reserve of %s: "+
				"changes are refused until there is more", bytesText(free), bytesText(d.reserve))
	case d.low.Load() && free >= d.reserve+d.reserve/8:
		d.low.Store(false)
		d.health.Clear(diskLow)
	}
}

// full refuses a change while there is no room for it.
func (d *disk) full() error {
	if d.low.Load() || d.waiting.Load() {
		return diskFullError()
	}
	return nil
}

// room refuses a file of so many bytes that would take from the reserve.
func (d *disk) room(bytes int64) error {
	free, err := d.free(d.folder)
	if err == nil && d.reserve > 0 && free-bytes < d.reserve {
		return diskFullError()
	}
	return nil
}

func diskFullError() error {
	problem := fault.New(fault.Unavailable,
		"The server's disk is full. Nothing was changed: try again when there is room")
	problem.RetryAfter = retryAfter
	return problem.Because(store.ErrFull)
}

// documentsFailing is told by the documents that they wait for the disk.
func (d *disk) documentsFailing(err error) {
	d.waiting.Store(err != nil)
	if err == nil {
		d.health.Clear(documentsWaiting)
		return
	}
	d.health.Raise(documentsWaiting, health.Failure,
		"Documents can't be written and wait: %v. Changes are refused meanwhile", err)
}

// documentsDamaged is told by the documents that some of them can't be read.
func (d *disk) documentsDamaged(err error) {
	if !d.health.Raise(documentsDamaged, health.Failure, "Documents are damaged, and what needs them fails: %v. "+
		"Stop the server and restore the data folder from a backup", err) {
		d.logger.Error("documents are damaged", "error", err)
	}
}

// logFailing is told by the logs that one of them takes no records.
func (d *disk) logFailing(log string, err error) {
	if err == nil {
		d.health.Clear(logFailing + log)
		return
	}
	var problem *fault.Error
	if errors.As(err, &problem) {
		err = problem
	}
	d.health.Raise(logFailing+log, health.Failure, "The log %s takes no records, and tries again: %v", log, err)
}

// logDamaged is told by the logs of records that can't be read.
func (d *disk) logDamaged(log string, err error) {
	if !d.health.Raise(logDamaged+log, health.Warning,
		"The log %s is damaged, and records are passed over: %v", log, err) {
		d.logger.Error("more records of a log are passed over", "log", log, "error", err)
	}
}

// checkRoomToStart returns an error when there is too little room to start with.
func (d *disk) checkRoomToStart() error {
	free, err := d.free(d.folder)
	if err != nil || d.reserve <= 0 || free >= d.reserve {
		return nil
	}
	return &fullError{folder: d.folder, free: free, reserve: d.reserve}
}

// fullError is a start that has too little room.
type fullError struct {
	folder        string
	free, reserve int64
}

func (e *fullError) Error() string {
	return "the disk of the data folder " + e.folder + " has " + bytesText(e.free) + " free, and " +
		bytesText(e.reserve) + " are needed to start. Make room, or lower --disk-reserve"
}

func (e *fullError) Unwrap() error { return store.ErrFull }

// watch looks at disk and clock until the server ends.
func (s *Server) watch() {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.ending:
			return
		case <-ticker.C:
			s.disk.look()
			s.lookAtClock()
		}
	}
}

// end ends the watch.
func (s *Server) end() {
	s.once.Do(func() { close(s.ending) })
}
