package portal

import (
	"net/url"
	"strings"
	"time"

	"github.com/berth-iot/berth/audit"
)

var auditRoutes = map[string]handler{"GET audit": reading(showAudit)}

type auditPage struct {
	Entries      []audit.Entry
	Kinds        []audit.Kind
	ID, Kind, By string
	Since        string // how long ago, such as 24h; "" for all
	After        string
	Next         string // address of the next page, "" on the last
}

// Filtered reports whether the page is of a part of the audit only.
func (p auditPage) Filtered() bool { return p.ID+p.Kind+p.By+p.Since+p.After != "" }

// showAudit lists what operators changed, the latest first.
func showAudit(c *call) error {
	return c.show("audit", nil, func() (any, error) {
		page := auditPage{Kinds: audit.Kinds, ID: strings.TrimSpace(c.query("id")), Kind: c.query("kind"), By: strings.TrimSpace(c.query("by")),
			Since: c.query("since"), After: c.query("after")}
		filter := audit.Filter{Kind: audit.Kind(page.Kind), ID: page.ID, Actor: page.By, After: page.After, Max: pageSize}
		if ago, err := time.ParseDuration(page.Since); err == nil {
			filter.Since = c.config.Now().Add(-ago)
		} else {
			page.Since = ""
		}
		entries, next, err := c.config.Audit.Entries(c.r.Context(), filter)
		page.Entries = entries
		if next != "" {
			page.Next = "?" + url.Values{"id": {page.ID}, "kind": {page.Kind}, "by": {page.By}, "since": {page.Since}, "after": {next}}.Encode()
		}
		return page, err
	})
}
