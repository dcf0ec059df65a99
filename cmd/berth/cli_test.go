package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/cmd/berth/hubcmd"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/server"
)

// shell runs command lines against a server of its own.
type shell struct {
	t    *testing.T
	data string
}

func newShell(t *testing.T) shell {
	t.Helper()
	data := t.TempDir()
	berthtest.Start(t, berthtest.DataDir(data))
	for _, name := range []string{"PROVISIONING_HOST", "PROVISIONING_IDSCOPE", "DPS_X509_REGISTRATION_ID",
		"X509_CERT_FILE", "X509_KEY_FILE", "PASS_PHRASE", "X509_PASS_PHRASE"} {
		t.Setenv(name, "")
	}
	return shell{t, data}
}

// run carries out a command line that must end with this exit code.
func (s shell) run(code int, args ...string) (stdout, stderr string) {
	s.t.Helper()
	return runLine(s.t, code, append(args, "--data", s.data)...)
}

func runLine(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	if got := run(t.Context(), args, &out, &problems); got != code {
		t.Fatalf("berth %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &problems)
	}
	return out.String(), problems.String()
}

// read carries out a command line with -o json and decodes what it prints.
func read[T any](s shell, args ...string) (value T) {
	s.t.Helper()
	stdout, _ := s.run(0, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(stdout), &value); err != nil {
		s.t.Fatalf("berth %s: %v in %s", strings.Join(args, " "), err, stdout)
	}
	return value
}

// TestQuickstart goes the quickstart's way by command line, from the certificate
// to the clean-up.
func TestQuickstart(t *testing.T) {
	s := newShell(t)
	folder := t.TempDir()
	certificate, key := filepath.Join(folder, "Python-device-01.pem"), filepath.Join(folder, "Python-device-01.key.pem")
	s.run(0, "cert", "device", "Python-device-01", "--key-type", "ec256", "--pass-phrase", "1234", "--out", folder)
	if info, err := os.Stat(key); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the private key: %v, %v, want it readable for its owner only", info.Mode(), err)
	}
	if _, stderr := s.run(1, "cert", "device", "Python-device-01", "--key-type", "ec256", "--out",
		folder); !strings.Contains(stderr, "--force") {
		t.Errorf("a second certificate in the same place: %s", stderr)
	}

	initial := filepath.Join(folder, "twin.json")
	if err := os.WriteFile(initial, []byte(`{"tags":{"plant":"Lyon"},"properties":{"desired":{"interval":10}}}`),
		0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr := s.run(0, "enrollment", "create", "Python-device-01", "--x509", certificate, "--hub", "berth",
		"--initial-twin", "@"+initial)
	if stderr != "" {
		t.Errorf("create warns without a reason: %s", stderr)
	}
	if _, stderr := s.run(1, "enrollment", "create", "python-DEVICE-01", "--x509",
		certificate); !strings.Contains(stderr, "409202") || !strings.Contains(stderr, "berth enrollment update") {
		t.Errorf("creating it again: %s", stderr)
	}
	if e := read[enroll.Enrollment](s, "enrollment", "show", "Python-device-01"); e.HubHostName != "127.0.0.1" ||
		cli.CompactJSON(e.InitialTwin.Tags) != `{"plant":"Lyon"}` {
		t.Errorf("berth enrollment show: %s", cli.CompactJSON(e))
	}

	t.Setenv("X509_CERT_FILE", certificate)
	t.Setenv("X509_KEY_FILE", key)
	// the SDK's sample reads one, the article names the other
	for _, name := range []string{"X509_PASS_PHRASE", "PASS_PHRASE"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "1234")
			s := shell{t, s.data}
			stdout, _ := s.run(0, "device", "simulate", "--messages", "5")
			checkTranscript(t, stdout, 5)
			stdout, _ = s.run(0, "device", "simulate", "--messages", "5", "--websocket")
			checkTranscript(t, stdout, 5)
		})
	}
	if _, stderr := s.run(1, "device", "simulate"); !strings.Contains(stderr, "pass phrase") {
		t.Errorf("without a pass phrase: %s", stderr)
	}

	stdout, _ := s.run(0, "telemetry", "tail", "--from", "1h", "--max", "20", "-o", "json")
	messages := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	for _, line := range messages {
		var message telemetry.Message
		if err := json.Unmarshal([]byte(line), &message); err != nil || message.DeviceID != "Python-device-01" {
			t.Errorf("berth telemetry tail has the line %s, error %v", line, err)
		}
	}
	if len(messages) != 20 {
		t.Errorf("20 messages are %d lines", len(messages))
	}
	stdout, _ = s.run(0, "telemetry", "tail", "--from", "earliest", "--max", "1")
	if !strings.Contains(stdout, "test wind speed") {
		t.Errorf("berth telemetry tail for people: %s", stdout)
	}
	stdout, _ = s.run(0, "events", "tail", "--from", "earliest", "--max", "1", "-o", "json")
	var event telemetry.Message
	if err := json.Unmarshal([]byte(stdout), &event); err != nil || event.DeviceID != "Python-device-01" ||
		event.Properties["opType"] != "createDeviceIdentity" {
		t.Errorf("berth events tail has %s, error %v", stdout, err)
	}
	if devices := read[[]identity.Device](s, "device", "list", "--prefix", "Python"); len(devices) != 1 ||
		devices[0].Status != "enabled" {
		t.Errorf("berth device list: %s", cli.CompactJSON(devices))
	}
	patched := read[twin.Twin](s, "device", "twin", "Python-device-01", "--desired", `{"interval":20}`)
	if patched.Properties.Desired.Get("interval").String() != "20" || patched.Tags.Get("plant").Text() != "Lyon" {
		t.Errorf("berth device twin: %s", cli.CompactJSON(patched))
	}
	if r := read[provisioning.Registration](s, "registration", "show",
		"Python-device-01"); r.Status != provisioning.StatusAssigned || r.AssignedHub != "127.0.0.1" {
		t.Errorf("berth registration show: %s", cli.CompactJSON(r))
	}

	s.run(0, "enrollment", "update", "Python-device-01", "--provisioning-status", "disabled")
	t.Setenv("PASS_PHRASE", "1234")
	if _, stderr := s.run(1, "device", "simulate"); !strings.Contains(stderr, "disabled (401002") ||
		!strings.Contains(stderr, "berth attempts Python-device-01") {
		t.Errorf("a disabled device is told: %s", stderr)
	}
	attempts := read[[]attest.Attempt](s, "attempts", "Python-device-01")
	if failed, _ := attempts[0].Checks.Failed(); len(attempts) != 5 || failed.Name != "provisioning status" {
		t.Errorf("berth attempts: %s", cli.CompactJSON(attempts))
	}
	if stdout, _ := s.run(0, "attempts", "Python-device-01"); !strings.Contains(stdout,
		"FAILED  provisioning status") || !strings.Contains(stdout, "passed  common name") {
		t.Errorf("berth attempts for people: %s", stdout)
	}
	stdout, _ = s.run(0, "attempts", "--refused")
	if rows := strings.Split(strings.TrimSpace(stdout), "\n"); len(rows) != 2 ||
		!regexp.MustCompile(
			`Python-device-01 +refused 401002 +provisioning status +disabled +Enable the enrollment`).MatchString(
			rows[1]) {
		t.Errorf("berth attempts --refused:\n%s", stdout)
	}

	for _, kind := range []string{"device", "registration", "enrollment"} {
		s.run(0, kind, "delete", "Python-device-01")
		if _, stderr := s.run(1, kind, "show", "Python-device-01"); !strings.Contains(stderr, "404") {
			t.Errorf("berth %s show after its deletion: %s", kind, stderr)
		}
		if stdout, _ := s.run(0, kind, "list", "-o", "json"); strings.TrimSpace(stdout) != "[]" {
			t.Errorf("berth %s list after the deletion: %s", kind, stdout)
		}
	}
}

// checkTranscript holds a simulated device's output against the quickstart's.
func checkTranscript(t *testing.T, stdout string, messages int) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	head := []string{"The complete registration result is", "Python-device-01", "127.0.0.1", "initialAssignment",
		"null", "Will send telemetry from the provisioned device"}
	if len(lines) != len(head)+2*messages || !slices.Equal(lines[:len(head)], head) {
		t.Fatalf("the transcript is\n%s", stdout)
	}
	before := 0
	for number := 1; number <= messages; number++ {
		sending, done := slices.Index(lines, fmt.Sprintf("sending message #%d", number)), slices.Index(lines,
			fmt.Sprintf("done sending message #%d", number))
		if sending < before {
			t.Errorf("message %d is sent before the one before it", number)
		}
		if before = sending; sending < 0 || done < sending {
			t.Errorf("message %d: sending is line %d, done is line %d", number, sending, done)
		}
	}
}

// TestUpdateKeepsTheRest changes one thing of an enrollment at a time.
func TestUpdateKeepsTheRest(t *testing.T) {
	s := newShell(t)
	folder := t.TempDir()
	for _, name := range []string{"d1", "next"} {
		s.run(0, "cert", "device", name, "--key-type", "ec256", "--out", folder)
	}
	s.run(0, "enrollment", "create", "d1", "--x509", filepath.Join(folder, "d1.pem"), "--initial-twin",
		`{"tags":{"a":1}}`)
	before := read[enroll.Enrollment](s, "enrollment", "show", "d1")

	_, stderr := s.run(0, "enrollment", "update", "d1", "--x509-secondary", filepath.Join(folder, "next.pem"))
	if !strings.Contains(stderr, `common name is "next"`) || !strings.Contains(stderr, `registration id is "d1"`) {
		t.Errorf("a common name that is not the registration id: %q, want a warning that names both", stderr)
	}
	after := read[enroll.Enrollment](s, "enrollment", "show", "d1")
	one, _ := certificatesOf(before)
	primary, secondary := certificatesOf(after)
	if primary == nil || primary.SHA256Thumbprint != one.SHA256Thumbprint || secondary == nil ||
		cli.CompactJSON(after.InitialTwin.Tags) != `{"a":1}` {
		t.Errorf("after the update: %s", cli.CompactJSON(after))
	}
	s.run(0, "enrollment", "update", "d1", "--x509-secondary", "")
	if _, secondary := certificatesOf(read[enroll.Enrollment](s, "enrollment", "show", "d1")); secondary != nil {
		t.Error("the secondary certificate is still there")
	}
	if _, stderr := s.run(1, "enrollment", "create", "d2", "--x509",
		filepath.Join(folder, "d1.key.pem")); !strings.Contains(stderr, "private key") {
		t.Errorf("enrolling a private key: %s", stderr)
	}
}

// TestMistakes are command lines that can't be carried out, with what the person
// is told.
func TestMistakes(t *testing.T) {
	s := newShell(t)
	for _, c := range []struct {
		code  int
		says  string
		words string
	}{
		{2, "there is no command \"berth enrolment\"\n       Did you mean: berth enrollment", "enrolment"},
		{2, "berth enrollment --help", "enrollment zzzzzz"},
		{2, "there is no command \"berth completion csh\"", "completion csh"},
		{2, `does not take "now"`, "completion bash now"},
		{2, "needs ID", "enrollment create"},
		{2, "--x509 FILE", "enrollment create d1"},
		{2, "name at least one flag", "enrollment update d1"},
		{2, `does not take "d2"`, "device show d1 d2"},
		{2, "table or json", "device list -o yaml"},
		{2, "berth info has no flag --nothing\n       berth info --help shows how it is written.", "info --nothing"},
		{2, "berth group update has no flag --autority\n       Did you mean: --authority",
			"group update g --autority a"},
		{2, "there is no command \"berth enrollment remove\"\n       Did you mean: berth enrollment delete",
			"enrollment remove d1"},
		{2, "Did you mean: --provisioning-status", "group update g --status disabled"},
		{2, "Did you mean: --x509", "enrollment create d1 --cert d1.pem"},
		{2, "--latency LOCATION=MILLISECONDS", "network set 10.0.0.0/8"},
		{2, "--max must be 0 to 1000, not 1001", "attempts --max 1001"},
		{1, "berth authority list shows which there are", "authority show nobody"},
		{1, "There is no issuing authority \"nobody\" (", "credential policy set default --authority nobody"},
		{1, "--force does it all the same", "credential authority delete default"},
		{1, "berth hub list shows which there are", "hub show nobody"},
		{1, "berth policy list shows which there are", "policy show nobody"},
		{2, "there is no command \"berth start\"\n       Did you mean: berth up", "start"},
		{2, "berth enrollment create needs ID\n       berth enrollment create --help shows", "enrollment create"},
		{2, `--registration must be instant or paced, not "fast"`, "up --registration fast"},
		{2, "--max-connections must be 0 or more, not -1", "up --max-connections -1"},
		{2, "--mqtt-port must be 0 to 65535, not 70000", "up --mqtt-port 70000"},
		{2, "--for must be 1s to 10m, not 1h0m0s", "inject throttle --for 1h"},
		{2, "--validity must be 1m to 8760h, not 30s", "credential policy set p --validity 30s"},
		{2, "--provisioning-status must be enabled or disabled, not \"asleep\"",
			"enrollment update d1 --provisioning-status asleep"},
		{2, "--status must be enabled or disabled, not \"asleep\"", "device update d1 --status asleep"},
		{2, "--authentication must be sas, selfSigned, ", "device create d1 --authentication x509"},
		{2, "--rights must be ServiceConfig, ", "policy create p --rights EnrollmentRead,Everything"},
		{2, "--hub-host names the hub", "inject wrong-hub"},
		{2, "--map-hub: hubs must be given as OLD=NEW", "group import groups.json --map-hub contoso"},
		{2, "there is no command \"berth nope\"", "help nope"},
		{2, "there is no command \"berth enrollment nope\"", "help enrollment nope"},
		{2, "this is a device's connection string",
			"device list --connection-string HostName=h;DeviceId=d;SharedAccessKey=AAAA"},
		{2, "berth info shows those of a server", "device list --connection-string nonsense"},
		{1, "--allocation-policy custom needs --webhook",
			"enrollment create d2 --symmetric --allocation-policy custom"},
		{1, "--credential-policy: ", "group create g2 --symmetric --credential-policy none"},
		{1, "berth group list", "group show nobody"},
		{2, `--max-connections must be a whole number, not "many"`, "up --max-connections many"},
		{2, `--log-level must be DEBUG, INFO, WARN or ERROR, not "loud"`, "up --log-level loud"},
		{2, `--tls-no-cbc must be true or false, not "perhaps"`, "up --tls-no-cbc=perhaps"},
		{2, `--for must be a time such as 90s or 15m, not "long"`, "inject delay --for long"},
		{2, "64MiB or 2GiB", "up --disk-reserve 1.5GB"},
		{2, "--from must be earliest, latest, a time such as", "telemetry tail --from yesterday"},
		{2, "--initial-twin can't be taken: it is not JSON: it ends too early",
			"enrollment create d1 --x509 certificate.pem --initial-twin {"},
		{2, `--initial-twin has "desired", which is no part of a twin`,
			`enrollment create d1 --x509 certificate.pem --initial-twin {"desired":{}}`},
		{2, "can't be the name of a file", "cert device ../d1"},
		{2, "belongs to --connection-string", "device list --address 127.0.0.1:1"},
		{1, "no such file", "enrollment create d1 --x509 nowhere.pem"},
		{1, `there is no hub "other" here, but berth (127.0.0.1)`, "device list --hub other"},
		{1, "certificate.pem: ", "enrollment create d1 --x509 broken-certificate.pem"},
		{1, "400202", "enrollment create d1. --x509 certificate.pem"},
		{1, "404001", "device show nobody"},
		{1, "berth data unreadable shows which there are", "data unreadable delete provisioning/enrollments nobody"},
		{1, "berth device list", "device twin nobody"},
		{1, "berth enrollment list", "enrollment show nobody"},
		{2, "--hub-host must be a host name such as hub.example.com, not \"localhost\": the Java, C and C# SDKs " +
			"refuse a hub whose name has no dot", "up --hub-host localhost"},
		{2, "--hub-host must be a host name such as hub.example.com, not \"a..b\"", "up --hub-host a..b"},
		{2, "--host must be a host name such as dps.example.com, or an IP address, not \"dps.test:443\"",
			"up --host dps.test:443"},
		{2, "--for must be whole seconds, not 1.5s", "inject delay --for 1500ms"},
		{2, "--for must be whole seconds, not 1.5s", "inject throttle --for 1.5s"},
		{2, "--for must be 1s to 10m, not 999ms", "inject delay --for 999ms"},
		{2, "--device must be the id of a device, and is empty", "inject fail --device="},
		{2, "--group must be the id of an enrollment group, and is empty", "inject fail --group="},
		{2, "--device must be the id of a device, and is empty", "telemetry tail --device="},
		{2, "--c2d-ttl must be 1m0s to 48h0m0s, not 49h0m0s", "up --c2d-ttl 49h"},
		{2, "--feedback-lock-duration must be 5s to 5m0s, not 1s", "up --feedback-lock-duration 1s"},
		{2, "--c2d-queue-depth must be 1 to 1000, not 0", "up --c2d-queue-depth 0"},
		{2, "--qos0-answer-delay must be 0 or more, not -1s", "up --qos0-answer-delay -1s"},
	} {
		t.Run(c.words, func(t *testing.T) {
			t.Chdir(t.TempDir())
			shell := shell{t, s.data}
			if strings.Contains(c.words, "certificate.pem") {
				shell.run(0, "cert", "device", "d1", "--key-type", "ec256")
				if err := os.Rename("d1.pem", "certificate.pem"); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile("broken-certificate.pem",
					[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			stdout, stderr := shell.run(c.code, strings.Fields(c.words)...)
			if stdout != "" || !strings.HasPrefix(stderr, "berth: ") || !strings.Contains(stderr, c.says) {
				t.Errorf("standard output %q, standard error\n%s\nwant it to say %q", stdout, stderr, c.says)
			}
		})
	}
}

// TestAttemptsByTrackingID finds the attempt by the one thing that the device was told.
func TestAttemptsByTrackingID(t *testing.T) {
	s := newShell(t)
	t.Chdir(t.TempDir())
	s.run(0, "cert", "device", "d1", "--key-type", "ec256")
	var told []string
	for range 2 {
		_, stderr := s.run(1, "device", "simulate", "--cert", "d1.pem", "--key", "d1.key.pem")
		_, id, _ := strings.Cut(stderr, ", tracking id ")
		told = append(told, id[:min(len(id), len("555e6634-da66-40ba-aace-c31fba5c5383"))])
	}
	stdout, _ := s.run(0, "attempts", told[0])
	if !strings.Contains(stdout, "Tracking id "+told[0]) || !strings.Contains(stdout, "FAILED") ||
		strings.Contains(stdout, told[1]) {
		t.Errorf("the attempt %s is shown as\n%s", told[0], stdout)
	}
	const unknown = "00000000-0000-4000-8000-000000000000"
	if stdout, _ := s.run(0, "attempts", unknown); !strings.Contains(stdout, "tracking id "+unknown) {
		t.Errorf("an unknown tracking id: %s", stdout)
	}
}

// TestStrangers shows what devices say of themselves, and lets none of them write
// to the terminal of the person who looks.
func TestStrangers(t *testing.T) {
	s := newShell(t)
	const nasty, shown = "d1\x1b[2J\n\u009bx", `d1\x1b[2J\n\u009bx`
	certificate, key, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: nasty, KeyType: credential.EC256, NotBefore: time.Now(), Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, content := range map[string][]byte{"d1.pem": certificate, "d1.key.pem": key} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"d1", nasty} {
		s.run(1, "device", "simulate", "--registration-id", id, "--cert", filepath.Join(folder, "d1.pem"), "--key",
			filepath.Join(folder, "d1.key.pem"))
	}
	var tail bytes.Buffer
	write := hubcmd.MessageLines(&tail)
	if err := write(telemetry.Message{DeviceID: "d1", Properties: map[string]string{nasty: nasty},
		Body: nasty}); err != nil {
		t.Fatal(err)
	}
	table, _ := s.run(0, "attempts")
	one, _ := s.run(0, "attempts", "d1")
	for name, stdout := range map[string]string{"berth attempts": table, "berth attempts d1": one,
		"berth telemetry tail": tail.String()} {
		if strings.ContainsAny(stdout, "\x1b\u009b") || !strings.Contains(stdout, shown) {
			t.Errorf("%s: %q, want what the device says as %s", name, stdout, shown)
		}
	}
	if rows := strings.Count(table, "\n"); rows != 3 {
		t.Errorf("two attempts and a header are %d lines:\n%s", rows, table)
	}
}

// TestElsewhere reaches a server by connection string alone.
func TestElsewhere(t *testing.T) {
	s := newShell(t)
	info := read[server.Info](s, "info")
	elsewhere := t.TempDir()
	for words, connectionString := range map[string]string{"enrollment list": info.ProvisioningConnectionString,
		"device list": info.Hubs[0].ConnectionString} {
		stdout, _ := runLine(t, 0,
			append(strings.Fields(words), "--data", elsewhere, "--connection-string", connectionString,
				"--address", cli.Loopback(info.Ports.HTTPS), "--ca-file", info.CAFile, "-o", "json")...)
		if strings.TrimSpace(stdout) != "[]" {
			t.Errorf("berth %s by connection string: %s", words, stdout)
		}
	}
	wrong := strings.Replace(info.ProvisioningConnectionString, "SharedAccessKey=", "SharedAccessKey=AAAA", 1)
	_, stderr := runLine(t, 1, "enrollment", "list", "--connection-string", wrong, "--address",
		cli.Loopback(info.Ports.HTTPS), "--ca-file", info.CAFile)
	if !strings.Contains(stderr, "401002") || strings.Contains(stderr, "AAAA") {
		t.Errorf("a wrong key: %s, want 401002 and not the key", stderr)
	}
	_, stderr = runLine(t, 1, "device", "list", "--connection-string", info.Hubs[0].ConnectionString, "--address",
		cli.Loopback(info.Ports.HTTPS), "--data", elsewhere)
	if !strings.Contains(stderr, "an authority that is not trusted here") ||
		!strings.Contains(stderr, "--ca-file FILE") {
		t.Errorf("without trust: %s", stderr)
	}
	if _, stderr := runLine(t, 1, "device", "list", "--data", elsewhere); !strings.Contains(stderr, elsewhere) ||
		!strings.Contains(stderr, "berth up --data "+elsewhere) {
		t.Errorf("a folder that no server has used: %s", stderr)
	}
}

// TestTrust names the authority file for every SDK.
func TestTrust(t *testing.T) {
	s := newShell(t)
	info := read[server.Info](s, "info")
	stdout, _ := s.run(0, "info", "--trust")
	for _, want := range []string{"Python", "SSL_CERT_FILE=" + info.CAFile, "Node", "NODE_EXTRA_CA_CERTS=" +
		info.CAFile, "Java", "keytool", "C#", "OPTION_TRUSTED_CERT", "RootCAs"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("berth info --trust does not say %q:\n%s", want, stdout)
		}
	}
}

// TestHelp shows every command to a person who types berth alone.
func TestHelp(t *testing.T) {
	stdout, _ := runLine(t, 0)
	for _, want := range []string{"Start:", "demo", "up", "info", "Device identity:", "cert", "enrollment",
		"registration", "device", "Look:", "attempts", "telemetry", "events", "completion"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the help does not say %q:\n%s", want, stdout)
		}
	}
	if again, _ := runLine(t, 0, "help"); again != stdout {
		t.Errorf("berth help is\n%s", again)
	}
	for words, want := range map[string]string{"help enrollment": "berth enrollment [command]",
		"help enrollment show": "berth enrollment show ID", "help help": "help [COMMAND]"} {
		if stdout, _ := runLine(t, 0, strings.Fields(words)...); !strings.Contains(stdout, want) {
			t.Errorf("berth %s is\n%s", words, stdout)
		}
	}
	if stdout, _ := runLine(t, 0, "completion", "bash"); !strings.Contains(stdout, "berth") {
		t.Error("there is no completion for bash")
	}
}

// TestDemo is what a newcomer runs first. Nothing may be left behind.
func TestDemo(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	t.Setenv("TMP", folder) // on Windows
	stdout, stderr := runLine(t, 0, "demo")
	_, transcript, _ := strings.Cut(stdout, "== simulate the device\n")
	transcript, rest, _ := strings.Cut(transcript, "\n\n")
	checkTranscript(t, transcript, demoMessages)
	if stderr != "" || !strings.Contains(rest, "Python-device-01   enabled") {
		t.Errorf("the demo goes on:\n%s\nstandard error: %s", rest, stderr)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("the demo leaves %v, %v", left, err)
	}
}

// TestDemoFails says which step failed, and still cleans up.
func TestDemoFails(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "nowhere")
	t.Setenv("TMPDIR", folder)
	t.Setenv("TMP", folder)
	if _, stderr := runLine(t, 1, "demo"); !strings.Contains(stderr, "demo: start a server: ") {
		t.Errorf("standard error: %s", stderr)
	}
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
}

// certificatesOf returns what an enrollment's certificates say, nil for none.
func certificatesOf(e enroll.Enrollment) (primary, secondary *credential.X509CertificateInfo) {
	if e.Attestation.X509 == nil || e.Attestation.X509.ClientCertificates == nil {
		return nil, nil
	}
	certificates := e.Attestation.X509.ClientCertificates
	if certificates.Primary != nil {
		primary = certificates.Primary.Info
	}
	if certificates.Secondary != nil {
		secondary = certificates.Secondary.Info
	}
	return primary, secondary
}
