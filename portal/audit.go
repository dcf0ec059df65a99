package portal

import (
	"net/url"
	"strings"

	"github.com/berth-iot/berth/audit"
)

var auditRoutes = map[string]handler{"GET audit": reading(showAudit)}

type auditPage struct {
	Entries  []audit.Entry
	Kinds    []audit.Kind
	ID, Kind string
	After    string
	Next     string // address of the next page, "" on the last
}

// showAudit lists what operators changed, the latest first.
func showAudit(c *call) error {
	return c.show("audit", func() (any, error) {
		page := auditPage{Kinds: audit.Kinds, ID: strings.TrimSpace(c.query("id")), Kind: c.query("kind"), After: c.query("after")}
		entries, next, err := c.config.Audit.Entries(c.r.Context(), audit.Filter{Kind: audit.Kind(page.Kind), ID: page.ID, After: page.After, Max: pageSize})
		page.Entries = entries
		if next != "" {
			page.Next = "?" + url.Values{"id": {page.ID}, "kind": {page.Kind}, "after": {next}}.Encode()
		}
		return page, err
	})
}
