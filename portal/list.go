package portal

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
)

// pageSize is how many rows a list shows.
const pageSize = 50

// place is what a list was searched for, and where a page of it begins.
type place struct {
	Prefix string // that was searched for
	Status string // that was filtered by, where a list has that
	After  string // the id before the first of the page, "" on the first page
}

// Searched reports whether the list is of a part only.
func (p place) Searched() bool { return p.Prefix != "" || p.Status != "" }

// query is the place as the query of an address, with its question mark; "" for the
// beginning of all.
func (p place) query() string {
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

// list is one page of a long list.
type list[T any] struct {
	place
	Items []T
	Next  string // the After of the next page, "" on the last
	Total int    // of all, searched for or not; 0 when nobody counts them
	Part  string // of the page that the list is, by its id; "" for a page of its own
}

// FirstPage is the address of the list from its beginning.
func (l list[T]) FirstPage() string { return l.address("") }

// NextPage is the address of the next page.
func (l list[T]) NextPage() string { return l.address(l.Next) }

func (l list[T]) address(after string) string {
	at := l.place
	at.After = after
	address := cmp.Or(at.query(), "?")
	if l.Part != "" {
		address += "#" + l.Part
	}
	return address
}

// maxSelected is how many things are deleted at once.
const maxSelected = 1000

// deletion is how things of one kind are deleted, or revoked: the texts of the page
// that asks whether to, which names them, and the call that does it.
type deletion struct {
	Back    string // the path of their list
	Path    string // to which the answer goes; "" for Back/delete
	Button  string // "" for Delete
	Title   string // one|many, with the number
	Explain string // what it means
	Force   string // says what it is done in spite of when its box is ticked; "" for no box
	Done    string // one|many, with the number
	Uses    []use  // that keep them from being deleted, unless a box is ticked
	delete  func(ctx context.Context, id string) error
	gone    fault.Code // what delete says of one that is not there, which is as well

	// ids lists those that are found at a place, from the place's After on; nil where all
	// that match can't be deleted at once.
	ids  lister
	kind audit.Kind // of their bulk in the audit, "" for what is not in there
}

// lister returns the next ids of a list, at most limit, and where to go on, "" at the end.
type lister func(ctx context.Context, at place, limit int) (ids []string, next string, err error)

// idsOf is the lister of a list with a prefix.
func idsOf[T any](list func(ctx context.Context, prefix, after string, limit int) ([]T, string, error), id func(T) string) lister {
	return func(ctx context.Context, at place, limit int) (ids []string, next string, err error) {
		items, next, err := list(ctx, at.Prefix, at.After, limit)
		for _, item := range items {
			ids = append(ids, id(item))
		}
		return ids, next, err
	}
}

// use is a thing that others use.
type use struct {
	ID string
	By []string
}

type deletionPage struct {
	deletion
	place
	IDs   []string // all, or of many that match the first
	Every bool     // all that match
	Count int
	More  bool // than Count
}

// Rest is how many there are beside those that are named.
func (p deletionPage) Rest() int { return p.Count - len(p.IDs) }

// List is the address of the list as it was left.
func (p deletionPage) List() string { return p.Back + p.place.query() }

// Action is the path to which the answer goes.
func (d deletion) Action() string { return cmp.Or(d.Path, d.Back+"/delete") }

// failure is a thing that could not be deleted.
type failure struct {
	ID      string
	Problem *fault.Error
}

// confirm asks whether to delete what is selected.
func (c *call) confirm(d deletion) error {
	if d.ids != nil && c.value("every") == "yes" {
		return c.confirmEvery(d)
	}
	ids, at := c.selected(), c.place()
	if len(ids) == 0 {
		c.say("error", c.language.T("Nothing was selected. Tick the boxes of what is to be deleted"))
		return c.redirect(d.Back + at.query())
	}
	if len(ids) > maxSelected {
		return fault.New(fault.ArgumentInvalid, "%d are selected, which is too many: the limit is %d at once", len(ids), maxSelected)
	}
	return c.render(http.StatusOK, "delete", deletionPage{deletion: d, place: at, IDs: ids, Count: len(ids)})
}

// place is the one in the list that a form was sent from.
func (c *call) place() place {
	return place{Prefix: c.value("prefix"), Status: c.value("status"), After: c.value("after")}
}

// force reports whether the box was ticked by which something is done in spite of what
// is in its way.
func (c *call) force() bool { return c.value("force") == "yes" }

// selected are the ids whose boxes were ticked.
func (c *call) selected() []string {
	ids := c.values("id")
	slices.Sort(ids)
	return slices.Compact(ids)
}

// deleteSelected deletes what is selected once that is confirmed.
func (c *call) deleteSelected(d deletion) error {
	if c.value("confirm") != "yes" {
		return c.confirm(d)
	}
	if d.ids != nil && c.value("every") == "yes" {
		return c.deleteEvery(d)
	}
	var failed []failure
	deleted := 0
	for _, id := range c.selected() {
		err := d.delete(c.r.Context(), id)
		switch {
		case err == nil || errors.Is(err, d.gone):
			deleted++
		default:
			problem := fault.ForOperator(err)
			c.config.Logger.Info("portal could not delete", "id", id, "trackingId", problem.TrackingID, "error", problem)
			failed = append(failed, failure{id, problem})
		}
	}
	if len(failed) > 0 {
		return c.render(http.StatusConflict, "undeleted", map[string]any{"Deletion": d, "List": d.Back + c.place().query(), "Failed": failed, "Deleted": deleted})
	}
	c.say("ok", c.language.N(d.Done, deleted))
	return c.redirect(d.Back + c.place().query())
}

// number returns a parameter of the address that is a whole number, or 0.
func (c *call) number(name string) int64 {
	n, err := strconv.ParseInt(c.query(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
