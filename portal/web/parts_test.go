package web

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestFormsOfManyParts: a form of tiny parts, which anybody may send, is not read on once
// it has more of them than any page has.
func TestFormsOfManyParts(t *testing.T) {
	h := newFixture(t)
	part := []byte("--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n")
	body := bytes.NewReader(append(bytes.Repeat(part, 15<<20/len(part)), "--B--\r\n"...))
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+Root+"login", io.NopCloser(body))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=B")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge || body.Len() < 14<<20 {
		t.Errorf("it is answered %d, and %d bytes were left", w.Code, body.Len())
	}
}

// TestUnreadableParameters refuses the address of a page of which package url would leave out
// a part.
func TestUnreadableParameters(t *testing.T) {
	h := newFixture(t)
	for query, status := range map[string]int{"prefix=%zz": 400, "prefix=a;after=b": 400, "prefix=%3B": 401} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+Root+"?"+query, nil))
		if w.Code != status {
			t.Errorf("%s is answered %d %s, want %d", query, w.Code, w.Body, status)
		}
	}
}
