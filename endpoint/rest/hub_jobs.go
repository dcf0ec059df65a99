package rest

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/job"
)

// hubJobs are the operations on scheduled jobs (Azure, IoT Hub service REST API, jobs).
func hubJobs() []https.Operation {
	return []https.Operation{
		iot("GET", contract.JobsQueryPath, hub.ServiceConnect, 0, queryJobs), // before a job of that name
		iot("PUT", contract.JobPath, hub.ServiceConnect, https.SmallBody, createJob),
		iot("GET", contract.JobPath, hub.ServiceConnect, 0, getJob),
		iot("POST", contract.JobCancelPath, hub.ServiceConnect, 0, cancelJob),
	}
}

// createJob takes up a job. Its answer says queued, as that of Azure does.
func createJob(c *https.Call) (any, error) {
	if err := checkNoETag(c); err != nil {
		return nil, err
	}
	asked, err := decodeJob(c)
	if err != nil {
		return nil, err
	}
	created, err := c.Hub.CreateJob(c.Context(), asked)
	if err != nil {
		return nil, err
	}
	created.Status = job.Queued
	return created.Describe(), nil
}

// checkNoETag refuses a condition: a job has no ETag, so that only that of any holds.
func checkNoETag(c *https.Call) error {
	return fault.Precondition("job", c.Header.Get("If-Match"), `""`)
}

func decodeJob(c *https.Call) (asked job.Specification, _ error) {
	var body contract.JobRequest
	if err := c.Decode(&body); err != nil {
		return asked, err
	}
	id := c.Parameter("id")
	if body.JobID != "" && body.JobID != id {
		return asked, fault.New(fault.ArgumentInvalid, "The body names the job %.128q, the address %.128q", body.JobID,
			id)
	}
	asked = job.Specification{ID: id, Kind: kindOf(body.Type), Condition: body.QueryCondition,
		Limit: body.MaxExecutionTime}
	switch asked.Kind {
	case job.UpdateTwin:
		asked.Twin = body.UpdateTwin
		if err := checkJobETag(body.UpdateTwin); err != nil {
			return asked, err
		}
	case job.InvokeMethod:
		asked.Method = body.CloudToDeviceMethod
	}
	var err error
	asked.Start, err = startTime(body.StartTime)
	return asked, err
}

// kindOf is a type as clients spell it: C# has ScheduleUpdateTwin.
func kindOf(sent string) job.Kind {
	for _, kind := range []job.Kind{job.UpdateTwin, job.InvokeMethod} {
		if strings.EqualFold(sent, string(kind)) {
			return kind
		}
	}
	return job.Kind(sent)
}

// checkJobETag refuses a patch whose etag is not *, as Azure does, whose sentence is kept.
func checkJobETag(patch json.RawMessage) error {
	var sent struct {
		ETag string `json:"etag"`
	}
	if len(patch) == 0 || string(patch) == "null" {
		return fault.New(fault.ArgumentInvalid, "The job has no updateTwin")
	}
	if err := json.Unmarshal(patch, &sent); err == nil && strings.Trim(sent.ETag, `"`) == "*" {
		return nil
	}
	return fault.New(fault.ArgumentInvalid, "Missing or invalid etag for job type ScheduleUpdateTwin. The twins that a "+
		"job updates are many, so that it only accepts '*' as the Etag")
}

// startTime reads a time as clients write it: Node, Python and Java in the form of ISO 8601,
// at times without a zone, which is UTC then; C# also in that of its own invariant culture.
func startTime(sent string) (time.Time, error) {
	if sent == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05",
		"01/02/2006 15:04:05"} {
		if at, err := time.Parse(layout, sent); err == nil && document.InRange(at) {
			return at, nil
		}
	}
	return time.Time{}, fault.New(fault.ArgumentInvalid,
		"startTime must be a time such as 2026-11-23T12:00:00Z, not %.64q", sent)
}

// getJob answers with a job. As in Azure, one that is not there is unknown, and no error.
func getJob(c *https.Call) (any, error) {
	found, err := c.Hub.Jobs().Get(c.Context(), c.Parameter("id"))
	if errors.Is(err, fault.JobNotFound) {
		return contract.Job{JobID: c.Parameter("id"), Type: contract.UnknownJob, Status: contract.UnknownJob}, nil
	}
	if err != nil {
		return nil, err
	}
	return found.Describe(), nil
}

func cancelJob(c *https.Call) (any, error) {
	if err := checkNoETag(c); err != nil {
		return nil, err
	}
	cancelled, err := c.Hub.Jobs().Cancel(c.Context(), c.Parameter("id"), false)
	if err != nil {
		return nil, err
	}
	return cancelled.Describe(), nil
}

// queryJobs lists jobs, of a type and in a state if these are given. How many, and from where
// on, is in headers or in parameters.
func queryJobs(c *https.Call) (any, error) {
	for header, parameter := range map[string]string{
		"x-ms-max-item-count": "pageSize", "x-ms-continuation": "continuationToken",
	} {
		if c.Header.Get(header) == "" && c.Query(parameter) != "" {
			c.Header.Set(header, c.Query(parameter))
		}
	}
	kind, status := c.Query("jobType"), c.Query("jobStatus")
	wanted := func(j job.Job) bool {
		return (kind == "" || strings.EqualFold(kind, string(j.Kind))) &&
			(status == "" || strings.EqualFold(status, string(j.Status)))
	}
	return answerQuery(c, "JobResponse", maxJobs, func(after string, limit int) ([]contract.Job, string, error) {
		found, next, err := c.Hub.Jobs().List(c.Context(), after, limit, wanted)
		described := make([]contract.Job, len(found))
		for i, j := range found {
			described[i] = j.Describe()
		}
		return described, next, err
	})
}

// maxJobs is how many jobs a page has at most: one can have a quarter of a mebibyte.
const maxJobs = 100
