package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// summarize reads a file and tells what is in it: the line and id of each enrollment, or
// what is wrong with it, and why the rest was not read.
func summarize(reader io.Reader, format Format) string {
	var story []string
	err := ReadEnrollments(reader, format, func(row Row[enroll.Enrollment]) error {
		said := row.Item.RegistrationID
		if row.Err != nil {
			said = "! " + fault.From(row.Err).Message
		}
		story = append(story, fmt.Sprintf("%d %s", row.Line, said))
		return nil
	})
	if err != nil {
		story = append(story, "END "+fault.From(err).Message)
	}
	return strings.Join(story, "\n")
}

func TestReadJSON(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"array": {"[{\"registrationId\":\"a\"},\n\n  {\"registrationId\":\n\"b\"}\n]\n", "1 a\n3 b"},
		"array after space": {"\xef\xbb\xbf\n\n [\r\n{\"registrationId\":\"a\"}\r\n,\r\n{\"registrationId\":\"b\"}]",
			"4 a\n6 b"},
		"empty array":        {"[]", ""},
		"empty":              {" \n ", ""},
		"lines":              {"{\"registrationId\":\"a\"}\n\n{\"registrationId\":\"b\"}", "1 a\n3 b"},
		"lines of Windows":   {"{\"registrationId\":\"a\"}\r\n{\"registrationId\":\"b\"}\r\n", "1 a\n2 b"},
		"objects over lines": {"{\n \"registrationId\": \"a\"\n}\n{\n \"registrationId\": \"b\"\n}", "1 a\n4 b"},
		"objects in a line":  {"{\"registrationId\":\"a\"} {\"registrationId\":\"b\"}", "1 a\n1 b"},
		"a broken line":      {"{\"registrationId\":\"a\"}\n{\"registrationId\":\n{\"registrationId\":\"c\"}\n{\"registrationId\":\"d}\n{\"registrationId\":\"e\"}", "1 a\n2 ! It is not JSON: it ends too early\n3 c\n4 ! It is not JSON: it ends too early\n5 e"},
		"cut off": {"{\"registrationId\":\"a\"}\n{\"registr",
			"1 a\n2 ! It is not JSON: it ends too early"},
		"wrong type": {"[{\"registrationId\":7},{\"registrationId\":\"b\"}]",
			"1 ! It does not have the form of the service API: registrationId must be a string, not a number\n1 b"},
		"no object": {"[7]", "1 ! It does not have the form of the service API: it must be an object"},
		"no JSON":   {"hello\n{\"registrationId\":\"a\"}", "1 ! It is not JSON: it begins with 'h'\n2 a"},
		"an array that breaks": {"[\n{\"registrationId\":\"a\"},\n{\"registrationId\":},\n{\"registrationId\":\"c\"}]",
			"2 a\nEND Line 3 is not JSON, so nothing from there on was read"},
		"an array that is cut": {"[{\"registrationId\":\"a\"},\n{\"reg",
			"1 a\nEND The file ends too early: nothing from line 2 on was read"},
		"an array without end": {"[{\"registrationId\":\"a\"}\n",
			"1 a\nEND The file ends too early: nothing from line 2 on was read"},
		"an array and more": {"[{\"registrationId\":\"a\"}]\n[{\"registrationId\":\"b\"}]",
			"1 a\nEND After the end of the array there is more, which was not read"},
		"UTF-16": {"\xff\xfe[\x00", "END The file is in UTF-16, or no text at all. Save it as UTF-8"},
		"a comma that is one": {"[{\"registrationId\":\"a\"},]",
			"1 a\nEND Line 1 is not JSON, so nothing from there on was read"},
		"an object that is huge": {"{\"registrationId\":\"" + strings.Repeat("x", 3<<20) +
			"\"}\n{\"registrationId\":\"b\"}", "1 ! It is longer than 1048576 bytes\n2 b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := summarize(strings.NewReader(c.file), JSON); got != c.want {
				t.Errorf("it is\n%s\nwant\n%s", got, c.want)
			}
			if got := summarize(iotest.OneByteReader(strings.NewReader(c.file)), JSON); got != c.want {
				t.Errorf("byte for byte it is\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// A file has an initial twin as it is stored: members in their order, and numbers and
// strings in their spelling.
func TestTwinsKeepTheirSpelling(t *testing.T) {
	const tags, desired = `{"z":1.10,"a":"<&>","m":"\u003c\u00e9"}`, `{"k":1e16,"b":-0.0}`
	enrollment := enroll.Enrollment{RegistrationID: "d", Settings: enroll.Settings{
		Attestation: enroll.AttestationMechanism{Type: "symmetricKey"},
		InitialTwin: &linkedhub.InitialTwin{Tags: []byte(tags),
			Properties: linkedhub.InitialTwinProperties{Desired: []byte(desired)}}}}
	for _, format := range []Format{JSON, CSV} {
		var file bytes.Buffer
		writer := NewWriter(&file, format)
		if err := errors.Join(writer.Write(enrollment), writer.Close()); err != nil {
			t.Fatal(err)
		}
		written := file.String()
		if format == CSV {
			written = strings.ReplaceAll(written, `""`, `"`)
		}
		if !strings.Contains(written, tags) || !strings.Contains(written, desired) {
			t.Errorf("%v is written as %s", format, file.String())
		}
		err := ReadEnrollments(&file, format, func(row Row[enroll.Enrollment]) error {
			twin := row.Item.InitialTwin
			if row.Err != nil || twin == nil || string(twin.Tags) != tags ||
				string(twin.Properties.Desired) != desired {
				t.Errorf("%v is read as %+v", format, row)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestReadCSV(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"plain":              {"registrationId,deviceId\na,x\nb,y\n", "2 a\n3 b"},
		"BOM and CRLF":       {"\xef\xbb\xbfRegistrationID , deviceid\r\na,x\r\nb,y", "2 a\n3 b"},
		"semicolons":         {"registrationId;iotHubs\na;h1 h2\n", "2 a"},
		"tabs":               {"registrationId\tdeviceId\na\tb,c;d\n", "2 a"},
		"quotes":             {"registrationId,initialTwin\n\"a\",\"{\"\"tags\"\":{\"\"x\"\":\"\"1,2\"\"}}\"\nb,\"{\n}\"\nc\n", "2 a\n3 b\n5 c"},
		"rows of nothing":    {"registrationId,deviceId\n,\n\n a,\n,  \n", "4  a"},
		"too long, then not": {"registrationId\na,b,c\nd\n", "2 ! It has 3 fields, the header has 1\n3 d"},
		"misquoted": {"registrationId,deviceId\na,b\"c\nd,e\n\"f\"g,h\ni,j\n",
			"2 ! A quote stands where none may be. A quote within a field is written twice, and such a field stands in quotes\n3 d\n4 ! A quote stands where none may be. A quote within a field is written twice, and such a field stands in quotes\n5 i"},
		"a quote left open": {"registrationId,deviceId\na,\"b\nc,d\n\ne,f\n",
			"2 ! A quote is not closed, so that all up to line 5 was taken for this row. A quote within a field is " +
				"written twice, and such a field stands in quotes"},
		"policies": {"registrationId,reprovisionPolicy\na,\"{\"\"migrateDeviceData\"\":true,\"\"more\"\":1}\"\nb,{\nc,\"{\"\"migrateDeviceData\"\":7}\"\n", "2 a\n3 ! reprovisionPolicy must be migrate, reset or never, not \"{\"\n4 ! reprovisionPolicy must be migrate, reset or never, not \"{\\\"migrateDeviceData\\\":7}\""},
		"values":   {"registrationId,iotEdge,reprovisionPolicy,initialTwin,optionalDeviceInformation\na,TRUE,,,\nb,maybe,,,\nc,,often,,\nd,,,{,\ne,,,,{\nf,,,[],\n", "2 a\n3 ! iotEdge must be true or false, not \"maybe\"\n4 ! reprovisionPolicy must be migrate, reset or never, not \"often\"\n5 ! initialTwin can't be taken. It is not JSON: it ends too early\n6 ! optionalDeviceInformation can't be taken. It is not JSON: it ends too early\n7 ! initialTwin is not the JSON of a twin, {\"tags\":{…},\"properties\":{\"desired\":{…}}}"},
		"unknown column": {"registrationId,colour\na,b\n", "END There is no column \"colour\". Possible are: " +
			strings.Join(Columns, ", ")},
		"missing column": {"deviceId\na\n", "END The column registrationId is missing"},
		"column twice":   {"registrationId,registrationid\na,b\n", "END The column registrationId is there twice"},
		"empty": {"",
			"END The file is empty. The first line of CSV names the columns, such as registrationId"},
		"header alone": {"registrationId", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := summarize(strings.NewReader(c.file), CSV); got != c.want {
				t.Errorf("it is\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestCSVWordsInAnyCase has the words of the contract as people write them: what else
// the row has is kept, as with the words as they are spelled.
func TestCSVWordsInAnyCase(t *testing.T) {
	const header = "registrationId,attestation,primaryKey,secondaryKey,primaryThumbprint,primaryCertificate," +
		"endorsementKey,provisioningStatus,allocationPolicy,reprovisionPolicy,iotEdge\n"
	for _, words := range [][]string{
		{"symmetricKey,p,s,,,", "disabled,geoLatency,never,true"},
		{"x509,,,AA,,", "enabled,hashed,migrate,false"},
		{"x509,,,,PEM,", "enabled,custom,reset,"},
		{"tpm,,,,,ek", "enabled,static,reset,"},
	} {
		cells := "a," + strings.Join(words, ",") + "\n"
		attestation, rest, _ := strings.Cut(words[0], ",")
		respelled := func(spell func(string) string) string {
			return "a," + spell(attestation) + "," + rest + "," + spell(words[1]) + "\n"
		}
		capitalized := func(word string) string { return strings.ToUpper(word[:1]) + word[1:] }
		var items []string
		file := header + cells + respelled(strings.ToUpper) + respelled(strings.ToLower) + respelled(capitalized)
		err := ReadEnrollments(strings.NewReader(file), CSV, func(row Row[enroll.Enrollment]) error {
			item, err := json.Marshal(row.Item)
			items = append(items, string(item))
			return errors.Join(err, row.Err)
		})
		if err != nil || len(items) != 4 {
			t.Fatalf("%s: %q, error %v", cells, items, err)
		}
		for _, item := range items {
			if item != items[0] {
				t.Errorf("%s: it is\n%s\nand in another case\n%s", cells, items[0], item)
			}
		}
	}
}

// TestCSVCellsWithoutPlace names the cells that don't belong to the rest of their row.
func TestCSVCellsWithoutPlace(t *testing.T) {
	const header = "registrationId,attestation,primaryCertificate,secondaryCertificate,primaryThumbprint," +
		"secondaryThumbprint,primaryKey,secondaryKey,endorsementKey,storageRootKey,webhookUrl,webhookApiVersion\n"
	for cells, want := range map[string]string{
		"symmetricKey,c,c,t,t,k,k,e,r,https://x,v": "primaryCertificate secondaryCertificate primaryThumbprint " +
			"secondaryThumbprint endorsementKey storageRootKey",
		"X509,c,,t,t,k,k,e,r,,":    "primaryThumbprint primaryKey secondaryKey endorsementKey storageRootKey",
		",,,t,t,k,,,,,v":           "primaryKey webhookApiVersion",
		"TPM,,,,t,,k,e,r,,":        "secondaryThumbprint secondaryKey",
		"symmetricKey,,,,,k,k,,,,": "",
		"password,c,,t,,k,,e,,,v":  "",
	} {
		err := ReadEnrollments(strings.NewReader(header+"a,"+cells+"\n"), CSV, func(row Row[enroll.Enrollment]) error {
			if got := strings.Join(row.Unknown, " "); got != want {
				t.Errorf("%s: %q is left out, want %q", cells, got, want)
			}
			return row.Err
		})
		if err != nil {
			t.Errorf("%s: %v", cells, err)
		}
	}
}

// A file that can't be read to its end says so, and not that it is wrong.
func TestUnreadable(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, file := range []string{"[{\"registrationId\":\"a\"},", "{\"registrationId\":\"a\"}\n",
		"registrationId\na\n"} {
		format := JSON
		if file[0] == 'r' {
			format = CSV
		}
		err := ReadEnrollments(io.MultiReader(strings.NewReader(file), iotest.ErrReader(broken)), format,
			func(Row[enroll.Enrollment]) error { return nil })
		if !errors.Is(err, broken) {
			t.Errorf("%q ends with %v", file, err)
		}
	}
}

// What is written is read as it was, each sort of enrollment.
func TestRoundTrip(t *testing.T) {
	x509 := func(primary, secondary string) enroll.AttestationMechanism {
		return enroll.AttestationMechanism{Type: "x509", X509: &enroll.X509Attestation{
			ClientCertificates: &enroll.X509Certificates{Primary: certificateOf("", primary),
				Secondary: certificateOf("", secondary)}}}
	}
	all := []enroll.Enrollment{
		{RegistrationID: "x509",
			Settings: enroll.Settings{Attestation: x509("AA", "BB"), ProvisioningStatus: enroll.Disabled},
			DeviceID: "semi;colon, comma \"quote\"\nline"},
		{RegistrationID: "keyed",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
				SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: "cA==", SecondaryKey: "cw=="}},
				Capabilities: &enroll.Capabilities{IoTEdge: true}, Hubs: []string{"a.b", "c.d"},
				AllocationPolicy: allocation.Custom,
				CustomAllocationDefinition: &allocation.CustomDefinition{WebhookURL: "https://x/?a=1&b=2",
					APIVersion: "2019-03-31"}, CredentialPolicyName: "p"}},
		{RegistrationID: "tpm",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "tpm",
				TPM: &enroll.TPMAttestation{EndorsementKey: "ek", StorageRootKey: "srk"}}, HubHostName: "a.b",
				ParentDeviceID: "edge", InitialTwin: &linkedhub.InitialTwin{Tags: json.RawMessage(`{"a":"\"é\n"}`)}},
			OptionalDeviceInformation: json.RawMessage(`{"room":"<1>"}`)},
	}
	policies := maps.Clone(enroll.ReprovisionPolicies)
	policies["nameless"] = enroll.ReprovisionPolicy{MigrateDeviceData: true}
	for name, policy := range policies {
		all = append(all,
			enroll.Enrollment{RegistrationID: name,
				Settings: enroll.Settings{Attestation: x509("CC", ""), ReprovisionPolicy: &policy}})
	}
	for _, format := range []Format{JSON, CSV} {
		var file bytes.Buffer
		writer := NewWriter(&file, format)
		for _, e := range all {
			own := e
			own.ETag, own.RegistrationState = "mine", &provisioning.Registration{RegistrationID: e.RegistrationID}
			if err := writer.Write(own); err != nil {
				t.Fatal(err)
			}
		}
		if err := writer.Close(); err != nil {
			t.Fatal(err)
		}
		n := 0
		err := ReadEnrollments(&file, format, func(row Row[enroll.Enrollment]) error {
			got, _ := json.Marshal(row.Item)
			want, _ := json.Marshal(all[n])
			if n++; row.Err != nil || string(got) != string(want) {
				t.Errorf("%s: it was\n%s\nand is\n%s, error %v", format, want, got, row.Err)
			}
			return nil
		})
		if err != nil || n != len(all) {
			t.Errorf("%s: %d of %d are read, error %v", format, n, len(all), err)
		}
	}
	var none bytes.Buffer
	if err := NewGroupWriter(&none).Close(); err != nil || none.String() != "[]\n" {
		t.Errorf("none is written as %q, error %v", none.String(), err)
	}
}

// manyRows is a CSV of so many rows, written as it is read.
type manyRows struct {
	rows, next int
	line       []byte // what is left of a row
}

func (m *manyRows) Read(p []byte) (int, error) {
	if len(m.line) == 0 {
		if m.next > m.rows {
			return 0, io.EOF
		}
		if m.line = []byte("registrationId,primaryThumbprint\n"); m.next > 0 {
			m.line = fmt.Appendf(nil, "row-%07d,%064X\n", m.next, m.next)
		}
		m.next++
	}
	n := copy(p, m.line)
	m.line = m.line[n:]
	return n, nil
}

// A file of a million rows takes no more memory than one of a few.
func TestMemory(t *testing.T) {
	peak, rows := uint64(0), 0
	err := ReadEnrollments(&manyRows{rows: 1_000_000}, CSV, func(row Row[enroll.Enrollment]) error {
		if rows++; rows%100_000 == 0 {
			runtime.GC()
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			peak = max(peak, memory.HeapAlloc)
		}
		return row.Err
	})
	if err != nil || rows != 1_000_000 || peak > 16<<20 {
		t.Errorf("%d rows, %d bytes in use, error %v", rows, peak, err)
	}
}

func TestImport(t *testing.T) {
	file := "registrationId\n"
	for i := range 100 {
		file += fmt.Sprintf("row-%d\n", i)
	}
	file += "a,b\n"
	read := func(each func(Row[enroll.Enrollment]) error) error {
		return ReadEnrollments(strings.NewReader(file), CSV, each)
	}
	var lines []int
	done := 0
	importing := Import[enroll.Enrollment]{Size: 7, AtOnce: 3,
		Send: func(_ context.Context, rows []Row[enroll.Enrollment]) (map[int]error, error) {
			failed := map[int]error{}
			for i, row := range rows {
				if row.Line%50 == 0 {
					failed[i] = errors.New("refused")
				}
			}
			return failed, nil
		},
		Failed: func(row Row[enroll.Enrollment], _ error) { lines = append(lines, row.Line) },
		Done:   func(rows int) { done += rows },
	}
	if err := importing.Run(t.Context(), read); err != nil || done != 98 || len(lines) != 3 {
		t.Errorf("%d are done, lines %v failed, error %v", done, lines, err)
	}

	// What ends it is told, and nothing is sent afterwards.
	gone := errors.New("the service is gone")
	var sent atomic.Int64
	importing = Import[enroll.Enrollment]{Size: 1, AtOnce: 2, Failed: func(Row[enroll.Enrollment], error) {},
		Send: func(context.Context, []Row[enroll.Enrollment]) (map[int]error, error) {
			sent.Add(1)
			return nil, gone
		}}
	if err := importing.Run(t.Context(), read); !errors.Is(err, gone) || sent.Load() > 2 {
		t.Errorf("it ends with %v after %d", err, sent.Load())
	}
	importing.cause = nil
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := importing.Run(stopped, read); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped, it ends with %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"[{\"registrationId\":\"a\"}]", "{}\n{", "registrationId\n\"a\"\n", "[",
		"\xef\xbb\xbf[]x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, format := range []Format{JSON, CSV} {
			line := 0
			err := ReadEnrollments(bytes.NewReader(file), format, func(row Row[enroll.Enrollment]) error {
				if row.Line < line || row.Line > 1+bytes.Count(file, []byte("\n")) {
					t.Errorf("%s: line %d after %d of %q", format, row.Line, line, file)
				}
				line = row.Line
				return nil
			})
			if err != nil && fault.From(err).Code != fault.BadFormat {
				t.Errorf("%s: %q ends with %v", format, file, err)
			}
		}
	})
}

// A file whose reading panics leaves no sender that waits for more of it.
func TestAnImportThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine is left
		defer func() {
			if value := recover(); value != "read" {
				t.Errorf("the import panics with %v", value)
			}
		}()
		importing := Import[int]{Size: 1, AtOnce: 3,
			Send: func(context.Context, []Row[int]) (map[int]error, error) { return nil, nil }}
		importing.Run(t.Context(), func(each func(Row[int]) error) error {
			each(Row[int]{Item: 1})
			panic("read")
		})
	})
}
