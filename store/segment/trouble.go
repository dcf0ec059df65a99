package segment

import (
	"path/filepath"
	"time"

	"github.com/berth-iot/berth/panics"
)

// While the disk does not take a batch, batches are tried again for retryTimeout;
// later ones, until the disk works again, once each and no more often than
// retryInterval. So a moment without file descriptors or space costs a moment,
// and a full disk neither keeps those who append waiting nor keeps the disk busy.
const (
	retryTimeout  = 2 * time.Second
	firstPause    = 5 * time.Millisecond
	retryInterval = 250 * time.Millisecond
)

// trouble is what keeps a log from taking records.
type trouble struct {
	err   error
	since time.Time // of the first failure
	tried time.Time // of the last one
	final bool      // it is a mistake in the program, which trying again does not mend
}

// persist makes a batch durable, or says why that can't be done now. What it
// could not write is not in the log, though it may be found there after a crash.
func (l *Log) persist(buffer []byte, b *batch, roll bool) ([]byte, error) {
	if l.trouble.final {
		return buffer, l.trouble.err
	}
	lasting := l.trouble.err != nil && time.Since(l.trouble.since)+retryInterval > l.options.retryTimeout
	if lasting && time.Since(l.trouble.tried) < retryInterval && !roll {
		return buffer, l.trouble.err
	}
	for pause := firstPause; ; pause = min(2*pause, retryInterval) {
		var err error
		if panicked := l.options.Panics.Do(panics.Background, func() error {
			buffer, err = l.write(buffer[:0], b, roll)
			return nil
		}); panicked != nil {
			l.abandoned, err, l.trouble.final = true, panicked, true // what it has left half done is not known
		}
		if err == nil {
			l.noteRecovery()
			return buffer, nil
		}
		l.noteFailure(err)
		if l.trouble.final || b.bytes == 0 ||
			time.Since(l.trouble.since)+pause > l.options.retryTimeout || l.queue.ending(pause) {
			return buffer, err
		}
	}
}

// noteFailure notes that the disk did not take a batch, and sees to it that the disk
// is tried again even when nobody appends.
func (l *Log) noteFailure(err error) {
	now := time.Now()
	if l.trouble.err == nil {
		l.trouble.since = now
		l.report(err)
	}
	l.trouble.err, l.trouble.tried = err, now
	if !l.trouble.final {
		time.AfterFunc(2*retryInterval, l.queue.askRoll) // a closed queue does not mind
	}
}

// noteRecovery notes that the disk took a batch.
func (l *Log) noteRecovery() {
	if l.trouble.err != nil {
		l.trouble = trouble{}
		l.report(nil)
	}
}

// report tells those who run the server that the log takes no records, or takes
// them again.
func (l *Log) report(err error) {
	name := filepath.Base(l.folder)
	if l.options.Failing != nil {
		l.options.Failing(name, err)
		return
	}
	if err != nil {
		l.options.Logger.Error("a log takes no records, and tries again", "log", name, "error", err)
	} else {
		l.options.Logger.Warn("a log takes records again", "log", name)
	}
}
