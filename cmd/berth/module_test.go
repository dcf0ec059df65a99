package main

import (
	"strings"
	"testing"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
)

// TestModuleCommands makes a module, looks at it, changes it, sends to it and deletes it.
func TestModuleCommands(t *testing.T) {
	s := newShell(t)
	const key, other = "cHJpbWFyeXByaW1hcnlwcmltYXJ5", "c2Vjb25kYXJ5c2Vjb25kYXJ5c2Vj"
	thumbprint := strings.Repeat("A1", 32)
	s.run(0, "device", "create", "pump", "--edge")
	created := read[identity.Module](s, "module", "create", "pump", "valve", "--managed-by", "me", "--primary-key", key,
		"--secondary-key", other)
	if *created.ManagedBy != "me" || created.Authentication.SymmetricKey.PrimaryKey != nil {
		t.Errorf("created: %s", cli.CompactJSON(created))
	}
	if m := read[identity.Module](s, "module", "show", "pump", "valve", "--keys"); m.GenerationID !=
		created.GenerationID || *m.Authentication.SymmetricKey.PrimaryKey != key {
		t.Errorf("shown: %s", cli.CompactJSON(m))
	}
	stdout, _ := s.run(0, "module", "connection-string", "pump", "valve", "--secondary")
	connection, err := credential.ParseConnectionString(stdout)
	if err != nil || connection.DeviceID != "pump" || connection.ModuleID != "valve" ||
		connection.SharedAccessKey != other {
		t.Errorf("the connection string is %s, error %v", stdout, err)
	}
	if m := read[identity.Module](s, "module", "update", "pump", "valve", "--managed-by", ""); m.ManagedBy != nil {
		t.Errorf("updated: %s", cli.CompactJSON(m))
	}
	if m := read[identity.Module](s, "module", "show", "pump", "valve", "--keys"); m.ManagedBy != nil ||
		*m.Authentication.SymmetricKey.PrimaryKey != key {
		t.Errorf("after the update: %s", cli.CompactJSON(m))
	}
	s.run(0, "module", "update", "pump", "valve", "--thumbprint", thumbprint)
	if stdout, _ := s.run(0, "module", "connection-string", "pump", "valve"); !strings.Contains(stdout,
		"DeviceId=pump;ModuleId=valve;x509=true") {
		t.Errorf("the connection string is %s", stdout)
	}
	listed := read[[]identity.Module](s, "module", "list", "pump")
	if len(listed) != 3 || listed[0].ModuleID != "$edgeAgent" || listed[2].ModuleID != "valve" {
		t.Errorf("listed: %s", cli.CompactJSON(listed))
	}
	if stdout, _ := s.run(0, "module", "list", "pump"); !strings.Contains(stdout, "selfSigned") ||
		!strings.Contains(stdout, "iotEdge") {
		t.Errorf("listed: %s", stdout)
	}
	if d := read[twin.Twin](s, "device", "twin", "pump", "--module", "valve", "--desired", `{"a":1}`); d.ModuleID !=
		"valve" || !strings.HasPrefix(d.Properties.Desired.String(), `{"a":1,`) {
		t.Errorf("the twin: %s", cli.CompactJSON(d))
	}
	s.run(0, "c2d", "send", "pump", "--module", "valve", "--body", "open")
	if stdout, _ := s.run(0, "c2d", "purge", "pump", "--module", "valve"); !strings.Contains(stdout,
		"1 messages to pump/valve") {
		t.Errorf("purged: %s", stdout)
	}
	s.run(0, "module", "delete", "pump", "valve")
	for words, says := range map[string]string{
		"module show pump valve":                "404010",
		"module list nobody":                    "404001",
		"module delete pump $edgeHub":           "401100",
		"module create pump $mine":              "begins with $",
		"device twin pump --module valve":       "404001",
		"c2d send pump --module valve --body x": "404010",
	} {
		if _, stderr := s.run(1, strings.Fields(words)...); !strings.Contains(stderr, says) {
			t.Errorf("berth %s: %s", words, stderr)
		}
	}
	for words, says := range map[string]string{
		"module update pump valve":      "name at least one flag",
		"telemetry tail --module valve": "--device",
	} {
		if _, stderr := s.run(2, strings.Fields(words)...); !strings.Contains(stderr, says) {
			t.Errorf("berth %s: %s", words, stderr)
		}
	}
	s.run(0, "module", "create", "pump", "valve")
	if _, stderr := s.run(1, "module", "create", "pump", "valve"); !strings.Contains(stderr, "berth module update") {
		t.Errorf("created twice: %s", stderr)
	}
}
