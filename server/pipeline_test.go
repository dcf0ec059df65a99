package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/wire/mqtt"
)

// A device that asks for its twin many times at once, and reads, gets every answer,
// over TLS and over a WebSocket. Together they are more than may wait for it.
func TestPipelinedTwinRequests(t *testing.T) {
	h := newFixture(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	device, err := h.hub.CreateDevice(ctx, identity.Device{DeviceID: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	var properties []string
	for i := range 7 {
		properties = append(properties, fmt.Sprintf(`"p%d":%q`, i, strings.Repeat("x", 4000)))
	}
	patch := `{"properties":{"desired":{` + strings.Join(properties, ",") + `}}}`
	if _, err := h.hub.PatchTwin(ctx, "d1", []byte(patch), ""); err != nil {
		t.Fatal(err)
	}
	token, err := credential.NewToken("127.0.0.1/devices/d1", "", *device.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, webSocket := range map[string]bool{"TLS": false, "WebSocket": true} {
		t.Run(name, func(t *testing.T) {
			const requests = 60
			answers := make(chan string, requests)
			conn := h.open(webSocket)
			d, err := h.connectToken(conn, "d1", token, func(topic string, payload []byte) {
				answers <- fmt.Sprint(topic, " ", len(payload) > 28_000)
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Subscribe(ctx, mqtt.Subscription{Filter: "$iothub/twin/res/#"}); err != nil {
				t.Fatal(err)
			}
			var burst []byte // in one piece, as of a client that gathers what it sends
			for i := range requests {
				topic := fmt.Sprint("$iothub/twin/GET/?$rid=", i)
				burst = append(burst, 0x30, byte(2+len(topic)), 0, byte(len(topic)))
				burst = append(burst, topic...)
			}
			if _, err := conn.Write(burst); err != nil {
				t.Fatal(err)
			}
			for i := range requests {
				select {
				case got := <-answers:
					if want := fmt.Sprintf("$iothub/twin/res/200/?$rid=%d true", i); got != want {
						t.Fatalf("answer %d is %s", i, got)
					}
				case <-d.Ended():
					t.Fatalf("after %d answers the connection ended: %v", i, d.Err())
				case <-ctx.Done():
					t.Fatalf("after %d answers none came", i)
				}
			}
			d.Disconnect()
		})
	}
}
