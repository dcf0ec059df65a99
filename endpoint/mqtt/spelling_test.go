package mqtt

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/berth-iot/berth/wire/mqtt"
)

// A device sends telemetry, and subscribes, with its id spelled as its SDK does it: as
// it is, or percent-encoded by the rules of whatever language. It is no other device's.
func TestDeviceIDCase(t *testing.T) {
	f := newFixture(t)
	for _, id := range []string{"plain", "a:b", "a=b@c", "$d(1)!", "x?y*z'"} {
		d := f.connect(id, true)
		var every string // each byte encoded, the least that anybody may do
		for _, c := range []byte(id) {
			every += fmt.Sprintf("%%%02X", c)
		}
		for _, spelled := range []string{id, url.PathEscape(id), url.QueryEscape(id), every} {
			filter := "devices/" + spelled + "/messages/devicebound/#"
			codes, err := d.Subscribe(t.Context(), mqtt.Subscription{Filter: filter, QoS: 1})
			if err != nil || codes[0] != 1 {
				t.Errorf("%s as %s: granted %v, error %v", id, spelled, codes, err)
			}
			for _, bag := range []string{"", "/", "/k=v"} {
				acknowledged := make(chan error, 1)
				topic := "devices/" + spelled + "/messages/events" + bag
				if err := d.Publish(topic, []byte("x"), 1, func(err error) { acknowledged <- err }); err != nil {
					t.Fatal(err)
				}
				if err := <-acknowledged; err != nil {
					t.Fatalf("%s: %v", topic, err)
				}
			}
		}
	}
	for _, topic := range []string{"devices/%70lain2/messages/events/", "devices/%/messages/events/",
		"devices/%70lain/messages/eventsx", "devices/%70lain", "devices/"} {
		d := f.connect("plain", true)
		if err := d.Publish(topic, nil, 1, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-d.Ended():
		case <-time.After(20 * time.Second):
			t.Errorf("a message on %s is taken", topic)
		}
	}
}
