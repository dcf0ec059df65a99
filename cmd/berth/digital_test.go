package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/server"
)

// TestDigitalTwin shows, changes and commands a digital twin as an operator does.
func TestDigitalTwin(t *testing.T) {
	s := newShell(t)
	s.run(0, "device", "create", "heater")
	s.run(0, "digital-twin", "update", "heater", "--json-patch",
		`[{"op":"add","path":"/thermostat1","value":{"target":21.50,"$metadata":{}}}]`)
	const want = `{"$dtId":"heater","thermostat1":{"$metadata":{"target":{"desiredValue":21.50,"desiredVersion":2}}},` +
		`"$metadata":{"$model":""}}`
	if view := read[json.RawMessage](s, "digital-twin", "show", "heater"); cli.CompactJSON(view) != want {
		t.Errorf("shown: %s, want %s", view, want)
	}
	if stdout, _ := s.run(0, "digital-twin", "show", "heater"); !strings.Contains(stdout, "thermostat1") {
		t.Errorf("shown: %s", stdout)
	}
	for words, says := range map[string]string{
		"digital-twin show nobody":                     "no device",
		"digital-twin invoke heater reboot":            "not online",
		"digital-twin update heater --json-patch [{}]": "path",
	} {
		if _, stderr := s.run(1, strings.Fields(words)...); !strings.Contains(stderr, says) {
			t.Errorf("berth %s says %s, want %q", words, stderr, says)
		}
	}
	info := read[server.Info](s, "info")
	heater := read[identity.Device](s, "device", "show", "heater", "--keys")
	roots, err := cli.ReadAuthorities(info.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	client, err := device.Connect(t.Context(), device.HubOptions{Host: fmt.Sprintf("%s:%d", info.Hubs[0].Host,
		info.Ports.MQTT), DeviceID: "heater", SASKey: *heater.Authentication.SymmetricKey.PrimaryKey, RootCAs: roots,
		OnMethod: func(name string, payload json.RawMessage) (int, json.RawMessage) {
			return 203, json.RawMessage(fmt.Sprintf(`[%q,%s]`, name, payload))
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answer := read[contract.MethodAnswer](s, "digital-twin", "invoke", "heater", "report", "--component", "thermostat1",
		"--payload", "1.50")
	if answer.Status != 203 || cli.CompactJSON(answer.Payload) != `["thermostat1*report",1.50]` {
		t.Errorf("answered %d %s", answer.Status, answer.Payload)
	}
	if stdout, _ := s.run(0, "digital-twin", "invoke", "heater", "reboot"); !strings.Contains(stdout, `["reboot",null]`) {
		t.Errorf("answered %s", stdout)
	}
}
