package mqtt

import (
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
)

// A device is let in with its id percent-encoded in its user name, and with an agent
// that is not encoded.
func TestUserNamesOnTheWire(t *testing.T) {
	f := newFixture(t)
	const id = "a:b?c"
	created, err := f.CreateDevice(t.Context(), identity.Device{DeviceID: id})
	if err != nil {
		t.Fatal(err)
	}
	token, err := credential.NewToken("hub.local/devices/"+id, "", *created.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, username := range []string{
		"hub.local/a:b?c/?api-version=2020-09-30", "hub.local/a%3Ab%3fc/?api-version=2020-09-30",
		"hub.local/a:b?c/?api-version=2020-09-30&c/1.3.1(ard;esp32)",
		"hub.local/a:b?c/DeviceClientType=x/1&api-version=2016-11-14",
	} {
		d := f.connectAs(id, username, token, true)
		acknowledged := make(chan error, 1)
		if err := d.Publish("devices/"+id+"/messages/events/", nil, 1,
			func(err error) { acknowledged <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-acknowledged; err != nil {
			t.Errorf("%s: %v", username, err)
		}
		d.Disconnect()
	}
}
