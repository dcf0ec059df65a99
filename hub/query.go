package hub

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/query"
)

// QueryPage is what is asked of one page of an answer.
type QueryPage struct {
	Limit        int    // rows at most
	Continuation string // of the page before; "" for the first one
}

// QueryAnswer is one page of what a query found.
type QueryAnswer struct {
	ItemType     string            // what the rows are, as Azure's header x-ms-item-type has it
	Rows         []json.RawMessage // objects
	Continuation string            // of the next page; "" when this is the last one
}

// The item types of rows.
const (
	TwinRows = "Twin"
	RawRows  = "Raw" // they have the members that were asked for
)

// queryBudget bounds what one page of an answer costs.
type queryBudget struct {
	Bytes int // of rows, but for the last of them

	Time      time.Duration // after which a page with rows is handed out
	EmptyTime time.Duration // after which one without is
	Total     time.Duration // for aggregates, which look at all at once

	Few int // documents that are looked at together at first; it doubles
}

// A page without rows is handed out late: it is within the contract, but iterators of SDKs
// take it for the end.
var defaultBudget = queryBudget{Bytes: 4 << 20, Time: time.Second, EmptyTime: 10 * time.Second,
	Total: 30 * time.Second, Few: 128}

// queriesAtOnce is how many queries of a hub look through documents at the same time.
// Others wait.
const queriesAtOnce = 4

// querySource looks through what a query is about, in the order of keys. It looks at some
// of those after a key, and returns what it has found, limit at most, the last key that it
// has looked at, and whether that was the end.
type querySource func(ctx context.Context, after string, limit int) (found []queryRow, last string, end bool, _ error)

// queryRow is a document that a query has found.
type queryRow struct {
	key    string
	whole  json.RawMessage // for SELECT *
	values [][]byte        // for all others, the JSON at each path of the query
}

// Query answers a query in the language of IoT Hub (Azure, iot-hub-devguide-query-language)
// from what is stored now, a page at a time. It returns fault 400004 for a query that can't
// be read, for a continuation of another one, and for aggregates of too much.
func (h *Hub) Query(ctx context.Context, text string, page QueryPage) (QueryAnswer, error) {
	q, err := query.Parse(text)
	if err != nil {
		return QueryAnswer{}, err
	}
	secret, err := h.querySecret(ctx)
	if err != nil {
		return QueryAnswer{}, err
	}
	from, err := openContinuation(secret, text, page.Continuation)
	if err != nil {
		return QueryAnswer{}, err
	}
	source, err := h.querySource(ctx, &q)
	if err != nil {
		return QueryAnswer{}, err
	}
	select {
	case h.queries <- struct{}{}:
		defer func() { <-h.queries }()
	case <-ctx.Done():
		return QueryAnswer{}, ctx.Err()
	}
	reader := queryReader{budget: h.queryBudget, query: &q, source: source, count: h.registry.Count, begin: time.Now()}
	if q.Source == query.Modules {
		reader.count = h.registry.CountModules
	}
	answer := QueryAnswer{ItemType: RawRows}
	if q.Items == nil {
		answer.ItemType = TwinRows
		if q.Source == query.Jobs {
			answer.ItemType = DeviceJobRows
		}
	}
	var next *queryPosition
	if q.Aggregates() {
		answer.Rows, next, err = reader.aggregate(ctx, from, page.Limit)
	} else {
		answer.Rows, next, err = reader.page(ctx, from, page.Limit)
	}
	if err != nil {
		return QueryAnswer{}, err
	}
	if next != nil {
		answer.Continuation = sealContinuation(secret, text, *next)
	}
	return answer, nil
}

// queryReader makes one page.
type queryReader struct {
	budget queryBudget
	query  *query.Query
	source querySource
	count  func(context.Context) (int, error) // of all that the query could be about
	begin  time.Time
}

// page returns rows, and where the next page begins, nil at the end. It looks one row
// beyond the page, so that the last one has no continuation.
func (r *queryReader) page(ctx context.Context, at queryPosition, limit int) (
	rows []json.RawMessage, next *queryPosition, _ error,
) {
	rows = []json.RawMessage{}
	if r.query.Top > 0 {
		limit = min(limit, r.query.Top-at.Rows)
	}
	size := 0
	for after := at.After; ; {
		found, last, end, err := r.source(ctx, after, limit-len(rows)+1)
		if err != nil {
			return nil, nil, err
		}
		for _, row := range found {
			if len(rows) == limit || size >= r.budget.Bytes {
				return rows, &at, nil
			}
			encoded := row.whole
			if r.query.Items != nil {
				if encoded = r.query.AppendRow(nil, row.values); !json.Valid(encoded) {
					continue // a record is damaged
				}
			}
			rows, size = append(rows, encoded), size+len(encoded)
			if at.After, at.Rows = row.key, at.Rows+1; at.Rows == r.query.Top {
				return rows, nil, nil
			}
		}
		if end {
			return rows, nil, nil
		}
		after = last
		if spent := time.Since(r.begin); spent > r.budget.EmptyTime || len(rows) > 0 && spent > r.budget.Time {
			at.After = last
			return rows, &at, nil
		}
	}
}

// aggregatesAtOnce is how many documents an aggregate asks its source for.
const aggregatesAtOnce = 1 << 20

// aggregate returns rows that are made of all documents. Another page of them is another
// look.
func (r *queryReader) aggregate(ctx context.Context, at queryPosition, limit int) (
	rows []json.RawMessage, next *queryPosition, _ error,
) {
	groups := r.query.NewGroups()
	if r.query.CountsAll() {
		n, err := r.count(ctx)
		if err != nil {
			return nil, nil, err
		}
		groups.AddCount(n)
	}
	for after, end := "", r.query.CountsAll(); !end; {
		var found []queryRow
		var err error
		if found, after, end, err = r.source(ctx, after, aggregatesAtOnce); err != nil {
			return nil, nil, err
		}
		for _, row := range found {
			if err := groups.Add(row.values); err != nil {
				return nil, nil, err
			}
		}
		if time.Since(r.begin) > r.budget.Total {
			return nil, nil, fault.New(fault.ArgumentInvalid, "The query takes longer than %v. "+
				"Ask for fewer documents with WHERE, or have an index made for what it asks", r.budget.Total)
		}
	}
	all := groups.Rows()
	if r.query.Top > 0 && len(all) > r.query.Top {
		all = all[:r.query.Top]
	}
	rows, size := []json.RawMessage{}, 0
	for _, row := range all[min(at.Rows, len(all)):] {
		if len(rows) == limit || size >= r.budget.Bytes {
			return rows, &at, nil
		}
		if at.Rows++; json.Valid(row) {
			rows, size = append(rows, row), size+len(row)
		}
	}
	return rows, nil, nil
}
