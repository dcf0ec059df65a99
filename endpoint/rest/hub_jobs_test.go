package rest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
)

// TestJobsOverREST goes through what clients of Azure send about jobs.
func TestJobsOverREST(t *testing.T) {
	h := newFixture(t)
	send := func(method, path, body string) httpstest.Response {
		return h.Do(httpstest.Request{Method: method, Path: path, Token: h.HubToken(), Body: body})
	}
	for _, id := range []string{"a", "b"} {
		send("PUT", "/devices/"+id, `{"deviceId":"`+id+`"}`)
	}
	const twin = `"updateTwin":{"etag":"*","tags":{"site":"quay","old":null}},"queryCondition":"*"`
	later := time.Now().Add(time.Hour).UTC()
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"a job that is not there", "GET", "/jobs/v2/none", "", 200,
			`{"jobId":"none","type":"unknown","status":"unknown"}`},
		{"one that is not there is cancelled", "POST", "/jobs/v2/none/cancel", "", 404, "ErrorCode:JobNotFound;"},
		{"one", "PUT", "/jobs/v2/now", `{"type":"scheduleUpdateTwin",` + twin + `}`, 200, `"status":"queued"`},
		{"its id again", "PUT", "/jobs/v2/now", `{"type":"scheduleUpdateTwin",` + twin + `}`, 409,
			"ErrorCode:JobAlreadyExists;"},
		{"the spelling of C#", "PUT", "/jobs/v2/later", `{"jobId":"later","type":"ScheduleUpdateTwin",` + twin +
			`,"startTime":"` + later.Format("2006-01-02T15:04:05.9999999") + `","maxExecutionTimeInSeconds":120}`, 200,
			`"startTime":"` + later.Format("2006-01-02T15:04")},
		{"it is read", "GET", "/jobs/v2/later", "", 200, `"status":"scheduled","queryCondition":"*","updateTwin":{`},
		{"it is found", "GET", "/jobs/v2/query?jobType=ScheduleUpdateTwin&jobStatus=Scheduled", "", 200,
			`[{"jobId":"later",`},
		{"it is cancelled", "POST", "/jobs/v2/later/cancel", "", 200, `"status":"cancelled"`},
		{"it is cancelled twice", "POST", "/jobs/v2/later/cancel", "", 405,
			"ErrorCode:OperationNotAllowedInCurrentState;"},
		{"no etag", "PUT", "/jobs/v2/x", `{"type":"scheduleUpdateTwin","updateTwin":{"tags":{}}}`, 400,
			"Missing or invalid etag for job type ScheduleUpdateTwin"},
		{"an etag", "PUT", "/jobs/v2/x", `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"AAA="}}`, 400,
			"only accepts '*' as the Etag"},
		{"no patch", "PUT", "/jobs/v2/x", `{"type":"scheduleUpdateTwin"}`, 400, "no updateTwin"},
		{"a patch that is none", "PUT", "/jobs/v2/x", `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"*",` +
			`"tags":5}}`, 400, "tags"},
		{"another type", "PUT", "/jobs/v2/x", `{"type":"export"}`, 400, "scheduleUpdateTwin or scheduleDeviceMethod"},
		{"another id", "PUT", "/jobs/v2/x", `{"jobId":"y","type":"scheduleUpdateTwin"}`, 400, "the address"},
		{"a start that is none", "PUT", "/jobs/v2/x", `{"type":"scheduleUpdateTwin",` + twin + `,"startTime":"soon"}`,
			400, "startTime must be a time"},
		{"a continuation that is none", "GET", "/jobs/v2/query?continuationToken=%21", "", 400, "continuation"},
	} {
		got := send(c.method, c.path, c.body)
		if got.Status != c.status || !strings.Contains(got.Text, c.want) {
			t.Errorf("%s: %d %s, want %d with %s", c.name, got.Status, got.Text, c.status, c.want)
		}
	}
	done := `"deviceJobStatistics":{"deviceCount":2,"failedCount":0,"succeededCount":2,"runningCount":0,"pendingCount":0}`
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got := send("GET", "/jobs/v2/now", "")
		if strings.Contains(got.Text, `"status":"completed"`) && strings.Contains(got.Text, done) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job stays %s", got.Text)
		}
	}
	if got := send("GET", "/twins/b", ""); !strings.Contains(got.Text, `"tags":{"site":"quay"}`) {
		t.Errorf("the twin is %s", got.Text)
	}
}

// TestJobsPageByPage has a query say what its items are, and where to go on as long as there
// are more.
func TestJobsPageByPage(t *testing.T) {
	h := newFixture(t)
	start := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for i := range 5 {
		got := h.Do(httpstest.Request{Method: "PUT", Path: fmt.Sprint("/jobs/v2/j", i), Token: h.HubToken(),
			Body: `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"*"},"queryCondition":"*","startTime":"` + start +
				`"}`})
		if got.Status != 200 {
			t.Fatal(got.Text)
		}
	}
	var pages []int
	header := http.Header{"X-Ms-Max-Item-Count": {"2"}}
	for {
		got := h.Do(httpstest.Request{Method: "GET", Path: "/jobs/v2/query", Token: h.HubToken(), Header: header})
		if got.Status != 200 || got.Header.Get("x-ms-item-type") != "JobResponse" {
			t.Fatalf("%d %s %v", got.Status, got.Text, got.Header)
		}
		pages = append(pages, strings.Count(got.Text, `"jobId"`))
		next := got.Header.Get("x-ms-continuation")
		if next == "" {
			break
		}
		header.Set("x-ms-continuation", next)
	}
	if fmt.Sprint(pages) != "[2 2 1]" {
		t.Errorf("the pages have %v jobs", pages)
	}
}
