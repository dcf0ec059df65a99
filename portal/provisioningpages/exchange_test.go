package provisioningpages

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/portal/web"
)

var (
	importCounts = regexp.MustCompile(`(?s)id="done">([^<]*)<.*id="failed">([^<]*)<`)
	importRow    = regexp.MustCompile(
		`data-label="Line">([^<]*)</td><td class="id" data-label="Name">([^<]*)</td><td data-label="Problem">([^<]*)<`)
)

// importFile uploads a file, waits for the end of its import and returns what its page
// says.
func importFile(b *portaltest.Browser, kind, name, content string, fields ...string) (counts, problems, page string) {
	b.T.Helper()
	status, page, path := b.Upload(kind+"/exchange", name, content, append([]string{"csrf", b.Token()}, fields...)...)
	if status != http.StatusOK || !strings.HasPrefix(path, "imports/") {
		b.T.Fatalf("%s: the upload is answered %d at %s:\n%s", name, status, path, page)
	}
	for deadline := time.Now().Add(time.Minute); strings.Contains(page, "<progress"); _, page = b.Get(path) {
		if time.Now().After(deadline) {
			b.T.Fatalf("%s: the import does not end:\n%s", name, page)
		}
	}
	found := importCounts.FindStringSubmatch(page)
	if found == nil {
		b.T.Fatalf("%s: the page has no counts:\n%s", name, page)
	}
	var rows []string
	for _, row := range importRow.FindAllStringSubmatch(page, -1) {
		rows = append(rows, html.UnescapeString(fmt.Sprintf("%s %s: %s", row[1], row[2], row[3])))
	}
	return found[1] + "+" + found[2], strings.Join(rows, "\n"), page
}

// Files are imported and exported, and what is wrong with a row is shown.
func TestImportAndExport(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	file := "registrationId,attestation,primaryKey\n"
	for i := range 3000 {
		file += fmt.Sprintf("row-%04d,symmetricKey,\n", i)
	}
	if counts, problems, page := importFile(b, "enrollments", "many.csv", file, "mode",
		"create"); counts != "3,000+0" || problems != "" || !strings.Contains(page, "The import is done.") {
		t.Errorf("the import counts %s, %s\n%s", counts, problems, page)
	}
	bad := "registrationId,attestation,primaryKey\nrow-0001,symmetricKey,\nnew-1,symmetricKey,\nno space,symmetricKey,\nnew-2,symmetricKey,short\nnew-3,magic,\n"
	want := `2 row-0001: There is an enrollment "row-0001" already. Update it, or delete it first
4 no space: The registration id "no space" has the character ' '. Letters, digits, dash, full stop, underscore and colon are allowed
5 new-2: The primary key is not base64 of 16 to 64 bytes. Leave it out to have one made
6 new-3: attestation.type must be x509, symmetricKey or tpm, not "magic"`
	if counts, problems, page := importFile(b, "enrollments", "bad.csv", bad, "mode", "create", "check",
		"yes"); counts != "1+4" || !strings.Contains(page, "nothing changed") || problems != want {
		t.Errorf("a dry run counts %s,\n%s", counts, problems)
	}
	if counts, problems, _ := importFile(b, "enrollments", "twice.csv",
		"registrationId,attestation\ndouble,symmetricKey\nDOUBLE,symmetricKey\n", "mode", "create", "check",
		"yes"); counts != "1+1" || problems != `3 DOUBLE: The id "DOUBLE" is in line 2 already` {
		t.Errorf("a dry run of one id twice counts %s,\n%s", counts, problems)
	}
	if _, err := h.Provisioning.Enrollments().Get(ctx, "new-1"); !errors.Is(err, fault.EnrollmentNotFound) {
		t.Errorf("after a dry run there is the enrollment: %v", err)
	}
	if counts, problems, _ := importFile(b, "enrollments", "bad.csv", bad, "mode", "create"); counts != "1+4" ||
		problems != want {
		t.Errorf("bad rows count %s,\n%s", counts, problems)
	}
	if counts, problems, _ := importFile(b, "enrollments", "update.JSON", `[{"registrationId":"new-1","provisioningStatus":"disabled","attestation":{"type":"symmetricKey"}},
{"registrationId":"new-9","attestation":{"type":"symmetricKey"}}]`, "mode", "update"); counts != "1+1" || !strings.HasPrefix(problems, "2 new-9: ") {
		t.Errorf("an update counts %s,\n%s", counts, problems)
	}
	if counts, problems, _ := importFile(b, "groups", "groups.json",
		`{"enrollmentGroupId":"g","attestation":{"type":"symmetricKey"}}`, "mode", "upsert"); counts != "1+0" {
		t.Errorf("groups count %s,\n%s", counts, problems)
	}
	// What comes before a break is imported, and the break is told.
	counts, _, page := importFile(b, "enrollments", "broken.json",
		"[{\"registrationId\":\"before\",\"attestation\":{\"type\":\"symmetricKey\"}},\n}", "mode", "create")
	if counts != "1+0" || !strings.Contains(page, "Line 2 is not JSON") || !strings.Contains(page, "400006") {
		t.Errorf("a broken file counts %s:\n%s", counts, page)
	}
	many := "registrationId\n" + strings.Repeat("x y\n", 200+5)
	if counts, _, page := importFile(b, "enrollments", "worse.csv", many, "mode", "create"); counts != "0+205" ||
		!strings.Contains(page, "5 more are not shown") {
		t.Errorf("many bad rows count %s:\n%s", counts, page)
	}
	if entries, _, err := h.Audit.Entries(ctx, audit.Filter{ID: "new-1"}); err != nil || len(entries) != 2 ||
		entries[0].Actor != "portal operator" || entries[0].Remote == "" {
		t.Errorf("the audit has %+v, error %v", entries, err)
	}
	if left, err := os.ReadDir(h.DataDir); err != nil || strings.Contains(fmt.Sprint(left), "upload-") {
		t.Errorf("uploads are left behind: %v, error %v", left, err)
	}

	mechanism, err := h.Provisioning.Enrollments().AttestationMechanism(ctx, "new-1")
	h.Must(err)
	key := mechanism.SymmetricKey.PrimaryKey
	reader := h.loggedIn(web.Reader)
	for _, c := range []struct {
		b    *portaltest.Browser
		path string
		rows int
		keys bool
	}{
		{b, "enrollments/export?format=csv", 3003, false}, {b, "enrollments/export?format=csv&show=keys", 3003, true},
		{b, "enrollments/export?format=json&show=keys", 3004, true},
		{reader, "enrollments/export?format=csv&show=keys", 3003, false}, {b, "groups/export", 3, false},
	} {
		status, text := c.b.Get(c.path)
		if rows := strings.Count(text, "\n"); status != http.StatusOK || rows != c.rows ||
			strings.Contains(text, key) != c.keys {
			t.Errorf("%s is answered %d with %d rows, want %d; keys %v", c.path, status, rows, c.rows,
				strings.Contains(text, key))
		}
	}
	// An export is imported as it is.
	_, text := b.Get("enrollments/export?format=json&show=keys")
	if counts, problems, _ := importFile(b, "enrollments", "again.json", text, "mode", "upsert"); counts != "3,002+0" {
		t.Errorf("what was exported counts %s,\n%s", counts, problems)
	}
}

// What another service has exported is fitted to the hubs here, and what can't come over
// is told; a file in another encoding is refused by its rows.
func TestImportFromElsewhere(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	host := h.Hub.Host()
	file := `[{"registrationId":"one","etag":"1","attestation":{"type":"symmetricKey"},"iotHubs":["contoso.azure-devices.net"],"registrationState":{"registrationId":"one","assignedHub":"contoso.azure-devices.net"},"newer":1}]`
	if counts, problems, _ := importFile(b, "enrollments", "azure.json", file, "mode", "create"); counts != "0+1" ||
		!strings.Contains(problems, "contoso.azure-devices.net") {
		t.Errorf("without a word on the hubs it counts %s, %s", counts, problems)
	}
	counts, problems, page := importFile(b, "enrollments", "azure.json", file, "mode", "create", "hubs",
		"\r\nCONTOSO.azure-devices.net = "+host+"\r\nother.azure-devices.net="+host)
	// no hub is, in this fixture
	if counts != "0+1" || !strings.Contains(problems, `The hub "`+host+`" is not linked`) {
		t.Errorf("with a hub for the hub it counts %s, %s", counts, problems)
	}
	for _, says := range []string{"1 comes over without keys", "1 comes over without its registration",
		"There is no place here for newer", "does not name the hub other.azure-devices.net"} {
		if !strings.Contains(page, says) {
			t.Errorf("the page does not say %q:\n%s", says, page)
		}
	}
	if counts, problems, _ := importFile(b, "enrollments", "azure.json", file, "mode", "create", "ignoreHubs",
		"yes"); counts != "1+0" {
		t.Errorf("without its hub it counts %s, %s", counts, problems)
	}
	if e, err := h.Provisioning.Enrollments().Get(ctx, "one"); err != nil || len(e.Hubs) != 0 {
		t.Errorf("it goes to %v, error %v", e.Hubs, err)
	}
	counts, _, page = importFile(b, "groups", "azure.json",
		`{"enrollmentGroupId":"g","attestation":{"type":"symmetricKey"},"iotHubHostName":"contoso.azure-devices.net"}`,
		"mode", "create", "ignoreHubs", "yes")
	if counts != "1+0" || !strings.Contains(page, "1 comes over without the hubs") {
		t.Errorf("without the hubs it counts %s:\n%s", counts, page)
	}
	if status, page, _ := b.Upload("enrollments/exchange", "azure.json", file, "csrf", b.Token(), "mode", "create",
		"hubs", "contoso"); status != http.StatusBadRequest || !strings.Contains(page, "OLD=NEW") ||
		!strings.Contains(page, ">contoso</textarea>") {
		t.Errorf("no pair of hubs is answered %d:\n%s", status, page)
	}

	if counts, problems, _ := importFile(b, "enrollments", "windows.csv",
		"registrationId,attestation,initialTwin\nw1,symmetricKey,\"{\"\"tags\"\":{\"\"ort\"\":\"\"K\xf6ln\"\"}}\"\n",
		"mode", "create"); counts != "0+1" || problems != "2 w1: initialTwin is not UTF-8. Save the file as CSV UTF-8" {
		t.Errorf("CSV of Windows counts %s, %s", counts, problems)
	}
	if counts, _, page := importFile(b, "enrollments", "utf16.csv", "\xff\xfer\x00", "mode",
		"create"); counts != "0+0" || !strings.Contains(page, "The file is in UTF-16. Save it as CSV UTF-8") {
		t.Errorf("UTF-16 counts %s:\n%s", counts, page)
	}
}

// Who may not import does not, and nothing is kept of it.
func TestImportIsRefused(t *testing.T) {
	h := newFixture(t)
	operator, reader := h.loggedIn(web.Operator), h.loggedIn(web.Reader)
	token := operator.Token()
	const file = `{"enrollmentGroupId":"g","attestation":{"type":"symmetricKey"}}`
	big := strings.Repeat(" ", 3<<20)
	for name, c := range map[string]struct {
		b      *portaltest.Browser
		file   string
		fields []string
		status int
		says   string
	}{
		"a reader": {reader, file, []string{"csrf", reader.Token(), "mode", "create"}, http.StatusForbidden,
			"as a reader"},
		"another's form": {operator, file + big, []string{"csrf", "x", "mode", "create"}, http.StatusForbidden,
			"not made for your session"},
		"no token": {operator, file, []string{"mode", "create"}, http.StatusForbidden,
			"not made for your session"},
		"nobody": {h.Browser(), file + big, []string{"csrf", token, "mode", "create"},
			http.StatusUnauthorized, "login"},
		"no mode": {operator, file, []string{"csrf", token}, http.StatusBadRequest, "The mode must be"},
		"a file without name": {operator, file, []string{"csrf", token, "mode", "create", "name", ""},
			http.StatusBadRequest, "Choose a file first"},
	} {
		t.Run(name, func(t *testing.T) {
			fileName := "groups.json"
			if name == "a file without name" {
				fileName = ""
			}
			status, page, _ := c.b.Upload("groups/exchange", fileName, c.file, c.fields...)
			if status != c.status || !strings.Contains(page, c.says) {
				t.Errorf("it is answered %d:\n%s", status, page)
			}
		})
	}
	if status, page, _ := operator.Upload("groups/exchange", "groups.csv", file, "csrf", token, "mode",
		"create"); status != http.StatusBadRequest || !strings.Contains(page, "JSON only") {
		t.Errorf("CSV of groups is answered %d:\n%s", status, page)
	}
	if status, page := operator.Post("groups/exchange",
		map[string][]string{"csrf": {token}}); status != http.StatusUnsupportedMediaType {
		t.Errorf("another form is answered %d:\n%s", status, page)
	}
	if groups, _, err := h.Provisioning.Groups().List(ctx, "", "", 10); err != nil || len(groups) != 0 {
		t.Errorf("there are the groups %v, error %v", groups, err)
	}
	if left, err := os.ReadDir(h.DataDir); err != nil || strings.Contains(fmt.Sprint(left), "upload-") {
		t.Errorf("uploads are left behind: %v, error %v", left, err)
	}
	if status, _ := operator.Get("imports/unknown"); status != http.StatusNotFound {
		t.Errorf("an unknown import is answered %d", status)
	}
}
