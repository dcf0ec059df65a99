package provisioningcmd

import (
	"strings"
	"testing"

	"github.com/berth-iot/berth/provisioning/linkedhub"
)

func TestLinkedHost(t *testing.T) {
	links := []linkedhub.Link{
		{HostName: "127.0.0.1", Hub: "berth", Local: true}, {HostName: "127.0.0.2", Hub: "east", Local: true},
		{HostName: "east.example.com", Hub: "east"}, {HostName: "north.example.com", Hub: "north"},
		{HostName: "north.example.org", Hub: "north"},
	}
	for _, c := range []struct{ name, host, says string }{
		{"Berth", "127.0.0.1", ""},
		{"east", "", "several linked hubs are called east: say which by its host name, 127.0.0.2 or east.example.com"},
		{"127.0.0.2", "127.0.0.2", ""},
		{"EAST.example.com", "east.example.com", ""},
		{"north", "", "north.example.com or north.example.org"},
		{"south", "", `no hub "south" is linked, but berth (127.0.0.1), east (127.0.0.2), east (east.example.com)`},
	} {
		host, err := linkedHost(links, c.name)
		if host != c.host || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v, want %q, %q", c.name, host, err, c.host, c.says)
		}
	}
	if _, err := linkedHost(nil, "east"); err == nil || !strings.Contains(err.Error(), "no hub is linked") {
		t.Errorf("without any: %v", err)
	}
}
