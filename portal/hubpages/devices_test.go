package hubpages

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/portal/web"
)

// All devices of a hub that match are deleted, which the audit does not know of.
func TestAllDevicesAreDeleted(t *testing.T) {
	h := newFixture(t)
	b, devices := h.loggedIn(web.Operator), h.Hub
	for i := range web.PageSize + 2 {
		_, err := devices.CreateDevice(ctx, identity.Device{DeviceID: fmt.Sprintf("d-%03d", i)})
		h.Must(err)
	}
	_, err := devices.CreateDevice(ctx, identity.Device{DeviceID: "e"})
	h.Must(err)
	page, back := b.DeleteAll("hubs/berth/devices/delete", url.Values{"prefix": {"d-"}})
	b.Shows(page, fmt.Sprintf("%d devices were deleted", web.PageSize+2))
	if back != "hubs/berth/devices?prefix=d-" {
		t.Errorf("the way back leads to %q", back)
	}
	if left, _, err := devices.Devices(ctx, "", "", 10); err != nil || len(left) != 1 || left[0].DeviceID != "e" {
		t.Errorf("there are still %v, error %v", left, err)
	}
}
