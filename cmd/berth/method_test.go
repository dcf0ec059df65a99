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

// TestMethodInvoke calls methods of a device as an operator does.
func TestMethodInvoke(t *testing.T) {
	s := newShell(t)
	s.run(0, "device", "create", "pump")
	for words, says := range map[string]string{
		"method invoke pump start":                      "not online",
		"method invoke nobody start":                    "no device",
		"method invoke pump start --timeout 4":          "5 to 300",
		"method invoke pump start --connect-timeout 31": "connectTimeoutInSeconds",
		"method invoke pump start --payload {":          "--payload",
		"method invoke pump a/b":                        "methodName",
	} {
		code := 1
		if strings.Contains(words, "--payload") {
			code = 2
		}
		if _, stderr := s.run(code, strings.Fields(words)...); !strings.Contains(stderr, says) {
			t.Errorf("berth %s says %s, want %q", words, stderr, says)
		}
	}
	info := read[server.Info](s, "info")
	pump := read[identity.Device](s, "device", "show", "pump", "--keys")
	roots, err := cli.ReadAuthorities(info.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	client, err := device.Connect(t.Context(), device.HubOptions{Host: fmt.Sprintf("%s:%d", info.Hubs[0].Host,
		info.Ports.MQTT), DeviceID: "pump", SASKey: *pump.Authentication.SymmetricKey.PrimaryKey, RootCAs: roots,
		OnMethod: func(name string, payload json.RawMessage) (int, json.RawMessage) { return len(name), payload }})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answer := read[contract.MethodAnswer](s, "method", "invoke", "pump", "start", "--payload", `{"level":1.50}`)
	if answer.Status != 5 || cli.CompactJSON(answer.Payload) != `{"level":1.50}` {
		t.Errorf("answered %d %s", answer.Status, answer.Payload)
	}
	if stdout, _ := s.run(0, "method", "invoke", "pump", "stop"); !strings.Contains(stdout, "4") ||
		!strings.Contains(stdout, "null") {
		t.Errorf("answered %s", stdout)
	}
}
