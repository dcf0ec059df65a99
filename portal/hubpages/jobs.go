package hubpages

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/job"
	"github.com/berth-iot/berth/hub/query"
	"github.com/berth-iot/berth/portal/web"
)

// jobRoutes are the jobs of a hub.
func (p *Pages) jobRoutes() web.Routes {
	return web.Routes{
		"GET hubs/{hub}/jobs":              web.RequireSession(p.listJobs),
		"GET hubs/{hub}/jobs/new":          web.RequireSession(p.newJob),
		"POST hubs/{hub}/jobs/new":         web.RequireOperator(p.restoreJob, p.createJob),
		"POST hubs/{hub}/jobs/json":        web.RequireSession(p.inspectJSON),
		"POST hubs/{hub}/jobs/count":       web.RequireSession(p.countCondition),
		"GET hubs/{hub}/job/{job}":         web.RequireSession(p.showJob),
		"POST hubs/{hub}/job/{job}/cancel": web.HandleDeletion(p.jobCancellation),
	}
}

// jobPath is the path of a job's page.
func jobPath(hubName, id string) string {
	return "hubs/" + web.Segment(hubName) + "/job/" + web.Segment(id)
}

// jobsPage are the jobs of a hub, in the order of their ids.
type jobsPage struct {
	web.List[job.Job]
	Hub string
}

func (p *Pages) listJobs(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Show("jobs", nil, func() (any, error) {
		page := jobsPage{Hub: h.Name(), List: web.List[job.Job]{Position: web.Position{After: c.Query("after")}}}
		var err error
		page.Items, page.Next, err = h.Jobs().List(c.Context(), page.After, web.PageSize, func(job.Job) bool { return true })
		return page, err
	})
}

// jobPage is one job, with what became of some of its devices.
type jobPage struct {
	web.List[jobDevice]
	Hub string
	Job job.Job
}

// jobDevice is what became of a device or module in a job.
type jobDevice struct {
	job.Device
	Whose subject
}

// HasEnded reports whether there is nothing more to cancel.
func (p jobPage) HasEnded() bool { return p.Job.Status.HasEnded() }

// Done is how many identities have had their turn.
func (p jobPage) Done() int { return p.Job.Statistics.Succeeded + p.Job.Statistics.Failed }

// Does is what the job does with each, JSON for people.
func (p jobPage) Does() string {
	if p.Job.Kind == job.InvokeMethod {
		return web.IndentJSON(p.Job.Method)
	}
	return web.IndentJSON(p.Job.Twin)
}

func (p *Pages) showJob(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Show("job", nil, func() (any, error) {
		ctx, id := c.Context(), c.PathValue("job")
		page := jobPage{Hub: h.Name(), List: web.List[jobDevice]{Position: web.Position{After: c.Query("after")}}}
		var err error
		if page.Job, err = h.Jobs().Get(ctx, id); err != nil {
			return nil, err
		}
		devices, next, err := h.Jobs().Devices(ctx, id, page.After, web.PageSize)
		for _, device := range devices {
			deviceID, moduleID := identity.SplitKey(device.ID)
			page.Items = append(page.Items, jobDevice{device, subject{h.Name(), deviceID, moduleID}})
		}
		page.Next = next
		return page, err
	})
}

func (p *Pages) jobCancellation(c *web.Call) (web.Deletion, error) {
	h, err := p.Hub(c)
	if err != nil {
		return web.Deletion{}, err
	}
	path := jobPath(h.Name(), c.PathValue("job"))
	return web.Deletion{
		Back: path, Path: path + "/cancel", Button: "Cancel the job",
		Title: "Cancel %d job?|Cancel %d jobs?",
		Explain: "What it has done stays done. Devices that have not had their turn are left as they are, " +
			"and what comes of calls that are under way is not kept.",
		Done: "%d job was cancelled|%d jobs were cancelled",
		Gone: fault.JobNotFound,
		Delete: func(ctx context.Context, _ string) error {
			_, err := h.Jobs().Cancel(ctx, c.PathValue("job"), true)
			return err
		},
	}, nil
}

// jobForm is the form that creates a job.
type jobForm struct {
	Hub             string
	Kinds           any
	ID              string
	Kind            job.Kind
	Condition       string
	Twin            string // a patch, JSON
	Method, Payload string
	Start, Limit    string // in minutes, as they were typed
	JSON            map[string]*web.JSONProblem
	Problem         *fault.Error
}

// jobKinds are the choices of what a job does.
var jobKinds = []struct {
	Value job.Kind
	Text  string
}{
	{job.UpdateTwin, "Change device twins"},
	{job.InvokeMethod, "Call a direct method"},
}

func (p *Pages) newJob(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "job-new", jobForm{Hub: h.Name(), Kinds: jobKinds, Kind: job.UpdateTwin,
		Condition: c.Query("condition"), Twin: "{\n  \"properties\": {\n    \"desired\": {}\n  }\n}"})
}

func readJobForm(c *web.Call, h *hub.Hub) jobForm {
	return jobForm{Hub: h.Name(), Kinds: jobKinds, ID: c.Text("jobId"), Kind: job.Kind(c.Value("kind")),
		Condition: c.Text("condition"), Twin: c.Text("twin"), Method: c.Text("method"), Payload: c.Text("payload"),
		Start: c.Text("start"), Limit: c.Text("limit"), JSON: map[string]*web.JSONProblem{}}
}

func (p *Pages) restoreJob(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "job-new", readJobForm(c, h))
}

// specification is the job that was typed. What is no JSON is noted in the form.
func (f jobForm) specification(now time.Time) (asked job.Specification, err error) {
	asked = job.Specification{ID: cmp.Or(f.ID, fault.NewTrackingID()), Kind: f.Kind, Condition: f.Condition}
	switch f.Kind {
	case job.UpdateTwin:
		if problem := web.CheckJSON(f.Twin, twinPatch); problem != nil {
			f.JSON["twin"] = problem
		}
		asked.Twin = json.RawMessage(f.Twin)
	case job.InvokeMethod:
		if f.Payload != "" {
			if _, problem := web.ParseJSON(f.Payload); problem != nil {
				f.JSON["payload"] = problem
				return asked, nil
			}
		}
		name, err := json.Marshal(f.Method)
		if err != nil {
			return asked, err
		}
		asked.Method = fmt.Appendf(nil, `{"methodName":%s,"payload":%s}`, name, cmp.Or(f.Payload, "null"))
	}
	start, err := minutes(f.Start)
	if err != nil {
		return asked, err
	}
	if start > 0 {
		asked.Start = now.Add(start)
	}
	limit, err := minutes(f.Limit)
	asked.Limit = int64(limit.Seconds())
	return asked, err
}

// twinPatch is what a patch of a twin can have.
var twinPatch = web.Members{"tags": nil, "properties": {"desired": nil}, "etag": nil}

// minutes reads a time that was typed as a whole number of minutes, "" for 0.
func minutes(typed string) (time.Duration, error) {
	if typed == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(typed, 10, 20)
	if err != nil {
		return 0, fault.New(fault.ArgumentInvalid, "The minutes must be a whole number, not %.32q", typed)
	}
	return time.Duration(n) * time.Minute, nil
}

func (p *Pages) createJob(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	form := readJobForm(c, h)
	asked, err := form.specification(c.Now())
	if err == nil && len(form.JSON) > 0 {
		return c.Render(http.StatusBadRequest, "job-new", form)
	}
	if err == nil {
		_, err = query.ParseCondition(asked.Condition) // one that can't be read would fail when its time has come
	}
	var created job.Job
	if err == nil {
		if created, err = h.CreateJob(c.Context(), asked); err == nil {
			return c.Redirect(jobPath(h.Name(), created.ID))
		}
	}
	if form.Problem = fault.From(err); form.Problem.Code.Status() >= 500 {
		return err
	}
	return c.Render(form.Problem.Code.Status(), "job-new", form)
}
