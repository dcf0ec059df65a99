package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/server"
)

// goWords are words of Go's libraries, which say nothing to a person.
var goWords = regexp.MustCompile(
	` json: |strconv|invalid character|unmarshal|asn1|dial tcp|x509: |tls: |base64 data|parse "|%!|lookup |` +
		`i/o timeout|context (deadline|canceled)|EOF|goroutine|Go (struct|value)|invalid argument|looking for beginning|open /|listen tcp|unexpected end of`)

// needed are flags without which a command says that they are missing, and does no
// more. CHAIN stands for a file with a certificate.
var needed = map[string]string{
	"job create":          "--tags {}",
	"digital-twin update": "--json-patch []",
	"network set":         "--latency westeurope=8",
	"enrollment create":   "--symmetric",
	"enrollment update":   "--edge-enabled",
	"group create":        "--symmetric",
	"group update":        "--edge-enabled",
	"policy create":       "--rights EnrollmentRead",
	"policy rights":       "--rights EnrollmentRead",
	"allocate":            "--dry-run",
	"authority create":    "--file CHAIN",
	"authority verify":    "--file CHAIN",
	"inject wrong-hub":    "--hub-host hub.example.com",
	"device update":       "--status-reason lost",
	"module update":       "--managed-by me",

	"credential authority rotate": "--to x2",
}

// leaves are the commands that do something, but for cobra's own.
func leaves(command *cobra.Command) (found []*cobra.Command) {
	if command.Name() == "completion" || command.Name() == "help" {
		return nil
	}
	for _, sub := range command.Commands() {
		found = append(found, leaves(sub)...)
	}
	if command.Runnable() && (!command.HasSubCommands() || command.Name() == "unreadable") {
		found = append(found, command)
	}
	return found
}

// lineFor is a command line that a command takes.
func lineFor(command *cobra.Command, file string) []string {
	path := commandPath(command)
	line := strings.Fields(path)
	chain := filepath.Join(filepath.Dir(file), "chain.pem")
	if _, err := os.Stat(chain); err != nil {
		chain = file
	}
	for _, argument := range argumentsOf(command) {
		value := "x1"
		if argument == "CHAIN" {
			value = chain
		} else if fileArguments[argument] {
			value = file
		} else if argument == "primary|secondary" {
			value = "primary"
		}
		line = append(line, value)
	}
	return append(line, strings.Fields(strings.ReplaceAll(needed[path], "CHAIN", chain))...)
}

// withoutServer start a server themselves, or need none.
var withoutServer = map[string]bool{"up": true, "demo": true, "cert device": true, "explain": true, "version": true}

// checkWords holds what a command says against what a person can use.
func checkWords(t *testing.T, line []string, stderr string) {
	t.Helper()
	if !strings.HasPrefix(stderr, "berth: ") || goWords.MatchString(stderr) {
		t.Errorf("berth %s says\n%s", strings.Join(line, " "), stderr)
	}
}

// TestWordsOfEveryCommand lets every command meet a server that is not there, or is
// another: each says so without the words of a library, and what to do.
func TestWordsOfEveryCommand(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file.json")
	if err := os.WriteFile(file, []byte(`[{"registrationId":"x1"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	chain, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "x1",
		KeyType: credential.EC256, NotBefore: time.Now(), Validity: time.Hour})
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "chain.pem"), chain, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete { // whose answer nobody reads, when it is a good one
			w.WriteHeader(http.StatusBadGateway)
		}
		fmt.Fprint(w, "<html>another server</html>")
	}))
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	plainWeb := httptest.NewUnstartedServer(http.NotFoundHandler())
	plainWeb.Config.ErrorLog = web.Config.ErrorLog
	plainWeb.Start()
	defer plainWeb.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	webCA := filepath.Join(folder, "web.pem")
	if err := os.WriteFile(webCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}),
		0o600); err != nil {
		t.Fatal(err)
	}
	dataOf := func(name string, info any) string {
		data := filepath.Join(folder, name)
		text, err := json.Marshal(info)
		if raw, ok := info.(string); ok {
			text = []byte(raw)
		}
		if err := errors.Join(err, os.MkdirAll(data, 0o700), os.WriteFile(filepath.Join(data, "info.json"), text,
			0o600)); err != nil {
			t.Fatal(err)
		}
		return data
	}
	key := credential.NewKey(32)
	service := "HostName=127.0.0.1;SharedAccessKeyName=all;SharedAccessKey=" + key
	hub := "HostName=127.0.0.1;SharedAccessKeyName=all;SharedAccessKey=" + key
	portOf := func(address net.Addr) int { return address.(*net.TCPAddr).Port }
	of := func(port int) server.Info {
		return server.Info{CAFile: webCA, ProvisioningHost: "127.0.0.1", ProvisioningConnectionString: service,
			Ports: server.Ports{HTTPS: port, MQTT: port},
			Hubs:  []server.HubInfo{{Name: "berth", Host: "127.0.0.1", ConnectionString: hub}}}
	}
	stopped := dataOf("stopped", of(portOf(closed.Addr())))
	for name, world := range map[string]struct {
		flags []string
		hint  string // of each command that speaks to the server
	}{
		"a folder never used": {[]string{"--data", filepath.Join(folder, "new one")}, "berth up --data '" +
			filepath.Join(folder, "new one") + "'"},
		"a damaged folder": {[]string{"--data", dataOf("damaged", "{")}, "berth up --data " + filepath.Join(folder,
			"damaged")},
		"another form": {[]string{"--data", dataOf("other", `{"hubs":7}`)}, "berth up --data " +
			filepath.Join(folder, "other")},
		"a server that stands": {[]string{"--data", stopped}, "berth up --data " + stopped},
		"another server":       {[]string{"--data", dataOf("web", of(portOf(web.Listener.Addr())))}, ""},
		"no connection string": {[]string{"--connection-string", "nonsense"}, "berth info"},
		"a key that is none": {[]string{"--connection-string",
			"HostName=127.0.0.1;SharedAccessKeyName=n;SharedAccessKey=%%%"}, ""},
		"no secret's file": {[]string{"--connection-string", "@" + filepath.Join(folder, "none")}, ""},
		"nobody listens": {[]string{"--connection-string", service, "--address", closed.Addr().String()},
			"--address HOST:PORT"},
		"no trust": {[]string{"--connection-string", service, "--address", web.Listener.Addr().String()},
			"--ca-file FILE"},
		"no TLS": {[]string{"--connection-string", service, "--address", plainWeb.Listener.Addr().String()},
			"--address HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range leaves((&program{}).root()) {
				path := commandPath(command)
				if withoutServer[path] {
					continue
				}
				if strings.HasPrefix(path, "data ") && path != "data unreadable" && path != "data unreadable delete" &&
					name != "a folder never used" {
					continue // they look at the folder, and not at the server
				}
				line := append(lineFor(command, file), world.flags...)
				var stdout, stderr bytes.Buffer
				code := run(t.Context(), line, &stdout, &stderr)
				// The one tells what the folder says, the other shows what can't be read as such.
				if code == 0 && (path == "info" || (path == "telemetry tail" || path == "events tail") && name == "another server" &&
					!goWords.MatchString(stdout.String())) {
					continue
				}
				if code == 0 {
					t.Errorf("berth %s: exit code 0\n%s", strings.Join(line, " "), &stdout)
					continue
				}
				checkWords(t, line, stderr.String())
				if path != "info" && path != "device simulate" && path != "data check" && path != "data repair" &&
					!strings.HasPrefix(path, "data dump ") &&
					!strings.Contains(stderr.String(), world.hint) {
					t.Errorf("berth %s does not say %q:\n%s", strings.Join(line, " "), world.hint, &stderr)
				}
			}
		})
	}
}

// TestWordsOfEveryFlag gives every flag of every command what it can't take: the exit
// code is 2, and the flag is named.
func TestWordsOfEveryFlag(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file.json")
	if err := os.WriteFile(file, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, command := range leaves((&program{}).root()) {
		command.Flags().VisitAll(func(flag *pflag.Flag) {
			var bad []string
			choice, chosen := choices[flag.Name]
			interval, bounded := intervals[flag.Name]
			switch kind := flag.Value.Type(); {
			case jsonFlags[flag.Name]:
				bad = []string{"{", `{"é":né}`, `{"a":"\ud83d"}`, "[1,]", "{\"a\":\"\xe9\"}", strings.Repeat("[", 100)}
			case chosen:
				bad = []string{"nonsense"}
				if !choice.empty {
					bad = append(bad, "")
				}
			case kind == "int", kind == "duration":
				bad = []string{"x", "1x", "99999999999999999999"}
				if kind == "duration" {
					bad[2] = "99999999h"
				}
				if bounded && kind == "int" {
					bad = append(bad, fmt.Sprint(interval.least-1))
				}
			case kind == "bool":
				bad = []string{"perhaps"}
			}
			for _, value := range bad {
				line := append(lineFor(command, file), "--"+flag.Name+"="+value)
				if flag.Name == "rights" && value == "" {
					continue // which says that they are missing
				}
				var stdout, stderr bytes.Buffer
				if code := run(t.Context(), append(line, "--data", folder), &stdout, &stderr); code != 2 ||
					!strings.Contains(stderr.String(), "--"+flag.Name) && !strings.Contains(stderr.String(), "UTF-8") {
					t.Errorf("berth %s: exit code %d\n%s", strings.Join(line, " "), code, &stderr)
				}
				checkWords(t, line, stderr.String())
				tried++
			}
		})
	}
	if tried < 100 {
		t.Errorf("%d values were tried", tried)
	}
}

// TestWordsOfFiles gives commands files that are not there or are something else.
func TestWordsOfFiles(t *testing.T) {
	s := newShell(t)
	folder := t.TempDir()
	for name, content := range map[string]string{"empty": "", "text": "hello",
		"broken.pem":  "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"latin1.json": "[{\"registrationId\":\"\xe9\"}]", "utf16.json": "\xff\xfe[\x00]\x00",
		"odd.json": `[{"registrationId":7,"createdDateTimeUtc":"soon"}]`, "attempt.json": `{"sequence":"x"}`} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, words := range []string{
		"enrollment create d1 --x509 FILE", "group create g1 --x509 FILE", "authority create a1 --file FILE",
		"enrollment create d1 --tpm FILE",
		"enrollment create d1 --symmetric --initial-twin @FILE", "enrollment create d1 --primary-key @FILE",
		"device twin d1 --tags @FILE",
		"enrollment import FILE", "group import FILE", "enrollment import FILE --format csv", "explain FILE",
		"cert check FILE", "cert check FILE --ca FILE",
		"device simulate --cert FILE --key FILE", "device simulate --registration-id d1 --symmetric-key @FILE",
		"hub link @FILE", "hub link h.example --hub-ca-file FILE", "device list --ca-file FILE",
		"up --webhook-ca-file FILE",
	} {
		for _, name := range []string{"nowhere", "empty", "text", "broken.pem", "latin1.json", "utf16.json", "odd.json",
			"attempt.json", "."} {
			if name == "latin1.json" &&
				(strings.HasPrefix(words, "group create") || strings.HasPrefix(words, "authority")) {
				continue // it is sent for DER, and the service judges it
			}
			line := strings.Fields(strings.ReplaceAll(words, "FILE", filepath.Join(folder, name)))
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append(line, "--data", s.data), &stdout, &stderr)
			if code == 0 && name == "empty" && strings.Contains(words, "import") {
				continue // of nothing, nothing is imported
			}
			if code == 0 {
				t.Errorf("berth %s: exit code 0\n%s", strings.Join(line, " "), &stdout)
				continue
			}
			said := stderr.String()
			if strings.Contains(words, "import") && strings.HasPrefix(said, "line ") {
				said = "berth: " + said // the rows come first
			}
			checkWords(t, line, said)
			if strings.Contains(said, "berth up") && !strings.HasPrefix(words, "up") {
				t.Errorf("berth %s gives the hint of another operation:\n%s", strings.Join(line, " "), said)
			}
		}
	}
}

// TestInFlags tells a message of the service with the flags that a command has, and
// leaves what it has not.
func TestInFlags(t *testing.T) {
	root := (&program{}).root()
	of := func(path ...string) *cobra.Command {
		command, _, err := root.Find(path)
		if err != nil {
			t.Fatal(err)
		}
		return command
	}
	for _, c := range []struct {
		command       *cobra.Command
		message, want string
	}{
		{of("enrollment", "create"), "allocationPolicy static needs one hub, in iotHubs or iotHubHostName",
			"--allocation-policy static needs one hub, in --hubs or --hub"},
		{of("inject", "wrong-hub"), "wrongHub needs iotHubHostName, the hub that the device is told",
			"wrongHub needs --hub-host, the hub that the device is told"},
		{of("group", "create"), "initialTwin.tags must be a JSON object", "--initial-twin tags must be a JSON object"},
		{of("group", "create"), "attestation.x509.signingCertificates.primary has no certificate",
			"--x509 has no certificate"},
		{of("enrollment", "import"), "iotHubHostName must be there", "iotHubHostName must be there"},
		{of("enrollment", "show"), "There is no enrollment \"deviceId\"", "There is no enrollment \"deviceId\""},
		{nil, "iotHubs", "iotHubs"},
	} {
		var stderr bytes.Buffer
		(&cli.Env{Stderr: &stderr}).Exit(c.command, &fault.Error{Code: fault.ArgumentInvalid, Message: c.message})
		if want := fmt.Sprintf("berth: %s (%d)\n", c.want, fault.ArgumentInvalid); stderr.String() != want {
			t.Errorf("%s is told as %s, want %s", c.message, &stderr, want)
		}
	}
}

// TestHintsOfSimulate: a device that reaches nobody, or nobody that it trusts, gets the
// hint for that.
func TestHintsOfSimulate(t *testing.T) {
	folder := t.TempDir()
	runLine(t, 0, "cert", "device", "d1", "--key-type", "ec256", "--out", folder)
	certificate := filepath.Join(folder, "d1.pem")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.StartTLS()
	defer other.Close()
	port := closed.Addr().(*net.TCPAddr).Port
	text, err := json.Marshal(server.Info{IDScope: "0ne1", ProvisioningHost: "127.0.0.1", CAFile: certificate,
		Ports: server.Ports{HTTPS: port, MQTT: port}})
	if err := errors.Join(err, os.WriteFile(filepath.Join(folder, "info.json"), text, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ host, hint string }{
		"the server of the folder": {"127.0.0.1", "berth up --data " + folder},
		"another":                  {closed.Addr().String(), "--host HOST:PORT"},
		"one that is not trusted":  {other.Listener.Addr().String(), "--ca-file FILE"},
	} {
		for _, how := range []string{"--websocket=false", "--websocket"} {
			line := []string{"device", "simulate", "--cert", certificate, "--key", filepath.Join(folder, "d1.key.pem"),
				"--host", c.host, how, "--data", folder}
			if c.host != "127.0.0.1" {
				line = append(line, "--id-scope", "0ne2")
			}
			_, stderr := runLine(t, 1, line...)
			checkWords(t, line, stderr)
			if !strings.Contains(stderr, c.hint) {
				t.Errorf("%s, %s: it does not say %q:\n%s", name, how, c.hint, stderr)
			}
		}
	}
}
