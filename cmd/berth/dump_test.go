package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-iot/berth/cmd/berth/cli"
)

// TestDataDump prints what a stopped server has stored: documents without their values,
// unless those are asked for; logs; and what is left of a damaged one, with exit code 3.
func TestDataDump(t *testing.T) {
	t.Parallel()
	binary, data := buildBinary(t), t.TempDir()
	p := startProcess(t, binary, data)
	fillData(t, p, 2)
	const enrollments = 3 // and the device's that sends
	dump := func(words ...string) (code int, output string) {
		t.Helper()
		return runBinary(t, binary, append([]string{"data", "dump", "--data", data}, words...)...)
	}
	if code, output := dump("documents"); code != 1 || !strings.Contains(output, "stop it first") {
		t.Errorf("while the server runs: exit code %d\n%s", code, output)
	}
	p.terminate(t)

	code, output := dump("documents")
	if code != 0 || !strings.Contains(output, "provisioning/enrollments  ") || strings.Contains(output, "primaryKey") {
		t.Errorf("the documents: exit code %d\n%s", code, output)
	}
	if code, output := dump("documents", "--collection", "provisioning/enrollments", "-o", "json",
		"--show-secrets"); code != 0 {
		t.Errorf("the enrollments: exit code %d\n%s", code, output)
	} else if lines := objects(t, output); len(lines) != enrollments {
		t.Errorf("%d enrollments of %d:\n%s", len(lines), enrollments, output)
	} else {
		for _, line := range lines {
			if line["key"] == "" || line["etag"] == "" || line["value"].(map[string]any)["attestation"] == nil {
				t.Errorf("an enrollment is %v", line)
			}
		}
	}
	if code, output := dump("documents", "--collection", "nosuch"); code != 0 ||
		!strings.Contains(output, `the collection "nosuch", but in: `) ||
		!strings.Contains(output, "provisioning/enrollments") {
		t.Errorf("a collection that is not there: exit code %d\n%s", code, output)
	}
	if _, output := dump("documents", "--max", "2"); strings.Count(output, "\n") != 2 {
		t.Errorf("--max 2 prints\n%s", output)
	}

	code, output = dump("log", "hub.berth.telemetry", "-o", "json")
	sent := objects(t, output)
	if code != 0 || len(sent) == 0 || sent[0]["message"].(map[string]any)["deviceId"] == "" {
		t.Fatalf("the telemetry: exit code %d\n%s", code, output)
	}
	if code, output := dump("log", "provisioning.attempts", "-o", "json"); code != 0 ||
		objects(t, output)[0]["value"] == nil {
		t.Errorf("the attempts: exit code %d\n%s", code, output)
	}
	if code, output := dump("log", "none"); code != 1 ||
		!strings.Contains(output, "but: hub.berth.events, hub.berth.telemetry, provisioning.attempts") {
		t.Errorf("a log that is not there: exit code %d\n%s", code, output)
	}
	flipLast("logs/hub.berth.telemetry/*.segment")(t, data)
	code, output = dump("log", "hub.berth.telemetry")
	if code != cli.LossCode || !strings.Contains(output, "damaged") || strings.Count(output, "\n") > len(sent)+5 {
		t.Errorf("a damaged log: exit code %d\n%s", code, output)
	}
}

// objects reads the lines of an output that are JSON objects.
func objects(t *testing.T, output string) (lines []map[string]any) {
	t.Helper()
	for decoder := json.NewDecoder(bytes.NewBufferString(output)); decoder.More(); {
		var line map[string]any
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(fmt.Errorf("%w in\n%s", err, output))
		}
		lines = append(lines, line)
	}
	return lines
}
