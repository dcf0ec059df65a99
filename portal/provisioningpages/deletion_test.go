package provisioningpages

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// All that match a search are deleted, however many pages they have, nothing else is, and
// the list is then as it was searched.
func TestEveryEnrollment(t *testing.T) {
	h := newFixture(t)
	b, service := h.loggedIn(web.Operator), h.Provisioning
	fleet := 210
	for i := range fleet + 3 {
		id := fmt.Sprintf("fleet-%03d", i)
		if i >= fleet {
			id = fmt.Sprintf("other-%03d", i)
		}
		_, err := service.Enrollments().Create(ctx, enroll.Enrollment{RegistrationID: id,
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}})
		h.Must(err)
	}
	_, page := b.Get("enrollments?prefix=other-")
	if strings.Contains(page, `name="every"`) {
		t.Error("a list of one page offers to select what is on the others")
	}
	_, page = b.Get("enrollments?prefix=fleet-&after=fleet-049")
	b.Shows(page, "Select all that match, on all pages", `<input type="hidden" name="prefix" value="fleet-">`,
		`<input type="hidden" name="after" value="fleet-049">`)

	// A selection by hand keeps the search and the page.
	at := url.Values{"prefix": {"fleet-"}, "after": {"fleet-049"}, "id": {"fleet-050"}}
	b.Shows(b.Send("enrollments/delete", http.StatusOK, at), "Delete 1 enrollment?",
		"enrollments?after=fleet-049&amp;prefix=fleet-")
	at.Set("confirm", "yes")
	page = b.Send("enrollments/delete", http.StatusOK, at)
	b.Shows(page, "1 enrollment was deleted", `value="fleet-"`, "fleet-051")
	if strings.Contains(page, "fleet-001") || strings.Contains(page, "other-") {
		t.Errorf("the list is another one afterwards:\n%s", page)
	}

	at = url.Values{"prefix": {"fleet-"}, "after": {"fleet-049"}, "every": {"yes"}}
	page = b.Send("enrollments/delete", http.StatusOK, at)
	b.Shows(page, fmt.Sprintf("Delete %d enrollments?", fleet-1),
		"All that match the search are deleted, on all pages.", "fleet-000", fmt.Sprintf("and %d more", fleet-1-50))
	if strings.Contains(page, "fleet-100") || strings.Contains(page, "other-") {
		t.Errorf("the page that asks names:\n%s", page)
	}
	page, back := b.DeleteAll("enrollments/delete", at)
	b.Shows(page, fmt.Sprintf("%d enrollments were deleted", fleet-1))
	if back != "enrollments?prefix=fleet-" {
		t.Errorf("the way back leads to %q", back)
	}
	left, _, err := service.Enrollments().List(ctx, "", "", 10)
	if err != nil || len(left) != 3 || left[0].RegistrationID != fmt.Sprintf("other-%03d", fleet) {
		t.Errorf("there are still %d: %v, error %v", len(left), left, err)
	}
	entries, _, err := h.Audit.Entries(ctx, audit.Filter{Kind: audit.Enrollment})
	h.Must(err)
	if entries[0].Bulk == nil || entries[0].Action != audit.Deleted || entries[1].ID != "fleet-050" ||
		entries[2].Action != audit.Created || entries[0].Bulk.Done != fleet-1 || !entries[0].Bulk.Ended ||
		entries[0].Actor != "portal operator" {
		t.Errorf("the audit has of the deletions %+v", entries)
	}

	// Nothing is left that matches; what was not searched is all there is.
	at = url.Values{"prefix": {"fleet-"}, "every": {"yes"}}
	b.Shows(b.Send("enrollments/delete", http.StatusOK, at), "Nothing matches any more")
	b.Shows(b.Send("enrollments/delete", http.StatusOK, url.Values{"every": {"yes"}}), "Delete 3 enrollments?",
		"Everything is deleted")
	page, _ = b.DeleteAll("enrollments/delete", url.Values{})
	b.Shows(page, "3 enrollments were deleted")
	if status, _ := b.Get("deletions/unknown"); status != http.StatusNotFound {
		t.Errorf("an unknown deletion is answered %d", status)
	}
}

// The records that match a status are found on all pages.
func TestEveryRegistration(t *testing.T) {
	h := newFixture(t)
	b, service := h.loggedIn(web.Operator), h.Provisioning
	for _, id := range []string{"r-1", "r-2", "r-3"} {
		key := credential.NewKey(32)
		_, err := service.Enrollments().Create(ctx,
			enroll.Enrollment{RegistrationID: id, Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{
				Type:         "symmetricKey",
				SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: key, SecondaryKey: credential.NewKey(32)}}}})
		h.Must(err)
		if id == "r-2" {
			continue // it never registers
		}
		token, err := credential.NewToken("0ne1/registrations/"+id, "registration", key, h.Now().Add(time.Hour))
		h.Must(err)
		_, err = service.OpenSession("0ne1", id, credential.Evidence{Token: token}).Register(ctx, nil)
		h.Must(err)
	}
	all, _, err := service.Registrations().List(ctx, "", "", 10)
	h.Must(err)
	if len(all) != 2 {
		t.Fatalf("there are %d records", len(all))
	}
	status := string(all[0].Status)
	at := url.Values{"status": {"unassigned"}, "every": {"yes"}}
	b.Shows(b.Send("registrations/delete", http.StatusOK, at), "Nothing matches any more")
	page, back := b.DeleteAll("registrations/delete", url.Values{"status": {status}})
	b.Shows(page, "2 registration records were deleted")
	if back != "registrations?status="+status {
		t.Errorf("the way back leads to %q", back)
	}
}
