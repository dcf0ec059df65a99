package panics

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func breakDown() error { panic("broken") }

func TestDo(t *testing.T) {
	var logged bytes.Buffer
	r := NewRecorder(slog.New(slog.NewTextHandler(&logged, nil)))
	wanted := errors.New("wanted")
	if err := r.Do(MQTT, func() error { return wanted }); err != wanted || logged.Len() > 0 {
		t.Errorf("an error comes back as %v, and is logged: %s", err, logged.String())
	}
	for range 2 {
		if err := r.Do(HTTPS, breakDown); !errors.Is(err, ErrPanic) {
			t.Errorf("a panic comes back as %v", err)
		}
	}
	for _, want := range []string{"level=ERROR", "door=https", "panic=broken", "panics.breakDown"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log does not say %s: %s", want, logged.String())
		}
	}
	for _, door := range Doors {
		want := uint64(0)
		if door == HTTPS {
			want = 2
		}
		if got := r.Count(door); got != want {
			t.Errorf("%d panics are counted at %s, want %d", got, door, want)
		}
	}
}

// Without a recorder a panic is contained all the same.
func TestNoRecorder(t *testing.T) {
	former := slog.Default()
	defer slog.SetDefault(former)
	var logged bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	var none *Recorder
	if err := none.Do(Background, breakDown); !errors.Is(err, ErrPanic) ||
		!strings.Contains(logged.String(), "breakDown") {
		t.Errorf("a panic comes back as %v, and is logged: %s", err, logged.String())
	}
}
