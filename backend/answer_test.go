package backend_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/telemetry"
)

// clientOf is a client of a service that answers as handle does.
func clientOf(t *testing.T, handle http.HandlerFunc) *backend.Hub {
	t.Helper()
	server := httptest.NewTLSServer(handle)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	client, err := backend.NewHub("HostName=example.com;SharedAccessKeyName=p;SharedAccessKey=a2V5a2V5a2V5a2V5",
		backend.Options{RootCAs: roots, Address: server.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// What services answer when they refuse, and what others answer in their place.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		header     map[string]string
		want       string // the error's text
		code       fault.Code
		wait       time.Duration
	}{
		{"the provisioning service's", `{"errorCode":404201,"trackingId":"t1","message":"None; none at all"}`, 404, nil,
			"404201 EnrollmentNotFound: None; none at all", fault.EnrollmentNotFound, 0},
		{"a hub's", `{"Message":"ErrorCode:DeviceNotFound;There is none","ExceptionMessage":"Tracking ID:t1"}`, 404,
			map[string]string{"x-ms-request-id": "t1"}, "404001 DeviceNotFound: There is none", fault.DeviceNotFound,
			0},
		{"a hub's of another version", `{"Message":"ErrorCode:Unheard;Of"}`, 410,
			map[string]string{"x-ms-request-id": "t1"}, "410000 Error410000: Of", 410000, 0},
		{"one that asks to wait", `{"errorCode":429001,"trackingId":"t1","message":"Slower"}`, 429,
			map[string]string{"Retry-After": "7"}, "Slower", 429001, 7 * time.Second},
		{"a proxy's", "<html>Bad gateway</html>", 502, nil, "502 Bad Gateway: <html>", 0, 0},
		{"one without a word", "", 503, nil, "503 Service Unavailable", 0, 0},
		{"one without an end", strings.Repeat("x", 2<<20), 500, nil, "500 Internal Server Error: xxx", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range c.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			_, err := client.Device(t.Context(), "d")
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
				t.Fatalf("the error is %.500v, want one with %q", err, c.want)
			}
			var problem *fault.Error
			if errors.As(err, &problem) != (c.code != 0) {
				t.Fatalf("the error is a %T", err)
			}
			if c.code != 0 && (problem.Code != c.code || problem.TrackingID != "t1" || problem.RetryAfter != c.wait) {
				t.Errorf("the fault is %+v", problem)
			}
		})
	}
}

func TestMalformedAnswers(t *testing.T) {
	for name, body := range map[string]string{"nothing": "", "no JSON": "ok", "half of it": `{"deviceId":"d`,
		"another shape": `["d"]`} {
		client := clientOf(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
		if device, err := client.Device(t.Context(), "d"); err == nil ||
			!strings.Contains(err.Error(), "read the answer of GET /devices/d") {
			t.Errorf("%s is read as %+v, error %v", name, device, err)
		}
	}
}

// A stream of telemetry that breaks off is an error, one that its reader ends is
// none.
func TestTelemetryThatEnds(t *testing.T) {
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("from") != "2026-11-23T12:00:00Z" || r.URL.Query().Get("device") != "d&1" ||
			r.URL.Query().Get("max") != "3" {
			t.Errorf("asked for %s", r.URL.RawQuery)
		}
		fmt.Fprintln(w, `{"sequenceNumber":1,"body":"one"}`)
		fmt.Fprintln(w, `{"sequenceNumber":2,"body":{"two":2}}`)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	from := telemetry.Position{Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	var seen []int64
	read := func(stopAt int64, with error) error {
		seen = nil
		return client.Telemetry(t.Context(), from, "d&1", 3, func(m telemetry.Message) error {
			if seen = append(seen, m.SequenceNumber); m.SequenceNumber == stopAt {
				return with
			}
			return nil
		})
	}
	if err := read(0, nil); err == nil || len(seen) != 2 {
		t.Errorf("a stream that broke off: read %v, error %v", seen, err)
	}
	if err := read(1, telemetry.ErrStop); err != nil || len(seen) != 1 {
		t.Errorf("a reader that had enough: read %v, error %v", seen, err)
	}
	mine := errors.New("mine")
	if err := read(2, mine); !errors.Is(err, mine) || len(seen) != 2 {
		t.Errorf("a reader that failed: read %v, error %v", seen, err)
	}
}

func TestTelemetryEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"sequenceNumber":1}`)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	err := client.Telemetry(ctx, telemetry.Position{}, "", 0, func(telemetry.Message) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// Every request carries a token of its own for the host, and says who sends it.
func TestRequests(t *testing.T) {
	var got *http.Request
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		w.WriteHeader(http.StatusNoContent)
	})
	if err := client.DeleteDevice(t.Context(), "a/b", `"tag"`); err != nil {
		t.Fatal(err)
	}
	if got.Method != "DELETE" || got.RequestURI != "/devices/a%2Fb?api-version=2021-04-12" ||
		got.Host != "example.com" || got.Header.Get("If-Match") != `"tag"` ||
		got.Header.Get("User-Agent") == "" ||
		!strings.HasPrefix(got.Header.Get("Authorization"), "SharedAccessSignature sr=example.com&") {
		t.Errorf("sent %s %s %v", got.Method, got.RequestURI, got.Header)
	}
}

// TestRefusalsAreBounded: what a service says of a refusal is told to devices, logged and
// kept as if it were said here, so its code has a status, and its words an end.
func TestRefusalsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 900<<10)
	for name, c := range map[string]struct {
		body   string
		status int
		wait   string
		code   fault.Code
	}{
		"a long message":        {`{"errorCode":400004,"trackingId":"t1","message":"` + long + `"}`, 400, "", 400004},
		"a long message of one": {`{"Message":"ErrorCode:DeviceNotFound;` + long + `"}`, 404, "", fault.DeviceNotFound},
		"a long tracking id":    {`{"errorCode":400004,"trackingId":"` + long + `","message":"No"}`, 400, "", 400004},
		"no status":             {`{"errorCode":7,"message":"No"}`, 409, "", 409000},
		"a negative one":        {`{"errorCode":-404001,"message":"No"}`, 404, "", 404000},
		"one that is none":      {`{"errorCode":99999999,"message":"No"}`, 500, "", 500000},
		"a success":             {`{"errorCode":200000,"message":"No"}`, 403, "", 403000},
		"a redirect":            {`{"message":"No"}`, 307, "", fault.Unavailable},
		"a status beyond":       {`{"message":"No"}`, 799, "", fault.Unavailable},
		"a wait without end":    {`{"errorCode":429001,"message":"No"}`, 429, "9223372036854775807", 429001},
		"a negative wait":       {`{"errorCode":429001,"message":"No"}`, 429, "-5", 429001},
	} {
		client := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.wait != "" {
				w.Header().Set("Retry-After", c.wait)
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		})
		_, err := client.Device(t.Context(), "d")
		var problem *fault.Error
		if !errors.As(err, &problem) {
			t.Errorf("%s: the error is %.200v", name, err)
			continue
		}
		if problem.Code != c.code || len(problem.Message) > 2<<10 || len(problem.TrackingID) > 64 ||
			problem.RetryAfter < 0 || problem.RetryAfter > 24*time.Hour {
			t.Errorf("%s: the fault is %d with a message of %d bytes, a tracking id of %d, and a wait of %s", name,
				problem.Code, len(problem.Message), len(problem.TrackingID), problem.RetryAfter)
		}
	}
}
