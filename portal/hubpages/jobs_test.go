package hubpages

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/job"
	"github.com/berth-iot/berth/portal/web"
)

const jobsPath = "hubs/berth/jobs"

// newJobForm returns a form that creates a job, with some of its fields otherwise.
func newJobForm(more url.Values) url.Values {
	form := url.Values{"jobId": {"j1"}, "kind": {"scheduleUpdateTwin"}, "condition": {"deviceId = 'd1'"},
		"twin": {`{"tags":{"floor":2}}`}, "start": {""}, "limit": {""}}
	for name, values := range more {
		form[name] = values
	}
	return form
}

// TestJobForm says at the form what is wrong with a job, and keeps what was typed.
func TestJobForm(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	b := h.loggedIn(web.Operator)
	for _, c := range []struct {
		more   url.Values
		status int
		says   string
	}{
		{url.Values{"jobId": {"a b"}}, 400, "The job id must have"},
		{url.Values{"condition": {"deviceId = "}}, 400, "The condition can't be read at line 1, column"},
		{url.Values{"twin": {`{"tags": }`}}, 400, "Line 1, column 10:"},
		{url.Values{"twin": {`{"desired": {}}`}}, 400, "desired is not known here"},
		{url.Values{"start": {"soon"}}, 400, `a whole number, not "soon"`},
		{url.Values{"start": {"999999"}}, 400, "A job starts within 7 days"},
		{url.Values{"limit": {"999999"}}, 400, "maxExecutionTimeInSeconds must be"},
		{url.Values{"kind": {"explode"}}, 400, "type must be"},
		{url.Values{"kind": {"scheduleDeviceMethod"}, "method": {"reboot"}, "payload": {"{"}}, 400, "Line 1, column 2:"},
	} {
		page := html.UnescapeString(b.Send(jobsPath+"/new", c.status, newJobForm(c.more)))
		if b.Shows(page, c.says); !strings.Contains(page, "<textarea") {
			t.Errorf("%v is not answered with the form", c.more)
		}
	}
	status, page := b.Post(jobsPath+"/new", newJobForm(url.Values{"csrf": {"old"}}))
	if status != http.StatusOK {
		t.Errorf("a form of another session is answered %d", status)
	}
	b.Shows(html.UnescapeString(page), `{"tags":{"floor":2}}</textarea>`, "check what you typed and send it again")
	if jobs, _, err := h.Hub.Jobs().List(ctx, "", 10, func(job.Job) bool { return true }); len(jobs) != 0 || err != nil {
		t.Errorf("there are the jobs %+v, error %v", jobs, err)
	}
}

// TestJobPage shows a job while it comes to its end, and what became of its devices.
func TestJobPage(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	h.AddDevice("d2")
	b := h.loggedIn(web.Operator)
	page := html.UnescapeString(b.Send(jobsPath+"/new", 200, newJobForm(nil)))
	b.Shows(page, "deviceId = 'd1'", `"floor": 2`, "change twins")
	tab := b.Open("hubs/berth/job/j1")
	const completed = `state-completed">completed</span></p>`
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(page, completed); {
		if time.Now().After(deadline) {
			t.Fatalf("the job does not end:\n%s", page)
		}
		h.Later(time.Second)
		_, page = b.Get("hubs/berth/job/j1")
	}
	h.Later(time.Minute) // however long it has taken to make the page
	for page = ""; !strings.Contains(page, completed); {
		page = tab.Next()
	}
	b.Shows(page, `<dd id="job-succeeded">1</dd>`, `<a href="/portal/hubs/berth/device/d1">d1</a>`)
	if strings.Contains(page, ">d2<") || strings.Contains(page, "Cancel the job") {
		t.Errorf("the page of a job that has ended is %s", page)
	}
	_, page = h.loggedIn(web.Reader).Get(jobsPath)
	if b.Shows(page, "hubs/berth/job/j1", "state-completed"); strings.Contains(page, "Create a job") {
		t.Error("a reader is asked to create jobs")
	}
	// One that is to begin later is cancelled once that is confirmed.
	b.Send(jobsPath+"/new", 200, newJobForm(url.Values{"jobId": {"later"}, "start": {"60"}, "limit": {"5"}}))
	page = b.Send("hubs/berth/job/later/cancel", 200, url.Values{"id": {"later"}})
	b.Shows(page, "Cancel 1 job?")
	page = b.Send("hubs/berth/job/later/cancel", 200, url.Values{"id": {"later"}, "confirm": {"yes"}})
	b.Shows(page, "1 job was cancelled", "state-cancelled")
	later, err := h.Hub.Jobs().Get(ctx, "later")
	if err != nil || later.Status != job.Cancelled || later.Limit != 300 ||
		!later.Start.After(h.Now().Add(50*time.Minute)) {
		t.Errorf("the job is %+v, error %v", later, err)
	}
}

// TestCountCondition counts what a condition holds for, in each of its forms.
func TestCountCondition(t *testing.T) {
	h := newFixture(t)
	for _, id := range []string{"d1", "d2", "e1"} {
		h.AddDevice(id)
		h.AddModule(id, "m1")
	}
	b := h.loggedIn(web.Operator)
	for condition, says := range map[string]string{
		"": "3 devices match now", "*": "3 devices match now", " * ; ": "3 devices match now",
		"deviceId = 'd1'": "1 device matches now", "WHERE startswith(deviceId, 'd')": "2 devices match now",
		"from devices.modules":                             "3 modules match now",
		"FROM devices.modules\nWHERE deviceId = 'd1'":      "1 module matches now",
		"FROM devices WHERE NOT startswith(deviceId, 'd')": "1 device matches now",
		"deviceId = 'none'":                                "0 devices match now",
		"deviceId =":                                       "The condition can't be read at line 1",
		"deviceId = 'd1' GROUP BY deviceId":                "The condition can't be read at line 1",
	} {
		status, page := b.Post(jobsPath+"/count", url.Values{"condition": {condition}})
		if status != http.StatusOK {
			t.Errorf("%q is answered %d", condition, status)
		}
		b.Shows(html.UnescapeString(page), says)
	}
}
