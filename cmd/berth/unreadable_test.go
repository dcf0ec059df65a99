package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
)

// TestUnreadable damages records in the folder of a stopped server. The commands show
// them, go on past them, and delete them.
func TestUnreadable(t *testing.T) {
	data := t.TempDir()
	running := berthtest.Start(t, berthtest.DataDir(data))
	s := shell{t, data}
	s.run(0, "enrollment", "create", "whole", "--symmetric")
	s.run(0, "group", "create", "meters", "--symmetric")
	s.run(0, "device", "create", "whole")
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	documents, err := pebble.Open(filepath.Join(data, "documents"),
		pebble.Options{Logger: slog.New(slog.DiscardHandler),
			Mark: filepath.Join(data, "marks", "documents")})
	if err != nil {
		t.Fatal(err)
	}
	lists := []struct {
		collection string
		list       []string
		remove     []string
	}{
		{enroll.EnrollmentRecords, []string{"enrollment", "list"}, []string{"enrollment", "delete", "damaged"}},
		{enroll.GroupRecords, []string{"group", "list"}, []string{"group", "delete", "damaged"}},
		{provisioning.RegistrationRecords, []string{"registration", "list"},
			[]string{"registration", "delete", "damaged"}},
		{"hub/berth/devices", []string{"device", "list"}, []string{"device", "delete", "damaged"}},
		{provisioning.AuthorityRecords, []string{"authority", "list"}, []string{"authority", "delete", "damaged"}},
		{"provisioning/networks", []string{"network", "list"}, nil},
		{"provisioning/misbehaviours", []string{"inject", "list"}, nil},
		{"provisioning/policies", []string{"policy", "list"}, nil},
		{"issuance/policies", []string{"credential", "policy", "list"}, nil},
		{"issuance/certificates", []string{"credential", "list"}, nil},
		{"provisioning/lockouts", []string{"lockout", "list"}, nil},
		{"provisioning/links", []string{"hub", "list"}, nil},
		{"audit/entries", []string{"audit"}, nil},
	}
	for _, l := range lists {
		if _, err := documents.Commit(t.Context(),
			store.Change{Collection: l.collection, Key: "damaged", Value: []byte("{damaged")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := documents.Close(); err != nil {
		t.Fatal(err)
	}
	running.Restart(t)

	all := read[[]backend.Unreadable](s, "data", "unreadable")
	if len(all) != len(lists) {
		t.Errorf("%d of %d are shown: %v", len(all), len(lists), all)
	}
	s.run(0, "attempts")
	s.run(0, "enrollment", "export", filepath.Join(t.TempDir(), "all.json"))
	for _, l := range lists {
		stdout, _ := s.run(0, l.list...)
		_, problems := s.run(0, append(l.list, "-o", "json")...)
		if l.remove == nil {
			if stdout, _ := s.run(0, "data", "unreadable"); !strings.Contains(stdout, l.collection) {
				t.Errorf("data unreadable does not show %s:\n%s", l.collection, stdout)
			}
			s.run(0, "data", "unreadable", "delete", l.collection, "damaged")
			continue
		}
		if !strings.Contains(stdout, "damaged") || !strings.Contains(stdout, "cannot be read: invalid character") {
			t.Errorf("berth %s does not show what is damaged:\n%s", strings.Join(l.list, " "), stdout)
		}
		if !strings.Contains(problems, fmt.Sprintf("the record %s damaged cannot be read", l.collection)) {
			t.Errorf("berth %s -o json does not tell of what is damaged: %q", strings.Join(l.list, " "), problems)
		}
		s.run(0, l.remove...)
	}
	if left := read[[]backend.Unreadable](s, "data", "unreadable"); len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
	if stdout, _ := s.run(0, "data", "unreadable"); !strings.Contains(stdout, "Every record can be read.") {
		t.Errorf("none is told of as %q", stdout)
	}
	s.run(1, "data", "unreadable", "delete", enroll.EnrollmentRecords, "damaged")
	if _, stderr := s.run(1, "data", "unreadable", "delete", enroll.EnrollmentRecords,
		"whole"); !strings.Contains(stderr, "can be read") {
		t.Errorf("deleting what can be read is answered %q", stderr)
	}
}
