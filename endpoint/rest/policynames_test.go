package rest

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/issuance"
)

// policyVersions are versions of the API, with how each names the credential policy
// meters of the issuing authority default. None names it in those before.
var policyVersions = []struct {
	version string
	named   map[string]string
}{
	{"2019-03-31", nil},
	{"2021-10-01", nil},
	{"2021-11-01-preview", nil},
	{"2025-07-01-preview", map[string]string{"credentialPolicyName": "meters"}},
	{"2026-07-01-preview",
		map[string]string{"certificatePolicyResourceId": "/subscriptions/00000000-0000-0000-0000-000000000000" +
			"/resourceGroups/berth/providers/Microsoft.DeviceRegistry/namespaces/berth" +
			"/certificateAuthorities/default/certificatePolicies/meters"}},
	{"2026-11-01", map[string]string{"namespaceName": "berth", "certificateAuthorityName": "default",
		"certificatePolicyName": "meters"}},
	{"2026-11-15-preview",
		map[string]string{"namespaceName": "berth", "certificateAuthorityName": "default",
			"certificatePolicyName": "meters"}},
}

// policyNames are the names of the policy in all versions.
var policyNames = []string{"credentialPolicyName", "certificatePolicyResourceId", "namespaceName",
	"certificateAuthorityName", "certificatePolicyName"}

// enrolling is a fixture in which enrollments of either kind are written by clients of
// different versions.
type enrolling struct {
	*httpstest.Fixture
	token string
}

func newEnrolling(t *testing.T) enrolling {
	h := newFixture(t)
	for _, policy := range []string{"meters", "other"} {
		if _, err := h.Issuer.PutPolicy(t.Context(), issuance.Policy{Name: policy}, ""); err != nil {
			t.Fatal(err)
		}
	}
	return enrolling{h, h.DPSToken()}
}

// kinds are the paths of enrollments of either kind.
var kinds = []string{"enrollments", "enrollmentGroups"}

// body is an enrollment with these members besides its own.
func (e enrolling) body(kind, id string, members map[string]string) string {
	e.T.Helper()
	name := "registrationId"
	if kind == "enrollmentGroups" {
		name = "enrollmentGroupId"
	}
	whole := map[string]any{name: id, "attestation": map[string]any{"type": "symmetricKey",
		"symmetricKey": map[string]string{"primaryKey": credential.NewKey(32), "secondaryKey": credential.NewKey(32)}}}
	for name, value := range members {
		whole[name] = value
	}
	encoded, err := json.Marshal(whole)
	if err != nil {
		e.T.Fatal(err)
	}
	return string(encoded)
}

// put writes an enrollment by a version of the API, in place of one that is there if
// replace says so.
func (e enrolling) put(kind, id, version string, replace bool, members map[string]string) httpstest.Response {
	e.T.Helper()
	header := map[string][]string{}
	if replace {
		header["If-Match"] = []string{"*"}
	}
	return e.Do(httpstest.Request{Method: "PUT", Path: "/" + kind + "/" + id + "?api-version=" + version,
		Token: e.token,
		Body:  e.body(kind, id, members), Header: header})
}

func (e enrolling) get(kind, id, version string) map[string]any {
	e.T.Helper()
	found := e.Do(httpstest.Request{Method: "GET", Path: "/" + kind + "/" + id + "?api-version=" + version,
		Token: e.token})
	if found.Status != 200 {
		e.T.Fatalf("%s %s is answered %d: %s", kind, id, found.Status, found.Text)
	}
	return found.Fields
}

// stored is the policy and the parent of an enrollment as it is stored.
func (e enrolling) stored(kind, id string) (policy, parent string) {
	e.T.Helper()
	if kind == "enrollments" {
		enrollment, err := e.Config.Provisioning.Enrollments().Get(e.T.Context(), id)
		if err != nil {
			e.T.Fatal(err)
		}
		return enrollment.CredentialPolicyName, enrollment.ParentDeviceID
	}
	group, err := e.Config.Provisioning.Groups().Get(e.T.Context(), id)
	if err != nil {
		e.T.Fatal(err)
	}
	return group.CredentialPolicyName, group.ParentDeviceID
}

// named are the names of the policy that an answer has.
func named(fields map[string]any) map[string]string {
	found := map[string]string{}
	for _, name := range policyNames {
		if value, ok := fields[name]; ok {
			found[name] = fmt.Sprint(value)
		}
	}
	return found
}

// Each version names the policy in its own terms, and all mean one policy: what one
// writes the others read.
func TestEveryVersionNamesThePolicy(t *testing.T) {
	e := newEnrolling(t)
	for _, kind := range kinds {
		for _, writer := range policyVersions {
			if writer.named == nil {
				continue
			}
			id := "by-" + writer.version
			written := e.put(kind, id, writer.version, false, writer.named)
			if written.Status != 200 || !maps.Equal(named(written.Fields), writer.named) {
				t.Fatalf("%s by %s are answered %d: %s", kind, writer.version, written.Status, written.Text)
			}
			if policy, _ := e.stored(kind, id); policy != "meters" {
				t.Errorf("%s by %s have the policy %q", kind, writer.version, policy)
			}
			for _, reader := range policyVersions {
				want := reader.named
				if want == nil {
					want = policyVersions[3].named // more than the version has, as answers may
				}
				if got := named(e.get(kind, id, reader.version)); !maps.Equal(got, want) {
					t.Errorf("%s by %s are read by %s with %v, want %v", kind, writer.version, reader.version, got,
						want)
				}
			}
		}
	}
}

// A query and a bulk operation name the policy as the version of the request does.
func TestListsNameThePolicyByVersion(t *testing.T) {
	e := newEnrolling(t)
	for kind, query := range map[string]string{"enrollments": "SELECT * FROM enrollments",
		"enrollmentGroups": "SELECT * FROM enrollmentGroups"} {
		for i, v := range policyVersions {
			if v.named == nil {
				continue
			}
			id := fmt.Sprintf("bulk-%d", i)
			bulk := e.Do(httpstest.Request{Method: "POST", Path: "/" + kind + "?api-version=" + v.version,
				Token: e.token,
				Body:  `{"mode":"create","` + kind + `":[` + e.body(kind, id, v.named) + `]}`})
			if bulk.Status != 200 || bulk.Fields["isSuccessful"] != true {
				t.Fatalf("%s by %s are answered %d: %s", kind, v.version, bulk.Status, bulk.Text)
			}
			if policy, _ := e.stored(kind, id); policy != "meters" {
				t.Errorf("%s by %s in bulk have the policy %q", kind, v.version, policy)
			}
			listed := e.Do(httpstest.Request{Method: "POST", Path: "/" + kind + "/query?api-version=" + v.version,
				Token: e.token,
				Body:  `{"query":"` + query + `"}`})
			var items []map[string]any
			if err := json.Unmarshal([]byte(listed.Text), &items); err != nil || len(items) == 0 {
				t.Fatalf("%s are listed %s, error %v", kind, listed.Text, err)
			}
			for _, item := range items {
				if got := named(item); !maps.Equal(got, v.named) {
					t.Errorf("%s are listed by %s with %v, want %v", kind, v.version, got, v.named)
				}
			}
		}
	}
}

// A client whose version does not know a property leaves it as it is stored; one whose
// version knows it removes it by leaving it out. No version knows Berth's own.
func TestOlderClientsKeepWhatTheyDoNotKnow(t *testing.T) {
	e := newEnrolling(t)
	for _, kind := range kinds {
		for i, v := range policyVersions {
			id := fmt.Sprintf("kept-%d", i)
			before := map[string]string{"credentialPolicyName": "meters", "parentDeviceId": "gateway"}
			if written := e.put(kind, id, "2025-07-01-preview", false, before); written.Status != 200 {
				t.Fatalf("%s are answered %d: %s", kind, written.Status, written.Text)
			}
			if written := e.put(kind, id, v.version, true, nil); written.Status != 200 {
				t.Fatalf("%s by %s are answered %d: %s", kind, v.version, written.Status, written.Text)
			}
			want := "meters"
			if v.named != nil {
				want = ""
			}
			if policy, parent := e.stored(kind, id); policy != want || parent != "gateway" {
				t.Errorf("after %s by %s the policy is %q, want %q, and the parent %q", kind, v.version, policy, want,
					parent)
			}
			// What is said is done, whatever the version.
			if written := e.put(kind, id, v.version, true,
				map[string]string{"credentialPolicyName": "", "parentDeviceId": ""}); written.Status != 200 {
				t.Fatalf("%s by %s are answered %d: %s", kind, v.version, written.Status, written.Text)
			}
			if policy, parent := e.stored(kind, id); policy != "" || parent != "" {
				t.Errorf("%s by %s that say none have the policy %q and the parent %q", kind, v.version, policy, parent)
			}
		}
		// In bulk too.
		e.put(kind, "bulk", "2025-07-01-preview", false, map[string]string{"credentialPolicyName": "meters"})
		bulk := e.Do(httpstest.Request{Method: "POST", Path: "/" + kind + "?api-version=2021-10-01", Token: e.token,
			Body: `{"mode":"update","` + kind + `":[` + e.body(kind, "bulk", nil) + `]}`})
		if policy, _ := e.stored(kind, "bulk"); bulk.Fields["isSuccessful"] != true || policy != "meters" {
			t.Errorf("after %s in bulk, answered %s, the policy is %q", kind, bulk.Text, policy)
		}
	}
}

// A client that does not know the policy is not refused because the policy is gone.
func TestUpdateWithDeletedPolicy(t *testing.T) {
	e := newEnrolling(t)
	for _, kind := range kinds {
		e.put(kind, "d1", "2025-07-01-preview", false, map[string]string{"credentialPolicyName": "other"})
	}
	if err := e.Issuer.DeletePolicy(t.Context(), "other", "", true); err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		if changed := e.put(kind, "d1", "2021-10-01", true,
			map[string]string{"provisioningStatus": "disabled"}); changed.Status != 200 ||
			changed.Fields["provisioningStatus"] != "disabled" {
			t.Errorf("%s are answered %d: %s", kind, changed.Status, changed.Text)
		}
		if refused := e.put(kind, "d2", "2025-07-01-preview", false,
			map[string]string{"credentialPolicyName": "other"}); refused.Status != 400 {
			t.Errorf("a new one of %s is answered %d: %s", kind, refused.Status, refused.Text)
		}
	}
}

// What names no policy that there is, or two, is refused with what to do, and nothing is
// written.
func TestPoliciesThatAreNotMet(t *testing.T) {
	e := newEnrolling(t)
	id := policyVersions[4].named["certificatePolicyResourceId"]
	whole := policyVersions[5].named
	with := func(name, value string) map[string]string {
		changed := maps.Clone(whole)
		if changed[name] = value; value == "" {
			delete(changed, name)
		}
		return changed
	}
	for _, kind := range kinds {
		for i, c := range []struct {
			members map[string]string
			says    string
		}{
			{map[string]string{"credentialPolicyName": "nothing"}, "There is no credential policy"},
			{map[string]string{"certificatePolicyResourceId": "meters"}, "must have the form /subscriptions/"},
			{map[string]string{"certificatePolicyResourceId": strings.Replace(id, "namespaces/berth",
				"namespaces/factory", 1)}, "send that as namespaceName"},
			{map[string]string{"certificatePolicyResourceId": strings.Replace(id, "/default/", "/second/", 1)},
				"send that as certificateAuthorityName"},
			{map[string]string{"certificatePolicyResourceId": strings.Replace(id, "meters", "nothing", 1)},
				"There is no credential policy"},
			{with("namespaceName", "factory"), "send that as namespaceName"},
			{with("certificateAuthorityName", "second"), "send that as certificateAuthorityName"},
			{with("certificatePolicyName", "nothing"), "There is no credential policy"},
			{with("namespaceName", ""), "Send all three"},
			{with("certificateAuthorityName", ""), "Send all three"},
			{with("certificatePolicyName", ""), "Send all three"},
			{with("credentialPolicyName", "other"), "names two credential policies"},
			{with("certificatePolicyResourceId", strings.Replace(id, "meters", "other", 1)),
				"names two credential policies"},
		} {
			for _, version := range []string{"2021-10-01", "2025-07-01-preview", "2026-07-01-preview", "2026-11-01"} {
				name := fmt.Sprintf("refused-%d", i)
				refused := e.put(kind, name, version, false, c.members)
				if refused.Status != 400 || !strings.Contains(refused.Text, c.says) {
					t.Errorf("%v in %s by %s is answered %d, want 400 that says %q: %s", c.members, kind, version,
						refused.Status, c.says, refused.Text)
				}
				if found := e.Do(httpstest.Request{Method: "GET", Path: "/" + kind + "/" + name,
					Token: e.token}); found.Status != 404 {
					t.Errorf("%v in %s is there: %s", c.members, kind, found.Text)
				}
			}
		}
		// The same policy in two ways is one.
		both := with("credentialPolicyName", "Meters")
		both["certificatePolicyResourceId"] = strings.Replace(id, "/namespaces/", "/deviceRegistryNamespaces/", 1)
		if written := e.put(kind, "both", "2026-11-01", false, both); written.Status != 200 {
			t.Errorf("the same policy in two ways is answered %d: %s", written.Status, written.Text)
		}
	}
}
