package store

import (
	"fmt"
	"strings"
)

// The limits that Change names, in bytes.
const (
	MaxCollection = 64
	MaxKey        = 1024
	MaxValue      = 1 << 20
)

// ValidCollection reports whether there can be a collection of this name.
func ValidCollection(name string) bool { return validName(name, MaxCollection) }

// ValidName reports whether there can be a document of this name.
func ValidName(collection, key string) bool {
	return ValidCollection(collection) && validName(key, MaxKey)
}

func validName(name string, limit int) bool {
	return len(name) >= 1 && len(name) <= limit && strings.IndexByte(name, 0) < 0
}

// MaxPartitions is how many partitions a log has at most.
const MaxPartitions = 128

// CheckLogName returns what is wrong with the name of a log.
func CheckLogName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789.-"
	if len(name) >= 1 && len(name) <= 128 && strings.Trim(name, allowed) == "" && strings.Trim(name, ".") != "" {
		return nil
	}
	return fmt.Errorf("log name %.140q must be 1 to 128 of the characters a-z, 0-9, '.' and '-', and not just dots",
		name)
}

// CheckPartitions returns what is wrong with the number of partitions of a new log.
func CheckPartitions(partitions int) error {
	if partitions < 1 || partitions > MaxPartitions {
		return fmt.Errorf("a log with %d partitions: there must be 1 to %d", partitions, MaxPartitions)
	}
	return nil
}

// CheckChanges returns what of the changes of a Commit is outside of the contract of
// Documents, before an engine does anything.
func CheckChanges(changes []Change) error {
	for i, change := range changes {
		if err := change.validate(); err != nil {
			return fmt.Errorf("change %d of a commit: %w", i, err)
		}
	}
	if len(changes) > 1 {
		seen := make(map[documentName]int, len(changes))
		for i, change := range changes {
			name := documentName{change.Collection, change.Key}
			if first, ok := seen[name]; ok {
				return fmt.Errorf("changes %d and %d of a commit name the same document, %s %q",
					first, i, change.Collection, change.Key)
			}
			seen[name] = i
		}
	}
	return nil
}

// validate says what in a change is beyond the limits of the contract.
func (c Change) validate() error {
	switch {
	case c.Err != nil:
		return c.Err
	case !ValidCollection(c.Collection):
		return fmt.Errorf("collection %.80q must be 1 to %d bytes, none of them zero", c.Collection, MaxCollection)
	case !validName(c.Key, MaxKey):
		return fmt.Errorf("a key of %d bytes in %s, %.80q, must be 1 to %d bytes, none of them zero",
			len(c.Key), c.Collection, c.Key, MaxKey)
	case c.Delete && c.Check:
		return fmt.Errorf("the change of %s %.80q is both a delete and a check", c.Collection, c.Key)
	case len(c.Value) > MaxValue:
		return fmt.Errorf("the value of %s %.80q has %d bytes, and at most %d are allowed",
			c.Collection, c.Key, len(c.Value), MaxValue)
	}
	return nil
}

// Holds reports whether a document with this ETag ("" for none) is what the Match asks for.
func (m Match) Holds(etag string) bool {
	switch m {
	case Always:
		return true
	case Absent:
		return etag == ""
	case Present:
		return etag != ""
	default:
		return string(m) == etag
	}
}
