package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/portal/portaltest"
)

// TestDeleteSelected deletes what is ticked once that is confirmed, and says what could
// not be deleted.
func TestDeleteSelected(t *testing.T) {
	h := newFixture(t)
	h.things.add(h, "a", "b", "c", "fixed")
	b := h.loggedIn(Operator)
	b.Shows(b.Send("things/delete", 200, url.Values{}), "Nothing was selected")
	page := b.Send("things/delete", 200, url.Values{"id": {"b", "a", "b"}, "prefix": {"x"}})
	b.Shows(page, "Delete 2 things?", "They are gone.", `name="prefix" value="x"`)
	b.Shows(b.Send("things/delete", 200, url.Values{"id": {"b", "a"}, "confirm": {"yes"}}), "2 things were deleted",
		">c<")
	page = b.Send("things/delete", 409, url.Values{"id": {"c", "fixed"}, "confirm": {"yes"}})
	b.Shows(page, "1 thing was deleted", "It can&#39;t be moved", "fixed")
	b.Shows(
		b.Send("things/delete", 200, url.Values{"id": {"fixed"}, "confirm": {"yes"}, "force": {"yes"}}),
		"1 thing was deleted",
	)
	b.Send("things/delete", 400, url.Values{"id": portaltest.Names("t", MaxSelected+1)})
	if len(h.things.records()) != 0 {
		t.Errorf("%v is recorded of what was ticked", h.things.records())
	}
}

// TestDeleteUsed names those who use what is to be deleted, in the words of the pages,
// and has a box for it that is not there for anything else.
func TestDeleteUsed(t *testing.T) {
	h := newFixture(t)
	h.things.add(h, "lent", "own")
	b := h.loggedIn(Operator)
	page := b.Send("things/delete", 200, url.Values{"id": {"lent", "own"}})
	b.Shows(page, "lent is in use by: anna, bert", "Delete them all the same")
	if n := strings.Count(page, `name="force"`); n != 1 {
		t.Errorf("there are %d boxes, want 1:\n%s", n, page)
	}
	page = b.Send("things/delete", 200, url.Values{"id": {"own"}})
	if strings.Contains(page, "in use") || strings.Contains(page, `name="force"`) {
		t.Errorf("the page asks of what nobody uses:\n%s", page)
	}
}

// TestDeleteAll deletes all that match a search, whatever page they are on, and has it
// recorded.
func TestDeleteAll(t *testing.T) {
	h := newFixture(t)
	h.things.add(h, portaltest.Names("fleet", bulkPart+bulkNamed)...)
	h.things.add(h, "fixed", "other")
	b := h.loggedIn(Operator)
	_, page := b.Get("?prefix=fleet")
	b.Shows(page, "Select all that match, on all pages", `rel="next"`)
	_, page = b.Get("?prefix=fleet&after=fleet-1")
	b.Shows(page, `rel="first"`)
	page = b.Send("things/delete", 200, url.Values{"prefix": {"fleet"}, "after": {"fleet-1"}, "every": {"yes"}})
	b.Shows(page, "Delete 150 things?", "and 100 more", "All that match the search are deleted, on all pages.")
	page, back := b.DeleteAll("things/delete", url.Values{"prefix": {"fleet"}})
	b.Shows(page, "150 things were deleted")
	if back != "?prefix=fleet" {
		t.Errorf("the way back leads to %q", back)
	}
	if records := h.things.records(); len(records) != 151 || records[150] != "end" ||
		!slices.Contains(records, "fleet-7 ") {
		t.Errorf("recorded is %q", records)
	}
	b.Shows(b.Send("things/delete", 200, url.Values{"prefix": {"fleet"}, "every": {"yes"}}), "Nothing matches any more")
	page, _ = b.DeleteAll("things/delete", url.Values{})
	b.Shows(page, "1 thing was deleted", "1 could not be deleted", "It can&#39;t be moved")
	if status, _ := b.Get("deletions/unknown"); status != http.StatusNotFound {
		t.Errorf("an unknown deletion is answered %d", status)
	}
}

// TestReaderIsRefused: a reader changes nothing, and it is kept who tried.
func TestReaderIsRefused(t *testing.T) {
	h := newFixture(t)
	h.things.add(h, "a")
	b := h.loggedIn(Reader)
	b.Send("things/delete", 403, url.Values{"id": {"a"}, "confirm": {"yes"}})
	b.Send("things/new", 403, url.Values{"name": {"b"}})
	status, page, _ := b.Upload("things/file", "a.txt", "content", "csrf", b.Token())
	if status != http.StatusForbidden || !strings.Contains(page, "as a reader") {
		t.Errorf("an upload is answered %d", status)
	}
	if want := []string{"things/delete", "things/new", "things/file"}; !slices.Equal(h.refused, want) {
		t.Errorf("kept is %q, want %q", h.refused, want)
	}
}

// TestFormAfterItsSession: what was typed goes through the login and back, but for
// secrets, and is not carried out before it is looked at.
func TestFormAfterItsSession(t *testing.T) {
	h := newFixture(t)
	b := h.Browser()
	typed := url.Values{"name": {"typed"}, "key": {"a secret"}, "csrf": {"old"}}
	status, page := b.Post("things/new", typed)
	if status != http.StatusUnauthorized || strings.Contains(page, "a secret") {
		t.Errorf("the form is answered %d:\n%s", status, page)
	}
	b.Shows(page, `name="name" value="typed"`, "What you typed is kept", "berth portal link")
	if status, _ := b.Post("things/new", url.Values{"code": {"wrong"}}); status != http.StatusUnauthorized {
		t.Errorf("a wrong code is answered %d", status)
	}
	typed.Set("code", h.link(Operator))
	status, page = b.Post("things/new", typed)
	if status != http.StatusOK {
		t.Fatalf("after the login the form is answered %d", status)
	}
	b.Shows(page, `value="typed"`, "check what you typed and send it again")
	b.Shows(b.Send("things/new", 200, url.Values{"name": {"typed"}}), "There is a thing typed", ">typed<")
}

// TestUploads: a file of an operator whose form is genuine is taken, and any other is not.
func TestUploads(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(Operator)
	token := b.Token()
	if status, _, arrived := b.Upload("things/file", "dir/a.txt", "content", "csrf", token); status != 200 ||
		arrived != "" ||
		h.things.uploaded != "a.txt: content" {
		t.Errorf("the upload is answered %d at %q, and %q taken", status, arrived, h.things.uploaded)
	}
	if status, page, _ := b.Upload("things/file", "", "content", "csrf", token); status != 400 ||
		!strings.Contains(page, "Choose a file first") {
		t.Errorf("no file is answered %d", status)
	}
	if status, _, _ := b.Upload("things/file", "a.txt", "content", "csrf", "old"); status != 403 {
		t.Errorf("a form of another session is answered %d", status)
	}
	if status, _ := b.Post("things/file", url.Values{"csrf": {token}}); status != http.StatusUnsupportedMediaType {
		t.Errorf("a form without files is answered %d", status)
	}
	if status, page, _ := h.Browser().Upload("things/file", "a.txt", "content"); status != 401 ||
		!strings.Contains(page, `name="code"`) {
		t.Errorf("a stranger's upload is answered %d", status)
	}
	if status, page := b.Get("things/file"); status != 200 || page != "one\ntwo\n" {
		t.Errorf("a download is answered %d with %q", status, page)
	}
	if status, _ := b.Get("things/panic"); status != http.StatusInternalServerError {
		t.Errorf("a panic is answered %d", status)
	}
}

// TestCommands are for the data folder of the server, for those who are logged in.
func TestCommands(t *testing.T) {
	h := newFixture(t, func(c *Config) { c.DataFlag = " --data /srv/berth" })
	_, page := h.loggedIn(Reader).Get("things/new")
	if !strings.Contains(page, "berth thing list --data /srv/berth\nberth cert device d<") {
		t.Errorf("the commands are\n%s", page)
	}
	for word, want := range map[string]string{"plain": "plain", "two words": "'two words'", "it's": `'it'\''s'`,
		"$HOME": "'$HOME'"} {
		if quoted := Quote(word); quoted != want {
			t.Errorf("%s is quoted as %s, want %s", word, quoted, want)
		}
	}
}

// TestParseRole knows the two roles, and takes none for an operator.
func TestParseRole(t *testing.T) {
	for name, want := range map[string]Role{"": Operator, "operator": Operator, "reader": Reader} {
		if role, err := ParseRole(name); err != nil || role != want {
			t.Errorf("%q is %q, error %v", name, role, err)
		}
	}
	if _, err := ParseRole("owner"); err == nil {
		t.Error("an owner is a role")
	}
}

// TestPreferences keep the reader's language and theme, and lead back to the page.
func TestPreferences(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(Reader)
	status, page := b.Post("preferences",
		url.Values{"lang": {"fr"}, "theme": {"dark"}, "back": {Root + "things/new?a=b"}})
	if status != http.StatusOK {
		t.Errorf("preferences are answered %d", status)
	}
	b.Shows(page, `<html lang="fr" data-theme="dark">`, "<h1>A thing</h1>", "Copier")
}

// TestNewChart gives bars their places: the tallest fills the height, and what is not
// nothing can be seen.
func TestNewChart(t *testing.T) {
	chart := NewChart([]Bar{{Good: 1000}, {}, {Good: 1, Bad: 1}}, 5*60e9)
	if chart.Most != 1000 || chart.Good != 1001 || chart.Bad != 1 || chart.Span() != 15 ||
		chart.Width() != 3*(chart.BarWidth()+barGap) {
		t.Errorf("the chart is %+v", chart)
	}
	heights := ""
	for _, bar := range chart.Bars {
		heights += fmt.Sprint(bar.GoodH, "+", bar.BadH, " ")
	}
	if heights != fmt.Sprintf("%d+0 0+0 2+2 ", chart.Height()-4) {
		t.Errorf("the heights are %s", heights)
	}
}

// TestKeep makes what a live page keeps once, and nothing of a page that is loaded once.
func TestKeep(t *testing.T) {
	made := 0
	create := func() int { made++; return made }
	if kept, live := Keep(&Call{}, "key", create); live || kept != 0 || made != 0 {
		t.Errorf("a page that is loaded once keeps %d", kept)
	}
	c := &Call{watch: &watch{}}
	for key, want := range map[string]int{"key": 1} {
		for range 2 {
			if kept, live := Keep(c, key, create); !live || kept != want {
				t.Errorf("under %s %d is kept, want %d", key, kept, want)
			}
		}
	}
}
