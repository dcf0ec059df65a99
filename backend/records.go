package backend

import (
	"context"
	"net/http"
	"net/url"

	"github.com/berth-iot/berth/contract"
)

// Unreadable has the server read all of its records, of the provisioning service and
// of its hubs, and returns those that can't be read.
func (p *Provisioning) Unreadable(ctx context.Context) (records []Unreadable, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.UnreadablePath, into: &records})
	return records, err
}

// DeleteUnreadable deletes such a record with what belongs to it.
func (p *Provisioning) DeleteUnreadable(ctx context.Context, collection, key string) error {
	query := url.Values{"collection": {collection}, "key": {key}}
	return p.do(ctx, request{method: http.MethodDelete, path: contract.UnreadablePath, query: query})
}
