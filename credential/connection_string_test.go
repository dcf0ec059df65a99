package credential

import (
	"strings"
	"testing"
)

func TestConnectionStrings(t *testing.T) {
	for text, want := range map[string]ConnectionString{
		"HostName=h;SharedAccessKeyName=p;SharedAccessKey=a2V5":            {"h", "", "", "p", "a2V5"},
		" hostname=h;DEVICEID=d;sharedaccesskey=a2V5==;Future=x;\n":        {"h", "d", "", "", "a2V5=="},
		"SharedAccessKey=a2V5;DeviceId=d;HostName=h;GatewayHostName=other": {"h", "d", "", "", "a2V5"},
		"HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=a2V5":            {"h", "d", "m", "", "a2V5"},
	} {
		read, err := ParseConnectionString(text)
		if err != nil || read != want {
			t.Errorf("%q is read as %+v, error %v", text, read, err)
		}
		if again, err := ParseConnectionString(read.String()); err != nil || again != read {
			t.Errorf("%s is read as %+v, error %v", read, again, err)
		}
	}
	for text, says := range map[string]string{
		"": "no HostName", "HostName": "Name=value pairs", "HostName=h;secret": "Name=value pairs",
		"HostName=h;DeviceId=d":         "no SharedAccessKey",
		"HostName=h;SharedAccessKey=s3": "neither SharedAccessKeyName",
	} {
		_, err := ParseConnectionString(text)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3") ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A connection string that would be read as another device's is told of.
func TestConnectionStringCheck(t *testing.T) {
	for id, carried := range map[string]bool{"pump-1": true, "a=b": true, "a;b": false, ";": false} {
		written := ConnectionString{HostName: "h", DeviceID: id, SharedAccessKey: "a2V5"}
		read, err := ParseConnectionString(written.String())
		if (err == nil && read == written) != carried || (written.Check() == nil) != carried {
			t.Errorf("%q is read as %+v, error %v, and told of as %v", id, read, err, written.Check())
		}
	}
}

// A token is good for its resource and for all below it, by whole segments.
func TestTokensCover(t *testing.T) {
	device := DeviceResource("hub.example", "Pump-1")
	registration := RegistrationResource("0ne1", "pump-1")
	network := Resource{"dps.example", []Segment{{Text: "networks"}, {Text: "192.0.2.0/24"}}}
	for _, c := range []struct {
		resource, keyName string
		asked             Resource
		want              bool
	}{
		{"hub.example", "", device, true},
		{"HUB.example/", "", device, true},
		{"https://hub.example:443/devices", "", device, true},
		{"hub.example/devices/Pump-1", "", device, true},
		{"hub.example.", "", device, true},
		{"https://HUB.example.:443/devices/Pump-1", "", device, true},
		{"hub.example../devices/Pump-1", "", device, false},
		{"hub.example/DEVICES/Pump-1/", "", device, true},
		{"hub.example/devices/pump-1", "", device, false},
		{"hub.example/devices/Pump-10", "", device, false},
		{"hub.example/devices/Pump-1/modules", "", device, false},
		{"hub.example/dev", "", device, false},
		{"other.example", "", device, false},
		{"", "", device, false},
		{"", "", Resource{}, false},
		{"hub.example/devices/Pump%2D1", "", device, true},
		{"hub.example/devices/Pump%2D1", "device", device, false},
		{"hub.example/devices/Pump%2", "", device, false},
		{"0NE1/registrations/PUMP-1", "registration", registration, true},
		{"0ne1/registrations/pump-2", "registration", registration, false},
		{"dps.example/networks/192.0.2.0/24", "", network, true},
		{"dps.example/networks/192.0.2.0", "", network, true},
		{"dps.example/networks/192.0.2.1", "", network, false},
	} {
		token := &Token{Resource: c.resource, KeyName: c.keyName}
		if got := token.Covers(c.asked); got != c.want {
			t.Errorf("%q with the key %q covers %s: %v", c.resource, c.keyName, c.asked, got)
		}
	}
	if device.String() != "hub.example/devices/Pump-1" || registration.String() != "0ne1/registrations/pump-1" {
		t.Errorf("the resources are %s and %s", device, registration)
	}
}

func TestKeys(t *testing.T) {
	for _, size := range []int{16, 32, 64} {
		if first, second := NewKey(size), NewKey(size); !ValidKey(first) || first == second {
			t.Errorf("of %d bytes: %s and %s", size, first, second)
		}
	}
	for _, bad := range []string{"", "a2V5", "not base64!", NewKey(15), NewKey(65)} {
		if ValidKey(bad) {
			t.Errorf("%q is a key", bad)
		}
	}
}
