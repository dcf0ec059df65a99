// Package query is the query language of IoT Hub for twins and jobs (Azure,
// iot-hub-devguide-query-language): it reads queries and conditions, evaluates them, and
// makes the answer's rows. What there is to query it does not know: it is given the JSON
// that is at the paths which a query names.
package query

import (
	"unicode/utf8"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// MaxLength is how many characters a query may have.
const MaxLength = 8192

// A Source is what a query asks for.
type Source string

// The sources of queries.
const (
	Devices Source = "devices"         // the twins of devices
	Modules Source = "devices.modules" // the twins of modules
	Jobs    Source = "devices.jobs"    // what jobs do to each device
)

// Path leads to a value in a document, by the names of its members. The names that are
// Azure's are spelled as Azure spells them, however a query does.
type Path []string

// Condition says which documents of a source are meant.
type Condition struct {
	Source Source
	Paths  []Path // whose values it is evaluated from, each once
	Filter int    // how many of Paths the condition is about, the first ones; the others are of SELECT and GROUP BY

	where  node // nil for all
	finder *document.Finder
}

// Query is a query: a condition, and what is asked of the documents that it holds for.
type Query struct {
	Condition
	Top   int    // rows at most; 0 is unlimited
	Items []Item // what each row has; nil for the whole document (SELECT *)
	Group []int  // the paths by which the documents are grouped, as indexes into Paths
}

// Item is one member of the rows of a query.
type Item struct {
	Name      string
	Aggregate Aggregate // "" for the value itself
	Path      int       // an index into Paths; -1 for COUNT()

	at int // in the text of the query
}

// Aggregate is what is made of the values of several documents.
type Aggregate string

// The aggregates. All but Count leave out what is no number; Min and Max take text, too,
// which comes after numbers.
const (
	Count Aggregate = "COUNT"
	Avg   Aggregate = "AVG"
	Sum   Aggregate = "SUM"
	Min   Aggregate = "MIN"
	Max   Aggregate = "MAX"
)

// Aggregates reports whether a row is made of several documents.
func (q *Query) Aggregates() bool {
	if q.Group != nil {
		return true
	}
	for _, item := range q.Items {
		if item.Aggregate != "" {
			return true
		}
	}
	return false
}

// Parse reads a query: SELECT … FROM … [WHERE …] [GROUP BY …]. It returns fault 400004 for
// one that can't be read, with line and column.
func Parse(text string) (Query, error) {
	if err := checkLength(text); err != nil {
		return Query{}, err
	}
	p := newParser(text)
	q, err := p.query()
	if err != nil {
		return Query{}, locate(text, err, "The query can't be read at line %d, column %d: %v")
	}
	return q, nil
}

// ParseCondition reads a condition as jobs and configurations have it: what stands behind
// WHERE in a query of devices; "" or * for all of them; or FROM devices.modules [WHERE …].
// It returns fault 400004 for one that can't be read, with line and column.
func ParseCondition(text string) (Condition, error) {
	if err := checkLength(text); err != nil {
		return Condition{}, err
	}
	p := newParser(text)
	c, err := p.condition()
	if err != nil {
		return Condition{}, locate(text, err, "The condition can't be read at line %d, column %d: %v")
	}
	return c, nil
}

// All reports whether the condition holds for every document.
func (c *Condition) All() bool { return c.where == nil }

// Holds reports whether the condition holds, given the JSON at each of its first Filter
// Paths, nil where there is none.
func (c *Condition) Holds(values [][]byte) bool {
	if c.where == nil {
		return true
	}
	result := c.where.eval(values)
	return result.kind == boolean && result.truth
}

// Matches reports whether the condition holds for a document.
func (c *Condition) Matches(d document.Object) bool { return c.Holds(c.valuesOf(d)) }

// MatchesJSON is Matches for a document that is the JSON of this server.
func (c *Condition) MatchesJSON(text []byte) bool {
	values := make([][]byte, len(c.Paths))
	c.finder.Find(text, values)
	return c.Holds(values)
}

// valuesOf takes the JSON at the paths out of a document.
func (c *Condition) valuesOf(d document.Object) [][]byte {
	values := make([][]byte, len(c.Paths))
	for i, path := range c.Paths {
		if found := d.Get(path...); found.Kind() != document.KindAbsent {
			values[i] = found.AppendJSON(nil)
		}
	}
	return values
}

// checkLength refuses what is longer than a query may be.
func checkLength(text string) error {
	if len(text) <= MaxLength {
		return nil
	}
	if n := utf8.RuneCountInString(text); n > MaxLength {
		return fault.New(fault.ArgumentInvalid, "The query has %d characters, and %d are allowed", n, MaxLength)
	}
	return nil
}
