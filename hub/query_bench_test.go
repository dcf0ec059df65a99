package hub_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

var benchDevices = flag.Int("devices", 10_000, "how many devices BenchmarkQuery has")

// fill makes devices with twins as fleets have them: ten tags and properties, of which a
// serial number is each device's own and a site is that of a thousandth.
func (f *fixture) fill(n int) {
	f.T.Helper()
	const atOnce = 1000
	for first := 0; first < n; first += atOnce {
		var changes []store.Change
		for i := first; i < min(n, first+atOnce); i++ {
			tags := fmt.Sprintf(`{"site":"site-%04d","floor":%d,"serial":"SN%09d",
				"customer":{"name":"Contoso","region":"eu-%d"}}`, i%1000, i%20, i, i%4)
			desired := `{"interval":60,"firmware":{"version":"2.1.0","url":"https://updates.example.com/2.1.0.bin"}}`
			initial, err := twin.New(json.RawMessage(tags), json.RawMessage(desired), f.Now())
			if err != nil {
				f.T.Fatal(err)
			}
			device := identity.Device{DeviceID: fmt.Sprintf("device-%07d", i)}
			if i%10_000 == 0 {
				device.Status = identity.Disabled
			}
			if err := device.Complete(nil); err != nil {
				f.T.Fatal(err)
			}
			created, err := f.PrepareCreate(&device, initial)
			if err != nil {
				f.T.Fatal(err)
			}
			changes = append(changes, created...)
		}
		if _, err := f.Documents.Commit(ctx, changes...); err != nil {
			f.T.Fatal(err)
		}
	}
}

// BenchmarkQuery measures first pages and whole scans. -devices says of how many devices.
func BenchmarkQuery(b *testing.B) {
	f := newFixture(b)
	began := time.Now()
	f.fill(*benchDevices)
	b.Logf("%d devices made in %v", *benchDevices, time.Since(began))
	f.index("tags.serial")
	for _, c := range []struct{ name, query string }{
		{"indexed/page", "SELECT * FROM devices WHERE tags.serial = 'SN000000777'"},
		{"all/page", "SELECT * FROM devices"},
		{"id/page", "SELECT * FROM devices WHERE deviceId = 'device-0000777'"},
		{"prefix/page", "SELECT * FROM devices WHERE STARTSWITH(deviceId, 'device-000012')"},
		{"disabled/page", "SELECT * FROM devices WHERE status = 'disabled'"},
		{"connected/page", "SELECT * FROM devices WHERE connectionState = 'Connected'"},
		{"site/page", "SELECT deviceId, tags FROM devices WHERE tags.site = 'site-0500'"},
		{"tag/scan", "SELECT * FROM devices WHERE tags.customer.name = 'none'"},
		{"identity/scan", "SELECT * FROM devices WHERE capabilities.iotEdge = true"},
		{"both/scan", "SELECT * FROM devices WHERE capabilities.iotEdge = true OR properties.desired.interval > 60"},
		{"disconnected/scan", "SELECT * FROM devices WHERE connectionState != 'Disconnected'"},
		{"group/scan", "SELECT tags.customer.region AS region, COUNT() AS n, AVG(tags.floor) AS f FROM devices " +
			"GROUP BY tags.customer.region"},
	} {
		b.Run(c.name, func(b *testing.B) {
			f.T = b
			for b.Loop() {
				if _, err := f.Query(ctx, c.query, hub.QueryPage{Limit: 100}); err != nil {
					b.Fatal(err)
				}
			}
			perOp := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(*benchDevices)/perOp.Seconds(), "devices/s")
		})
	}
}
