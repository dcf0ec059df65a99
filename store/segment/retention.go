package segment

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/mark"
)

// retentionInterval is how often a log looks for records that are too old.
const retentionInterval = time.Minute

// runRetention finishes segments that are no longer written and drops those that
// retention no longer asks for, so that the committer need not.
func (l *Log) runRetention() {
	defer close(l.retentionDone)
	ticker := time.NewTicker(retentionInterval)
	defer ticker.Stop()
	var leaving []*segment // dropped, but still on disk
	for {
		select {
		case <-l.closing:
			return
		case <-l.retentionWake:
		case <-ticker.C:
		}
		l.options.Panics.Do(panics.Background, func() (err error) { // or the next look at it finds the same
			leaving = append(leaving, l.expire()...)
			if leaving, err = l.remove(leaving); err != nil {
				l.options.Logger.Warn("can't remove old records, and will try again", "folder", l.folder, "error", err)
			}
			return nil
		})
		l.options.Panics.Do(panics.Background, func() error {
			if err := l.finishSegments(); err != nil {
				l.options.Logger.Warn("can't finish a segment, and will try again", "folder", l.folder, "error", err)
			}
			return nil
		})
	}
}

// wakeRetention has runRetention look now.
func (l *Log) wakeRetention() {
	select {
	case l.retentionWake <- struct{}{}:
	default: // it will look anyway
	}
}

// retain sets what is kept from now on.
func (l *Log) retain(retention store.Retention) {
	l.mu.Lock()
	l.retention = retention
	l.mu.Unlock()
	l.wakeRetention()
}

// expire takes the segments that may go off the front of the log.
func (l *Log) expire() (expired []*segment) {
	now := l.options.Now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	age, bytes := l.retention.Age, l.retention.Bytes
	if l.options.Trusted != nil && !l.options.Trusted() {
		age = 0
	}
	total := int64(0)
	for _, s := range l.segments {
		total += s.end - segmentHeader
	}
	for len(l.segments) > 1 {
		oldest := l.segments[0]
		tooOld := age > 0 && l.written(0, now) < now-age
		tooMany := bytes > 0 && total-(oldest.end-segmentHeader) >= bytes
		if !tooOld && !tooMany {
			break
		}
		total -= oldest.end - segmentHeader
		expired = append(expired, oldest)
		l.segments = l.segments[1:]
	}
	// A log that grows slowly would keep all in one segment.
	if s := l.active(); age > 0 && s.first != 0 && s.first < now-age/4 {
		l.queue.askRoll()
	}
	return expired
}

// written returns when the last records of the segment at this index were written,
// at the latest. A time later than now is that of a clock that was wrong: what was
// written afterwards tells.
func (l *Log) written(index int, now int64) int64 {
	for i, s := range l.segments[index : len(l.segments)-1] {
		next := l.segments[index+i+1]
		latest := int64(math.MinInt64)
		for _, at := range append([]int64{next.start.time, next.first}, s.newest...) {
			if at <= now {
				latest = max(latest, at)
			}
		}
		if latest > math.MinInt64 && latest != 0 {
			return latest
		}
	}
	return now
}

// remove removes dropped segments, in order so that an interruption leaves no
// gap, and returns those that are still there.
func (l *Log) remove(leaving []*segment) ([]*segment, error) {
	for len(leaving) > 0 {
		s := leaving[0]
		if err := s.close(); err != nil {
			return leaving, err
		}
		for _, path := range []string{s.indexPath(), s.path} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return leaving, err
			}
		}
		if err := mark.SyncFolder(l.folder); err != nil {
			return leaving, err
		}
		leaving = leaving[1:]
	}
	return nil, nil
}

// finishSegments finishes all segments but the one that is being written.
func (l *Log) finishSegments() error {
	for {
		s, end := l.unfinished()
		if s == nil {
			return nil
		}
		if err := s.finish(end, l.secret); err != nil {
			return err
		}
	}
}

// unfinished returns a segment to finish, and the tip of the log at its end.
func (l *Log) unfinished() (*segment, tip) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i, s := range l.segments[:len(l.segments)-1] {
		if s.indexed < s.end {
			end := l.segments[i+1].start
			if s.stop != nil { // the next one begins further on
				end = end.clone()
				end.edges = s.stop
			}
			return s, end
		}
	}
	return nil, tip{}
}
