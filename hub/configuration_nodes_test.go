package hub_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/configuration"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
)

// TestConfigurationsOfTwoNodes: whichever node is told of a configuration, or changes a twin,
// the one that holds the lease evaluates it, and the device is told where it is connected.
// After that node is gone the other goes on.
func TestConfigurationsOfTwoNodes(t *testing.T) {
	withNodes(t, 0, func(t *testing.T, a, b *node) {
		ctx := t.Context()
		device := must(a.CreateDevice(ctx, identity.Device{DeviceID: "d1"}))
		evidence := credential.Evidence{Token: must(credential.NewToken("hub.local/devices/d1", "",
			*device.Authentication.SymmetricKey.PrimaryKey, time.Now().Add(24*time.Hour)))}
		down := new(hubtest.Line)
		session, err := b.Connections().OpenSession(ctx, "d1", evidence, false, down)
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close(nil)
		create := func(at *node, id, condition, content string) {
			t.Helper()
			read := must(configuration.ReadContent([]byte(content)))
			must(at.Configurations().Create(ctx, configuration.Configuration{ID: id, TargetCondition: condition,
				Content: read}))
			time.Sleep(2 * time.Second) // until all nodes know of it, and it was evaluated
			synctest.Wait()
		}
		told := func(want ...string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := down.Notices(); !slices.Equal(got, want) {
				t.Fatalf("the device was told %q, want %q", got, want)
			}
		}
		create(b, "all", "*", `{"deviceContent":{"properties.desired.a":1}}`)
		const first, second = `{"a":1,"$version":2}`, `{"a":null,"b":2,"$version":3}`
		told(first)
		create(a, "some", "tags.site = 'A'", `{"deviceContent":{"properties.desired.b":2}}`)
		told(first)
		must(b.PatchTwin(ctx, "d1", []byte(`{"tags":{"site":"A"}}`), ""))
		told(first, second)

		a.line.cut.Store(true) // which holds the lease
		must(b.PatchTwin(ctx, "d1", []byte(`{"tags":{"site":"B"}}`), ""))
		time.Sleep(time.Minute)
		told(first, second, `{"b":null,"a":1,"$version":4}`)
	})
}
