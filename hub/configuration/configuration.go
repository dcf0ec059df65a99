// Package configuration is automatic device management (Azure,
// iot-hub-automatic-device-management): configurations, whose content becomes part of the
// desired properties of the devices or modules that their target conditions hold for. Of
// several that target one, the one with the highest priority is applied.
package configuration

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Configuration is one, in the JSON of the IoT Hub service REST API (PyPI azure-iot-hub,
// model Configuration).
type Configuration struct {
	ID                 string           `json:"id"`
	SchemaVersion      *string          `json:"schemaVersion"`
	Labels             *document.Object `json:"labels"` // of strings
	Content            Content          `json:"content"`
	TargetCondition    string           `json:"targetCondition"` // "" is none, * all
	CreatedTimeUTC     document.Time    `json:"createdTimeUtc"`
	LastUpdatedTimeUTC document.Time    `json:"lastUpdatedTimeUtc"`
	Priority           int              `json:"priority"` // the higher wins; of equal ones the one made last
	SystemMetrics      Metrics          `json:"systemMetrics"`
	Metrics            Metrics          `json:"metrics"`
	ETag               string           `json:"etag"`
}

// Content is what a configuration writes. It has exactly one of these, an object whose names
// are paths, such as properties.desired.interval; ModulesContent has one of those for each
// module of an IoT Edge device.
type Content struct {
	DeviceContent  document.Object `json:"deviceContent,omitzero"`
	ModuleContent  document.Object `json:"moduleContent,omitzero"`
	ModulesContent document.Object `json:"modulesContent,omitzero"`
}

// Metrics are queries, and how many rows each had when the configurations were evaluated last.
type Metrics struct {
	Results document.Object `json:"results"`
	Queries document.Object `json:"queries"`
}

// Status is what a configuration is to a device or module that it targets.
type Status string

// What a configuration can be to its targets.
const (
	Targeted Status = "Targeted" // another one is applied, or the content does not fit into the twin
	Applied  Status = "Applied"
)

// Config says where configurations are kept, and what they reach.
type Config struct {
	Documents store.Documents
	Hub       string // its name
	Prefix    string // what the names of the collections begin with, such as hub/berth/
	Node      string // this node's name among several; "" for one that is alone
	Limit     int    // of configurations; 0 is Azure's, 100
	Twins     *twin.Twins

	// IsEdge reports whether a device is an IoT Edge device.
	IsEdge func(ctx context.Context, deviceID string) (bool, error)

	// EnsureModule makes a module of an IoT Edge device, unless it is there.
	EnsureModule func(ctx context.Context, deviceID, moduleID string) error

	// LockDesired and NotifyDesired are those of the connections: a device is told of its
	// desired properties in the order of their versions.
	LockDesired   func(ids ...string) (unlock func())
	NotifyDesired func(ctx context.Context, id, generation string, version int64, notice []byte)

	// CheckQuery says what is wrong with a metric's query, and CountRows how many rows it has.
	CheckQuery func(text string) error
	CountRows  func(ctx context.Context, text string) (int64, error)

	Now    func() time.Time
	Logger *slog.Logger
	Panics *panics.Recorder
}

// maxConfigurations is how many a hub has at most in Azure's standard tier.
const maxConfigurations = 100

// Configurations are those of a hub. Their methods may be called at once from many
// goroutines, on any node; what they evaluate in the background, one node does.
type Configurations struct {
	config Config

	stored   store.Table[stored]     // by id
	slots    store.Table[slot]       // by number: whose the collections of that number are
	revision store.Table[revision]   // one document, which each change of a configuration writes
	states   store.Table[state]      // by identity: which configurations target it
	due      store.Table[struct{}]   // the identities to evaluate, since something has changed of them
	passes   store.Table[pass]       // one document: the evaluation of all identities that was completed last
	results  store.Table[evaluation] // by configuration

	set  *store.Cache[*set]
	wake atomic.Bool // some are due
	stop func()
}

// Open returns the configurations on their documents. Start has them evaluated.
func Open(config Config) *Configurations {
	documents, prefix := config.Documents, config.Prefix
	if config.Limit <= 0 {
		config.Limit = maxConfigurations
	}
	c := &Configurations{
		config:   config,
		stored:   store.NewTable[stored](documents, prefix+"configurations"),
		slots:    store.NewTable[slot](documents, prefix+"config-slots"),
		revision: store.NewTable[revision](documents, prefix+"config-revision"),
		states:   store.NewTable[state](documents, prefix+"config-states"),
		due:      store.NewTable[struct{}](documents, prefix+"config-due"),
		passes:   store.NewTable[pass](documents, prefix+"config-passes"),
		results:  store.NewTable[evaluation](documents, prefix+"config-results"),
		stop:     func() {},
	}
	c.set = store.NewCache(documents, c.load, c.revision.Collection, c.stored.Collection)
	return c
}

// Close ends the evaluation.
func (c *Configurations) Close() { c.stop() }
