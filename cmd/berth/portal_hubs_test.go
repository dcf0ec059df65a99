package main

import (
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/server"
)

// TestPortalNamesTheHub: a command that the portal shows to be copied works, though the
// server has several hubs, and its quickstart looks into the hub that the device is in.
func TestPortalNamesTheHub(t *testing.T) {
	d := newDoors(t)
	page := d.fetch(http.NewRequestWithContext(t.Context(), http.MethodGet, d.portal+"hubs/east/devices", nil))
	command := regexp.MustCompile(`berth (device create my-device[^<"]*)`).FindStringSubmatch(page)
	if command == nil {
		t.Fatalf("the page shows no command:\n%s", page)
	}
	d.run(0, strings.Fields(command[1])...)
	d.run(0, "device", "show", "my-device", "--hub", "east")

	keys := read[enroll.Enrollment](d.shell, "enrollment", "create", "pump", "--symmetric", "--keys", "--hub", "east")
	info := read[server.Info](d.shell, "info")
	roots, err := cli.ReadAuthorities(info.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	_, err = device.Provision(within(t, time.Minute), device.ProvisioningOptions{
		Host: net.JoinHostPort("localhost", strconv.Itoa(info.Ports.MQTT)), IDScope: info.IDScope,
		RegistrationID: "pump", SASKey: keys.Attestation.SymmetricKey.PrimaryKey, RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	page = d.fetch(http.NewRequestWithContext(t.Context(), http.MethodGet, d.portal+"quickstart?id=pump", nil))
	for _, says := range []string{"127.0.0.2", "hubs/east/devices"} {
		if !strings.Contains(page, says) {
			_, main, _ := strings.Cut(page, "<main")
			t.Errorf("the quickstart does not say %q:\n%s", says, main)
		}
	}
}
