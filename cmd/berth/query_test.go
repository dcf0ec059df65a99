package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/twin"
)

// TestQuery asks for devices by command line: as tables, as JSON, in part, and with a query
// that can't be read.
func TestQuery(t *testing.T) {
	s := newShell(t)
	for i := range 3 {
		id := fmt.Sprintf("lamp-%d", i)
		s.run(0, "device", "create", id)
		s.run(0, "device", "twin", id, "--tags", fmt.Sprintf(`{"site":"s%d","n":%d.50}`, i%2, i))
	}
	table, _ := s.run(0, "query", "SELECT * FROM devices WHERE tags.site = 's0'")
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "DEVICE ID   STATUS ") || !strings.HasPrefix(lines[2], "lamp-2 ") ||
		!strings.HasSuffix(lines[2], `{"site":"s0","n":2.50}`) {
		t.Errorf("the twins are\n%s", table)
	}
	table, _ = s.run(0, "query", "SELECT deviceId AS id, tags.n, tags.none FROM devices WHERE tags.n > 1")
	if want := "id       n      none\nlamp-1   1.50   -\nlamp-2   2.50   -\n"; table != want {
		t.Errorf("the members are\n%swant\n%s", table, want)
	}
	if rows := read[[]json.RawMessage](s, "query", "SELECT deviceId FROM devices"); len(rows) != 3 {
		t.Errorf("the JSON has the rows %s", rows)
	}
	stdout, stderr := s.run(0, "query", "SELECT deviceId FROM devices", "--max", "2", "-o", "json")
	var rows []document.Object
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil || len(rows) != 2 ||
		!strings.Contains(stderr, "more than these 2") {
		t.Errorf("with --max 2: %s%s", stdout, stderr)
	}
	s.run(0, "index", "create", "tags.site")
	if indexes := read[[]twin.Index](s, "index", "list"); len(indexes) != 1 || indexes[0].Path != "tags.site" {
		t.Errorf("the indexes are %+v", indexes)
	}
	if rows := read[[]json.RawMessage](s, "query", "SELECT * FROM devices WHERE tags.site = 's0'"); len(rows) != 2 {
		t.Errorf("with an index there are the twins %s", rows)
	}
	s.run(0, "index", "delete", "tags.site")
	if stdout, _ := s.run(0, "index", "list"); stdout != "There are no indexes of twins.\n" {
		t.Errorf("no indexes are shown as %s", stdout)
	}
	if stdout, _ := s.run(0, "query", "SELECT * FROM devices WHERE tags.site = 'none'"); stdout != "Nothing was found.\n" {
		t.Errorf("nothing is shown as %s", stdout)
	}
	if _, stderr := s.run(1, "query", "SELECT * FROM devices WHERE tags.a LIKE 'x'"); !strings.Contains(stderr,
		"line 1, column 36") {
		t.Errorf("a query that can't be read: %s", stderr)
	}
	if _, stderr := s.run(2, "query"); !strings.Contains(stderr, "QUERY") {
		t.Errorf("no query: %s", stderr)
	}
}
