package web

import (
	"cmp"
	"context"
	"net/url"
)

// PageSize is how many rows a list shows.
const PageSize = 50

// Position is what a list was searched for, and where a page of it begins.
type Position struct {
	Prefix string // that was searched for
	Status string // that was filtered by, where a list has that
	After  string // the id before the first of the page, "" on the first page
}

// Searched reports whether the list is of a part only.
func (p Position) Searched() bool { return p.Prefix != "" || p.Status != "" }

// query is the position as the query of an address, with its question mark; "" for the
// beginning of all.
func (p Position) query() string {
	query := url.Values{}
	for name, value := range map[string]string{"prefix": p.Prefix, "status": p.Status, "after": p.After} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// start is the position from whose beginning all that match are found.
func (p Position) start() Position {
	p.After = ""
	return p
}

// position is the one in the list that a form was sent from.
func (c *Call) position() Position {
	return Position{Prefix: c.Value("prefix"), Status: c.Value("status"), After: c.Value("after")}
}

// List is one page of a long list.
type List[T any] struct {
	Position
	Items []T
	Next  string // the After of the next page, "" on the last
	Total int    // of all, searched for or not; 0 when nobody counts them
	Part  string // of the page that the list is, by its id; "" for a page of its own
}

// FirstPage is the address of the list from its beginning.
func (l List[T]) FirstPage() string { return l.address("") }

// NextPage is the address of the next page.
func (l List[T]) NextPage() string { return l.address(l.Next) }

func (l List[T]) address(after string) string {
	at := l.Position
	at.After = after
	address := cmp.Or(at.query(), "?")
	if l.Part != "" {
		address += "#" + l.Part
	}
	return address
}

// Lister returns the next ids of a list from a position on, at most limit, and the After
// of the ids that follow, "" at the end.
type Lister func(ctx context.Context, at Position, limit int) (ids []string, next string, err error)

// ListIDs is the Lister of a list that is searched by a prefix.
func ListIDs[T any](
	list func(ctx context.Context, prefix, after string, limit int) ([]T, string, error), id func(T) string,
) Lister {
	return func(ctx context.Context, at Position, limit int) (ids []string, next string, err error) {
		items, next, err := list(ctx, at.Prefix, at.After, limit)
		for _, item := range items {
			ids = append(ids, id(item))
		}
		return ids, next, err
	}
}

// each calls take with the ids of all that are found from a position on, page by page,
// until one of them fails.
func (list Lister) each(ctx context.Context, at Position, take func(ids []string) error) error {
	for {
		ids, next, err := list(ctx, at, bulkPage)
		if err != nil {
			return err
		}
		if err := take(ids); err != nil || next == "" {
			return err
		}
		at.After = next
	}
}
