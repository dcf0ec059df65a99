package provisioningpages

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/allocation"
)

// TestStaticWithoutAHub sees that the forms take static allocation without a hub, keep
// it when something else is changed, and say what comes of it.
func TestStaticWithoutAHub(t *testing.T) {
	h := newFixture(t)
	b, service := h.loggedIn(web.Operator), h.Provisioning
	const warning = "devices are refused until a hub is chosen"
	b.Send("groups/new", http.StatusOK, url.Values{"groupId": {"g"}, "mechanism": {"symmetricKey"},
		"enabled": {"yes"}, "allocation": {"static"}, "hub": {""}})
	b.Send("enrollments/new", http.StatusOK, url.Values{"registrationId": {"d"}, "mechanism": {"symmetricKey"},
		"enabled": {"yes"}, "allocation": {"static"}, "hub": {""}})
	policies := func() (group, enrollment allocation.Policy, tags [2]string) {
		g, err := service.Groups().Get(ctx, "g")
		h.Must(err)
		e, err := service.Enrollments().Get(ctx, "d")
		h.Must(err)
		return g.AllocationPolicy, e.AllocationPolicy, [2]string{g.ETag, e.ETag}
	}
	group, enrollment, tags := policies()
	if group != allocation.Static || enrollment != allocation.Static {
		t.Fatalf("the group is saved with the policy %q, the enrollment with %q", group, enrollment)
	}
	for _, path := range []string{"group/g", "enrollment/d"} {
		if _, page := b.Get(path); !strings.Contains(page, warning) {
			t.Errorf("%s does not say what comes of it:\n%s", path, page)
		}
	}
	b.Send("group/g", http.StatusOK, url.Values{"mechanism": {"symmetricKey"}, "enabled": {""},
		"allocation": {"static"}, "hub": {""}, "etag": {tags[0]}})
	b.Send("enrollment/d", http.StatusOK, url.Values{"mechanism": {"symmetricKey"}, "enabled": {""},
		"allocation": {"static"}, "hub": {""}, "etag": {tags[1]}})
	if group, enrollment, _ = policies(); group != allocation.Static || enrollment != allocation.Static {
		t.Errorf("after another change the group has the policy %q, the enrollment %q", group, enrollment)
	}
	b.Send("groups/new", http.StatusOK, url.Values{"groupId": {"other"}, "mechanism": {"symmetricKey"},
		"enabled": {"yes"}, "allocation": {"hashed"}})
	if _, page := b.Get("group/other"); strings.Contains(page, warning) {
		t.Error("a group without static allocation is warned about")
	}
}
