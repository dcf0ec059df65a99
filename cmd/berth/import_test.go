package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// fileOf writes a file that is imported.
func (s shell) fileOf(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// imported are the counts that an import prints, its exit code and what it says besides.
func (s shell) imported(args ...string) (counts string, problems string) {
	s.t.Helper()
	var stdout, stderr strings.Builder
	code := run(s.t.Context(), append(args, "--data", s.data, "-o", "json"), &stdout, &stderr)
	var result struct {
		Done, Failed int
		Without      json.RawMessage
	}
	if err := json.Unmarshal([]byte(stdout.String()), &result); err != nil {
		s.t.Fatalf("berth %s: exit code %d, %s%s", strings.Join(args, " "), code, &stdout, &stderr)
	}
	var without bytes.Buffer
	if len(result.Without) > 0 {
		if err := json.Compact(&without, result.Without); err != nil {
			s.t.Fatal(err)
		}
	}
	return fmt.Sprintf("%d+%d exit %d %s", result.Done, result.Failed, code, &without), stderr.String()
}

// rows are what is said of each row, without what comes after them.
func rowsOf(problems string) string {
	rows, _, _ := strings.Cut(problems, "berth: ")
	return rows
}

// TestDryRunIsTheRun imports files with --dry-run and then without: both say the same of
// every row, in each mode, and the dry run changes nothing.
func TestDryRunIsTheRun(t *testing.T) {
	const enrollments = `{"registrationId":"there","attestation":{"type":"symmetricKey"},"provisioningStatus":"disabled"}
{"registrationId":"new-1","attestation":{"type":"symmetricKey"}}
{"registrationId":"NEW-1","attestation":{"type":"symmetricKey"}}
{"registrationId":"a b","attestation":{"type":"symmetricKey"}}
{"registrationId":"elsewhere","attestation":{"type":"symmetricKey"},"iotHubs":["contoso.azure-devices.net"]}
{"registrationId":"static","attestation":{"type":"symmetricKey"},"iotHubHostName":"contoso.azure-devices.net","allocationPolicy":"static"}
{"registrationId":"policy","attestation":{"type":"symmetricKey"},"credentialPolicyName":"none"}
{"registrationId":"status","attestation":{"type":"symmetricKey"},"provisioningStatus":"asleep"}
{"registrationId":"twin","attestation":{"type":"symmetricKey"},"initialTwin":{"tags":{"$bad":1}}}
{"registrationId":"new-2","attestation":{"type":"symmetricKey"}}
`
	groups := strings.ReplaceAll(enrollments, "registrationId", "enrollmentGroupId")
	for _, mode := range []string{"create", "update", "upsert"} {
		for kind, file := range map[string]string{"enrollment": enrollments, "group": groups} {
			t.Run(kind+" "+mode, func(t *testing.T) {
				s := newShell(t)
				s.run(0, kind, "create", "there", "--symmetric")
				path := s.fileOf("file.json", file)
				before, _ := s.run(0, kind, "list", "-o", "json")
				dry, dryProblems := s.imported(kind, "import", path, "--mode", mode, "--dry-run")
				if after, _ := s.run(0, kind, "list", "-o", "json"); after != before {
					t.Errorf("the dry run has changed\n%s\nto\n%s", before, after)
				}
				wet, problems := s.imported(kind, "import", path, "--mode", mode)
				if dry != wet {
					t.Errorf("the dry run counts %s, the run %s", dry, wet)
				}
				// Only of a row whose id another one has they say it in their own words.
				said, dryly := strings.Split(rowsOf(problems), "\n"), strings.Split(rowsOf(dryProblems), "\n")
				if len(said) != len(dryly) {
					t.Fatalf("the dry run says\n%s\nand the run\n%s", dryProblems, problems)
				}
				for i := range said {
					line, _, _ := strings.Cut(said[i], ",")
					if said[i] != dryly[i] && !(mode == "create" && line == "line 3" && strings.HasPrefix(dryly[i],
						"line 3, NEW-1: The id \"NEW-1\" is in line 2 already")) {
						t.Errorf("the dry run says %q, the run %q", dryly[i], said[i])
					}
				}
				if mode != "update" && !strings.Contains(problems, "--map-hub OLD=NEW") {
					t.Errorf("nothing is said of the hubs elsewhere:\n%s", problems)
				}
			})
		}
	}
}

// TestImportFromElsewhere imports what another service has exported.
func TestImportFromElsewhere(t *testing.T) {
	s := newShell(t)
	s.run(0, "hub", "create", "east", "--hub-host", "east.example.com")
	file := s.fileOf("azure.json", `[
{"registrationId":"one","etag":"\"AAAA\"","createdDateTimeUtc":"2026-01-01T00:00:00Z","attestation":{"type":"symmetricKey","symmetricKey":null},"iotHubs":["contoso.azure-devices.net"],"allocationPolicy":"static",
 "registrationState":{"registrationId":"one","status":"assigned","assignedHub":"contoso.azure-devices.net"},"optionalDeviceInformation":null,"namespaceName":"fabric"},
{"registrationId":"two","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":null,"info":{"sha256Thumbprint":"`+strings.Repeat("A", 64)+`"}}}}},"iotHubHostName":"Fabrikam.azure-devices.net"}
]`)
	refused, problems := s.imported("enrollment", "import", file)
	if !strings.HasPrefix(refused, "0+2 exit 1") || !strings.Contains(problems,
		"2 name hubs that are not linked here: --map-hub OLD=NEW") {
		t.Errorf("without a word on the hubs: %s\n%s", refused, problems)
	}
	counts, problems := s.imported("enrollment", "import", file, "--map-hub", "contoso.azure-devices.net=east",
		"--map-hub", "fabrikam.azure-devices.net=east.example.com", "--map-hub", "other.azure-devices.net=east")
	if counts != `2+0 exit 0 {"keys":1,"registrations":1,"members":{"namespaceName":1}}` {
		t.Errorf("with other names: %s\n%s", counts, problems)
	}
	for _, said := range []string{"1 come over without keys", "1 come over without their registrations",
		"1 have namespaceName, for which there is no place here", `the hub "other.azure-devices.net" of --map-hub`} {
		if !strings.Contains(problems, said) {
			t.Errorf("it does not say %q:\n%s", said, problems)
		}
	}
	one, two := read[enroll.Enrollment](s, "enrollment", "show", "one"), read[enroll.Enrollment](s,
		"enrollment", "show", "two")
	if fmt.Sprint(one.Hubs) != "[east.example.com]" || one.AllocationPolicy != allocation.Static ||
		two.HubHostName != "east.example.com" {
		t.Errorf("they go to %v by %s and to %q", one.Hubs, one.AllocationPolicy, two.HubHostName)
	}
	counts, problems = s.imported("enrollment", "import", file, "--ignore-hubs", "--mode", "upsert")
	if !strings.HasPrefix(counts, `2+0 exit 0 {"hubs":2,`) ||
		!strings.Contains(problems, "2 come over without the hubs") {
		t.Errorf("without hubs: %s\n%s", counts, problems)
	}
	if one := read[enroll.Enrollment](s, "enrollment", "show", "one"); len(one.Hubs) != 0 ||
		one.AllocationPolicy == allocation.Static {
		t.Errorf("it goes to %v by %q", one.Hubs, one.AllocationPolicy)
	}
	counts, problems = s.imported("group", "import", s.fileOf("groups.json",
		`[{"enrollmentGroupId":"g","attestation":{"type":"symmetricKey"},"iotHubHostName":"contoso.azure-devices.net"}]`), "--map-hub", "contoso.azure-devices.net=berth")
	if group := read[enroll.Group](s, "group", "show", "g"); counts != "1+0 exit 0 " ||
		group.HubHostName != "127.0.0.1" {
		t.Errorf("a group: %s, bound to %q\n%s", counts, group.HubHostName, problems)
	}
}

// TestImportOfOtherEncodings takes nothing whose letters would change.
func TestImportOfOtherEncodings(t *testing.T) {
	s := newShell(t)
	for name, c := range map[string]struct{ file, content, says string }{
		"CSV of Windows": {"w.csv",
			"registrationId,attestation,initialTwin\nw1,symmetricKey,\"{\"\"tags\"\":{\"\"ort\"\":\"\"K\xf6ln\"\"}}\"\n", "line 2, w1: initialTwin is not UTF-8. Save the file as CSV UTF-8"},
		"JSON of Windows": {"w.json",
			"[\n{\"registrationId\":\"w1\",\"attestation\":{\"type\":\"symmetricKey\"},\"initialTwin\":{\"tags\":{\"ort\":\"K\xf6ln\"}}}]", "line 2, w1: It is not UTF-8. Save the file as UTF-8"},
		"half a pair": {"h.json",
			`{"registrationId":"w1","attestation":{"type":"symmetricKey"},"initialTwin":{"tags":{"x":"\ud83d"}}}`,
			"line 1, w1: It has \\ud83d"},
	} {
		t.Run(name, func(t *testing.T) {
			counts, problems := s.imported("enrollment", "import", s.fileOf(c.file, c.content))
			if !strings.HasPrefix(counts, "0+1 exit 1") || !strings.Contains(problems, c.says) {
				t.Errorf("%s\n%s", counts, problems)
			}
			s.run(1, "enrollment", "show", "w1")
		})
	}
	for _, file := range []string{"u.csv", "u.json"} {
		counts, problems := s.imported("enrollment", "import", s.fileOf(file, "\xff\xfer\x00e\x00"))
		if counts != "0+0 exit 1 " || !strings.Contains(problems, file+": the file is in UTF-16") ||
			strings.Contains(problems, "tracking id") {
			t.Errorf("%s: %s\n%s", file, counts, problems)
		}
	}
	counts, problems := s.imported("enrollment", "import", s.fileOf("good.csv",
		"\xef\xbb\xbfregistrationId,attestation,initialTwin\ng1,symmetricKey,\"{\"\"tags\"\":{\"\"ort\"\":\"\"Köln\"\"}}\"\n"))
	if e := read[enroll.Enrollment](s, "enrollment", "show", "g1"); counts != "1+0 exit 0 " ||
		cli.CompactJSON(e.InitialTwin.Tags) != `{"ort":"Köln"}` {
		t.Errorf("CSV UTF-8: %s, %s\n%s", counts, cli.CompactJSON(e.InitialTwin), problems)
	}
	// Files of flags likewise.
	s.run(0, "enrollment", "create", "g2", "--symmetric", "--initial-twin", "@"+s.fileOf("twin.json",
		"\xef\xbb\xbf{\"tags\":{\"ort\":\"Köln\"}}"))
	if e := read[enroll.Enrollment](s, "enrollment", "show",
		"g2"); cli.CompactJSON(e.InitialTwin.Tags) != `{"ort":"Köln"}` {
		t.Errorf("a twin of a file: %s", cli.CompactJSON(e.InitialTwin))
	}
	for _, content := range []string{"{\"tags\":{\"ort\":\"K\xf6ln\"}}", "\xff\xfe{\x00", `{"tags":{"x":"\ude00"}}`} {
		if _, stderr := s.run(2, "enrollment", "create", "g3", "--symmetric", "--initial-twin", "@"+
			s.fileOf("twin.json",
				content)); !strings.Contains(stderr, "--initial-twin") {
			t.Errorf("%q: %s", content, stderr)
		}
	}
	if _, stderr := s.run(2, "enrollment", "create", "g3", "--symmetric", "--initial-twin",
		"{\"tags\":{\"ort\":\"K\xf6ln\"}}"); !strings.Contains(stderr, "UTF-8") {
		t.Errorf("an argument in another encoding: %s", stderr)
	}
}

// TestDryRunWithinLimits: a dry run counts what it would create against the limits, over
// all the bulks that it is sent in.
func TestDryRunWithinLimits(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	f := &files{t, startProcess(t, buildBinary(t), data, "--fidelity", "azure", "--operations-per-minute", "100000"),
		data, t.TempDir()}
	var rows strings.Builder
	for i := range 103 { // of which Azure allows 100
		fmt.Fprintf(&rows, "{\"enrollmentGroupId\":\"group-%03d\",\"attestation\":{\"type\":\"symmetricKey\"}}\n", i)
	}
	file := f.write("groups.json", rows.String())
	dry, dryProblems, _ := f.run("group", "import", file, "--dry-run")
	wet, problems, _ := f.run("group", "import", file)
	if !strings.Contains(dry, "100 would be imported, 3 failed") || !strings.Contains(wet, "100 imported, 3 failed") {
		t.Errorf("the dry run says %s%s\nand the run %s%s", dry, dryProblems, wet, problems)
	}
}
