package query

import (
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// AppendRow appends the row of one document as a JSON object, given the JSON at each of
// its Paths. What is not there is left out. It is for queries that have Items, and no
// aggregates.
func (q *Query) AppendRow(dst []byte, values [][]byte) []byte {
	row := newRow(dst)
	for _, item := range q.Items {
		row.add(item.Name, values[item.Path])
	}
	return row.end()
}

// row is a JSON object that is written.
type row struct {
	text []byte
	some bool
}

func newRow(dst []byte) *row { return &row{text: append(dst, '{')} }

// add writes a member, unless it is not there.
func (r *row) add(name string, encoded []byte) {
	if len(encoded) == 0 {
		return
	}
	if r.some {
		r.text = append(r.text, ',')
	}
	r.some = true
	r.text = document.TextOf(name).AppendJSON(r.text)
	r.text = append(r.text, ':')
	r.text = append(r.text, encoded...)
}

func (r *row) end() []byte { return append(r.text, '}') }

// MaxGroups and maxGroupBytes bound what GROUP BY keeps in memory.
const (
	MaxGroups     = 10_000
	maxGroupBytes = 16 << 20
)

// Groups gathers the rows of a query with aggregates, a document at a time.
type Groups struct {
	query *Query
	byKey map[string]*group
	order []*group // in that of their first documents
	bytes int
	key   []byte
}

// group is one row that is being gathered.
type group struct {
	members [][]byte // of each item, nil for an aggregate
	sums    []sum
}

// sum is one aggregate of a group.
type sum struct {
	n     int64 // values
	total float64
	least value // or the greatest
	json  []byte
}

// NewGroups returns the gatherer of a query that Aggregates.
func (q *Query) NewGroups() *Groups {
	g := &Groups{query: q, byKey: make(map[string]*group)}
	if q.Group == nil { // one row, also of nothing
		g.group(nil)
	}
	return g
}

// Add takes a document, given the JSON at each of the query's Paths. It returns fault
// 400004 when there are more groups than can be kept.
func (g *Groups) Add(values [][]byte) error {
	group := g.group(values)
	if len(g.order) > MaxGroups || g.bytes > maxGroupBytes {
		return fault.New(fault.ArgumentInvalid,
			"The query has too many groups: there are more than %d, or more than %d MiB of them. "+
				"Ask for fewer with WHERE, or group by something else", MaxGroups, maxGroupBytes>>20)
	}
	for i, item := range g.query.Items {
		if item.Aggregate == "" {
			continue
		}
		if item.Path < 0 {
			group.sums[i].n++
			continue
		}
		g.bytes += group.sums[i].add(item.Aggregate, values[item.Path])
	}
	return nil
}

// AddCount takes n documents of which nothing is asked but how many there are.
func (g *Groups) AddCount(n int) {
	for i := range g.query.Items {
		g.order[0].sums[i].n += int64(n)
	}
}

// CountsAll reports whether the query asks for nothing but how many documents there are.
func (q *Query) CountsAll() bool {
	for _, item := range q.Items {
		if item.Aggregate != Count || item.Path >= 0 {
			return false
		}
	}
	return q.Items != nil && q.Group == nil && q.All()
}

// group returns the one that a document belongs to.
func (g *Groups) group(values [][]byte) *group {
	g.key = g.key[:0]
	for _, slot := range g.query.Group {
		g.key = appendKey(g.key, values[slot])
	}
	if found, ok := g.byKey[string(g.key)]; ok {
		return found
	}
	added := &group{members: make([][]byte, len(g.query.Items)), sums: make([]sum, len(g.query.Items))}
	for i, item := range g.query.Items {
		if item.Aggregate == "" {
			added.members[i] = append([]byte(nil), values[item.Path]...)
			g.bytes += len(added.members[i])
		}
	}
	g.bytes += len(g.key)
	g.byKey[string(g.key)] = added
	g.order = append(g.order, added)
	return added
}

// appendKey appends what two values have in common that are in one group: 1 and 1.0 are
// the same number, "a" and "\u0061" the same text.
func appendKey(key, encoded []byte) []byte {
	switch v := valueOf(encoded); v.kind {
	case number:
		key = appendNumber(key, v.number)
	case text:
		key = append(key, v.json()...)
	default:
		key = append(key, encoded...)
	}
	return append(key, 0)
}

// add takes a value, and returns how many bytes more it keeps.
func (s *sum) add(aggregate Aggregate, encoded []byte) int {
	v := valueOf(encoded)
	switch aggregate {
	case Count:
		if v.kind != undefined {
			s.n++
		}
	case Sum, Avg:
		if v.kind == number {
			s.n++
			s.total += v.number
		}
	case Min, Max:
		if v.kind != number && v.kind != text {
			return 0
		}
		order, same := compare(v, s.least)
		if !same {
			order = int(v.kind) - int(s.least.kind)
		}
		if aggregate == Max {
			order = -order
		}
		if s.n++; s.n > 1 && order >= 0 {
			return 0
		}
		before := len(s.json)
		s.json = append([]byte(nil), encoded...)
		s.least = valueOf(s.json)
		return len(s.json) - before
	}
	return 0
}

// result returns an aggregate as JSON, nil when there was nothing to make it of.
func (s *sum) result(aggregate Aggregate) []byte {
	switch {
	case aggregate == Count:
		return document.IntegerOf(s.n).AppendJSON(nil)
	case s.n == 0:
		return nil
	case aggregate == Sum:
		return appendNumber(nil, s.total)
	case aggregate == Avg:
		return appendNumber(nil, s.total/float64(s.n))
	}
	return s.json
}

// Rows returns the rows as JSON objects, in the order in which their groups were found.
func (g *Groups) Rows() [][]byte {
	rows := make([][]byte, len(g.order))
	for i, group := range g.order {
		row := newRow(nil)
		for j, item := range g.query.Items {
			if item.Aggregate == "" {
				row.add(item.Name, group.members[j])
			} else {
				row.add(item.Name, group.sums[j].result(item.Aggregate))
			}
		}
		rows[i] = row.end()
	}
	return rows
}
