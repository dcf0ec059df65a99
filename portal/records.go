package portal

import (
	"context"
	"net/http"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Records are the records of all services that can't be read.
type Records interface {
	// Unreadable reads all records and returns those that can't be read.
	Unreadable(ctx context.Context) ([]store.Unreadable, error)
	// Known returns those of the collections whose names start with prefix that were
	// met so far.
	Known(prefix string) []store.Unreadable
	// DeleteUnreadable deletes such a record. One that is not there is fault 404000.
	DeleteUnreadable(ctx context.Context, collection, key string) error
}

var recordRoutes = map[string]handler{
	"GET unreadable":         reading(listUnreadable),
	"POST unreadable/delete": writing(confirmUnreadable, deleteUnreadable),
}

func listUnreadable(c *call) error {
	found, err := c.config.Records.Unreadable(c.r.Context())
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "unreadable", found)
}

// unreadableDeletion deletes records by collection and key, with a space between
// them: no collection has one.
func (c *call) unreadableDeletion() deletion {
	return deletion{
		Back:    "unreadable",
		Title:   "Delete %d record that can't be read?|Delete %d records that can't be read?",
		Explain: "What they held is lost for good, and what belongs to them goes with them. A backup may have them still.",
		Done:    "%d record was deleted|%d records were deleted",
		gone:    fault.NotFound,
		delete: func(ctx context.Context, id string) error {
			collection, key, _ := strings.Cut(id, " ")
			return c.config.Records.DeleteUnreadable(ctx, collection, key)
		},
	}
}

func confirmUnreadable(c *call) error { return c.confirm(c.unreadableDeletion()) }
func deleteUnreadable(c *call) error  { return c.deleteSelected(c.unreadableDeletion()) }

// maxUnreadableShown is how many records a list shows that it could not read.
const maxUnreadableShown = 20

// Unreadable are records that a list could not show, of the collections whose names
// start with prefix.
func (v *view) Unreadable(prefix string) []store.Unreadable {
	if v.config.Records == nil {
		return nil
	}
	known := v.config.Records.Known(prefix)
	return known[:min(len(known), maxUnreadableShown)]
}
