package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// as is a client of the provisioning service with a policy of its own.
func (h *fixture) as(name string, rights ...string) *backend.Provisioning {
	h.t.Helper()
	policy, err := h.provisioning.CreatePolicy(h.t.Context(), name, rights)
	if err != nil {
		h.t.Fatal(err)
	}
	connection := credential.ConnectionString{HostName: "localhost", SharedAccessKeyName: name,
		SharedAccessKey: policy.PrimaryKey}
	address := fmt.Sprintf("127.0.0.1:%d", h.Info().Ports.HTTPS)
	client, err := backend.NewProvisioning(connection.String(), backend.Options{RootCAs: h.roots, Address: address})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(client.Close)
	return client
}

// refusals are the entries of the audit on what was refused.
func (h *fixture) refusals() (found []audit.Entry) {
	h.t.Helper()
	entries, _, err := h.provisioning.Audit(h.t.Context(), audit.Filter{Max: 1000})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Action == audit.Refused {
			found = append(found, entry)
		}
	}
	return found
}

// TestKeptConnectionStringGoesNowhereElse: who may configure the service but does not
// have the key of a linked hub can't have it sent to a server of his.
func TestKeptConnectionStringGoesNowhereElse(t *testing.T) {
	h := newFixture(t)
	there := &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "hub.elsewhere.example", Listen: "127.0.0.1"}}
	there.start()
	t.Cleanup(there.stop)
	text, err := os.ReadFile(there.Info().CAFile)
	if err != nil {
		t.Fatal(err)
	}
	link := linkedhub.Link{HostName: "hub.elsewhere.example", ConnectionString: there.Info().Hubs[0].ConnectionString,
		Address: fmt.Sprintf("127.0.0.1:%d", there.Info().Ports.HTTPS), CACertificates: string(text)}
	if _, err := h.provisioning.LinkHub(t.Context(), link, ""); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	rogue := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter,
		r *http.Request) {
		asked <- r.Header.Get("Authorization")
	}))
	rogue.Config.ErrorLog = nil
	defer rogue.Close()
	mallory := h.as("mallory", provisioning.ServiceConfig, provisioning.EnrollmentRead)
	weight := 7
	for name, change := range map[string]func(*linkedhub.Link){
		"another address":   func(l *linkedhub.Link) { l.Address = rogue.Listener.Addr().String() },
		"no address":        func(l *linkedhub.Link) { l.Address = "" },
		"other authorities": func(l *linkedhub.Link) { l.CACertificates += l.CACertificates },
		"no authorities":    func(l *linkedhub.Link) { l.CACertificates = "" },
	} {
		kept, err := mallory.HubLink(t.Context(), link.HostName, false)
		if err != nil || kept.ConnectionString != "" {
			t.Fatalf("the link is shown as %+v, error %v", kept, err)
		}
		change(&kept)
		kept.AllocationWeight = &weight
		if _, err := mallory.LinkHub(t.Context(), kept, "*"); fault.From(err).Code != fault.ArgumentInvalid ||
			!strings.Contains(err.Error(), "connectionString") {
			t.Errorf("%s without the connection string is answered %v", name, err)
		}
	}
	if len(asked) > 0 {
		t.Errorf("the other server was sent %s", <-asked)
	}
	refused := h.refusals()
	if len(refused) != 4 || refused[0].Actor != "policy mallory" || refused[0].Kind != audit.HubLink ||
		refused[0].ID != link.HostName || len(refused[0].Changes) == 0 {
		t.Errorf("the audit has of what was refused %+v", refused)
	}
	for _, entry := range refused {
		for _, field := range entry.Changes {
			if field.Path == "connectionString" {
				t.Errorf("the audit tells of a change of the connection string: %+v", entry)
			}
		}
	}
	key := strings.TrimPrefix(link.ConnectionString[strings.Index(link.ConnectionString, "SharedAccessKey="):],
		"SharedAccessKey=")
	if shown := fmt.Sprintf("%+v", refused); strings.Contains(shown, key) {
		t.Errorf("the audit shows the key: %s", shown)
	}

	// What stays the same needs no secret, and with the secret all may change.
	kept, err := mallory.HubLink(t.Context(), link.HostName, false)
	if err != nil {
		t.Fatal(err)
	}
	kept.AllocationWeight = &weight
	if changed, err := mallory.LinkHub(t.Context(), kept, "*"); err != nil || *changed.AllocationWeight != weight {
		t.Errorf("another weight is answered %+v, error %v", changed, err)
	}
	link.Address = strings.Replace(link.Address, "127.0.0.1", "localhost", 1)
	if changed, err := mallory.LinkHub(t.Context(), link, "*"); err != nil || changed.Address != link.Address {
		t.Errorf("another address with the connection string is answered %+v, error %v", changed, err)
	}
}

// TestRefusedChangesAreInTheAudit: of somebody who proved who he is, and few of them.
func TestRefusedChangesAreInTheAudit(t *testing.T) {
	h := newFixture(t)
	reader := h.as("reader", provisioning.EnrollmentRead)
	ctx := t.Context()
	if err := reader.DeleteGroup(ctx, "meters", ""); fault.From(err).Code != fault.UnauthorizedAccess {
		t.Fatalf("a reader's deletion is answered %v", err)
	}
	if _, err := reader.LoginLink(ctx, "operator"); fault.From(err).Code != fault.UnauthorizedAccess {
		t.Fatalf("a reader's login link is answered %v", err)
	}
	if _, err := reader.Policies(ctx); fault.From(err).Code != fault.UnauthorizedAccess {
		t.Fatalf("a reader's look at the keys is answered %v", err)
	}
	var told []string
	for _, entry := range h.refusals() {
		told = append(told,
			fmt.Sprintf("%s %s %q by %s: %v", entry.Action, entry.Kind, entry.ID, entry.Actor, entry.Reason != "" &&
				entry.Remote != ""))
	}
	want := `[refused portal "" by policy reader: true refused enrollmentGroup "meters" by policy reader: true]`
	if fmt.Sprint(told) != want {
		t.Errorf("the audit has %v, want %s", told, want)
	}

	// A token for something else is refused the same way.
	owner, err := credential.ParseConnectionString(h.Info().ProvisioningConnectionString)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}}}
	defer client.CloseIdleConnections()
	remove := func(keyName, key string) {
		t.Helper()
		address := fmt.Sprintf("https://localhost:%d/enrollments/d1?api-version=2021-10-01", h.Info().Ports.HTTPS)
		request, err := http.NewRequestWithContext(ctx, "DELETE", address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", sas(t, "localhost/enrollments/d2", keyName, key))
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized {
			t.Fatalf("it is answered %s", answer.Status)
		}
	}
	remove(owner.SharedAccessKeyName, owner.SharedAccessKey)
	if found := h.refusals(); len(found) != 3 || found[0].ID != "d1" ||
		!strings.Contains(found[0].Reason, "localhost/enrollments/d2") {
		t.Errorf("of a token for something else the audit has %+v", found)
	}
	// Strangers write nothing, and those who are known only so much.
	remove(owner.SharedAccessKeyName, credential.NewKey(32))
	remove("stranger", credential.NewKey(32))
	if found := h.refusals(); len(found) != 3 {
		t.Errorf("strangers add to the audit: %+v", found)
	}
	for range 100 {
		if err := reader.DeleteGroup(ctx, "meters", ""); fault.From(err).Code != fault.UnauthorizedAccess {
			t.Fatal(err)
		}
	}
	if found := h.refusals(); len(found) > 50 {
		t.Errorf("one reader filled the audit with %d refusals", len(found))
	}
}
