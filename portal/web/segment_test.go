package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestSegment writes ids into paths as links have them, and reads them as pages do.
func TestSegment(t *testing.T) {
	var got string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /thing/{id}/part", func(_ http.ResponseWriter, r *http.Request) {
		got = (&Call{Request: r}).PathValue("id")
	})
	check := func(t rapid.TB, id string) {
		here, err := url.Parse("http://localhost/portal/")
		if err != nil {
			t.Fatal(err)
		}
		link := "/thing/" + Segment(id) + "/part"
		resolved, err := here.Parse(link)
		if err != nil || resolved.EscapedPath() != link || strings.Contains(strings.ToLower(link), "/%2e") {
			t.Fatalf("%q is linked as %s, and a browser asks for %v, error %v", id, link, resolved, err)
		}
		got = ""
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", link, nil))
		if got != id {
			t.Fatalf("%q is linked as %s, and read as %q", id, link, got)
		}
	}
	for _, id := range []string{".", "..", "...", "~", "~.", "~~..", "%2e", "%2E.", "a/b", "?", "#", "+", " ", "é",
		"10.0.0.0/8"} {
		check(t, id)
	}
	// Of all ids networks alone have a slash, and none has two in a row or one at an end.
	rapid.Check(t, func(t *rapid.T) { check(t, rapid.StringMatching(`[a-z.~%?#+&;:@ é-]{1,8}`).Draw(t, "id")) })
}
