package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
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

func (f *files) enrollment(id string) enroll.Enrollment {
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
	t.Parallel()
	binary := buildBinary(t)
	from := newFiles(t, binary)
	certificate, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "x509",
		KeyType: credential.EC256, NotBefore: time.Now(), Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	file := from.write("device.pem", string(certificate))
	from.must("enrollment", "create", "x509", "--x509", file, "--device-id", "another", "--hub", "berth",
		"--initial-twin", `{"tags":{"say":"\"hello\", world\n"}}`)
	from.must("enrollment", "create", "keyed", "--symmetric", "--edge-enabled", "--reprovision-policy", "never",
		"--credential-policy", "default", "--parent", "gateway")
	from.must("enrollment", "create", "disabled", "--symmetric", "--provisioning-status", "disabled",
		"--allocation-policy", "geoLatency", "--webhook", "")
	var bulk strings.Builder
	many := exchangeRows
	bulk.WriteString("registrationId,attestation,primaryThumbprint\r\n")
	for i := range many {
		fmt.Fprintf(&bulk, "row-%06d,x509,%064X\r\n", i, i+1)
	}
	began := time.Now()
	if out := from.must("enrollment", "import",
		from.write("many.csv", "\xef\xbb\xbf"+bulk.String())); !strings.Contains(out,
		fmt.Sprintf("%d imported, 0 failed", many)) {
		t.Fatalf("the import says %s", out)
	}
	t.Logf("%d rows imported in %s", many, time.Since(began))
	// What was changed before all these rows is found in the audit.
	if out := from.must("audit", "--id", "KEYED"); !strings.Contains(out, "policy provisioningserviceowner") ||
		!strings.Contains(out, "127.0.0.1:") || !strings.Contains(out, "created") || strings.Count(out, "\n") != 2 {
		t.Errorf("the audit of an earlier enrollment is\n%s", out)
	}
	// They were sent in bulk, and each bulk has one entry, which is found by its rows.
	least := min(many/backend.MaxBulk, 1500)
	out := from.must("audit", "--max", "1500", "-o", "json")
	if n := strings.Count(out, `"action"`); n < least || n > least+20 {
		t.Errorf("%d rows have %d entries in the audit", many, n)
	}
	if out := from.must("audit", "--id", "ROW-000123"); !strings.Contains(out,
		"100 done, 0 failed: berth audit items ") {
		t.Errorf("the audit of a row is\n%s", out)
	}
	for _, format := range []string{"json", "csv"} {
		t.Run(format, func(t *testing.T) {
			exported := filepath.Join(from.folder, "out."+format)
			if err := os.WriteFile(exported, []byte("older"), 0o644); err != nil { // whose mode is not kept
				t.Fatal(err)
			}
			began := time.Now()
			from.must("enrollment", "export", exported, "--keys")
			t.Logf("exported in %s", time.Since(began))
			if about, err := os.Stat(exported); err != nil || about.Mode().Perm() != 0o600 {
				t.Errorf("a file with keys has the mode %v, error %v", about.Mode(), err)
			}
			to := newFiles(t, binary)
			to.t = t
			began = time.Now()
			out := to.must("enrollment", "import", exported)
			t.Logf("imported in %s", time.Since(began))
			if !strings.Contains(out, fmt.Sprintf("%d imported, 0 failed", many+3)) {
				t.Fatalf("the import says %s", out)
			}
			for _, id := range []string{"x509", "keyed", "disabled", "row-000000", fmt.Sprintf("row-%06d", many-1)} {
				want, got := from.enrollment(id), to.enrollment(id)
				for _, e := range []*enroll.Enrollment{&want, &got} {
					e.ETag = ""
					e.CreatedDateTimeUTC = provisioning.Time{}
					e.LastUpdatedDateTimeUTC = provisioning.Time{}
					if x := e.Attestation.X509; x != nil && format == "csv" {
						x.ClientCertificates.Primary.Info = &credential.X509CertificateInfo{SHA256Thumbprint: x.ClientCertificates.Primary.Info.SHA256Thumbprint}
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
	if without := from.must("enrollment", "export", "--format", "csv", "--prefix", "keyed"); strings.Count(without,
		"\n") != 2 || strings.Contains(without, "==") {
		t.Errorf("without --keys it is %s", without)
	}
}

// TestExportToStandardOutput: a - is the standard output, as for an import the input.
func TestExportToStandardOutput(t *testing.T) {
	s := newShell(t)
	s.run(0, "enrollment", "create", "d1", "--symmetric")
	s.run(0, "group", "create", "line", "--symmetric")
	t.Chdir(t.TempDir())
	for thing, shown := range map[string]string{"enrollment": `"registrationId":"d1"`,
		"group": `"enrollmentGroupId":"line"`} {
		without, _ := s.run(0, thing, "export")
		if stdout, _ := s.run(0, thing, "export", "-"); stdout != without || !strings.Contains(stdout, shown) {
			t.Errorf("berth %s export - prints %q, and without an argument %q", thing, stdout, without)
		}
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("files were written: %v, error %v", left, err)
	}
}

// TestImportOfBadRows: each is told with its place, and the good ones are done.
func TestImportOfBadRows(t *testing.T) {
	t.Parallel()
	f := newFiles(t, buildBinary(t))
	good := strings.Repeat("A", 64)
	for _, c := range []struct {
		name, file, content string
		args                []string
		done, failed        int
		says                []string
	}{
		{"bad rows", "bad.csv", "registrationId,primaryThumbprint,iotEdge,initialTwin,reprovisionPolicy\n" +
			"good-1," + good + ",true,,\nno space," + good + ",,,\nbad-1,xyz,,,\nbad-2," + good + ",maybe,,\nbad-3," +
			good + ",,{,\nbad-4," + good + ",,,often\n\"good-2\",\"" + good +
			"\",,\"{\"\"tags\"\":{\"\"a\"\":1}}\",never\ngood-1," + good + ",,,\n" +
			"long," + good + ",,,,,,\n", nil, 2, 7,
			[]string{"line 3", "character", "line 4, bad-1", "sha256Thumbprint", "line 5", "iotEdge", "line 6",
				"initialTwin", "line 7", "reprovisionPolicy", "line 9", "already", "line 10", "8 fields"}},
		{"objects one after the other", "some.jsonl",
			`{"registrationId":"line-1","attestation":{"type":"symmetricKey"}}` + "\n" + `{"registrationId":7}` + "\n" +
				`{"registrationId":"line-2"}`, nil, 1, 2,
			[]string{"line 2", "the form of the service API", "line 3, line-2: attestation.type"}},
		{"update of what is not there", "update.json",
			`[{"registrationId":"line-1","attestation":{"type":"symmetricKey"}},{"registrationId":"line-9","attestation":{"type":"symmetricKey"}}]`, []string{"--mode", "update"}, 1, 1, []string{"line 1, line-9"}},
		{"upsert", "upsert.json",
			`[{"registrationId":"line-1","provisioningStatus":"disabled","attestation":{"type":"symmetricKey"}},{"registrationId":"line-9","attestation":{"type":"symmetricKey"}}]`, []string{"--mode", "upsert"}, 2, 0, nil},
		{"only to see", "dry.json", `[{"registrationId":"line-10","attestation":{"type":"symmetricKey"}}]`,
			[]string{"--dry-run"}, 1, 0, nil},
		{"only to see what is wrong", "dry.csv",
			"registrationId,attestation,primaryKey\nline-10,symmetricKey,\nline 11,symmetricKey,\nline-12,symmetricKey,short\nline-13,,\nline-14,magic,\n", []string{"--dry-run"}, 1, 4,
			[]string{"line 3, line 11", "line 4, line-12: The primary key is not base64",
				"line 5, line-13: attestation.x509.clientCertificates.primary", "line 6, line-14: attestation.type"}},
		{"nothing", "nothing.json", "[]", nil, 0, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			output, problems, code := f.run(append([]string{"enrollment", "import", f.write(c.file, c.content), "-o",
				"json"}, c.args...)...)
			var result struct{ Done, Failed int }
			if err := json.Unmarshal([]byte(output), &result); err != nil || result.Done != c.done ||
				result.Failed != c.failed || (code != 0) != (c.failed > 0) {
				t.Errorf("it says %s, exit code %d, error %v; want %d done, %d failed\n%s", output, code, err, c.done,
					c.failed, problems)
			}
			for _, says := range c.says {
				if !strings.Contains(problems, says) {
					t.Errorf("it does not say %q:\n%s", says, problems)
				}
			}
		})
	}
	if e := f.enrollment("line-1"); e.ProvisioningStatus != enroll.Disabled {
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

// TestExchangeOfGroups carries enrollment groups from one server to another.
func TestExchangeOfGroups(t *testing.T) {
	t.Parallel()
	binary := buildBinary(t)
	from, to := newFiles(t, binary), newFiles(t, binary)
	var certificates []string
	for _, name := range []string{"one", "two"} {
		authority, err := credential.NewAuthority(name, time.Now().Add(-time.Hour), 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		certificate, _, err := authority.PEM()
		if err != nil {
			t.Fatal(err)
		}
		certificates = append(certificates, from.write(name+".pem", string(certificate)))
	}
	from.must("group", "create", "factory", "--x509", certificates[0], "--x509-secondary", certificates[1],
		"--initial-twin", `{"tags":{"plant":"Lyon"}}`)
	from.must("group", "create", "meters", "--symmetric", "--provisioning-status", "disabled")
	exported := filepath.Join(from.folder, "groups.json")
	if _, problems, code := from.run("group", "export", exported); code != 0 ||
		!strings.Contains(problems, "the keys of 1 are not in it") {
		t.Errorf("without --keys: exit code %d, %s", code, problems)
	}
	if _, problems, code := from.run("group", "export", exported, "--keys"); code != 0 || problems != "" {
		t.Errorf("with --keys: exit code %d, %s", code, problems)
	}
	if out := to.must("group", "import", exported); !strings.Contains(out, "2 imported, 0 failed") {
		t.Errorf("the import says %s", out)
	}
	if _, problems, code := to.run("group", "import", exported); code != 1 ||
		!strings.Contains(problems, "line 3, meters: ") || !strings.Contains(problems, "--mode upsert") {
		t.Errorf("a second import: exit code %d, %s", code, problems)
	}
	to.must("group", "import", exported, "--mode", "upsert")
	for _, id := range []string{"factory", "meters"} {
		var shown [2]string
		for i, f := range []*files{from, to} {
			group, err := f.server.provisioning.Group(within(t, time.Minute), id)
			if err != nil {
				t.Fatal(err)
			}
			if group.Attestation, err = f.server.provisioning.GroupAttestationMechanism(within(t, time.Minute),
				id); err != nil {
				t.Fatal(err)
			}
			group.ETag = ""
			group.CreatedDateTimeUTC = provisioning.Time{}
			group.LastUpdatedDateTimeUTC = provisioning.Time{}
			shown[i] = cli.CompactJSON(group)
		}
		if shown[0] != shown[1] {
			t.Errorf("%s was\n%s\nand is\n%s", id, shown[0], shown[1])
		}
	}
	bad := to.write("bad.jsonl", `{"enrollmentGroupId":"a b","attestation":{"type":"symmetricKey"}}`+"\n"+
		`{"enrollmentGroupId":"chip","attestation":{"type":"tpm"}}`+"\n{\n"+
		`{"enrollmentGroupId":"good","attestation":{"type":"symmetricKey"}}`)
	if output, problems, code := to.run("group", "import", bad, "-o", "json"); code != 1 ||
		!strings.Contains(output, `"done": 1`) || !strings.Contains(output, `"failed": 3`) ||
		!strings.Contains(problems, "line 1, a b: ") || !strings.Contains(problems, "line 2, chip: ") ||
		!strings.Contains(problems, "line 3, -: It is not JSON") {
		t.Errorf("bad groups: exit code %d, %s%s", code, output, problems)
	}
}

// TestImportWithinLimits: a service that takes little at once, and not too often, gets
// it so.
func TestImportWithinLimits(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	f := &files{t, startProcess(t, buildBinary(t), data, "--fidelity", "azure", "--operations-per-minute", "600"), data,
		t.TempDir()}
	const many = 6_200 // more than the 600 operations that may be done at once
	var rows strings.Builder
	rows.WriteString("registrationId,attestation\n")
	for i := range many {
		fmt.Fprintf(&rows, "row-%05d,symmetricKey\n", i)
	}
	if out := f.must("enrollment", "import", f.write("many.csv", rows.String())); !strings.Contains(out,
		"6200 imported, 0 failed") {
		t.Errorf("the import says %s", out)
	}
}
