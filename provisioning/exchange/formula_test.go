package exchange

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// Of what is exported, a spreadsheet runs no cell, and what is imported is what was
// exported.
func TestCellsAreNotRun(t *testing.T) {
	for _, id := range []string{"=1+1", "+1", "-2+3", "@SUM(1)", "'=1+1", "''@x", "'", "''x", "it's",
		"=cmd|'/C calc'!A0"} {
		roundTrip(t,
			enroll.Enrollment{RegistrationID: "-d1", DeviceID: id, Settings: enroll.Settings{ParentDeviceID: id,
				Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
					SymmetricKey: &enroll.SymmetricKeyAttestation{
						PrimaryKey: "+/+/+/+/+/+/+/+/+/+/+w==", SecondaryKey: "=" + id}},
				CustomAllocationDefinition: &allocation.CustomDefinition{WebhookURL: "@" + id}}})
	}
}

func roundTrip(t *testing.T, enrollment enroll.Enrollment) {
	t.Helper()
	var file bytes.Buffer
	writer := NewWriter(&file, CSV)
	if err := writer.Write(enrollment); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(file.Bytes())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, cell := range lines[1] {
		if isFormula(cell) {
			t.Errorf("a spreadsheet runs %s %q of %+v", Columns[i], cell, enrollment)
		}
	}
	want, err := json.Marshal(enrollment)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	err = ReadEnrollments(&file, CSV, func(row Row[enroll.Enrollment]) error {
		rows++
		got, err := json.Marshal(row.Item)
		if err != nil || row.Err != nil || string(got) != string(want) {
			t.Errorf("it comes back as %s, errors %v, %v; it was %s", got, row.Err, err, want)
		}
		return nil
	})
	if err != nil || rows != 1 {
		t.Errorf("%d rows come back, error %v", rows, err)
	}
}

func TestEveryCellReadsBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringMatching(`'{0,3}[=+\-@\t\r\n'a ]{0,4}`).Draw(t, "cell")
		written := asText(cell)
		if isFormula(written) {
			t.Errorf("a spreadsheet runs %q", written)
		}
		if got := fromText(written); got != cell {
			t.Errorf("%q comes back as %q", cell, got)
		}
	})
}
