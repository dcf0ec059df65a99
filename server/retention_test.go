package server

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/c2d"
)

// TestLogConfig: a hub has the partitions that were asked for when it was made, and
// keeps them; what can't be is refused before anything is made.
func TestLogConfig(t *testing.T) {
	config := Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
		Telemetry: LogConfig{Partitions: 2, Retention: time.Hour, MaxSize: segmentSize}}
	h := &fixture{t: t, config: config}
	partitions := func() []int {
		t.Helper()
		var found []int
		for _, name := range []string{hubName, "second"} {
			if one := h.hubs.ByName(name); one != nil {
				log, err := h.logs.Open(telemetryLog(name), h.config.Telemetry.options())
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, log.Partitions())
			}
		}
		return found
	}
	h.start()
	if got := partitions(); len(got) != 1 || got[0] != 2 {
		t.Errorf("the hub has partitions %v, want 2", got)
	}
	h.stop()
	h.config.Telemetry.Partitions = 8
	h.start()
	if _, err := h.CreateHub(t.Context(), "second", "127.0.0.2"); err != nil {
		t.Fatal(err)
	}
	if got := partitions(); len(got) != 2 || got[0] != 2 || got[1] != 8 {
		t.Errorf("the hubs have partitions %v, want 2 and 8", got)
	}
	h.stop()

	for flag, spoil := range map[string]func(*Config){
		"--telemetry-partitions": func(c *Config) { c.Telemetry.Partitions = 129 },
		"--telemetry-retention":  func(c *Config) { c.Telemetry.Retention = -time.Second },
		"--telemetry-max-size":   func(c *Config) { c.Telemetry.MaxSize = segmentSize - 1 },
		"--attempts-max-size":    func(c *Config) { c.Attempts = LogConfig{Partitions: 1} },
		"--c2d-queue-depth":      func(c *Config) { c.Messages = c2d.Limits{TTL: time.Hour} },
		"--c2d-lock-duration":    func(c *Config) { c.Messages = c2d.DefaultLimits; c.Messages.Lock = time.Second },
		"ulimit":                 func(c *Config) { c.Telemetry.MaxSize = 1 << 50 },
	} {
		spoilt := h.config
		spoil(&spoilt)
		if s, err := Start(t.Context(), spoilt); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("a start with a wrong %s: error %v", flag, err)
			if s != nil {
				s.Shutdown(t.Context())
			}
		}
	}
}
