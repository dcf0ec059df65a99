package portal

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/berth-iot/berth/fault"
)

// pageSize is how many rows a list shows.
const pageSize = 50

// list is one page of a long list.
type list[T any] struct {
	Items  []T
	Prefix string // that was searched for
	Status string // that was filtered by, where a list has that
	After  string // the id before the first of this page, "" on the first page
	Next   string // the After of the next page, "" on the last
	Total  int    // of all, searched for or not; 0 when nobody counts them
	Part   string // of the page that the list is, by its id; "" for a page of its own
}

// FirstPage is the address of the list from its beginning.
func (l list[T]) FirstPage() string { return l.address("") }

// NextPage is the address of the next page.
func (l list[T]) NextPage() string { return l.address(l.Next) }

func (l list[T]) address(after string) string {
	query := url.Values{}
	for name, value := range map[string]string{"prefix": l.Prefix, "status": l.Status, "after": after} {
		if value != "" {
			query.Set(name, value)
		}
	}
	address := "?" + query.Encode()
	if l.Part != "" {
		address += "#" + l.Part
	}
	return address
}

// Searched reports whether the list is of a part only.
func (l list[T]) Searched() bool { return l.Prefix != "" || l.Status != "" }

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
}

// use is a thing that others use.
type use struct {
	ID string
	By []string
}

type deletionPage struct {
	deletion
	IDs []string
}

// Action is the path to which the answer goes.
func (d deletion) Action() string { return cmp.Or(d.Path, d.Back+"/delete") }

// failure is a thing that could not be deleted.
type failure struct {
	ID      string
	Problem *fault.Error
}

// confirm asks whether to delete what is selected.
func (c *call) confirm(d deletion) error {
	ids := c.selected()
	if len(ids) == 0 {
		c.say("error", c.language.T("Nothing was selected. Tick the boxes of what is to be deleted"))
		return c.redirect(d.Back)
	}
	if len(ids) > maxSelected {
		return fault.New(fault.ArgumentInvalid, "%d are selected, which is too many: the limit is %d at once", len(ids), maxSelected)
	}
	return c.render(http.StatusOK, "delete", deletionPage{d, ids})
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
		return c.render(http.StatusConflict, "undeleted", map[string]any{"Deletion": d, "Failed": failed, "Deleted": deleted})
	}
	c.say("ok", c.language.N(d.Done, deleted))
	return c.redirect(d.Back)
}

// number returns a parameter of the address that is a whole number, or 0.
func (c *call) number(name string) int64 {
	n, err := strconv.ParseInt(c.query(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
