package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/endpoint/own"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// records are the records of all services that can't be read.
type records struct{ *Server }

var _ own.Records = records{}

// Unreadable implements own.Records.
func (r records) Unreadable(ctx context.Context) ([]store.Unreadable, error) {
	return r.documents.Scan(ctx)
}

// Known implements own.Records.
func (r records) Known(prefix string) []store.Unreadable { return r.documents.Known(prefix) }

// DeleteUnreadable implements own.Records. Each service knows what goes with a record
// of its own.
func (r records) DeleteUnreadable(ctx context.Context, collection, key string) error {
	err := r.documents.Check(ctx, collection, key)
	var unreadable *store.UnreadableError
	switch {
	case err == nil:
		return fault.New(fault.Conflict, "The record %.64q %.200q can be read. Delete it by what it is",
			collection, key)
	case errors.Is(err, store.ErrNotFound):
		return fault.New(fault.NotFound, "There is no record %.64q %.200q", collection, key)
	case !errors.As(err, &unreadable):
		return err
	}
	handled, err := r.provisioning.DeleteUnreadable(ctx, collection, key)
	for _, h := range r.hubs.All() {
		if !handled && err == nil {
			handled, err = h.DeleteUnreadable(ctx, collection, key)
		}
	}
	if !handled && err == nil {
		_, err = r.documents.Commit(ctx, append(
			r.audit.Change(ctx, audit.Deleted, audit.Record, fmt.Sprintf("%s %s", collection, key), nil, nil),
			store.Change{Collection: collection, Key: key, Match: store.IfMatch(unreadable.ETag), Delete: true})...)
		if _, conflict := store.IsConflict(err); conflict {
			err = fault.New(fault.Conflict, "The record was changed meanwhile. Look at it again")
		}
	}
	if err == nil {
		r.policiesChanged() // a policy that could not be read is made anew
	}
	return err
}
