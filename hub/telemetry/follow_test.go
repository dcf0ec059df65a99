package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

func TestFollowReadsBack(t *testing.T) {
	f := newFixture(t)
	sender := f.sender("d")
	another := f.sender("other")
	f.send(sender, message.Message{
		System: []message.Property{{Name: []byte("message-id"), Value: []byte("m1")},
			{Name: []byte("content-type"), Value: []byte("application/json")}},
		Properties: []message.Property{{Name: []byte("level"), Value: []byte("high & rising")}},
		Payload:    []byte(`{"temperature":21.5}`),
	})
	f.clock.Advance(time.Second)
	f.send(another, message.Message{Payload: []byte("text")})
	f.clock.Advance(time.Second)
	f.send(sender, message.Message{Payload: []byte{0xff, 0x00}})
	f.reopen()

	read := func(from Position, deviceID string, n int) (messages []Message) {
		t.Helper()
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := f.Follow(limited, from, deviceID, func(m Message) error {
			if messages = append(messages, m); len(messages) == n {
				return ErrStop
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return messages
	}
	all := read(Position{Earliest: true}, "", 3)
	if all[0].SystemProperties["message-id"] != "m1" || all[0].Properties["level"] != "high & rising" ||
		string(all[0].Body.(json.RawMessage)) != `{"temperature":21.5}` ||
		all[0].SystemProperties["iothub-connection-device-id"] != "d" {
		t.Errorf("the first is %+v", all[0])
	}
	if all[1].DeviceID != "other" || all[1].Body != "text" || !bytes.Equal(all[2].BodyBase64, []byte{0xff, 0x00}) {
		t.Errorf("the others are %+v", all[1:])
	}
	if mine := read(Position{Earliest: true}, "d", 2); mine[1].SequenceNumber <= mine[0].SequenceNumber {
		t.Errorf("the device's are %+v", mine)
	}
	late := read(Position{Time: noon.Add(2 * time.Second)}, "", 1)
	if !bytes.Equal(late[0].BodyBase64, []byte{0xff, 0x00}) {
		t.Errorf("from then on there is %+v", late[0])
	}
}

func TestFollow(t *testing.T) {
	f := newFixture(t)
	sender := f.sender("d")
	f.send(sender, message.Message{Payload: []byte("before")})
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var got []string
	sent := 0
	err := f.Follow(limited, Position{Earliest: true}, "", func(m Message) error {
		got = append(got, m.Body.(string))
		if sent == 5 {
			return ErrStop
		}
		sent++ // each message that is read gives rise to the next
		f.send(sender, message.Message{Payload: []byte(fmt.Sprint(sent))})
		return nil
	})
	if err != nil || strings.Join(got, " ") != "before 1 2 3 4 5" {
		t.Errorf("followed %v, error %v", got, err)
	}
}

func TestSendTooLarge(t *testing.T) {
	f := newFixture(t)
	sender := f.sender("d")
	f.send(sender, message.Message{Payload: make([]byte, MaxMessage)})
	tooLarge := message.Message{Payload: make([]byte, MaxMessage), Properties: []message.Property{{Name: []byte("a")}}}
	err := sender.Send(&tooLarge, make(settled, 1), 1)
	if !errors.Is(err, fault.MessageTooLarge) {
		t.Errorf("answered %v", err)
	}
}

// waitedLog counts how often it is waited for.
type waitedLog struct {
	store.Log
	waits atomic.Int64
}

func (l *waitedLog) Wait(ctx context.Context, partition int, next int64) error {
	l.waits.Add(1)
	return l.Log.Wait(ctx, partition, next)
}

// TestFollowDamagedEnd follows telemetry whose last message can't be read: that is
// passed over, the reader waits for the next one as it does for any, and gets it.
func TestFollowDamagedEnd(t *testing.T) {
	f := newFixture(t)
	sender := f.sender("d")
	f.send(sender, message.Message{Payload: []byte("whole")})
	f.send(sender, message.Message{Payload: []byte("this one is damaged")})
	files, err := filepath.Glob(filepath.Join(f.dir, "telemetry", "*.segment"))
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

	log := &waitedLog{Log: f.config.Log}
	f.config.Log = log
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var got []any
	read := make(chan error)
	first := make(chan struct{})
	go func() {
		read <- f.Follow(limited, Position{Earliest: true}, "d", func(m Message) error {
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
	f.send(sender, message.Message{Payload: []byte("next")})
	if err := <-read; err != nil || got[0] != "whole" || got[1] != "next" {
		t.Errorf("read %v, error %v", got, err)
	}
}

// TestFollowFromTime begins to read at times that can't be told in nanoseconds:
// they are before all messages, or after them.
func TestFollowFromTime(t *testing.T) {
	f := newFixture(t)
	sender := f.sender("d")
	f.send(sender, message.Message{Payload: []byte("one")})
	partition := partitionOf("d", 4)
	for year, want := range map[int]int64{1: 0, 1000: 0, 1500: 0, 2263: 1, 2500: 1, 5000: 1, 9999: 1} {
		next, err := f.startOf(ctx, partition, Position{Time: time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil || next != want {
			t.Errorf("from the year %d on the next is message %d, error %v; want %d", year, next, err, want)
		}
	}
}

// TestAt has the times that a position may be asked for by: none is taken for another.
func TestAt(t *testing.T) {
	for text, want := range map[string]string{
		"0001-01-01T00:00:00Z":           "earliest",
		"0001-01-01T01:00:00+01:00":      "earliest",
		"0001-01-01T00:00:01Z":           "none",
		"1677-12-31T23:59:59Z":           "none",
		"1678-01-01T00:00:00Z":           "1678",
		"2262-04-11T23:47:16.854775807Z": "2262",
		"2262-04-11T23:47:16.854775808Z": "none",
		"9999-12-31T23:59:59-01:00":      "none",
	} {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		got := "none"
		if from, ok := At(at); ok && from.Earliest {
			got = "earliest"
		} else if ok {
			got = fmt.Sprint(time.Unix(0, store.UnixNano(from.Time)).UTC().Year())
		}
		if got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}
