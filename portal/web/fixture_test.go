package web

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/store"
)

// fixture is a site of two pages about things, which are words.
type fixture struct {
	*portaltest.Fixture
	*Site
	things  *things
	trusted bool
	refused []string // pages at which a reader was refused
}

// newFixture opens the site, as config changes it.
func newFixture(t *testing.T, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{Fixture: portaltest.New(t), trusted: true}
	f.things = &things{table: store.NewTable[string](f.Documents, "things")}
	config := Config{
		Name: "test", Languages: languages, Documents: f.Documents, DataDir: f.DataDir, Now: f.Now,
		Trusted: func() bool { return f.trusted }, Health: f.Health, Logger: f.Logger, Ticker: f.Ticks.New,
		HoldsSecret: func(text string) bool { return strings.Contains(text, "secret") },
		Refused: func(_ context.Context, page string, _ *fault.Error) error {
			f.refused = append(f.refused, page)
			return nil
		},
	}
	for _, set := range change {
		set(&config)
	}
	f.Site = New(config, f.things.section())
	f.Serve(f.Site)
	return f
}

// loggedIn is a browser after a login.
func (f *fixture) loggedIn(role Role) *portaltest.Browser {
	f.T.Helper()
	return f.LogIn(f.link(role))
}

func (f *fixture) link(role Role) string {
	f.T.Helper()
	path, _, err := f.Link(f.Context, role)
	f.Must(err)
	return path
}

// things is a domain that is small enough for the tests of the frame.
type things struct {
	table    store.Table[string]
	mutex    sync.Mutex
	recorded []string // parts and the end of bulk deletions
	uploaded string   // the content of the file that was sent last
}

// add makes things.
func (d *things) add(f *fixture, ids ...string) {
	f.T.Helper()
	for _, id := range ids {
		_, err := f.Documents.Commit(f.Context, d.table.Put(id, store.Absent, id))
		f.Must(err)
	}
}

func (d *things) section() Section {
	return Section{
		Routes: []Routes{{
			"GET {$}":            RequireSession(d.list),
			"GET things/new":     RequireSession(d.typed),
			"POST things/new":    RequireOperator(d.typed, d.create),
			"POST things/delete": HandleDeletion(d.deletion),
			"GET things/file":    RequireSession(d.file),
			"GET things/panic":   func(*Call) error { panic("a bug") },
		}},
		Uploads:   Routes{"things/file": RequireUpload(d.explain, d.take)},
		Templates: os.DirFS("testdata"),
	}
}

func (d *things) list(c *Call) error {
	return c.Show("things", nil, func() (any, error) {
		l := List[string]{Position: Position{Prefix: c.Query("prefix"), After: c.Query("after")}}
		var err error
		l.Items, l.Next, err = d.find(c.Context(), l.Prefix, l.After, PageSize)
		return l, err
	})
}

// find lists the things of a prefix.
func (d *things) find(ctx context.Context, prefix, after string, limit int) (ids []string, next string, err error) {
	entries, err := d.table.List(ctx, prefix, after, limit+1)
	for _, entry := range entries {
		ids = append(ids, entry.Key)
	}
	if len(ids) > limit {
		ids = ids[:limit]
		next = ids[limit-1]
	}
	return ids, next, err
}

// thingPage is the form of a thing.
type thingPage struct {
	Name    string
	Problem *fault.Error
}

func (d *things) typed(c *Call) error {
	return c.Render(http.StatusOK, "thing", thingPage{Name: c.Value("name")})
}

func (d *things) create(c *Call) error {
	name := c.Text("name")
	if name == "" {
		problem := fault.New(fault.ArgumentNull, "Choose a file first")
		return c.Render(problem.Code.Status(), "thing", thingPage{Problem: problem})
	}
	if _, err := d.table.Documents.Commit(c.Context(), d.table.Put(name, store.Absent, name)); err != nil {
		return err
	}
	c.Notify("ok", "There is a thing "+name)
	return c.Redirect("")
}

func (d *things) deletion(c *Call) (Deletion, error) {
	var uses []Use
	for _, id := range c.Selected() {
		if strings.HasPrefix(id, "lent") {
			uses = append(uses, Use{id, []string{"anna", "bert"}})
		}
	}
	return Deletion{
		Used: "%s is in use by:", Uses: uses, Force: "Delete them all the same",
		Back: "", Path: "things/delete",
		Title: "Delete %d thing?|Delete %d things?", Explain: "They are gone.",
		Done: "%d thing was deleted|%d things were deleted",
		Gone: fault.NotFound, IDs: ListIDs(d.find, func(id string) string { return id }),
		Record: func(context.Context) BulkRecord { return d },
		Delete: func(ctx context.Context, id string) error {
			if strings.HasPrefix(id, "fixed") && !c.Forced() {
				return fault.New(fault.PreconditionFailed, "It can't be moved")
			}
			_, err := d.table.Documents.Commit(ctx, d.table.Delete(id, store.Always))
			return err
		},
	}, nil
}

// Part implements BulkRecord.
func (d *things) Part(ctx context.Context, ids []string) (context.Context, func(func(i int) string), error) {
	return ctx, func(reason func(i int) string) {
		d.mutex.Lock()
		defer d.mutex.Unlock()
		for i, id := range ids {
			d.recorded = append(d.recorded, id+" "+reason(i))
		}
	}, nil
}

// End implements BulkRecord.
func (d *things) End(context.Context) error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.recorded = append(d.recorded, "end")
	return nil
}

func (d *things) records() []string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return slices.Clone(d.recorded)
}

func (d *things) file(c *Call) error {
	_, err := c.Download("text/plain; charset=utf-8", "things.txt").Write([]byte("one\ntwo\n"))
	return err
}

func (d *things) explain(c *Call, problem *fault.Error) error {
	return c.Render(problem.Code.Status(), "thing", thingPage{Problem: problem})
}

func (d *things) take(c *Call, file *Upload) error {
	defer file.Close()
	var text strings.Builder
	if _, err := file.WriteTo(&text); err != nil {
		return err
	}
	d.uploaded = file.FileName + ": " + text.String()
	return c.Redirect("")
}
