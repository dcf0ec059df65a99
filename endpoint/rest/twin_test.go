package rest

import (
	"strings"
	"testing"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
)

// member is the text of a part of an answer, from its name to what follows it.
func member(text, from, to string) string {
	_, text, found := strings.Cut(text, from)
	text, _, ended := strings.Cut(text, to)
	if !found || !ended {
		return "nothing"
	}
	return text
}

// Back ends read what they wrote in its order and spelling, $metadata and $version at
// the end.
func TestTwinsKeepTheirOrderOverREST(t *testing.T) {
	h := newFixture(t)
	token := h.HubToken()
	h.Do(httpstest.Request{Method: "PUT", Path: "/devices/d", Token: token, Body: `{"deviceId":"d"}`})
	const section = `{"zone":{"z":1.10,"a":1e16,"m":"<\u00e9>"},"alarm":[2,{"y":1,"x":0}],"zz":9007199254740993.0}`
	body := `{"tags":` + section + `,"properties":{"desired":` + section + `}}`
	for _, r := range []httpstest.Request{
		{Method: "PATCH", Path: "/twins/d", Token: token, Body: body},
		{Method: "GET", Path: "/twins/d", Token: token},
		{Method: "PUT", Path: "/twins/d", Token: token, Body: body},
	} {
		got := h.Do(r)
		tags := member(got.Text, `"tags":`, `,"properties"`)
		desired := member(got.Text, `"desired":`, `,"$metadata"`)
		if got.Status != 200 || tags != section || desired+"}" != section {
			t.Errorf("%s is answered %d %s", r.Method, got.Status, got.Text)
		}
		metadata := member(got.Text, `,"$metadata":`, `,"$version"`)
		last := -1
		for _, name := range []string{`{"$lastUpdated":`, `,"$lastUpdatedVersion":`, `,"zone":`, `,"z":`, `,"a":`,
			`,"m":`, `,"alarm":`, `,"zz":`} {
			at := strings.Index(metadata, name)
			if at <= last {
				t.Errorf("%s is not in its place in %s", name, metadata)
			}
			last = at
		}
		if end := member(got.Text, `"desired":`, `,"reported"`); !strings.HasSuffix(end[:strings.LastIndexByte(end,
			':')], `},"$version"`) {
			t.Errorf("$version is not the last of %s", end)
		}
	}
	for _, c := range []struct{ patch, want string }{
		{`{"new":true,"zone":{"m":null,"b":0}}`,
			`{"zone":{"z":1.10,"a":1e16,"b":0},"alarm":[2,{"y":1,"x":0}],"zz":9007199254740993.0,"new":true}`},
		{`{"zone":null,"zz":{"k":1}}`, `{"alarm":[2,{"y":1,"x":0}],"zz":{"k":1},"new":true}`},
		{`{"zone":{"one":1}}`, `{"alarm":[2,{"y":1,"x":0}],"zz":{"k":1},"new":true,"zone":{"one":1}}`},
	} {
		got := h.Do(httpstest.Request{Method: "PATCH", Path: "/twins/d", Token: token,
			Body: `{"tags":` + c.patch + `}`})
		if tags := member(got.Text, `"tags":`, `,"properties"`); tags != c.want {
			t.Errorf("%s makes %s, want %s", c.patch, tags, c.want)
		}
	}
}

// An enrollment goes out as it came too.
func TestEnrollmentsKeepTheirOrder(t *testing.T) {
	h := newFixture(t)
	const free = `{"z":{"b":1.0,"a":1e300},"y":"<\u00e9>","x":[1.10]}`
	const twin = `{"tags":{"z":1.0,"a":{"y":1e16,"x":0}},"properties":{"desired":{"k":"\u003c","b":-0}}}`
	for _, path := range []string{"/enrollments/d", "/enrollmentGroups/g"} {
		body := `{"optionalDeviceInformation":` + free + `,"attestation":{"type":"symmetricKey"},"initialTwin":` +
			twin + `}`
		for _, r := range []httpstest.Request{{Method: "PUT", Path: path, Token: h.DPSToken(), Body: body},
			{Method: "GET", Path: path, Token: h.DPSToken()}} {
			got := h.Do(r)
			if got.Status != 200 || !strings.Contains(got.Text, `"initialTwin":`+twin) ||
				strings.HasPrefix(path, "/enrollments/") && !strings.Contains(got.Text,
					`"optionalDeviceInformation":`+free) {
				t.Errorf("%s %s is answered %d %s", r.Method, path, got.Status, got.Text)
			}
		}
	}
	for _, number := range []string{"1e400", "[-1e309]", strings.Repeat("9", 400)} {
		for field, body := range map[string]string{"optionalDeviceInformation": `{"optionalDeviceInformation":` +
			number + `,"attestation":{"type":"symmetricKey"}}`,
			"initialTwin.tags": `{"initialTwin":{"tags":{"a":` + number + `}},"attestation":{"type":"symmetricKey"}}`} {
			if got := h.Do(httpstest.Request{Method: "PUT", Path: "/enrollments/e", Token: h.DPSToken(),
				Body: body}); got.Status != 400 ||
				!strings.Contains(got.Text, field+": the number ") {
				t.Errorf("%s with %.20s is answered %d %s", field, number, got.Status, got.Text)
			}
		}
	}
}
