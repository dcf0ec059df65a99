package portaltest

import (
	"context"
	"sync/atomic"

	"github.com/berth-iot/berth/store"
)

// Reads counts what is read of the store.
type Reads struct {
	Documents atomic.Int64 // calls
	Records   atomic.Int64
	Lookups   atomic.Int64 // times that were looked up in a log
}

// All is the sum of them.
func (r *Reads) All() int64 { return r.Documents.Load() + r.Records.Load() + r.Lookups.Load() }

type countedDocuments struct {
	store.Documents
	reads *Reads
}

func (d countedDocuments) Get(ctx context.Context, collection, key string) (store.Document, error) {
	d.reads.Documents.Add(1)
	return d.Documents.Get(ctx, collection, key)
}

func (d countedDocuments) List(
	ctx context.Context, collection, prefix, after string, limit int,
) ([]store.Document, error) {
	d.reads.Documents.Add(1)
	return d.Documents.List(ctx, collection, prefix, after, limit)
}

func (d countedDocuments) Count(ctx context.Context, collections ...string) ([]int, error) {
	d.reads.Documents.Add(1)
	return d.Documents.Count(ctx, collections...)
}

type countedLog struct {
	store.Log
	reads *Reads
}

func (l countedLog) Read(
	ctx context.Context, partition int, from int64, maxRecords, maxBytes int,
) ([]store.Record, error) {
	records, err := l.Log.Read(ctx, partition, from, maxRecords, maxBytes)
	l.reads.Records.Add(int64(len(records)))
	return records, err
}

func (l countedLog) SequenceAt(ctx context.Context, partition int, unixNano int64) (int64, error) {
	l.reads.Lookups.Add(1)
	return l.Log.SequenceAt(ctx, partition, unixNano)
}
