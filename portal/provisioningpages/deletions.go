package provisioningpages

import (
	"context"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/portal/web"
)

// recordDeletion has the audit record a deletion of all that match, of things of a kind.
func (p *Pages) recordDeletion(kind audit.Kind) func(context.Context) web.BulkRecord {
	return func(ctx context.Context) web.BulkRecord {
		return bulkRecord{p.Audit.Begin(ctx, audit.Deleted, kind)}
	}
}

// bulkRecord is a bulk operation of the audit.
type bulkRecord struct{ *audit.Bulk }

// Part implements web.BulkRecord.
func (r bulkRecord) Part(
	ctx context.Context, ids []string,
) (inner context.Context, end func(reason func(i int) string), err error) {
	inner, part, err := r.Bulk.Part(ctx, ids)
	return inner, part.End, err
}
