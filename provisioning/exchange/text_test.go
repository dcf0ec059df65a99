package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// latin1 is a text as Windows writes it in the west of Europe.
func latin1(text string) string {
	var encoded []byte
	for _, r := range text {
		encoded = append(encoded, byte(r))
	}
	return string(encoded)
}

// inUTF16 is a text in UTF-16, little or big endian, with its mark or without.
func inUTF16(text string, big, marked bool) string {
	units := utf16.Encode([]rune(text))
	if marked {
		units = append([]uint16{0xFEFF}, units...)
	}
	var encoded []byte
	for _, unit := range units {
		if big {
			encoded = append(encoded, byte(unit>>8), byte(unit))
		} else {
			encoded = append(encoded, byte(unit), byte(unit>>8))
		}
	}
	return string(encoded)
}

// TestEncodings reads files in encodings other than UTF-8. Nothing of a row that would
// change is taken, and the others are.
func TestEncodings(t *testing.T) {
	const utf16Refused = "END The file is in UTF-16. Save it as CSV UTF-8"
	const utf16JSONRefused = "END The file is in UTF-16, or no text at all. Save it as UTF-8"
	rows := "registrationId,attestation,initialTwin\na,symmetricKey,\nb,symmetricKey,\"{\"\"tags\"\":{\"\"ort\"\":\"\"Füssen\"\"}}\"\nc,symmetricKey,\n"
	array := `[{"registrationId":"a"},` + "\n" + `{"registrationId":"b","initialTwin":{"tags":{"ort":"Füssen"}}},` +
		"\n" + `{"registrationId":"c"}]`
	lines := strings.NewReplacer("[", "", "]", "", "},\n", "}\n").Replace(array)
	// The second letter of this name ends, in Shift JIS, with the byte of a backslash.
	shiftJIS := `[{"registrationId":"a"},` + "\n" + `{"registrationId":"b","deviceId":"` + "\x83\x5c" + `"},` + "\n" +
		`{"registrationId":"c"}]`
	for name, c := range map[string]struct {
		format     Format
		text, want string
	}{
		"CSV":               {CSV, rows, "2 a\n3 b\n4 c"},
		"CSV with its mark": {CSV, mark + rows, "2 a\n3 b\n4 c"},
		"CSV of Windows":    {CSV, latin1(rows), "2 a\n3 ! initialTwin is not UTF-8. Save the file as CSV UTF-8\n4 c"},
		"a header of Windows": {CSV, latin1("registrationId,Gerät\na,b\n"),
			"END The header is not UTF-8. Save the file as CSV UTF-8"},
		"an id of Windows": {CSV, latin1("registrationId\nGerät\n"),
			"2 ! registrationId is not UTF-8. Save the file as CSV UTF-8"},
		"CSV in UTF-16":           {CSV, inUTF16(rows, false, true), utf16Refused},
		"CSV in UTF-16, big":      {CSV, inUTF16(rows, true, true), utf16Refused},
		"CSV in UTF-16, unmarked": {CSV, inUTF16(rows, false, false), utf16Refused},

		"JSON":                  {JSON, array, "1 a\n2 b\n3 c"},
		"JSON with its mark":    {JSON, mark + array, "1 a\n2 b\n3 c"},
		"JSON of Windows":       {JSON, latin1(array), "1 a\n2 ! It is not UTF-8. Save the file as UTF-8\n3 c"},
		"JSON lines of Windows": {JSON, latin1(lines), "1 a\n2 ! It is not UTF-8. Save the file as UTF-8\n3 c"},
		"JSON in UTF-16":        {JSON, inUTF16(array, false, true), utf16JSONRefused},
		"JSON in UTF-16, big":   {JSON, inUTF16(array, true, false), utf16JSONRefused},
		"JSON in Shift JIS": {JSON, shiftJIS,
			"1 a\nEND Line 2 is not UTF-8, so nothing from there on was read. Save the file as UTF-8"},
		"half a pair": {JSON,
			`[{"registrationId":"a"},{"registrationId":"b","deviceId":"x\ud83d"},{"registrationId":"c"}]`,
			"1 a\n1 ! It has \\ud83d, which is half of a surrogate pair and no character\n1 c"},
		"half a pair in a name": {JSON, `{"registrationId":"b","initialTwin":{"tags":{"\uDE00":1}}}`,
			"1 ! It has \\uDE00, which is half of a surrogate pair and no character"},
		"half a pair in CSV": {CSV,
			"registrationId,initialTwin,optionalDeviceInformation\na,\"{\"\"tags\"\":{\"\"x\"\":\"\"\\ud83d\"\"}}\",\nb,,\"\"\"\\ude00\"\"\"\n", "2 ! initialTwin can't be taken. It has \\ud83d, which is half of a surrogate pair and no character\n3 ! optionalDeviceInformation can't be taken. It has \\ude00, which is half of a surrogate pair and no character"},
		"a whole pair": {JSON,
			`{"registrationId":"a","initialTwin":{"tags":{"x":"\ud83d\ude00 \\ud83d \" \u00e9"}}}`, "1 a"},
		"a mistake after a letter": {JSON, "{\"registrationId\":\"a\",é",
			"1 ! It is not JSON: after `registrationId\":\"a\",` there can't be 'é'"},
		"a mistake within a letter": {JSON, "{\"é\":né}", "1 ! It is not JSON: after `{\"é\":n` there can't be 'é'"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := summarize(strings.NewReader(c.text), c.format); got != c.want {
				t.Errorf("it is\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestText(t *testing.T) {
	for file, want := range map[string]string{
		"a\né":                             "a\né",
		mark + "é":                         "é",
		"":                                 "",
		latin1("a\nb\né"):                  "! Line 3 is not UTF-8. Save the file as UTF-8",
		inUTF16("connection", true, false): "! The file is in UTF-16, or no text at all. Save it as UTF-8",
	} {
		text, err := Text([]byte(file))
		got := string(text)
		if err != nil {
			got = "! " + fault.From(err).Message
		}
		if got != want {
			t.Errorf("%q is %q, want %q", file, got, want)
		}
	}
}

// TestCheckJSON takes any texts: what it lets pass is read by package json without a
// letter changed.
func TestCheckJSON(t *testing.T) {
	piece := rapid.SampledFrom([]string{`"`, `\`, `u`, `\ud83d`, `\uDE00`, `\u00e9`, `\\`, `\"`, "é", "\xe9", "{", "}",
		":", ",", "[", "]", "1", " ", "\n", "a", "�"})
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), ""))
		if rapid.Bool().Draw(t, "quoted") {
			text = slices.Concat([]byte(`"`), text, []byte(`"`))
		}
		err := CheckJSON(text)
		if err != nil {
			if says := fault.From(err).Message; !errors.Is(err, fault.BadFormat) ||
				strings.Contains(says, "invalid character") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		var value any
		if err := json.Unmarshal(text, &value); err != nil {
			t.Fatalf("%q is taken, and is no JSON: %v", text, err)
		}
		if shown := fmt.Sprint(value); strings.Count(shown, "�") > bytes.Count(text, []byte("�")) {
			t.Fatalf("%q is taken, and read as %s", text, shown)
		}
	})
}

// An item that is not text is named, so that it is found in its file.
func TestItemsNotUTF8(t *testing.T) {
	for _, file := range []string{
		"[{\"registrationId\":\"a\",\"deviceId\":\"K\xf6ln\"}]",
		"{\"deviceId\":\"K\xf6ln\",\"registrationId\":\"a\"}\n",
		`[{"deviceId":"\ud800","registrationId":"a"}]`,
		"registrationId,deviceId\na,K\xf6ln\n",
	} {
		format := JSON
		if strings.HasPrefix(file, "r") {
			format = CSV
		}
		err := ReadEnrollments(strings.NewReader(file), format, func(row Row[enroll.Enrollment]) error {
			if row.Err == nil || row.Item.RegistrationID != "a" || row.Item.DeviceID != "" {
				t.Errorf("%q is read as %+v", file, row)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
	group := strings.NewReader("{\"enrollmentGroupId\":\"g\",\"iotHubHostName\":\"\xff\"}")
	if err := ReadGroups(group, func(row Row[enroll.Group]) error {
		if row.Err == nil || row.Item.EnrollmentGroupID != "g" {
			t.Errorf("a group is read as %+v", row)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
