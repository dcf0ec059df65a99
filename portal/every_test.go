package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning"
)

var listLink = regexp.MustCompile(`class="button" href="` + Root + `([^"]*)">Back to the list`)

// deletedAll deletes all that match, waits for the end and returns the page that says
// what came of it, and the path of the list that it leads back to.
func (b *browser) deletedAll(path string, form url.Values) (page, back string) {
	b.t.Helper()
	form.Set("every", "yes")
	form.Set("confirm", "yes")
	page = b.send(path, http.StatusOK, form)
	refresh := regexp.MustCompile(`href="` + Root + `(deletions/[^"]*)"`).FindStringSubmatch(page)
	if refresh == nil {
		b.t.Fatalf("%s leads to no page of a deletion:\n%s", path, page)
	}
	for deadline := time.Now().Add(time.Minute); strings.Contains(page, "<progress"); _, page = b.get(refresh[1]) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the deletion does not end:\n%s", page)
		}
	}
	found := listLink.FindStringSubmatch(page)
	if found == nil {
		b.t.Fatalf("no way leads back to the list:\n%s", page)
	}
	return page, strings.ReplaceAll(found[1], "&amp;", "&")
}

// All that match a search are deleted, however many pages they have, nothing else is, and
// the list is then as it was searched.
func TestEveryEnrollment(t *testing.T) {
	h := newHouse(t)
	b, service := h.loggedIn(Operator), h.config.Provisioning
	fleet := 2*everyPart + 10
	for i := range fleet + 3 {
		id := fmt.Sprintf("fleet-%03d", i)
		if i >= fleet {
			id = fmt.Sprintf("other-%03d", i)
		}
		_, err := service.CreateEnrollment(ctx, provisioning.Enrollment{RegistrationID: id,
			EnrollmentSettings: provisioning.EnrollmentSettings{Attestation: provisioning.AttestationMechanism{Type: "symmetricKey"}}})
		h.must(err)
	}
	_, page := b.get("enrollments?prefix=other-")
	if strings.Contains(page, `name="every"`) {
		t.Error("a list of one page offers to select what is on the others")
	}
	_, page = b.get("enrollments?prefix=fleet-&after=fleet-049")
	b.shows(page, "Select all that match, on all pages", `<input type="hidden" name="prefix" value="fleet-">`, `<input type="hidden" name="after" value="fleet-049">`)

	// A selection by hand keeps the search and the page.
	at := url.Values{"prefix": {"fleet-"}, "after": {"fleet-049"}, "id": {"fleet-050"}}
	b.shows(b.send("enrollments/delete", http.StatusOK, at), "Delete 1 enrollment?", "enrollments?after=fleet-049&amp;prefix=fleet-")
	at.Set("confirm", "yes")
	page = b.send("enrollments/delete", http.StatusOK, at)
	b.shows(page, "1 enrollment was deleted", `value="fleet-"`, "fleet-051")
	if strings.Contains(page, "fleet-001") || strings.Contains(page, "other-") {
		t.Errorf("the list is another one afterwards:\n%s", page)
	}

	at = url.Values{"prefix": {"fleet-"}, "after": {"fleet-049"}, "every": {"yes"}}
	page = b.send("enrollments/delete", http.StatusOK, at)
	b.shows(page, fmt.Sprintf("Delete %d enrollments?", fleet-1), "All that match the search are deleted, on all pages.", "fleet-000",
		fmt.Sprintf("and %d more", fleet-1-everyNamed))
	if strings.Contains(page, "fleet-100") || strings.Contains(page, "other-") {
		t.Errorf("the page that asks names:\n%s", page)
	}
	page, back := b.deletedAll("enrollments/delete", at)
	b.shows(page, fmt.Sprintf("%d enrollments were deleted", fleet-1))
	if back != "enrollments?prefix=fleet-" {
		t.Errorf("the way back leads to %q", back)
	}
	left, _, err := service.Enrollments(ctx, "", "", 10)
	if err != nil || len(left) != 3 || left[0].RegistrationID != fmt.Sprintf("other-%03d", fleet) {
		t.Errorf("there are still %d: %v, error %v", len(left), left, err)
	}
	entries, _, err := h.config.Audit.Entries(ctx, audit.Filter{Kind: audit.Enrollment})
	h.must(err)
	if entries[0].Bulk == nil || entries[0].Action != audit.Deleted || entries[1].ID != "fleet-050" || entries[2].Action != audit.Created || entries[0].Bulk.Done != fleet-1 || !entries[0].Bulk.Ended || entries[0].Actor != "portal operator" {
		t.Errorf("the audit has of the deletions %+v", entries)
	}

	// Nothing is left that matches; what was not searched is all there is.
	at = url.Values{"prefix": {"fleet-"}, "every": {"yes"}}
	b.shows(b.send("enrollments/delete", http.StatusOK, at), "Nothing matches any more")
	b.shows(b.send("enrollments/delete", http.StatusOK, url.Values{"every": {"yes"}}), "Delete 3 enrollments?", "Everything is deleted")
	page, _ = b.deletedAll("enrollments/delete", url.Values{})
	b.shows(page, "3 enrollments were deleted")
	if status, _ := b.get("deletions/unknown"); status != http.StatusNotFound {
		t.Errorf("an unknown deletion is answered %d", status)
	}
}

// What can't be deleted is named, and the rest is deleted; a fault of the server's own
// ends the deletion.
func TestEveryThatFails(t *testing.T) {
	h := newHouse(t)
	h.config.Panics = panics.NewRecorder(slog.New(slog.DiscardHandler))
	c := &call{Portal: h.Portal}
	d := deletion{gone: fault.DeviceNotFound,
		ids: func(_ context.Context, at place, limit int) (ids []string, next string, err error) {
			return []string{"d-0", "d-1", "d-2", "d-3", "d-4"}, "", nil
		},
		delete: func(_ context.Context, id string) error {
			switch id {
			case "d-2":
				return fault.New(fault.PreconditionFailed, "It was changed meanwhile")
			case "d-3":
				return fault.New(fault.DeviceNotFound, "It is gone")
			case "d-4":
				panic("a bug")
			}
			return nil
		}}
	job := &everyJob{job: newJob(), deletion: d}
	if err := c.runEvery(ctx, job); err != nil || job.done != 3 || job.failed != 2 ||
		job.problems[0].ID != "d-2" || job.problems[0].Problem.Message != "It was changed meanwhile" || job.problems[1].ID != "d-4" {
		t.Errorf("%d are deleted and %d not, error %v: %+v", job.done, job.failed, err, job.problems)
	}
	d.delete = func(context.Context, string) error { return errors.New("the disk is full") }
	job = &everyJob{job: newJob(), deletion: d}
	if err := c.runEvery(ctx, job); err == nil || job.done+job.failed != 0 {
		t.Errorf("%d are deleted and %d not, error %v", job.done, job.failed, err)
	}
}

// The records that match a status are found on all pages.
func TestEveryRegistration(t *testing.T) {
	h := newHouse(t)
	b, service := h.loggedIn(Operator), h.config.Provisioning
	for _, id := range []string{"r-1", "r-2", "r-3"} {
		key := credential.NewKey(32)
		_, err := service.CreateEnrollment(ctx, provisioning.Enrollment{RegistrationID: id, EnrollmentSettings: provisioning.EnrollmentSettings{Attestation: provisioning.AttestationMechanism{
			Type: "symmetricKey", SymmetricKey: &provisioning.SymmetricKeyAttestation{PrimaryKey: key, SecondaryKey: credential.NewKey(32)}}}})
		h.must(err)
		if id == "r-2" {
			continue // it never registers
		}
		token, err := credential.NewToken("0ne1/registrations/"+id, "registration", key, h.clock().Add(time.Hour))
		h.must(err)
		_, err = service.OpenSession("0ne1", id, credential.Evidence{Token: token}).Register(ctx, nil)
		h.must(err)
	}
	all, _, err := service.Registrations(ctx, "", "", 10)
	h.must(err)
	if len(all) != 2 {
		t.Fatalf("there are %d records", len(all))
	}
	status := string(all[0].Status)
	at := url.Values{"status": {"unassigned"}, "every": {"yes"}}
	b.shows(b.send("registrations/delete", http.StatusOK, at), "Nothing matches any more")
	page, back := b.deletedAll("registrations/delete", url.Values{"status": {status}})
	b.shows(page, "2 registration records were deleted")
	if back != "registrations?status="+status {
		t.Errorf("the way back leads to %q", back)
	}
}

// All devices of a hub that match are deleted, which the audit does not know of.
func TestEveryDevice(t *testing.T) {
	h := newHouse(t)
	b, devices := h.loggedIn(Operator), h.config.Hubs.All()[0]
	for i := range pageSize + 2 {
		_, err := devices.CreateDevice(ctx, hub.Device{DeviceID: fmt.Sprintf("d-%03d", i)})
		h.must(err)
	}
	_, err := devices.CreateDevice(ctx, hub.Device{DeviceID: "e"})
	h.must(err)
	page, back := b.deletedAll("hubs/berth/devices/delete", url.Values{"prefix": {"d-"}})
	b.shows(page, fmt.Sprintf("%d devices were deleted", pageSize+2))
	if back != "hubs/berth/devices?prefix=d-" {
		t.Errorf("the way back leads to %q", back)
	}
	if left, _, err := devices.Devices(ctx, "", "", 10); err != nil || len(left) != 1 || left[0].DeviceID != "e" {
		t.Errorf("there are still %v, error %v", left, err)
	}
}
