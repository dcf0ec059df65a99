package main

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
)

// TestDeviceUpdate changes one thing of a device at a time: whatever the service API
// lets be changed.
func TestDeviceUpdate(t *testing.T) {
	s := newShell(t)
	const key, other = "cHJpbWFyeXByaW1hcnlwcmltYXJ5", "c2Vjb25kYXJ5c2Vjb25kYXJ5c2Vj"
	first, second := strings.Repeat("A1", 32), strings.Repeat("B2", 20)
	s.run(0, "device", "create", "gateway", "--edge")
	s.run(0, "device", "create", "pump", "--status-reason", "new", "--parent", "gateway")
	before := read[identity.Device](s, "device", "show", "pump", "--keys")
	if len(before.ParentScopes) != 1 || *before.StatusReason != "new" || before.Status != "enabled" {
		t.Fatalf("created: %s", cli.CompactJSON(before))
	}
	for _, c := range []struct {
		flags []string
		holds func(identity.Device) bool
	}{
		{[]string{"--status", "disabled", "--status-reason", "stolen"},
			func(d identity.Device) bool { return d.Status == "disabled" && *d.StatusReason == "stolen" }},
		{[]string{"--status-reason", ""}, func(d identity.Device) bool {
			return d.StatusReason == nil && d.Status == "disabled" &&
				*d.Authentication.SymmetricKey.PrimaryKey == *before.Authentication.SymmetricKey.PrimaryKey
		}},
		{[]string{"--status", "enabled"}, func(d identity.Device) bool { return d.Status == "enabled" }},
		{[]string{"--primary-key", key}, func(d identity.Device) bool {
			pair := d.Authentication.SymmetricKey
			return *pair.PrimaryKey == key && *pair.SecondaryKey == *before.Authentication.SymmetricKey.SecondaryKey
		}},
		{[]string{"--secondary-key", other},
			func(d identity.Device) bool { return *d.Authentication.SymmetricKey.SecondaryKey == other }},
		{[]string{"--thumbprint", first}, func(d identity.Device) bool {
			return d.Authentication.Type == identity.SelfSigned &&
				*d.Authentication.X509Thumbprint.PrimaryThumbprint == first &&
				d.Authentication.SymmetricKey.PrimaryKey == nil
		}},
		{[]string{"--secondary-thumbprint", second}, func(d identity.Device) bool {
			pair := d.Authentication.X509Thumbprint
			return *pair.PrimaryThumbprint == first && *pair.SecondaryThumbprint == second
		}},
		{[]string{"--secondary-thumbprint", ""},
			func(d identity.Device) bool { return d.Authentication.X509Thumbprint.SecondaryThumbprint == nil }},
		{[]string{"--authentication", "certificateAuthority"},
			func(d identity.Device) bool { return d.Authentication.Type == identity.CertificateAuthority }},
		{[]string{"--authentication", "sas"}, func(d identity.Device) bool {
			return d.Authentication.SymmetricKey.PrimaryKey != nil && *d.Authentication.SymmetricKey.PrimaryKey != key
		}},
		{[]string{"--edge"},
			func(d identity.Device) bool { return d.Capabilities.IoTEdge && len(d.ParentScopes) == 1 }},
	} {
		s.run(0, append([]string{"device", "update", "pump"}, c.flags...)...)
		if d := read[identity.Device](s, "device", "show", "pump", "--keys"); !c.holds(d) || len(d.ParentScopes) != 1 ||
			d.GenerationID != before.GenerationID {
			t.Errorf("after berth device update %q: %s", c.flags, cli.CompactJSON(d))
		}
	}
	s.run(0, "device", "disable", "pump", "--status-reason", "winter")
	if stdout, _ := s.run(0, "device", "show", "pump"); !strings.Contains(stdout, "disabled") ||
		!strings.Contains(stdout, "winter") {
		t.Errorf("disabled: %s", stdout)
	}
	if d := read[identity.Device](s, "device", "enable", "pump"); d.Status != "enabled" {
		t.Errorf("enabled: %s", cli.CompactJSON(d))
	}
	for words, says := range map[string]string{
		"device update pump":        "name at least one flag",
		"device update pump --keys": "name at least one flag",
		"device update pump --thumbprint " + first + " --primary-key " + key:        "authentication",
		"device update pump --authentication none --primary-key " + key:             "the authentication sas",
		"device create new --primary-key " + key:                                    "two keys",
		"device sas-token pump --ttl 0s":                                            "--ttl",
		"device update pump --thumbprint " + first + " --authentication sas --edge": "the authentication selfSigned",
	} {
		if _, stderr := s.run(2, strings.Fields(words)...); !strings.Contains(stderr, says) {
			t.Errorf("berth %s: %s", words, stderr)
		}
	}
	if _, stderr := s.run(1, "device", "update", "gateway", "--parent", "nobody"); !strings.Contains(stderr, "404001") {
		t.Errorf("a parent that there is not: %s", stderr)
	}
	s.run(0, "device", "create", "leaf", "--parent", "gateway")
	for _, id := range []string{"pump", "leaf"} { // an IoT Edge device by now, and none
		for parents, parent := range []string{"", "gateway"} {
			if d := read[identity.Device](s, "device", "update", id, "--parent",
				parent); len(d.ParentScopes) != parents {
				t.Errorf("berth device update %s --parent %q: %s", id, parent, cli.CompactJSON(d))
			}
		}
	}
	if _, stderr := s.run(1, "device", "update", "leaf", "--parent", "leaf"); !strings.Contains(stderr,
		"no IoT Edge device") {
		t.Errorf("a parent that is no IoT Edge device: %s", stderr)
	}
}

// TestDeviceSecrets prints what a device is configured with.
func TestDeviceSecrets(t *testing.T) {
	s := newShell(t)
	s.run(0, "device", "create", "pump")
	s.run(0, "device", "create", "valve", "--thumbprint", strings.Repeat("A1", 32))
	keys := read[identity.Device](s, "device", "show", "pump", "--keys").Authentication.SymmetricKey
	for _, c := range []struct{ words, want string }{
		{"device connection-string pump", "HostName=127.0.0.1;DeviceId=pump;SharedAccessKey=" + *keys.PrimaryKey},
		{"device connection-string pump --secondary", "HostName=127.0.0.1;DeviceId=pump;SharedAccessKey=" +
			*keys.SecondaryKey},
		{"device connection-string valve", "HostName=127.0.0.1;DeviceId=valve;x509=true"},
	} {
		if stdout, _ := s.run(0, strings.Fields(c.words)...); strings.TrimSpace(stdout) != c.want {
			t.Errorf("berth %s: %s, want %s", c.words, stdout, c.want)
		}
		if answer := read[map[string]string](s, strings.Fields(c.words)...); answer["connectionString"] != c.want {
			t.Errorf("berth %s -o json: %v, want %s", c.words, answer, c.want)
		}
	}
	for flag, key := range map[string]string{"": *keys.PrimaryKey, " --secondary": *keys.SecondaryKey} {
		stdout, _ := s.run(0, strings.Fields("device sas-token pump --ttl 15m"+flag)...)
		token, err := credential.ParseToken(strings.TrimSpace(stdout))
		if err != nil {
			t.Fatalf("%v: %s", err, stdout)
		}
		if left := time.Until(token.Expiry); !token.SignedBy(key) ||
			!token.Covers(credential.DeviceResource("127.0.0.1",
				"pump")) ||
			token.KeyName != "" || left > 15*time.Minute || left < 14*time.Minute {
			t.Errorf("berth device sas-token%s: %+v", flag, token)
		}
	}
	if _, stderr := s.run(1, "device", "sas-token", "valve"); !strings.Contains(stderr, "no key") ||
		!strings.Contains(stderr, "selfSigned") {
		t.Errorf("a token of a device with a certificate: %s", stderr)
	}
	s.run(2, "device", "connection-string", "valve", "--secondary")
	s.run(0, "device", "create", "a;b")
	if stdout, stderr := s.run(1, "device", "connection-string", "a;b"); stdout != "" ||
		!strings.Contains(stderr, "semicolon") || !strings.Contains(stderr, "berth device show --keys 'a;b'") {
		t.Errorf("a connection string that would be another device's: %s%s", stdout, stderr)
	}
	if _, stderr := s.run(1, "device", "connection-string", "nobody"); !strings.Contains(stderr, "404001") {
		t.Errorf("a connection string of nobody: %s", stderr)
	}
}
