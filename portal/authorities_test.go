package portal

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// TestAuthorityInUse deletes authorities of which groups name one: the page says so
// before, and only a box that is ticked deletes it all the same.
func TestAuthorityInUse(t *testing.T) {
	h := newHouse(t)
	b, service := h.loggedIn(Operator), h.config.Provisioning
	for _, name := range []string{"factory", "spare"} {
		_, err := service.PutAuthority(ctx, name, []byte(h.authority(name)), true, "")
		h.must(err)
	}
	b.send("groups/new", http.StatusOK, url.Values{"groupId": {"line-7"}, "mechanism": {"x509"},
		"authority": {"factory"}, "enabled": {"yes"}})
	const box = `name="force" value="yes"`
	page := b.send("certificates/delete", http.StatusOK, url.Values{"id": {"factory", "spare"}})
	b.shows(page, "factory is named by groups:", "line-7", box)
	if strings.Contains(page, "spare is named") {
		t.Errorf("the page asks of an authority that nobody names:\n%s", page)
	}
	if page := b.send("certificates/delete", http.StatusOK, url.Values{"id": {"spare"}}); strings.Contains(page, box) {
		t.Errorf("there is a box for what nobody names:\n%s", page)
	}
	b.shows(b.send("certificates/delete", http.StatusConflict, url.Values{"id": {"factory", "spare"},
		"confirm": {"yes"}}), "409000", "line-7", "by force")
	if _, err := service.Authority(ctx, "spare"); fault.From(err).Code != fault.NotFound {
		t.Errorf("what nobody names is still there: %v", err)
	}
	b.send("certificates/delete", http.StatusOK, url.Values{"id": {"factory"}, "confirm": {"yes"}, "force": {"yes"}})
	if _, err := service.Authority(ctx, "factory"); fault.From(err).Code != fault.NotFound {
		t.Errorf("by force it stays: %v", err)
	}
	// The group can be disabled all the same, and rolled to another.
	group, err := service.Group(ctx, "line-7")
	h.must(err)
	b.send("group/line-7", http.StatusOK, url.Values{"mechanism": {"x509"}, "authority": {"factory"},
		"etag": {group.ETag}})
	if group, err = service.Group(ctx, "line-7"); err != nil || group.ProvisioningStatus != provisioning.Disabled {
		t.Errorf("the group is %+v, error %v", group, err)
	}
}
