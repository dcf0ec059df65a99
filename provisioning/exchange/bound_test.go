package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// TestDeepRows has rows among others that are nested too deep: each fails by itself.
func TestDeepRows(t *testing.T) {
	deep := strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000)
	first, last := `{"registrationId":"first"}`, `{"registrationId":"last"}`
	twin := `{"tags":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100) + "}"
	for name, file := range map[string]struct {
		format Format
		text   string
		failed int
	}{
		"an array": {JSON, "[" + first + `,{"registrationId":"deep","optionalDeviceInformation":` + deep + "}," + last +
			"]", 1},
		"objects": {JSON, first + "\n" + `{"registrationId":"deep","optionalDeviceInformation":` + deep + "}\n" + last,
			1},
		"CSV": {CSV, "registrationId,optionalDeviceInformation,initialTwin\nfirst,,\ndeep," + deep + ",\ndeeper,,\"" +
			strings.ReplaceAll(twin, `"`, `""`) + "\"\nlast,,\n", 2},
	} {
		var ids []string
		failed := 0
		err := ReadEnrollments(strings.NewReader(file.text), file.format, func(row Row[enroll.Enrollment]) error {
			if row.Err != nil {
				failed++
			} else {
				ids = append(ids, row.Item.RegistrationID)
			}
			return nil
		})
		if err != nil || failed != file.failed || !reflect.DeepEqual(ids, []string{"first", "last"}) {
			t.Errorf("%s: %q are read and %d failed, error %v", name, ids, failed, err)
		}
	}
}

// endless is a text that goes on and on.
type endless struct {
	text string
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.text[(e.read+i)%len(e.text)]
	}
	e.read += len(p)
	return len(p), nil
}

// TestRowWithoutEnd has a row that nobody could hold in memory.
func TestRowWithoutEnd(t *testing.T) {
	for begin, more := range map[string]string{`[{"registrationId":"`: "x", "[": "[", "[1,": " ",
		"registrationId\n\"": "x\n", "registrationId\n": "x,"} {
		format := JSON
		if strings.HasPrefix(begin, "r") {
			format = CSV
		}
		rest := &endless{text: more}
		err := ReadEnrollments(io.MultiReader(strings.NewReader(begin), rest), format,
			func(Row[enroll.Enrollment]) error { return nil })
		if err == nil || rest.read > 4*maxAhead {
			t.Errorf("%q and then %q: %d bytes were read, error %v", begin, more, rest.read, err)
		}
		if !errors.Is(err, fault.BadFormat) {
			t.Errorf("%q and then %q: %v", begin, more, err)
		}
	}
}

// TestAnyEnrollmentRoundTrip writes enrollments of any content in each format, and reads
// them back as they were.
func TestAnyEnrollmentRoundTrip(t *testing.T) {
	text := rapid.StringMatching("[a-z0-9 ,;\"\n\té<>&'-]{0,12}")
	name := rapid.StringMatching("[a-z0-9.-]{1,12}")
	object := rapid.SampledFrom([]json.RawMessage{nil, json.RawMessage(`{}`),
		json.RawMessage(`{"a":[1,2.50,"é,\"\n;"]}`), json.RawMessage(`{"b":{"c":null}}`)})
	rapid.Check(t, func(t *rapid.T) {
		wanted := enroll.Enrollment{RegistrationID: name.Draw(t, "id"), DeviceID: name.Draw(t, "device"),
			OptionalDeviceInformation: object.Draw(t, "information"),
			Settings: enroll.Settings{HubHostName: name.Draw(t, "hub"), CredentialPolicyName: name.Draw(t, "policy"),
				ProvisioningStatus: rapid.SampledFrom([]enroll.ProvisioningStatus{enroll.Enabled,
					enroll.Disabled}).Draw(t, "status"),
				Hubs: rapid.SliceOfN(name, 1, 3).Draw(t, "hubs")}}
		if tags := object.Draw(t, "tags"); tags != nil {
			wanted.InitialTwin = &linkedhub.InitialTwin{Tags: tags}
		}
		switch wanted.Attestation.Type = rapid.SampledFrom([]string{"x509", "symmetricKey", "tpm"}).Draw(t,
			"type"); wanted.Attestation.Type {
		case "x509":
			wanted.Attestation.X509 = &enroll.X509Attestation{ClientCertificates: &enroll.X509Certificates{Primary: certificateOf("", name.Draw(t, "thumbprint"))}}
		case "symmetricKey":
			wanted.Attestation.SymmetricKey = &enroll.SymmetricKeyAttestation{PrimaryKey: name.Draw(t, "primary"),
				SecondaryKey: name.Draw(t, "secondary")}
		default:
			wanted.Attestation.TPM = &enroll.TPMAttestation{EndorsementKey: name.Draw(t, "endorsement")}
		}
		if rapid.Bool().Draw(t, "custom") {
			wanted.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: "https://x/" +
				text.Draw(t, "path"), APIVersion: name.Draw(t, "version")}
		}
		for _, format := range []Format{JSON, CSV} {
			var file bytes.Buffer
			writer := NewWriter(&file, format)
			if err := errors.Join(writer.Write(wanted), writer.Close()); err != nil {
				t.Fatal(err)
			}
			written, rows := file.String(), 0
			err := ReadEnrollments(&file, format, func(row Row[enroll.Enrollment]) error {
				rows++
				got, err := json.Marshal(row.Item)
				if err != nil {
					return err
				}
				want, err := json.Marshal(wanted)
				if row.Err != nil || string(got) != string(want) {
					t.Fatalf("%s %s: it was\n%s\nand is\n%s, error %v", format, written, want, got, row.Err)
				}
				return err
			})
			if err != nil || rows != 1 {
				t.Fatalf("%s %s: %d rows, error %v", format, written, rows, err)
			}
		}
	})
}
