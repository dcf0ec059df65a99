package hub

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/query"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// twinRecord is a twin that a query looks at, as far as it was read.
type twinRecord struct {
	id         string // as identity.ModuleKey has it
	identity   store.Document
	device     store.Document  // the identity of a module's device
	stored     store.Document  // the twin
	connection string          // its state
	state      *identity.State // with the activity
	whole      json.RawMessage // the twin as it is described

	configurations document.Object // that target it

	describe func(twin.Document) twin.Twin // with what the identity says
}

// columns take values out of records, of those of the paths of a query that are the first.
// They are for one goroutine.
type columns struct {
	locations []twin.Location
	parts     []twin.Part // that are needed, each once

	stored, identity, device, whole finding
}

// finding is what is looked for in one JSON.
type finding struct {
	finder *document.Finder
	slots  []int // the paths of the query
	found  [][]byte
}

func newColumns(paths []query.Path, locate func([]string) twin.Location) *columns {
	c := &columns{locations: make([]twin.Location, len(paths))}
	names := make(map[twin.Part][][]string)
	slots := make(map[twin.Part][]int)
	for i, path := range paths {
		at := locate(path)
		if at.Part == twin.Several {
			at.Path = path
		}
		c.locations[i] = at
		names[at.Part], slots[at.Part] = append(names[at.Part], at.Path), append(slots[at.Part], i)
		if !slices.Contains(c.parts, at.Part) {
			c.parts = append(c.parts, at.Part)
		}
	}
	for part, finding := range map[twin.Part]*finding{twin.Stored: &c.stored, twin.Identity: &c.identity,
		twin.Device: &c.device, twin.Several: &c.whole} {
		finding.finder, finding.slots = document.NewFinder(names[part]...), slots[part]
		finding.found = make([][]byte, len(slots[part]))
	}
	return c
}

// needs reports whether any of these parts of a record is needed.
func (c *columns) needs(parts ...twin.Part) bool {
	return slices.ContainsFunc(parts, func(part twin.Part) bool { return slices.Contains(c.parts, part) })
}

// fill puts the JSON of each path into values. The parts that are needed were read.
func (c *columns) fill(values [][]byte, r *twinRecord) {
	clear(values)
	c.find(&c.stored, values, r.stored.Value)
	c.find(&c.identity, values, r.identity.Value)
	c.find(&c.device, values, r.device.Value)
	c.find(&c.whole, values, r.whole)
	if !c.needs(twin.Connection, twin.Activity, twin.Key) {
		return
	}
	for i, at := range c.locations {
		switch at.Part {
		case twin.Connection, twin.Activity, twin.Key:
			values[i] = r.computed(at.Path[0])
		}
	}
}

func (c *columns) find(f *finding, values [][]byte, text []byte) {
	if len(f.slots) == 0 {
		return
	}
	f.finder.Find(text, f.found)
	for i, slot := range f.slots {
		at, value := &c.locations[slot], f.found[i]
		switch {
		case value == nil && at.Default != "":
			value = []byte(at.Default)
		case at.Empty != nil && slices.Contains(at.Empty, string(value)):
			value = nil
		}
		values[slot] = value
	}
}

// computed is the JSON of a member that is not stored.
func (r *twinRecord) computed(name string) []byte {
	switch name {
	case "deviceId":
		deviceID, _ := identity.SplitKey(r.id)
		return document.TextOf(deviceID).AppendJSON(nil)
	case "moduleId":
		if _, moduleID := identity.SplitKey(r.id); moduleID != "" {
			return document.TextOf(moduleID).AppendJSON(nil)
		}
	case "connectionState":
		return document.TextOf(r.connection).AppendJSON(nil)
	case "lastActivityTime":
		return document.TextOf(document.FormatTime(r.state.LastActivityTime.Time)).AppendJSON(nil)
	case "cloudToDeviceMessageCount":
		return strconv.AppendInt(nil, int64(r.state.CloudToDeviceMessageCount), 10)
	}
	return nil
}
