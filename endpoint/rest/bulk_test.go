package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/hub/identity"
)

// TestBulkInAudit makes one entry of a bulk operation, which says how many were changed,
// and under which name to find them; one thing alone has an entry as ever.
func TestBulkInAudit(t *testing.T) {
	h := newFixture(t)
	token := h.DPSToken()
	const attested = `"attestation":{"type":"symmetricKey"}`
	item := func(id string) string { return fmt.Sprintf(`{"registrationId":%q,%s}`, id, attested) }
	bulk := func(mode string, items ...string) {
		t.Helper()
		body := fmt.Sprintf(`{"mode":%q,"enrollments":[%s]}`, mode, strings.Join(items, ","))
		answer := h.Do(httpstest.Request{Method: "POST", Path: "/enrollments", Token: token, Body: body})
		if answer.Status != http.StatusOK {
			t.Fatalf("%s is answered %d %s", mode, answer.Status, answer.Text)
		}
	}
	entries := func() []audit.Entry {
		t.Helper()
		answer := h.Do(httpstest.Request{Method: "GET", Path: "/berth/provisioning/audit?kind=enrollment",
			Token: token})
		var page contract.Page[audit.Entry]
		if err := json.Unmarshal([]byte(answer.Text), &page); err != nil {
			t.Fatal(err)
		}
		return page.Items
	}
	bulk("create", item("one"))
	if found := entries(); len(found) != 1 || found[0].ID != "one" || found[0].Bulk != nil {
		t.Fatalf("of one there are %+v", found)
	}
	bulk("create", item("one"), item("Two"), item("three"))
	disabled := strings.Replace(item("two"), "{", `{"provisioningStatus":"disabled",`, 1)
	bulk("update", disabled, item("three"))
	bulk("delete", item("one"), item("TWO"), item("none"))
	found := entries()
	if len(found) != 4 {
		t.Fatalf("there are %+v", found)
	}
	for i, want := range []struct {
		action       audit.Action
		done, failed int
		items        []string
	}{
		{audit.Deleted, 2, 1, []string{"one", "TWO", "none: "}},
		{audit.Updated, 2, 0, []string{`two provisioningStatus "enabled">"disabled"`, "three"}},
		{audit.Created, 2, 1, []string{"one: ", "Two", "three"}},
	} {
		entry := found[i]
		if entry.Bulk == nil || entry.Action != want.action || entry.Bulk.Done != want.done ||
			entry.Bulk.Failed != want.failed || !entry.Bulk.Ended {
			t.Errorf("the entry is %+v of %+v, want %+v", entry, entry.Bulk, want)
			continue
		}
		answer := h.Do(httpstest.Request{Method: "GET", Path: "/berth/provisioning/audit/" + entry.Bulk.Name,
			Token: token})
		var page contract.Page[audit.Item]
		if err := json.Unmarshal([]byte(answer.Text), &page); err != nil || len(page.Items) != len(want.items) {
			t.Fatalf("%v in %s", err, answer.Text)
		}
		for n, item := range page.Items {
			text := item.ID
			for _, field := range item.Changes {
				if field.Path == "provisioningStatus" {
					text += fmt.Sprintf(" %s %s>%s", field.Path, field.Before, field.After)
				}
			}
			if item.Failed != "" {
				text += ": "
			}
			if text != want.items[n] {
				t.Errorf("item %d of %s is %q, want %q", n, want.action, text, want.items[n])
			}
		}
	}
}

// TestBulkOfTwins changes the twins of several devices, some on the condition that they
// are as they were read.
func TestBulkOfTwins(t *testing.T) {
	h := newFixture(t)
	token := h.HubToken()
	for _, id := range []string{"a", "b"} {
		h.Do(httpstest.Request{Method: "PUT", Path: "/devices/" + id, Token: token, Body: `{}`})
	}
	etag, _ := h.Do(httpstest.Request{Method: "GET", Path: "/twins/b", Token: token}).Fields["etag"].(string)
	const twin = `"tags":{"site":1.0},"properties":{"desired":{"k":1,"$version":9},"reported":{"r":1}}`
	for _, c := range []struct {
		item   string
		failed string
	}{
		{`{"id":"a","importMode":"updateTwin",` + twin + `}`, ""},
		{`{"id":"a","importMode":"updateTwin"}`, ""},
		{`{"id":"a","importMode":"updateTwin","tags":{"other":null}}`, ""},
		{`{"id":"a","importMode":"updateTwin","tags":{"other":null},"properties":null}`, "properties is null"},
		{`{"id":"b","importMode":"updateTwinIfMatchETag","twinETag":"` + etag + `",` + twin + `}`, ""},
		{`{"id":"b","importMode":"UpdateTwinIfMatchETag","twinETag":"` + etag + `",` + twin + `}`,
			"PreconditionFailed"},
		{`{"id":"b","importMode":"updateTwinIfMatchETag","eTag":"` + etag + `",` + twin + `}`, "needs a twinETag"},
		{`{"id":"c","importMode":"updateTwin",` + twin + `}`, "DeviceNotFound"},
		{`{"id":"a","importMode":"updateTwin","tags":{"a":1e400}}`, "out of range"},
		{`{"id":"a","importMode":"updateTwins",` + twin + `}`, "importMode must be"},
	} {
		got := h.Do(httpstest.Request{Method: "POST", Path: "/devices", Token: token, Body: "[" + c.item + "]"})
		if (got.Status == 200) != (c.failed == "") || !strings.Contains(got.Text, c.failed) {
			t.Errorf("%s is answered %d %s", c.item, got.Status, got.Text)
		}
	}
	for _, id := range []string{"a", "b"} {
		got := h.Do(httpstest.Request{Method: "GET", Path: "/twins/" + id, Token: token})
		if !strings.Contains(got.Text, `"tags":{"site":1.0},"properties":{"desired":{"k":1,"$metadata"`) ||
			strings.Contains(got.Text, `"r":1`) {
			t.Errorf("the twin of %s is %s", id, got.Text)
		}
	}
	writer := h.Token("hub.local", "registryReadWrite", time.Now().Add(time.Hour)) // who may not write twins
	got := h.Do(httpstest.Request{Method: "POST", Path: "/devices", Token: writer,
		Body: `[{"id":"a","importMode":"updateTwin","tags":{"z":1}}]`})
	if got.Status != 400 || !strings.Contains(got.Text, "has no right ServiceConnect") {
		t.Errorf("without the right it is answered %d %s", got.Status, got.Text)
	}
}

// TestBulkOfDevices deletes many devices at once, and does all else in the order in which
// it is asked for.
func TestBulkOfDevices(t *testing.T) {
	h := newFixture(t)
	token := h.HubToken()
	send := func(items []string) (answer contract.BulkDeviceResult) {
		t.Helper()
		body := "[" + strings.Join(items, ",") + "]"
		got := h.Do(httpstest.Request{Method: "POST", Path: "/devices", Token: token, Body: body})
		want, code := http.StatusOK, ""
		err := json.Unmarshal([]byte(got.Text), &answer)
		if !answer.IsSuccessful {
			want, code = http.StatusBadRequest, contract.BulkFailure
		}
		if err != nil || got.Status != want || got.Header.Get("iothub-errorcode") != code ||
			got.Header.Get("IotHubErrorCode") != code {
			t.Fatalf("answered %d %v %s", got.Status, got.Header, got.Text)
		}
		return answer
	}
	var create, remove []string
	for i := range 40 {
		create = append(create, fmt.Sprintf(`{"id":"d%d","importMode":"create"}`, i%20)) // each twice
		remove = append(remove, fmt.Sprintf(`{"id":"d%d","importMode":"delete"}`, i))
	}
	for i, failed := range send(create).Errors {
		if want := fmt.Sprint("d", i); failed.DeviceID != want || failed.ErrorCode != "DeviceAlreadyExists" {
			t.Errorf("failure %d is of %+v, want %s", i, failed, want)
		}
	}
	answer := send(remove)
	if len(answer.Errors) != 20 || answer.IsSuccessful {
		t.Errorf("%d of 20 that are not there failed", len(answer.Errors))
	}
	for i, failed := range answer.Errors {
		if want := fmt.Sprint("d", i+20); failed.DeviceID != want || failed.ErrorCode != "DeviceNotFound" {
			t.Errorf("failure %d is of %+v, want %s", i, failed, want)
		}
	}
	got := h.Do(httpstest.Request{Method: "GET", Path: "/statistics/devices", Token: token})
	var statistics identity.Statistics
	if err := json.Unmarshal([]byte(got.Text), &statistics); err != nil || statistics.TotalDeviceCount != 0 {
		t.Errorf("left are %s", got.Text)
	}
}

// TestBulkOfStrangeIDs has ids in a bulk operation that take six bytes a character to
// write down: each is refused by itself, and the one that is right is made.
func TestBulkOfStrangeIDs(t *testing.T) {
	for _, length := range []int{100, 150, 200, 500} {
		h := newFixture(t)
		strange := strings.Repeat(`\u0001`, length)
		var items []string
		for i := range maxBulk - 1 {
			items = append(items, fmt.Sprintf(`{"registrationId":"%d%s"}`, i, strange))
		}
		items = append(items, `{"registrationId":"right","attestation":{"type":"symmetricKey"}}`)
		answer := h.Do(httpstest.Request{Method: "POST", Path: "/enrollments", Token: h.DPSToken(),
			Body: `{"mode":"create","enrollments":[` + strings.Join(items, ",") + `]}`})
		var result contract.BulkResult
		if err := json.Unmarshal([]byte(answer.Text),
			&result); err != nil || answer.Status != http.StatusOK || len(result.Errors) != maxBulk-1 {
			t.Errorf("with ids of %d characters it is answered %d %.300s", length, answer.Status, answer.Text)
		}
		answer = h.Do(httpstest.Request{Method: "GET", Path: "/berth/provisioning/audit?kind=enrollment",
			Token: h.DPSToken()})
		var page contract.Page[audit.Entry]
		if err := json.Unmarshal([]byte(answer.Text),
			&page); err != nil || len(page.Items) != 1 || page.Items[0].Bulk == nil ||
			!page.Items[0].Bulk.Ended || page.Items[0].Bulk.Done != 1 {
			t.Errorf("with ids of %d characters the audit has %.300s", length, answer.Text)
		}
	}
}
