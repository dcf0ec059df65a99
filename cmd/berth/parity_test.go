package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// TestFieldParity holds the service API, the command line and the portal
// against each other: each field of an enrollment or a group that one of them can
// write, all can, with the same result; each can take it away again; and none loses
// it when somebody changes something else. A field that is added to the contract
// fails the test until it has a flag and a field of the form, or a reason here.
func TestFieldParity(t *testing.T) {
	d := newDoors(t)
	t.Run("enrollment", func(t *testing.T) {
		d.try(t, doorThing{kind: "enrollment", id: "registrationId", wire: reflect.TypeFor[enroll.Enrollment](),
			cases: d.enrollmentFields(), reasons: map[string]string{
				"registrationId":         "names it: ID on the command line, the field registrationId of a new form",
				"registrationState":      "read only: berth registration, and the portal's registration records",
				"etag":                   "the condition of a change, which each door takes from what it read",
				"createdDateTimeUtc":     "read only",
				"lastUpdatedDateTimeUtc": "read only",
				"attestation.x509.clientCertificates.primary.info":   "what the certificate says",
				"attestation.x509.clientCertificates.secondary.info": "what the certificate says",
				"attestation.x509.signingCertificates":               "of groups",
				"attestation.x509.caReferences":                      "of groups",
			}})
	})
	t.Run("group", func(t *testing.T) {
		d.try(t, doorThing{kind: "group", id: "enrollmentGroupId", wire: reflect.TypeFor[enroll.Group](),
			cases: d.groupFields(), reasons: map[string]string{
				"enrollmentGroupId":      "names it: ID on the command line, the field groupId of a new form",
				"etag":                   "the condition of a change, which each door takes from what it read",
				"createdDateTimeUtc":     "read only",
				"lastUpdatedDateTimeUtc": "read only",
				"attestation.x509.signingCertificates.primary.info":   "what the certificate says",
				"attestation.x509.signingCertificates.secondary.info": "what the certificate says",
				"attestation.x509.clientCertificates":                 "of individual enrollments",
				"attestation.tpm": "of individual enrollments: each TPM has a key " +
					"of its own",
			}})
	})
}

// doorCase is a field of the contract as each door writes it.
type doorCase struct {
	path string // of the field in the document that is sent
	want string // its value: JSON
	read string // where the answer has it, when that is elsewhere
	seen string // what it is there: JSON

	rest  string     // what the document needs beside it: JSON
	flags []string   // of the command line
	form  url.Values // of the portal
	own   bool       // flags and form say how devices prove themselves; else they have keys

	clear []string   // flags that take it away again; nil when there must be one
	empty url.Values // what the form sends for that: no value is a box that is not ticked
}

// doorThing is what is written by several doors.
type doorThing struct {
	kind, id string
	wire     reflect.Type
	cases    []doorCase
	reasons  map[string]string // why a field, and what is below it, is not among the cases
}

// doors are a server and what it is reached by.
type doors struct {
	shell
	service *backend.Provisioning
	browser *http.Client
	portal  string // address of the overview
	folder  string
}

func newDoors(t *testing.T) *doors {
	t.Helper()
	d := &doors{shell: newShell(t), folder: t.TempDir()}
	var err error
	if d.service, err = (&cli.Target{Data: d.data}).Provisioning(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.service.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d.browser = &http.Client{Jar: jar}
	link := read[credential.LoginLink](d.shell, "portal", "link")
	response, err := d.browser.Get(link.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the login is answered %s", response.Status)
	}
	root, _, _ := strings.Cut(link.URL, "/portal/")
	d.portal = root + "/portal/"
	d.run(0, "hub", "create", "east")
	for _, name := range []string{"first", "second"} {
		d.run(0, "authority", "create", name, "--file", d.file(name+".pem", authorityPEM(t, name)), "--trust")
	}
	return d
}

func authorityPEM(t *testing.T, name string) string {
	t.Helper()
	made, err := credential.NewAuthority(name, time.Now().Add(-time.Hour), 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := made.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return string(certificate)
}

func (d *doors) file(name, content string) string {
	d.t.Helper()
	path := filepath.Join(d.folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// try holds the doors against each other, field by field.
func (d *doors) try(t *testing.T, thing doorThing) {
	known := make(map[string]bool)
	for i, c := range thing.cases {
		known[c.path] = true
		t.Run(c.path, func(t *testing.T) {
			d := *d
			d.shell.t = t
			if !c.own {
				c.flags, c.form = append([]string{"--symmetric"}, c.flags...), maps.Clone(c.form)
				if c.form == nil {
					c.form = url.Values{}
				}
				c.form.Set("mechanism", "symmetricKey")
			}
			ids := map[string]string{}
			for _, door := range []string{"service", "shell", "portal"} {
				ids[door] = fmt.Sprintf("%s-%d", door, i)
			}
			d.create(thing, ids["service"], c)
			d.run(0, append([]string{thing.kind, "create", ids["shell"]}, c.flags...)...)
			field := map[string]string{"enrollment": "registrationId", "group": "groupId"}[thing.kind]
			d.submit(thing.kind+"s/new", c.form, url.Values{field: {ids["portal"]}})
			for door, id := range ids {
				d.holds(thing, door, id, c)
			}
			if c.path != "provisioningStatus" {
				d.disable(thing, ids["service"], c)
			}
			if c.clear == nil {
				return
			}
			d.run(0, append([]string{thing.kind, "update", ids["shell"]}, c.clear...)...)
			d.submit(thing.kind+"/"+ids["portal"], c.empty, nil)
			for _, door := range []string{"shell", "portal"} {
				if got := at(d.document(thing, ids[door]), cmp.Or(c.read, c.path)); got != nil && got != false &&
					got != "" {
					t.Errorf("taken away by the %s, %s is %v", door, c.path, got)
				}
			}
		})
	}
	for _, path := range wirePaths(thing.wire, "") {
		if known[path] {
			delete(known, path)
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(thing.reasons)),
			func(prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+".") }) {
			t.Errorf("the field %s has no flag, no field of the form and no reason for that", path)
		}
	}
	for path := range known {
		t.Errorf("the contract has no field %s", path)
	}
}

// wirePaths are the fields of a type as JSON has them, down to those that are one value.
func wirePaths(of reflect.Type, prefix string) (paths []string) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of.Implements(reflect.TypeFor[json.Marshaler]()) {
		return []string{strings.TrimPrefix(prefix, ".")}
	}
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			paths = append(paths, wirePaths(field.Type, prefix)...)
		case field.IsExported() && name != "-":
			paths = append(paths, wirePaths(field.Type, prefix+"."+cmp.Or(name, field.Name))...)
		}
	}
	return paths
}

// create makes a thing by the service API.
func (d *doors) create(thing doorThing, id string, c doorCase) {
	d.t.Helper()
	document := map[string]any{"attestation": map[string]any{"type": "symmetricKey"}}
	if c.rest != "" {
		if err := json.Unmarshal([]byte(c.rest), &document); err != nil {
			d.t.Fatalf("%s: %v", c.rest, err)
		}
	}
	document[thing.id] = id
	var value any
	if err := json.Unmarshal([]byte(c.want), &value); err != nil {
		d.t.Fatalf("%s: %v", c.want, err)
	}
	inner, names := document, strings.Split(c.path, ".")
	for _, name := range names[:len(names)-1] {
		below, ok := inner[name].(map[string]any)
		if !ok {
			below = map[string]any{}
			inner[name] = below
		}
		inner = below
	}
	inner[names[len(names)-1]] = value
	text, err := json.Marshal(document)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx := d.t.Context()
	if thing.kind == "group" {
		var group enroll.Group
		if err = json.Unmarshal(text, &group); err == nil {
			_, err = d.service.PutGroup(ctx, group, "")
		}
	} else {
		var enrollment enroll.Enrollment
		if err = json.Unmarshal(text, &enrollment); err == nil {
			_, err = d.service.CreateEnrollment(ctx, enrollment)
		}
	}
	if err != nil {
		d.t.Fatalf("the service takes %s: %v", text, err)
	}
}

// document is a thing as the service API has it, with its keys.
func (d *doors) document(thing doorThing, id string) (document map[string]any) {
	d.t.Helper()
	var whole any
	var err error
	if thing.kind == "group" {
		var group enroll.Group
		if group, err = d.service.Group(d.t.Context(), id); err == nil && group.Attestation.SymmetricKey != nil {
			group.Attestation, err = d.service.GroupAttestationMechanism(d.t.Context(), id)
		}
		whole = group
	} else {
		var enrollment enroll.Enrollment
		if enrollment, err = d.service.Enrollment(d.t.Context(), id); err == nil &&
			enrollment.Attestation.SymmetricKey != nil {
			enrollment.Attestation, err = d.service.AttestationMechanism(d.t.Context(), id)
		}
		whole = enrollment
	}
	if err != nil {
		d.t.Fatalf("%s: %v", id, err)
	}
	text, err := json.Marshal(whole)
	if err == nil {
		err = json.Unmarshal(text, &document)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return document
}

// at is what a document has at a path, nil for nothing.
func at(document map[string]any, path string) any {
	var value any = document
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

// holds holds what a door has written against what it was to be.
func (d *doors) holds(thing doorThing, door, id string, c doorCase) {
	d.t.Helper()
	var want any
	if err := json.Unmarshal([]byte(cmp.Or(c.seen, c.want)), &want); err != nil {
		d.t.Fatal(err)
	}
	if got := at(d.document(thing, id), cmp.Or(c.read, c.path)); !reflect.DeepEqual(got, want) {
		d.t.Errorf("written by the %s, %s is %v, want %v", door, cmp.Or(c.read, c.path), got, want)
	}
}

// disable changes something else by the command line, and by the portal as a browser
// sends its form: nothing but that may change.
func (d *doors) disable(thing doorThing, id string, c doorCase) {
	d.t.Helper()
	rest := func() map[string]any {
		document := d.document(thing, id)
		for _, name := range []string{"etag", "lastUpdatedDateTimeUtc", "provisioningStatus"} {
			delete(document, name)
		}
		return document
	}
	before := rest()
	for door, change := range map[string]func(){
		"shell":  func() { d.run(0, thing.kind, "update", id, "--provisioning-status", "disabled") },
		"portal": func() { d.submit(thing.kind+"/"+id, url.Values{"enabled": nil}, nil) },
	} {
		change()
		if after := rest(); !reflect.DeepEqual(after, before) {
			d.t.Errorf("disabled by the %s, it is %v, and was %v", door, after, before)
		}
		d.run(0, thing.kind, "update", id, "--provisioning-status", "enabled")
	}
}

var (
	mainForm = regexp.MustCompile(`(?s)<form method="post" enctype="multipart/form-data".*?</form>`)
	controls = regexp.MustCompile(
		`(?s)<input ([^>]*)>|<select ([^>]*)>(.*?)</select>|<textarea ([^>]*)>(.*?)</textarea>`)
	attribute = regexp.MustCompile(`([a-z-]+)="([^"]*)"`)
	option    = regexp.MustCompile(`<option(?: value="([^"]*)")?( selected)?>([^<]*)</option>`)
)

// submit sends the form of a page as a browser does, with some of its fields typed in
// or emptied. All of them must be on the page.
func (d *doors) submit(path string, typed, further url.Values) {
	d.t.Helper()
	page := d.fetch(http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.portal+path, nil))
	fields, names := formFields(mainForm.FindString(page))
	for name, values := range typed {
		if !names[name] {
			d.t.Fatalf("the form of %s has no field %s", path, name)
		}
		if fields[name] = values; values == nil {
			fields.Del(name)
		}
	}
	maps.Copy(fields, further)
	request, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.portal+path,
		strings.NewReader(fields.Encode()))
	if err == nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	d.fetch(request, err)
}

func (d *doors) fetch(request *http.Request, err error) string {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
	response, err := d.browser.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		_, main, _ := strings.Cut(string(page), "<main")
		d.t.Fatalf("%s %s is answered %s, error %v:\n%s", request.Method, request.URL, response.Status, err, main)
	}
	return string(page)
}

// formFields are what a browser sends of a form that nobody has touched, and the names
// of all its fields.
func formFields(form string) (fields url.Values, names map[string]bool) {
	fields, names = url.Values{}, map[string]bool{}
	for _, control := range controls.FindAllStringSubmatch(form, -1) {
		attributes := map[string]string{}
		for _, pair := range attribute.FindAllStringSubmatch(control[1]+control[2]+control[4], -1) {
			attributes[pair[1]] = html.UnescapeString(pair[2])
		}
		name := attributes["name"]
		names[name] = true
		switch {
		case control[2] != "":
			for i, choice := range option.FindAllStringSubmatch(control[3], -1) {
				if value := cmp.Or(choice[1], choice[3]); choice[2] != "" || i == 0 {
					if strings.Contains(choice[0], ` value=""`) {
						value = ""
					}
					fields.Set(name, html.UnescapeString(value))
				}
			}
		case control[4] != "":
			fields.Set(name, html.UnescapeString(control[5]))
		case attributes["type"] == "file":
		case attributes["type"] != "checkbox" || strings.Contains(control[1], " checked"):
			fields.Add(name, attributes["value"])
		}
	}
	return fields, names
}

// TestDeviceFlags: whatever the service API lets be written of a device has a flag.
func TestDeviceFlags(t *testing.T) {
	flags := map[string]string{ // "" for none, which the comment explains
		"status": "status", "statusReason": "status-reason", "capabilities.iotEdge": "edge", "parentScopes": "parent",
		"authentication.type":                               "authentication",
		"authentication.symmetricKey.primaryKey":            "primary-key",
		"authentication.symmetricKey.secondaryKey":          "secondary-key",
		"authentication.x509Thumbprint.primaryThumbprint":   "thumbprint",
		"authentication.x509Thumbprint.secondaryThumbprint": "secondary-thumbprint",
		"deviceId":    "", // ID
		"deviceScope": "", // of an IoT Edge device made by the hub, of others that of the parent
		"etag":        "", // taken from what was read
		// The rest is read only.
		"generationId": "", "connectionState": "", "connectionStateUpdatedTime": "", "statusUpdatedTime": "",
		"lastActivityTime": "", "cloudToDeviceMessageCount": "",
		"certificateIssuance.registrationId": "", "certificateIssuance.credentialPolicyName": "",
	}
	c := &program{Env: cli.Env{Stdout: io.Discard, Stderr: io.Discard}}
	create, update := commandAt(t, c, "device", "create"), commandAt(t, c, "device", "update")
	for _, path := range wirePaths(reflect.TypeFor[identity.Device](), "") {
		flag, known := flags[path]
		switch {
		case !known:
			t.Errorf("the field %s has no flag, and no reason for that", path)
		case flag == "":
		case !hasFlag(update, flag):
			t.Errorf("the field %s can't be changed by --%s", path, flag)
		case !hasFlag(create, flag) && path != "status": // --disabled
			t.Errorf("the field %s can't be given by --%s", path, flag)
		}
	}
}
