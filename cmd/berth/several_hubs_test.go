package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/cmd/berth/hubcmd"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// TestHubsByName binds enrollments and groups to hubs of the server and elsewhere, by
// host name and by name.
func TestHubsByName(t *testing.T) {
	f := newFleet(t)
	s := shell{t, f.firstData}
	// Another one elsewhere, whose host name begins with a name.
	runLine(t, 0, "hub", "create", "plant", "--hub-host", "plant.example.com", "--data", f.secondData)
	f.reach()
	file := filepath.Join(t.TempDir(), "plant.txt")
	if err := os.WriteFile(file, []byte(f.second.info.Hubs[1].ConnectionString), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(0, "hub", "link", "@"+file, "--hub-address", f.secondAddress, "--hub-ca-file", f.second.info.CAFile)

	stdout, _ := s.run(0, "hub", "list")
	rows := strings.Split(strings.TrimSpace(stdout), "\n")
	named := map[string]string{}
	for _, row := range rows[1:] {
		cells := strings.Fields(row)
		named[cells[1]] = cells[0]
	}
	if !strings.HasPrefix(rows[0], "NAME") || len(named) != 4 || named["127.0.0.1"] != "berth" ||
		named["127.0.0.2"] != "east" ||
		named[secondHost] != "-" || named["plant.example.com"] != "plant" {
		t.Errorf("berth hub list:\n%s", stdout)
	}
	if link := read[linkedhub.Link](s, "hub", "show", "PLANT"); link.HostName != "plant.example.com" ||
		link.Hub != "plant" {
		t.Errorf("berth hub show: %+v", link)
	}

	for i, name := range []string{"enrollment", "group"} {
		host := func(args ...string) (host string, hosts []string) {
			t.Helper()
			var bound struct {
				Host  string   `json:"iotHubHostName"`
				Hosts []string `json:"iotHubs"`
			}
			stdout, _ := s.run(0, append(append([]string{name}, args...), "-o", "json")...)
			if err := json.Unmarshal([]byte(stdout), &bound); err != nil {
				t.Fatal(err)
			}
			return bound.Host, bound.Hosts
		}
		id := []string{"meter", "meters-elsewhere"}[i]
		if got, _ := host("create", id, "--symmetric", "--hub", secondHost); got != secondHost {
			t.Errorf("berth %s create --hub %s: bound to %q", name, secondHost, got)
		}
		for wanted, want := range map[string]string{"east": "127.0.0.2", "PLANT.example.com": "plant.example.com",
			"plant": "plant.example.com", secondHost: secondHost, "": ""} {
			if got, _ := host("update", id, "--hub", wanted); got != want {
				t.Errorf("berth %s update --hub %q: bound to %q, want %q", name, wanted, got, want)
			}
		}
		if _, got := host("update", id, "--hubs", "berth, "+secondHost+",Plant"); strings.Join(got,
			" ") != "127.0.0.1 "+secondHost+" plant.example.com" {
			t.Errorf("berth %s update --hubs: %q", name, got)
		}
		if _, stderr := s.run(1, name, "update", id, "--hub", "west"); !strings.Contains(stderr,
			`no hub "west" is linked, but berth (127.0.0.1), east (127.0.0.2), `+secondHost+
				", plant (plant.example.com)") {
			t.Errorf("berth %s update with a hub that there is not: %s", name, stderr)
		}
		// So it is for who has but a connection string.
		info := f.first.info
		remote := []string{"--connection-string", info.ProvisioningConnectionString, "--address",
			cli.Loopback(info.Ports.HTTPS), "--ca-file", info.CAFile}
		runLine(t, 0, append([]string{name, "update", id, "--hub", "plant"}, remote...)...)
		if got, _ := host("show", id); got != "plant.example.com" {
			t.Errorf("berth %s update by connection string: bound to %q", name, got)
		}
	}
}

// TestDevicesOfSeveralHubs finds devices wherever they are, and asks where it matters
// and nobody has said.
func TestDevicesOfSeveralHubs(t *testing.T) {
	f := newFleet(t)
	s := shell{t, f.firstData}
	const both = "berth (127.0.0.1), east (127.0.0.2)"
	if stdout, _ := s.run(0, "device", "list"); !strings.Contains(stdout, "no devices in the hubs "+both) ||
		!strings.Contains(stdout, secondHost) {
		t.Errorf("berth device list of none: %s", stdout)
	}
	for _, words := range []string{"device create d1", "telemetry tail --max 1"} {
		if _, stderr := s.run(2, strings.Fields(words)...); !strings.Contains(stderr, both) || !strings.Contains(stderr,
			"--hub") {
			t.Errorf("berth %s: %s", words, stderr)
		}
	}
	s.run(0, "device", "create", "in-east", "--hub", "east")
	s.run(0, "device", "create", "in-berth", "--hub", "127.0.0.1")
	for _, name := range []string{"berth", "east"} {
		s.run(0, "device", "create", "in-both", "--hub", name)
	}

	devices := read[[]hubcmd.ListedDevice](s, "device", "list")
	got := []string{}
	for _, device := range devices {
		got = append(got, device.Hub+"/"+device.DeviceID)
	}
	if want := "berth/in-berth berth/in-both east/in-both east/in-east"; strings.Join(got, " ") != want {
		t.Errorf("berth device list: %q, want %q", got, want)
	}
	if stdout, _ := s.run(0, "device", "list"); !strings.Contains(stdout, "HUB") || strings.Count(stdout, "east") != 3 {
		t.Errorf("berth device list:\n%s", stdout)
	}
	s.run(0, "device", "create", "with-a-longer-name", "--hub", "east")
	stdout, _ := s.run(0, "device", "list")
	for line := range strings.Lines(stdout) { // one page, whose columns stand below each other
		if column := strings.Index(stdout, "STATUS"); line[column-1] != ' ' || line[column] == ' ' {
			t.Errorf("berth device list:\n%s", stdout)
		}
	}
	s.run(0, "device", "delete", "with-a-longer-name")
	if devices := read[[]hubcmd.ListedDevice](s, "device", "list", "--max", "3"); len(devices) != 3 {
		t.Errorf("berth device list --max 3: %d", len(devices))
	}
	if stdout, _ := s.run(0, "device", "list", "--hub", "east"); strings.Contains(stdout, "in-berth") ||
		strings.Contains(stdout, "HUB") {
		t.Errorf("berth device list --hub east:\n%s", stdout)
	}

	// A device is found in the second hub as in the first.
	if device := read[identity.Device](s, "device", "disable", "in-east", "--status-reason",
		"lost"); device.Status != "disabled" || *device.StatusReason != "lost" {
		t.Errorf("berth device disable: %s", cli.CompactJSON(device))
	}
	if device := read[identity.Device](s, "device", "show", "in-east"); device.Status != "disabled" {
		t.Errorf("berth device show: %s", cli.CompactJSON(device))
	}
	if twin := read[twin.Twin](s, "device", "twin", "in-east", "--tags", `{"a":1}`); twin.DeviceID != "in-east" ||
		twin.Tags.Len() != 1 {
		t.Errorf("berth device twin: %s", cli.CompactJSON(twin))
	}
	if stdout, _ := s.run(0, "device", "connection-string", "in-east"); !strings.HasPrefix(stdout,
		"HostName=127.0.0.2;DeviceId=in-east;") {
		t.Errorf("berth device connection-string: %s", stdout)
	}
	for _, words := range []string{"device show in-both", "device twin in-both", "device delete in-both",
		"device enable in-both"} {
		if _, stderr := s.run(2, strings.Fields(words)...); !strings.Contains(stderr,
			`several hubs have a device "in-both", `+both) {
			t.Errorf("berth %s: %s", words, stderr)
		}
	}
	s.run(0, "device", "delete", "in-both", "--hub", "east")
	s.run(0, "device", "delete", "in-both")
	s.run(0, "device", "delete", "in-east")

	// Nobody is told that there is no device by a hub that is one of many.
	for _, words := range []string{"device show in-east", "device twin in-east", "device delete in-east",
		"device update in-east --edge"} {
		_, stderr := s.run(1, strings.Fields(words)...)
		if !strings.Contains(stderr, `There is no device "in-east" in the hubs `+both+" (404001)") ||
			!strings.Contains(stderr, secondHost) {
			t.Errorf("berth %s: %s", words, stderr)
		}
	}
	if _, stderr := s.run(1, "device", "list", "--hub", secondHost); !strings.Contains(stderr,
		`no hub "`+secondHost+`" here, but `+both) || !strings.Contains(stderr, "--connection-string") {
		t.Errorf("berth device list of a hub elsewhere: %s", stderr)
	}
	info := f.second.info
	there := []string{"--connection-string", info.Hubs[0].ConnectionString, "--address", cli.Loopback(info.Ports.HTTPS),
		"--ca-file", info.CAFile}
	runLine(t, 0, append([]string{"device", "list", "--hub", secondHost}, there...)...)
	if _, stderr := runLine(t, 2, append([]string{"device", "list", "--hub", "east"},
		there...)...); !strings.Contains(stderr, "leave --hub out") {
		t.Errorf("a connection string and another hub: %s", stderr)
	}
}
