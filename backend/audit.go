package backend

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning/guard"
)

// Audit returns the changes that the filter wants, the latest first, and the After
// of the next call, "" at the end.
func (p *Provisioning) Audit(ctx context.Context, filter audit.Filter) ([]audit.Entry, string, error) {
	query := url.Values{}
	for name, value := range map[string]string{"kind": string(filter.Kind), "id": filter.ID, "actor": filter.Actor,
		"after": filter.After} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, value := range map[string]time.Time{"since": filter.Since, "until": filter.Until} {
		if !value.IsZero() {
			query.Set(name, value.UTC().Format(time.RFC3339Nano))
		}
	}
	if filter.Max > 0 {
		query.Set("top", strconv.Itoa(filter.Max))
	}
	var found contract.Page[audit.Entry]
	err := p.do(ctx, request{method: http.MethodGet, path: contract.AuditPath, query: query, into: &found})
	return found.Items, found.Next, err
}

// AuditItems returns things of a bulk operation by the name that its entry has, and the
// after of the next call, "" at the end.
func (p *Provisioning) AuditItems(ctx context.Context, name, after string) ([]audit.Item, string, error) {
	query := url.Values{}
	if after != "" {
		query.Set("after", after)
	}
	var found contract.Page[audit.Item]
	err := p.do(ctx, request{method: http.MethodGet, path: contract.AuditItemsPath.With(name), query: query,
		into: &found})
	return found.Items, found.Next, err
}

// LockedOut returns the sources that are locked out now.
func (p *Provisioning) LockedOut(ctx context.Context) (locked []guard.LockedOut, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.LockoutsPath, into: &locked})
	return locked, err
}

// LiftLockout ends the lock-out of a source.
func (p *Provisioning) LiftLockout(ctx context.Context, source string) error {
	return p.do(ctx, request{method: http.MethodDelete, path: contract.LockoutPath.With(source)})
}
