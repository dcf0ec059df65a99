package hub

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// waitedLog counts how often it is waited for.
type waitedLog struct {
	store.Log
	waits atomic.Int64
}

func (l *waitedLog) Wait(ctx context.Context, partition int, next int64) error {
	l.waits.Add(1)
	return l.Log.Wait(ctx, partition, next)
}

// TestTheLastMessageIsDamaged follows telemetry whose last message can't be read: that is
// passed over, the reader waits for the next one as it does for any, and gets it.
func TestTheLastMessageIsDamaged(t *testing.T) {
	h := newHouse(t)
	session, _ := h.connect(h.create(Device{DeviceID: "d"}), false)
	h.send(session, message.Message{Payload: []byte("whole")})
	h.send(session, message.Message{Payload: []byte("this one is damaged")})
	files, err := filepath.Glob(filepath.Join(h.dir, "logs", "telemetry", "*.segment"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	place := bytes.Index(content, []byte("damaged"))
	file, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("D"), int64(place)); err != nil {
		t.Fatal(err)
	}

	log := &waitedLog{Log: h.Hub.config.Telemetry}
	h.Hub.config.Telemetry = log
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var got []any
	read := make(chan error)
	first := make(chan struct{})
	go func() {
		read <- h.Telemetry(limited, Position{Earliest: true}, "d", func(m TelemetryMessage) error {
			if got = append(got, m.Body); len(got) == 2 {
				return ErrStop
			}
			close(first)
			return nil
		})
	}()
	<-first
	time.Sleep(200 * time.Millisecond)
	if n := log.waits.Load(); n > 10 {
		t.Errorf("while nothing came the log was asked %d times", n)
	}
	h.send(session, message.Message{Payload: []byte("next")})
	if err := <-read; err != nil || got[0] != "whole" || got[1] != "next" {
		t.Errorf("read %v, error %v", got, err)
	}
}

// TestTelemetryFromFarAway begins to read at times that can't be told in nanoseconds:
// they are before all messages, or after them.
func TestTelemetryFromFarAway(t *testing.T) {
	h := newHouse(t)
	session, _ := h.connect(h.create(Device{DeviceID: "d"}), false)
	h.send(session, message.Message{Payload: []byte("one")})
	partition := partitionOf("d", 4)
	for year, want := range map[int]int64{1: 0, 1000: 0, 1500: 0, 2263: 1, 2500: 1, 5000: 1, 9999: 1} {
		next, err := h.startOf(ctx, partition, Position{Time: time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil || next != want {
			t.Errorf("from the year %d on the next is message %d, error %v; want %d", year, next, err, want)
		}
	}
}
