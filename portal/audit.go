package portal

import (
	"net/url"
	"strings"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/portal/web"
)

func (p *pages) auditRoutes() web.Routes {
	return web.Routes{"GET audit": web.RequireSession(p.showAudit)}
}

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
func (p *pages) showAudit(c *web.Call) error {
	return c.Show("audit", nil, func() (any, error) {
		page := auditPage{
			Kinds: audit.Kinds,
			ID:    strings.TrimSpace(c.Query("id")),
			Kind:  c.Query("kind"),
			By:    strings.TrimSpace(c.Query("by")),
			Since: c.Query("since"),
			After: c.Query("after"),
		}
		filter := audit.Filter{
			Kind:  audit.Kind(page.Kind),
			ID:    page.ID,
			Actor: page.By,
			After: page.After,
			Max:   web.PageSize,
		}
		if ago, err := time.ParseDuration(page.Since); err == nil {
			filter.Since = c.Now().Add(-ago)
		} else {
			page.Since = ""
		}
		entries, next, err := p.Audit.Entries(c.Context(), filter)
		page.Entries = entries
		if next != "" {
			page.Next = "?" + url.Values{
				"id":    {page.ID},
				"kind":  {page.Kind},
				"by":    {page.By},
				"since": {page.Since},
				"after": {next},
			}.Encode()
		}
		return page, err
	})
}
