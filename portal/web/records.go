package web

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

var recordRoutes = Routes{
	"GET unreadable":         RequireSession(listUnreadable),
	"POST unreadable/delete": HandleDeletion(unreadableDeletion),
}

func listUnreadable(c *Call) error {
	found, err := c.site.config.Records.Unreadable(c.Context())
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "unreadable", found)
}

// unreadableDeletion deletes records by collection and key, with a space between
// them: no collection has one.
func unreadableDeletion(c *Call) (Deletion, error) {
	return Deletion{
		Back:  "unreadable",
		Title: "Delete %d record that can't be read?|Delete %d records that can't be read?",
		Explain: "What they held is lost for good, and what belongs to them goes with them. " +
			"A backup may have them still.",
		Done: "%d record was deleted|%d records were deleted",
		Gone: fault.NotFound,
		Delete: func(ctx context.Context, id string) error {
			collection, key, _ := strings.Cut(id, " ")
			return c.site.config.Records.DeleteUnreadable(ctx, collection, key)
		},
	}, nil
}

// maxUnreadableShown is how many records a list shows that it could not read.
const maxUnreadableShown = 20

// Unreadable are records that a list could not show, of the collections whose names
// start with prefix.
func (v *view) Unreadable(prefix string) []store.Unreadable {
	if v.site.config.Records == nil {
		return nil
	}
	known := v.site.config.Records.Known(prefix)
	return known[:min(len(known), maxUnreadableShown)]
}
