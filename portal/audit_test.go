package portal

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// The audit shows what the filters ask for, by whichever way it was changed.
func TestAuditFilters(t *testing.T) {
	h := newFixture(t)
	group := func(id string) {
		t.Helper()
		actor := audit.WithActor(ctx, audit.Actor{Name: "policy filler", Remote: "192.0.2.7:1"})
		_, err := h.Provisioning.Groups().Put(actor,
			enroll.Group{EnrollmentGroupID: id,
				Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}}, "")
		h.Must(err)
	}
	group("earlier")
	h.Advance(2 * time.Hour)
	group("later")
	b := h.loggedIn(web.Operator)
	status, page := b.Post("groups/delete",
		map[string][]string{"csrf": {b.Token()}, "id": {"later"}, "confirm": {"yes"}})
	if status != http.StatusOK {
		t.Fatalf("the deletion is answered %d:\n%s", status, page)
	}
	for _, c := range []struct{ query, rows string }{
		{"", "later deleted by portal operator, later created by policy filler, earlier created by policy filler"},
		{"?id=LATER", "later deleted by portal operator, later created by policy filler"},
		{"?by=Filler", "later created by policy filler, earlier created by policy filler"},
		{"?by=portal&kind=enrollmentGroup", "later deleted by portal operator"},
		{"?since=1h&by=policy", "later created by policy filler"},
		{"?since=24h&id=earlier", "earlier created by policy filler"},
		{"?since=nonsense&id=earlier", "earlier created by policy filler"},
		{"?kind=enrollment", ""},
	} {
		_, page := b.Get("audit" + c.query)
		if rows := auditRows(page); rows != c.rows {
			t.Errorf("audit%s shows %q, want %q", c.query, rows, c.rows)
		}
		if c.rows == "" && !strings.Contains(page, "Nothing like this was changed.") {
			t.Errorf("audit%s does not say that there is nothing:\n%s", c.query, page)
		}
	}
}

var auditRow = regexp.MustCompile(
	`(?s)data-label="Action">([^<]*)</td>.*?data-label="Name">([^<]*)</td><td data-label="By">([^<]*)<`)

// auditRows are the rows of an audit page in short.
func auditRows(page string) string {
	var rows []string
	for _, row := range auditRow.FindAllStringSubmatch(page, -1) {
		rows = append(rows, row[2]+" "+row[1]+" by "+row[3])
	}
	return strings.Join(rows, ", ")
}

// Where a thing was changed longer ago than one look goes, the page leads on to it.
func TestAuditFurtherBack(t *testing.T) {
	h := newFixture(t)
	service := h.Provisioning
	_, err := service.Groups().Put(ctx,
		enroll.Group{EnrollmentGroupID: "first",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}}, "")
	h.Must(err)
	for range 25 { // more than one call looks through
		changes := h.Audit.Change(ctx, audit.Created, audit.Enrollment, "many", nil, nil)
		for range 499 {
			changes = append(changes, h.Audit.Change(ctx, audit.Created, audit.Enrollment, "many", nil, nil)...)
		}
		_, err := h.Documents.Commit(ctx, changes...)
		h.Must(err)
	}
	b := h.loggedIn(web.Reader)
	_, page := b.Get("audit?id=first")
	next := regexp.MustCompile(`href="(\?[^"]*)" rel="next">Look further back`).FindStringSubmatch(page)
	if next == nil {
		t.Fatalf("nothing leads further back:\n%s", page)
	}
	_, page = b.Get("audit" + strings.ReplaceAll(next[1], "&amp;", "&"))
	if rows := auditRows(page); rows != "first created by server" {
		t.Errorf("further back is %q", rows)
	}
}
