// Package event tells what happens to the devices of a hub: they are created and deleted,
// connect and disconnect, and their twins change (Microsoft Learn,
// iot-hub-non-telemetry-event-schema). An event is a document of an outbox, in the commit of
// what it tells of; from there one node takes it to a log, which is read as telemetry is.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Operation is what has happened, as the property opType has it.
type Operation string

// What can happen.
const (
	Created      Operation = "createDeviceIdentity"
	Deleted      Operation = "deleteDeviceIdentity"
	TwinUpdated  Operation = "updateTwin"
	TwinReplaced Operation = "replaceTwin"
	Connected    Operation = "deviceConnected"
	Disconnected Operation = "deviceDisconnected"
)

// source is where an event comes from, by which routes choose it, and the schema of its body.
type source struct{ name, schema string }

var sources = map[Operation]source{
	Created:      {"deviceLifecycleEvents", "deviceLifecycleNotification"},
	Deleted:      {"deviceLifecycleEvents", "deviceLifecycleNotification"},
	TwinUpdated:  {"twinChangeEvents", "twinChangeNotification"},
	TwinReplaced: {"twinChangeEvents", "twinChangeNotification"},
	Connected:    {"deviceConnectionStateEvents", "deviceConnectionStateNotification"},
	Disconnected: {"deviceConnectionStateEvents", "deviceConnectionStateNotification"},
}

// Event is something that has happened to a device or module.
type Event struct {
	Operation Operation
	ID        string // of the device; of a module, deviceId/moduleId
	Place     Place
	Time      time.Time
	Body      []byte // JSON
}

// Place is where an event stands among those of the same identity: what happens to it is
// told in this order.
type Place string

// AtVersion is the place of a twin's version; the first is that of its creation.
func AtVersion(generation string, version int64) Place {
	return Place(fmt.Sprintf("%s %016x", generation, version))
}

// AtConnection is the place of an arrival or departure, of which the sequence number grows.
// Among changes of the twin it has none.
func AtConnection(generation string, sequence int64) Place {
	return Place(fmt.Sprintf("%s c%016x", generation, sequence))
}

// AtEnd is the place of a deletion.
func AtEnd(generation string) Place { return Place(generation + " ~") }

// ConnectionBody is the body of an event of a connection. Azure's sequence number has 64
// hexadecimal digits, and is compared as text.
func ConnectionBody(sequence int64) []byte {
	return fmt.Appendf(nil, `{"sequenceNumber":"%064X"}`, sequence)
}

// Config says where events are kept.
type Config struct {
	Hub       string // its name, which events have as hubName
	Documents store.Documents
	Prefix    string    // what the names of the collections begin with, such as hub/berth/
	Log       store.Log // nil keeps no events
	Node      string    // as of the hub
	Limit     int       // of the outbox, DefaultLimit when zero
	Now       func() time.Time
	Logger    *slog.Logger
	Panics    *panics.Recorder
}

// DefaultLimit is how many events wait in the outbox at most: only a log that can't be
// written lets them.
const DefaultLimit = 100_000

// Events are those of a hub. Their methods may be called at once from many goroutines, on any
// node.
type Events struct {
	config    Config
	outbox    store.Table[pending] // by identity and place
	positions store.Table[position]
	backlogs  store.Table[backlog]
	backlog   *store.Cache[backlog]
	log       *telemetry.Log
	stop      func()
}

// Open returns the events on their documents and log, and begins to take them from the one
// to the other.
func Open(config Config) *Events {
	if config.Limit == 0 {
		config.Limit = DefaultLimit
	}
	e := &Events{config: config, stop: func() {},
		outbox:    store.NewTable[pending](config.Documents, config.Prefix+"outbox"),
		positions: store.NewTable[position](config.Documents, config.Prefix+"outbox-position"),
		backlogs:  store.NewTable[backlog](config.Documents, config.Prefix+"outbox-backlog")}
	if config.Log != nil {
		e.backlog = store.NewCache(config.Documents, e.readBacklog, e.backlogs.Collection)
		e.log = telemetry.New(telemetry.Config{Log: config.Log, Now: config.Now, Panics: config.Panics})
		e.start()
	}
	return e
}

// Close stops what runs in the background. What is in the outbox stays there.
func (e *Events) Close() { e.stop() }

// Log returns the events as they are read, nil when none are kept.
func (e *Events) Log() *telemetry.Log { return e.log }

// pending is an event as it waits.
type pending struct {
	Operation   Operation       `json:"opType"`
	ID          string          `json:"id"`
	Correlation string          `json:"correlationId"` // tells it from all others, also in the log
	Time        document.Time   `json:"time"`
	Body        json.RawMessage `json:"body,omitempty"`
}

// Intact implements store.Checkable.
func (p *pending) Intact() error {
	if _, known := sources[p.Operation]; !known || p.ID == "" || p.Correlation == "" {
		return errors.New("it is no event: its operation is not known, or its identity or correlation id is missing")
	}
	return nil
}

// MaxBody is the size of the largest body in bytes. A twin with its metadata can be larger,
// if its values are next to nothing: then the event has an empty body, {}.
const MaxBody = 512 << 10

// Prepare returns what is to be committed with what the event tells of. The commit returns
// fault 503001 while the outbox is full.
func (e *Events) Prepare(event Event) []store.Change {
	if e.config.Log == nil {
		return nil
	}
	if known, _ := e.backlog.GetOrFormer(); known.Full {
		return []store.Change{{Collection: e.outbox.Collection, Key: event.ID, Err: fault.New(fault.Unavailable,
			"%d events of this hub wait to be written to their log, which fails. Try again later; the operator "+
				"finds the reason in the server's log", e.config.Limit)}}
	}
	if len(event.Body) > MaxBody {
		event.Body = []byte("{}")
	}
	waits := pending{event.Operation, event.ID, fault.NewTrackingID(), document.Time{Time: event.Time}, event.Body}
	// No id has a space.
	return []store.Change{{Collection: e.outbox.Collection, Key: event.ID + " " + string(event.Place),
		Value: waits.appendJSON(nil)}}
}

// appendJSON is how an event is stored: as encoding/json has it, which would read the body once
// more, at each change of a twin.
func (p pending) appendJSON(b []byte) []byte {
	add := func(name, value string) {
		b = append(append(append(b, '"'), name...), `":`...)
		b = append(document.TextOf(value).AppendJSON(b), ',')
	}
	b = append(b, '{')
	add("opType", string(p.Operation))
	add("id", p.ID)
	add("correlationId", p.Correlation)
	add("time", document.FormatTime(p.Time.Time))
	return append(append(append(b, `"body":`...), p.Body...), '}')
}

// appendRecord appends the record of an event in the log: a message as devices' are, that the
// hub itself has sent.
func (e *Events) appendRecord(b []byte, p pending) []byte {
	deviceID, moduleID, isModule := strings.Cut(p.ID, "/")
	from := sources[p.Operation]
	var m message.Message
	set := func(properties *[]message.Property, name, value string) {
		*properties = append(*properties, message.Property{Name: []byte(name), Value: []byte(value)})
	}
	set(&m.System, contract.ContentType.String(), "application/json")
	set(&m.System, contract.ContentEncoding.String(), "utf-8")
	set(&m.System, contract.CorrelationID.String(), p.Correlation)
	set(&m.System, contract.UserID.String(), e.config.Hub)
	if isModule {
		set(&m.System, connectionModuleID, moduleID)
	}
	set(&m.System, contract.MessageSource.String(), from.name)
	set(&m.Properties, "deviceId", deviceID)
	if isModule {
		set(&m.Properties, "moduleId", moduleID)
	}
	set(&m.Properties, "hubName", e.config.Hub)
	set(&m.Properties, contract.MessageSchema.String(), from.schema)
	set(&m.Properties, "operationTimestamp", document.FormatTime(p.Time.Time))
	set(&m.Properties, "opType", string(p.Operation))
	m.Payload = p.Body
	return m.AppendTo(message.AppendHead(b, deviceID, "", message.NoDevice))
}

// connectionModuleID is the module that an event is of.
const connectionModuleID = "iothub-connection-module-id"
