package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/berth-iot/berth/fault"
)

// MaxSelected is how many things are deleted at once, by the boxes that are ticked.
const MaxSelected = 1000

// Deletion is how things of one kind are deleted, or revoked: the texts of the page
// that asks whether to, which names them, and the call that does it.
type Deletion struct {
	Back    string // the path of their list
	Path    string // to which the answer goes; "" for Back/delete
	Button  string // "" for Delete
	Title   string // one|many, with the number
	Explain string // what it means
	Force   string // says what it is done in spite of when its box is ticked; "" for no box
	Done    string // one|many, with the number

	// Uses keep things from being deleted, unless the box of Force is ticked, which is
	// there for them alone. Used says of one, by its id, that those use it who are named
	// after it; it is "" where nothing is used.
	Uses []Use
	Used string

	Delete func(ctx context.Context, id string) error
	Gone   fault.Code // what Delete says of one that is not there, which is as well

	// IDs lists those that are found, from the After of a position on; nil where all that
	// match can't be deleted at once.
	IDs Lister
	// Record begins to record the deletion of all that match, before it is begun; nil
	// where nothing is recorded.
	Record func(ctx context.Context) BulkRecord
}

// BulkRecord is what records a deletion of many things.
type BulkRecord interface {
	// Part records which things are to be deleted next, and returns the context to delete
	// them in. After that end is called, with the reason why the i-th was not deleted, ""
	// when it was.
	Part(ctx context.Context, ids []string) (inner context.Context, end func(reason func(i int) string), err error)
	// End records that the deletion is over.
	End(ctx context.Context) error
}

// Use is a thing that others use.
type Use struct {
	ID string
	By []string
}

type deletionPage struct {
	Deletion
	Position
	IDs   []string // all, or of many that match the first
	Every bool     // all that match
	Count int
	More  bool // than Count
}

// Rest is how many there are beside those that are named.
func (p deletionPage) Rest() int { return p.Count - len(p.IDs) }

// List is the address of the list as it was left.
func (p deletionPage) List() string { return p.Back + p.Position.query() }

// Action is the path to which the answer goes.
func (d Deletion) Action() string { return cmp.Or(d.Path, d.Back+"/delete") }

// failure is a thing that could not be deleted.
type failure struct {
	ID      string
	Problem *fault.Error
}

// HandleDeletion is the handler of a form that deletes what is selected in a list, or all
// that match its search. It asks first, and deletes once that is confirmed. of is called
// for both.
func HandleDeletion(of func(*Call) (Deletion, error)) Handler {
	with := func(do func(*Call, Deletion) error) Handler {
		return func(c *Call) error {
			d, err := of(c)
			if err != nil {
				return err
			}
			return do(c, d)
		}
	}
	return RequireOperator(with((*Call).confirmDeletion), with((*Call).delete))
}

// Confirmed reports whether the form says yes to what it was asked.
func (c *Call) Confirmed() bool { return c.Value("confirm") == "yes" }

// Forced reports whether the box was ticked by which something is done in spite of what
// is in its way.
func (c *Call) Forced() bool { return c.Value("force") == "yes" }

// Selected are the ids whose boxes were ticked.
func (c *Call) Selected() []string {
	ids := c.Values("id")
	slices.Sort(ids)
	return slices.Compact(ids)
}

// deletesAll reports whether all that match are meant, and not those that are ticked.
func (c *Call) deletesAll(d Deletion) bool { return d.IDs != nil && c.Value("every") == "yes" }

// confirmDeletion asks whether to delete what is selected.
func (c *Call) confirmDeletion(d Deletion) error {
	if c.deletesAll(d) {
		return c.confirmEvery(d)
	}
	ids, at := c.Selected(), c.position()
	if len(ids) == 0 {
		c.Notify("error", c.T("Nothing was selected. Tick the boxes of what is to be deleted"))
		return c.Redirect(d.Back + at.query())
	}
	if len(ids) > MaxSelected {
		return fault.New(fault.ArgumentInvalid, "%d are selected, which is too many: the limit is %d at once", len(ids),
			MaxSelected)
	}
	return c.Render(http.StatusOK, "delete", deletionPage{Deletion: d, Position: at, IDs: ids, Count: len(ids)})
}

// delete deletes what is selected once that is confirmed.
func (c *Call) delete(d Deletion) error {
	if !c.Confirmed() {
		return c.confirmDeletion(d)
	}
	if c.deletesAll(d) {
		return c.deleteEvery(d)
	}
	var failed []failure
	deleted := 0
	for _, id := range c.Selected() {
		err := d.Delete(c.Context(), id)
		switch {
		case err == nil || errors.Is(err, d.Gone):
			deleted++
		default:
			problem := fault.ForOperator(err)
			c.Logger().Info("portal could not delete", "id", id, "trackingId", problem.TrackingID, "error", problem)
			failed = append(failed, failure{id, problem})
		}
	}
	list := d.Back + c.position().query()
	if len(failed) > 0 {
		return c.Render(http.StatusConflict, "undeleted", undeletedPage{d, list, failed, deleted})
	}
	c.Notify("ok", c.N(d.Done, deleted))
	return c.Redirect(list)
}

// undeletedPage is what could not be deleted of what was selected.
type undeletedPage struct {
	Deletion Deletion
	List     string // its address
	Failed   []failure
	Deleted  int
}
