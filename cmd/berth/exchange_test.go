package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning"
)

// files runs commands on a server with a data folder of its own.
type files struct {
	t      *testing.T
	server *process
	data   string
	folder string
}

func newFiles(t *testing.T, binary string) *files {
	data := t.TempDir()
	return &files{t, startProcess(t, binary, data), data, t.TempDir()}
}

// run returns what a command prints, and its exit code.
func (f *files) run(args ...string) (output, problems string, code int) {
	var out, bad strings.Builder
	code = run(f.t.Context(), append(args, "--data", f.data), &out, &bad)
	return out.String(), bad.String(), code
}

func (f *files) must(args ...string) string {
	f.t.Helper()
	output, problems, code := f.run(args...)
	if code != 0 {
		f.t.Fatalf("berth %s: exit code %d: %s", strings.Join(args, " "), code, problems)
	}
	return output
}

func (f *files) write(name, content string) string {
	f.t.Helper()
	path := filepath.Join(f.folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *files) enrollment(id string) provisioning.Enrollment {
	f.t.Helper()
	found, err := f.server.provisioning.Enrollment(within(f.t, time.Minute), id)
	if err != nil {
		f.t.Fatalf("%s: %v", id, err)
	}
	return found
}

// TestExchange carries enrollments of every sort from one server to another, by
// JSON and by CSV, and finds them equal.
func TestExchange(t *testing.T) {
	binary := buildBinary(t)
	from := newFiles(t, binary)
	certificate, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "x509", KeyType: credential.EC256, NotBefore: time.Now(), Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	file := from.write("device.pem", string(certificate))
	from.must("enrollment", "create", "x509", "--x509", file, "--device-id", "another", "--hub", "berth", "--initial-twin", `{"tags":{"say":"\"hello\", world\n"}}`)
	from.must("enrollment", "create", "keyed", "--symmetric", "--edge-enabled", "--reprovision-policy", "never", "--credential-policy", "default", "--parent", "gateway")
	from.must("enrollment", "create", "disabled", "--symmetric", "--provisioning-status", "disabled", "--allocation-policy", "geoLatency", "--webhook", "")
	var bulk strings.Builder
	const many = 20_000
	bulk.WriteString("registrationId,attestation,primaryThumbprint\r\n")
	for i := range many {
		fmt.Fprintf(&bulk, "row-%05d,x509,%064X\r\n", i, i+1)
	}
	began := time.Now()
	if out := from.must("enrollment", "import", from.write("many.csv", "\xef\xbb\xbf"+bulk.String())); !strings.Contains(out, "20000 imported, 0 failed") {
		t.Fatalf("the import says %s", out)
	}
	t.Logf("%d rows imported in %s", many, time.Since(began))
	// What was changed before all these rows is found in the audit.
	if out := from.must("audit", "--id", "KEYED"); !strings.Contains(out, "policy provisioningserviceowner") || !strings.Contains(out, "127.0.0.1:") || !strings.Contains(out, "created") || strings.Count(out, "\n") != 2 {
		t.Errorf("the audit of an earlier enrollment is\n%s", out)
	}
	if out := from.must("audit", "--max", "1500", "-o", "json"); strings.Count(out, `"action"`) != 1500 {
		t.Errorf("of 1500 entries there are %d", strings.Count(out, `"action"`))
	}
	for _, format := range []string{"json", "csv"} {
		t.Run(format, func(t *testing.T) {
			exported := filepath.Join(from.folder, "out."+format)
			from.must("enrollment", "export", exported, "--keys")
			if about, err := os.Stat(exported); err != nil || about.Mode().Perm() != 0o600 {
				t.Errorf("a file with keys has the mode %v, error %v", about.Mode(), err)
			}
			to := newFiles(t, binary)
			to.t = t
			if out := to.must("enrollment", "import", exported); !strings.Contains(out, fmt.Sprintf("%d imported, 0 failed", many+3)) {
				t.Fatalf("the import says %s", out)
			}
			for _, id := range []string{"x509", "keyed", "disabled", "row-00000", "row-19999"} {
				want, got := from.enrollment(id), to.enrollment(id)
				for _, e := range []*provisioning.Enrollment{&want, &got} {
					e.ETag, e.CreatedDateTimeUTC, e.LastUpdatedDateTimeUTC = "", provisioning.Time{}, provisioning.Time{}
					if x := e.Attestation.X509; x != nil && format == "csv" {
						x.ClientCertificates.Primary.Info = &provisioning.X509CertificateInfo{SHA256Thumbprint: x.ClientCertificates.Primary.Info.SHA256Thumbprint}
					}
				}
				one, _ := json.Marshal(want)
				two, _ := json.Marshal(got)
				if string(one) != string(two) {
					t.Errorf("%s was\n%s and is\n%s", id, one, two)
				}
			}
			one, err := from.server.provisioning.AttestationMechanism(t.Context(), "keyed")
			if err != nil {
				t.Fatal(err)
			}
			two, err := to.server.provisioning.AttestationMechanism(t.Context(), "keyed")
			if err != nil || *one.SymmetricKey != *two.SymmetricKey {
				t.Errorf("the keys are others now, error %v", err)
			}
		})
	}
	if without := from.must("enrollment", "export", "--format", "csv", "--prefix", "keyed"); strings.Count(without, "\n") != 2 || strings.Contains(without, "==") {
		t.Errorf("without --keys it is %s", without)
	}
}

// TestImportOfBadRows: each is told with its place, and the good ones are done.
func TestImportOfBadRows(t *testing.T) {
	f := newFiles(t, buildBinary(t))
	good := strings.Repeat("A", 64)
	for _, c := range []struct {
		name, file, content string
		args                []string
		done, failed        int
		says                []string
	}{
		{"bad rows", "bad.csv", "registrationId,primaryThumbprint,iotEdge,initialTwin,reprovisionPolicy\n" +
			"good-1," + good + ",true,,\nno space," + good + ",,,\nbad-1,xyz,,,\nbad-2," + good + ",maybe,,\nbad-3," + good + ",,{,\nbad-4," + good + ",,,often\n\"good-2\",\"" + good + "\",,\"{\"\"tags\"\":{\"\"a\"\":1}}\",never\ngood-1," + good + ",,,\n" +
			"long," + good + ",,,,,,\n", nil, 2, 7, []string{"line 3", "character", "line 4, bad-1", "sha256Thumbprint", "line 5", "iotEdge", "line 6", "initialTwin", "line 7", "reprovisionPolicy", "line 9", "already", "line 10", "8 fields"}},
		{"objects one after the other", "some.jsonl", `{"registrationId":"line-1","attestation":{"type":"symmetricKey"}}` + "\n" + `{"registrationId":7}` + "\n" + `{"registrationId":"line-2"}`, nil, 1, 2, []string{"item 2", "not the JSON of an enrollment", "item 3", "attestation.type"}},
		{"update of what is not there", "update.json", `[{"registrationId":"line-1","attestation":{"type":"symmetricKey"}},{"registrationId":"line-9","attestation":{"type":"symmetricKey"}}]`, []string{"--mode", "update"}, 1, 1, []string{"item 2, line-9"}},
		{"upsert", "upsert.json", `[{"registrationId":"line-1","provisioningStatus":"disabled","attestation":{"type":"symmetricKey"}},{"registrationId":"line-9","attestation":{"type":"symmetricKey"}}]`, []string{"--mode", "upsert"}, 2, 0, nil},
		{"only to see", "dry.json", `[{"registrationId":"line-10","attestation":{"type":"symmetricKey"}}]`, []string{"--dry-run"}, 1, 0, nil},
		{"nothing", "nothing.json", "[]", nil, 0, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			output, problems, code := f.run(append([]string{"enrollment", "import", f.write(c.file, c.content), "-o", "json"}, c.args...)...)
			var result struct{ Done, Failed int }
			if err := json.Unmarshal([]byte(output), &result); err != nil || result.Done != c.done || result.Failed != c.failed || (code != 0) != (c.failed > 0) {
				t.Errorf("it says %s, exit code %d, error %v; want %d done, %d failed\n%s", output, code, err, c.done, c.failed, problems)
			}
			for _, says := range c.says {
				if !strings.Contains(problems, says) {
					t.Errorf("it does not say %q:\n%s", says, problems)
				}
			}
		})
	}
	if e := f.enrollment("line-1"); e.ProvisioningStatus != provisioning.Disabled {
		t.Errorf("upsert has not updated: %+v", e)
	}
	if _, err := f.server.provisioning.Enrollment(t.Context(), "line-10"); err == nil {
		t.Error("a dry run made an enrollment")
	}
	for name, c := range map[string][2]string{
		"unknown column":   {"x.csv", "registrationId,colour\na,b\n"},
		"missing column":   {"x.csv", "deviceId\na\n"},
		"column twice":     {"x.csv", "registrationId,registrationid\na,b\n"},
		"open quotes":      {"x.csv", "registrationId\n\"a\n"},
		"no JSON":          {"x.json", "hello"},
		"JSON cut off":     {"x.json", `[{"registrationId":"cut"`},
		"an empty CSV":     {"x.csv", ""},
		"format of others": {"x.json", ""},
	} {
		args := []string{"enrollment", "import", f.write(c[0], c[1])}
		if name == "format of others" {
			args = append(args, "--format", "xml")
		}
		if output, problems, code := f.run(args...); code == 0 || problems == "" {
			t.Errorf("%s: exit code %d, %s %s", name, code, output, problems)
		}
	}
}
