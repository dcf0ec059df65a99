package portaltest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/provisioning/attempts"
)

// echo is a site whose pages say what they were asked for.
type echo struct{ fixture *Fixture }

func (e echo) Close() {}

func (e echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("live") {
		e.stream(w, r)
		return
	}
	language := "en"
	if cookie, err := r.Cookie("berth-language"); err == nil {
		language = cookie.Value
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, `<main>%s %s in %s: %s <input name="csrf" value="token"></main>`, r.Method, r.URL, language, body)
}

// stream sends the time whenever the test lets some pass.
func (e echo) stream(w http.ResponseWriter, r *http.Request) {
	tick, stop := e.fixture.Ticks.New(time.Second)
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		fmt.Fprintf(w, "event: live\ndata: %s\n\n", e.fixture.Now().Format(time.TimeOnly))
		http.NewResponseController(w).Flush()
		select {
		case <-tick:
		case <-r.Context().Done():
			return
		}
	}
}

// TestBrowser sends what it is told to, and reads what comes.
func TestBrowser(t *testing.T) {
	f := New(t)
	f.Serve(echo{f})
	b := f.LogIn(Root + "login?code=1")
	_, page := b.GetIn("fr", "things?a=b")
	b.Shows(page, "GET /portal/things?a=b in fr: ")
	b.Shows(b.Send("things", http.StatusOK, url.Values{"name": {"x y"}}),
		"POST /portal/things in en: csrf=token&name=x+y")
	_, page, arrived := b.Upload("file", "a.txt", "content", "csrf", b.Token())
	b.Shows(page, `filename="a.txt"`, "content")
	if arrived != "file" {
		t.Errorf("the upload arrives at %q", arrived)
	}
	tab := b.Open("things")
	f.Later(time.Minute)
	if event := tab.Next(); !strings.Contains(event, "12:01:00") {
		t.Errorf("a minute later the page has %q", event)
	}
	tab.Close()

	stream := b.Stream("things?live=2")
	f.Advance(time.Minute)
	if event := stream.Next(); !strings.Contains(event, "data: 12:0") {
		t.Errorf("a stream begins with %q", event)
	}
	if event := stream.Poll(); !strings.Contains(event, "data: 12:02:00") {
		t.Errorf("a stream that looks at the clock has %q", event)
	}
}

// TestServices are there, and their reads are counted.
func TestServices(t *testing.T) {
	s := OpenServices(New(t))
	s.Enroll("e1")
	s.EnrollGroup("g1")
	if device := s.AddDevice("d1"); device.DeviceID != "d1" {
		t.Errorf("the device is %+v", device)
	}
	s.Attempt(attest.Refused, Names("bad", 3)...)
	found, err := s.Provisioning.Attempts().Find(s.Context, attempts.Filter{Max: 10})
	s.Must(err)
	if len(found) != 3 || found[0].RegistrationID != "bad-2" || !found[0].Time.Equal(Start) {
		t.Errorf("the attempts are %+v", found)
	}
	before := s.Reads.All()
	_, err = s.Provisioning.Groups().Get(s.Context, "g1")
	s.Must(err)
	if s.Reads.All() == before {
		t.Error("a read is not counted")
	}
	for _, text := range []string{s.AuthorityCertificate("Factory"), s.DeviceCertificate("d1")} {
		if !strings.HasPrefix(text, "-----BEGIN CERTIFICATE-----") {
			t.Errorf("a certificate is %q", text)
		}
	}
}
