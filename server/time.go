package server

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/berth-iot/berth/clock"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/store/mark"
)

// openClock begins to judge the clock, by the time that the run before had last.
func (s *Server) openClock() error {
	path := filepath.Join(marksFolder(s.config.DataDir), "clock")
	value, err := mark.Read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, mark.ErrDamaged) {
		return err
	}
	var last time.Time
	if len(value) == 8 {
		last = time.Unix(0, int64(binary.LittleEndian.Uint64(value)))
	}
	lost := last.IsZero() && mark.Noted(filepath.Join(s.config.DataDir, "documents"))
	s.clock = clock.New(clock.Config{Now: s.config.Now, Elapsed: s.config.elapsed, Last: last, Lost: lost,
		Jumped: s.clockJumped})
	switch {
	case lost:
		s.config.Logger.Warn("it is not known what time the last run had: nothing is deleted for its age in the "+
			"first hour", "mark", path)
	case !s.clock.Trusted():
		s.config.Logger.Warn("the clock is far from where it was in the last run: nothing is deleted for its age "+
			"in the first hour", "last", last.UTC(), "now", s.config.Now().UTC())
	}
	if s.lastTime, err = mark.Open(path); err == nil {
		return nil
	}
	var now []byte // none until the clock is trusted
	if !lost {
		now = timeValue(s.config.Now())
	}
	s.lastTime, err = mark.Create(path, now)
	return err
}

func timeValue(t time.Time) []byte {
	return binary.LittleEndian.AppendUint64(nil, uint64(t.UnixNano()))
}

func (s *Server) clockJumped(by time.Duration) {
	if !s.health.Raise(clockJumped, health.Warning, "The server's clock was set by %s. "+
		"Nothing is deleted for its age until the clock has run evenly for an hour", by.Round(time.Second)) {
		s.config.Logger.Warn("the server's clock was set again", "condition", clockJumped, "by", by.Round(time.Second))
	}
}

// lookAtClock judges the clock, and notes what it says while it is trusted.
func (s *Server) lookAtClock() {
	trusted := s.clock.Trusted()
	if !s.clock.Jumped() {
		s.health.Clear(clockJumped)
	}
	if trusted {
		s.lastTime.Put(timeValue(s.config.Now())) // without it the next start is only more careful
	}
}
