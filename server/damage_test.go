package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// damages are what a record may hold that holds nothing.
var damages = []string{"{", "", "null", "{}", "[]", "[[", "\xff\xfe", "\x00", `"text"`, "-", "1e999",
	`{"registrationId":1}`, nested(20_000)}

// furnish makes a record in every collection, and returns the collections.
func (h *fixture) furnish() []string {
	h.t.Helper()
	ctx := context.Background()
	must := func(err error) {
		h.t.Helper()
		if err != nil {
			h.t.Fatal(err)
		}
	}
	keys := validKeys(h.t, "x")
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{}`)
	d := h.berth(&keys, "x")
	d.subscribe("$iothub/twin/res/#")
	must(d.Publish("devices/x/messages/events/", []byte("hello"), 1, nil))
	d.ask("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":1}`)
	authority := newIssuer(h.t)
	_, err := h.provisioning.PutGroup(ctx,
		enroll.Group{EnrollmentGroupID: "factory",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509",
				X509: &enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: authority.pem}}}}}}, "")
	must(err)
	_, err = h.provisioning.PutGroup(ctx,
		enroll.Group{EnrollmentGroupID: "meters",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}}, "")
	must(err)
	member := authority.issue("member", "20200101000000Z", "20400101000000Z")
	h.provision(&member, h.Info().IDScope, "member").ask(registerTopic, `{}`)
	_, err = h.provisioning.PutAuthority(ctx, "ca", []byte(authority.pem), true, "")
	must(err)
	for path, body := range map[string]string{
		"/berth/provisioning/networks/10.0.0.0%2F8":     `{"latencies":{"here":1}}`,
		"/berth/provisioning/credentialpolicies/second": `{}`,
	} {
		if status, answer := h.dps("PUT", path, body); status != 200 {
			h.t.Fatalf("PUT %s is answered %d %s", path, status, answer)
		}
	}
	if status, answer := h.dps("POST", "/berth/provisioning/misbehaviours",
		`{"kind":"fail","registrationId":"nobody","times":5}`); status != 200 {
		h.t.Fatalf("an injected fault is answered %d %s", status, answer)
	}
	_, err = h.LoginLink(ctx, "operator")
	must(err)
	h.browser()
	return h.documents.Collections()
}

// browser logs in to the portal.
func (h *fixture) browser() *http.Client {
	h.t.Helper()
	link, err := h.LoginLink(context.Background(), "operator")
	if err != nil {
		h.t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	h.t.Cleanup(client.CloseIdleConnections)
	if status, page := h.page(client, link.URL); status != 200 {
		h.t.Fatalf("the login is answered %d %s", status, page)
	}
	return client
}

func (h *fixture) page(client *http.Client, address string) (status int, text string) {
	h.t.Helper()
	response, err := client.Get(address)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Errorf("%s breaks off: %v", address, err)
	}
	return response.StatusCode, string(body)
}

// pages are those of the portal that list something.
var pages = []string{"", "quickstart", "enrollments", "groups", "registrations", "attempts", "lockouts", "hubs",
	"networks", "certificates", "credentials",
	"check", "policies", "misbehaviours", "audit", "unreadable", "hubs/berth", "hubs/berth/devices",
	"hubs/berth/policies", "enrollments/exchange",
	"enrollments/export?format=csv", "enrollments/export?format=json", "groups/export", "registrations?status=assigned",
	"attempts?outcome=refused"}

// listsAll asks for everything that lists records, and fails for what is not answered.
func (h *fixture) listsAll() {
	h.t.Helper()
	browser := h.browser()
	for _, path := range pages {
		if status, page := h.page(browser,
			fmt.Sprintf("http://127.0.0.1:%d/portal/%s", h.Info().Ports.Portal, path)); status != 200 {
			h.t.Errorf("the page %q is answered %d %s", path, status, page)
		}
	}
	_, text := h.dps("GET", "/berth/openapi.json", "")
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil || len(document.Paths) < 20 {
		h.t.Fatalf("%d paths: %v", len(document.Paths), err)
	}
	asked := 0
	for path, methods := range document.Paths {
		if methods["get"] == nil || strings.Contains(path, "{") {
			continue
		}
		asked++
		connection := h.Info().ProvisioningConnectionString
		if strings.HasPrefix(path, "/berth/hub") || strings.HasPrefix(path, "/devices") ||
			strings.HasPrefix(path, "/statistics") || strings.HasPrefix(path, "/messages") || strings.HasPrefix(path, "/jobs") ||
			strings.HasPrefix(path, "/configurations") {
			connection = h.Info().Hubs[0].ConnectionString
		}
		if path == "/berth/hub/telemetry" || path == "/berth/hub/events" {
			path += "?from=earliest&max=1"
		}
		if status, answer := h.rest(connection, "GET", path, ""); status != 200 && status != 204 {
			h.t.Errorf("GET %s is answered %d %.300s", path, status, answer)
		}
	}
	if asked < 15 {
		h.t.Errorf("only %d lists were asked for", asked)
	}
	for path, body := range map[string]string{
		"/enrollments/query":      `{"query":"SELECT * FROM enrollments"}`,
		"/enrollmentGroups/query": `{"query":"SELECT * FROM enrollmentGroups"}`,
	} {
		if status, answer := h.dps("POST", path, body); status != 200 {
			h.t.Errorf("POST %s is answered %d %.300s", path, status, answer)
		}
	}
}

// TestDamagedRecords puts records that hold nothing among the others of every
// collection. Everything goes on past them; they are listed, and can be deleted.
func TestDamagedRecords(t *testing.T) {
	h := newFixture(t)
	collections := h.furnish()
	if len(collections) < 25 {
		t.Fatalf("only %d collections: %q", len(collections), collections)
	}
	h.stop()
	h.plant(func(documents store.Documents, _ store.Log) {
		for _, collection := range collections {
			for i, damage := range damages {
				change := store.Change{Collection: collection, Key: fmt.Sprintf("damaged-%02d", i),
					Value: []byte(damage)}
				if _, err := documents.Commit(t.Context(), change); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	h.start()
	h.listsAll()
	var found []store.Unreadable
	if _, answer := h.dps("GET", "/berth/unreadable", ""); json.Unmarshal([]byte(answer), &found) != nil {
		t.Fatalf("the unreadable records are %s", answer)
	}
	for _, collection := range collections {
		told := slices.ContainsFunc(found, func(r store.Unreadable) bool {
			return r.Collection == collection && r.Key == "damaged-00" && r.Reason != ""
		})
		// Some records are made anew by who needs them.
		if !told && store.IsUnreadable(h.documents.Check(t.Context(), collection, "damaged-00")) {
			t.Errorf("nothing is told of what is damaged in %s", collection)
		}
	}
	for path, want := range map[string]string{"/enrollments/damaged-00": "provisioning/enrollments",
		"/enrollmentGroups/damaged-03": "provisioning/groups",
		"/registrations/damaged-02":    "provisioning/registrations"} {
		if status, answer := h.dps("GET", path, ""); status != 500 || !strings.Contains(answer, want) {
			t.Errorf("GET %s is answered %d %s", path, status, answer)
		}
		if status, answer := h.dps("DELETE", path, "", "If-Match", "*"); status != 204 {
			t.Errorf("DELETE %s is answered %d %s", path, status, answer)
		}
	}
	if status, answer := h.dps("POST", "/registrations/factory/query", "{}"); status != 200 ||
		!strings.Contains(answer, "member") {
		t.Errorf("the registrations of a group are answered %d %s", status, answer)
	}
	hub := h.Info().Hubs[0].ConnectionString
	if status, answer := h.rest(hub, "GET", "/devices/damaged-00", ""); status != 500 ||
		!strings.Contains(answer, "damaged-00") {
		t.Errorf("GET of a device is answered %d %s", status, answer)
	}
	if status, answer := h.rest(hub, "DELETE", "/devices/damaged-00", ""); status != 204 {
		t.Errorf("DELETE of a device is answered %d %s", status, answer)
	}
	if status, answer := h.rest(hub, "PUT", "/devices/damaged-02", `{"deviceId":"damaged-02"}`, "If-Match",
		"*"); status != 200 {
		t.Errorf("PUT of a device is answered %d %s", status, answer)
	}
	if status, answer := h.rest(hub, "GET", "/twins/damaged-02", ""); status != 200 {
		t.Errorf("GET of its twin is answered %d %s", status, answer)
	}
	if status, answer := h.dps("PUT", "/enrollments/damaged-02", `{"registrationId":"damaged-02",`+keyAttestation+
		`}`); status != 200 {
		t.Errorf("PUT of an enrollment is answered %d %s", status, answer)
	}
	browser := h.browser()
	for path, id := range map[string]string{"enrollments": "damaged-05", "groups": "damaged-05",
		"registrations": "damaged-05", "hubs/berth/devices": "damaged-05", "unreadable": "damaged-05"} {
		if _, page := h.page(browser,
			fmt.Sprintf("http://127.0.0.1:%d/portal/%s", h.Info().Ports.Portal, path)); !strings.Contains(page, id) {
			t.Errorf("the page %s does not show %s", path, id)
		}
	}
	portal := fmt.Sprintf("http://127.0.0.1:%d/portal/", h.Info().Ports.Portal)
	_, page := h.page(browser, portal+"unreadable")
	csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(page)
	if csrf == nil {
		t.Fatalf("the page has no form:\n%s", page)
	}
	response, err := browser.PostForm(portal+"unreadable/delete",
		url.Values{"csrf": {csrf[1]}, "confirm": {"yes"}, "id": {"audit/entries damaged-00"}})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if err := h.documents.Check(t.Context(), "audit/entries", "damaged-00"); response.StatusCode != 200 ||
		!errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleting in the portal is answered %d, and the record is %v", response.StatusCode, err)
	}
	h.works()
	for _, record := range found {
		path := "/berth/unreadable?" + url.Values{"collection": {record.Collection}, "key": {record.Key}}.Encode()
		status, answer := h.dps("DELETE", path, "")
		if status != 204 && store.IsUnreadable(h.documents.Check(t.Context(), record.Collection, record.Key)) {
			t.Errorf("%s %s can't be deleted: %d %s", record.Collection, record.Key, status, answer)
		}
	}
	if _, answer := h.dps("GET", "/berth/unreadable", ""); answer != "[]" {
		t.Errorf("still unreadable: %s", answer)
	}
	h.listsAll()
}

// TestEveryRecordDamaged has nothing left but what a start can't do without. The server
// starts, the portal shows what is wrong, and once all of it is deleted the server is
// like a new one.
func TestEveryRecordDamaged(t *testing.T) {
	h := newFixture(t)
	collections := h.furnish()
	h.stop()
	damaged := 0
	h.plant(func(documents store.Documents, _ store.Log) {
		for _, collection := range collections {
			found, err := documents.List(t.Context(), collection, "", "", 10_000)
			if err != nil {
				t.Fatal(err)
			}
			for _, document := range found {
				if collection == "server/settings" || collection == "issuance/authorities" && document.Key == "root" {
					continue
				}
				damaged++
				if _, err := documents.Commit(t.Context(),
					store.Change{Collection: collection, Key: document.Key, Value: []byte("{damaged")}); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	if damaged < 40 {
		t.Fatalf("only %d records were damaged", damaged)
	}
	var err error
	if h.Server, err = Start(t.Context(), h.config); err != nil {
		t.Fatal(err)
	}
	browser := h.browser()
	for _, path := range pages {
		if status, page := h.page(browser,
			fmt.Sprintf("http://127.0.0.1:%d/portal/%s", h.Info().Ports.Portal, path)); status != 200 {
			t.Errorf("the page %q is answered %d %s", path, status, page)
		}
	}
	found, err := records{h.Server}.Unreadable(t.Context())
	if err != nil || len(found) < damaged-10 { // what is written at a start is whole again
		t.Fatalf("%d of %d are found to be damaged: %v", len(found), damaged, err)
	}
	for _, record := range found {
		if err := (records{h.Server}).DeleteUnreadable(t.Context(), record.Collection, record.Key); err != nil &&
			store.IsUnreadable(h.documents.Check(t.Context(), record.Collection, record.Key)) {
			t.Errorf("%s %s can't be deleted: %v", record.Collection, record.Key, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	h.start()
	if found, err := (records{h.Server}).Unreadable(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("still unreadable: %v, %v", found, err)
	}
	h.listsAll()
	h.works()
}

// TestStartWithoutKeys refuses to start where going on would make the service another
// one, and says which record it is.
func TestStartWithoutKeys(t *testing.T) {
	for collection, key := range map[string]string{"server/settings": "idScope", "issuance/authorities": "root"} {
		t.Run(key, func(t *testing.T) {
			h := newFixture(t)
			h.stop()
			var whole store.Document
			h.plant(func(documents store.Documents, _ store.Log) {
				var err error
				if whole, err = documents.Get(t.Context(), collection, key); err != nil {
					t.Fatal(err)
				}
				if _, err := documents.Commit(t.Context(),
					store.Change{Collection: collection, Key: key, Value: []byte("{damaged")}); err != nil {
					t.Fatal(err)
				}
			})
			started, err := Start(t.Context(), h.config)
			if err == nil {
				started.Shutdown(t.Context())
				t.Fatal("the server starts")
			}
			for _, want := range []string{collection, key, "backup"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			h.plant(func(documents store.Documents, _ store.Log) {
				if _, err := documents.Commit(t.Context(),
					store.Change{Collection: collection, Key: key, Value: whole.Value}); err != nil {
					t.Fatal(err)
				}
			})
			h.start()
		})
	}
}
