package rest

import (
	"strings"
	"testing"
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
	h := newHouse(t)
	token := h.hubToken()
	h.do(request{method: "PUT", path: "/devices/d", token: token, body: `{"deviceId":"d"}`})
	const section = `{"zone":{"z":1.10,"a":1e16,"m":"<\u00e9>"},"alarm":[2,{"y":1,"x":0}],"zz":9007199254740993.0}`
	body := `{"tags":` + section + `,"properties":{"desired":` + section + `}}`
	for _, r := range []request{
		{method: "PATCH", path: "/twins/d", token: token, body: body},
		{method: "GET", path: "/twins/d", token: token},
		{method: "PUT", path: "/twins/d", token: token, body: body},
	} {
		got := h.do(r)
		tags := member(got.text, `"tags":`, `,"properties"`)
		desired := member(got.text, `"desired":`, `,"$metadata"`)
		if got.status != 200 || tags != section || desired+"}" != section {
			t.Errorf("%s is answered %d %s", r.method, got.status, got.text)
		}
		metadata := member(got.text, `,"$metadata":`, `,"$version"`)
		last := -1
		for _, name := range []string{`{"$lastUpdated":`, `,"$lastUpdatedVersion":`, `,"zone":`, `,"z":`, `,"a":`, `,"m":`,
			`,"alarm":`, `,"zz":`} {
			at := strings.Index(metadata, name)
			if at <= last {
				t.Errorf("%s is not in its place in %s", name, metadata)
			}
			last = at
		}
		if end := member(got.text, `"desired":`, `,"reported"`); !strings.HasSuffix(end[:strings.LastIndexByte(end, ':')], `},"$version"`) {
			t.Errorf("$version is not the last of %s", end)
		}
	}
	for _, c := range []struct{ patch, want string }{
		{`{"new":true,"zone":{"m":null,"b":0}}`, `{"zone":{"z":1.10,"a":1e16,"b":0},"alarm":[2,{"y":1,"x":0}],"zz":9007199254740993.0,"new":true}`},
		{`{"zone":null,"zz":{"k":1}}`, `{"alarm":[2,{"y":1,"x":0}],"zz":{"k":1},"new":true}`},
		{`{"zone":{"one":1}}`, `{"alarm":[2,{"y":1,"x":0}],"zz":{"k":1},"new":true,"zone":{"one":1}}`},
	} {
		got := h.do(request{method: "PATCH", path: "/twins/d", token: token, body: `{"tags":` + c.patch + `}`})
		if tags := member(got.text, `"tags":`, `,"properties"`); tags != c.want {
			t.Errorf("%s makes %s, want %s", c.patch, tags, c.want)
		}
	}
}

// An enrollment goes out as it came too.
func TestEnrollmentsKeepTheirOrder(t *testing.T) {
	h := newHouse(t)
	const free = `{"z":{"b":1.0,"a":1e300},"y":"<\u00e9>","x":[1.10]}`
	const twin = `{"tags":{"z":1.0,"a":{"y":1e16,"x":0}},"properties":{"desired":{"k":"\u003c","b":-0}}}`
	for _, path := range []string{"/enrollments/d", "/enrollmentGroups/g"} {
		body := `{"optionalDeviceInformation":` + free + `,"attestation":{"type":"symmetricKey"},"initialTwin":` + twin + `}`
		for _, r := range []request{{method: "PUT", path: path, token: h.dpsToken(), body: body}, {method: "GET", path: path, token: h.dpsToken()}} {
			got := h.do(r)
			if got.status != 200 || !strings.Contains(got.text, `"initialTwin":`+twin) ||
				strings.HasPrefix(path, "/enrollments/") && !strings.Contains(got.text, `"optionalDeviceInformation":`+free) {
				t.Errorf("%s %s is answered %d %s", r.method, path, got.status, got.text)
			}
		}
	}
	for _, number := range []string{"1e400", "[-1e309]", strings.Repeat("9", 400)} {
		for field, body := range map[string]string{"optionalDeviceInformation": `{"optionalDeviceInformation":` + number + `,"attestation":{"type":"symmetricKey"}}`,
			"initialTwin.tags": `{"initialTwin":{"tags":{"a":` + number + `}},"attestation":{"type":"symmetricKey"}}`} {
			if got := h.do(request{method: "PUT", path: "/enrollments/e", token: h.dpsToken(), body: body}); got.status != 400 ||
				!strings.Contains(got.text, field+": the number ") {
				t.Errorf("%s with %.20s is answered %d %s", field, number, got.status, got.text)
			}
		}
	}
}
