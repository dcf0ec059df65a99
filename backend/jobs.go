package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/berth-iot/berth/contract"
)

// ScheduleJob takes up a job.
func (h *Hub) ScheduleJob(ctx context.Context, asked contract.JobRequest) (job contract.Job, err error) {
	err = h.do(ctx, request{method: http.MethodPut, path: contract.JobPath.With(asked.JobID), body: asked, into: &job})
	return job, err
}

// Job returns a job. Of one that is not there, type and status are contract.UnknownJob.
func (h *Hub) Job(ctx context.Context, id string) (job contract.Job, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.JobPath.With(id), into: &job})
	return job, err
}

// CancelJob cancels a job that has not begun.
func (h *Hub) CancelJob(ctx context.Context, id string) (job contract.Job, err error) {
	err = h.do(ctx, request{method: http.MethodPost, path: contract.JobCancelPath.With(id), into: &job})
	return job, err
}

// StopJob cancels a job, also one that has begun: no other device has its turn.
func (h *Hub) StopJob(ctx context.Context, id string) (job contract.Job, err error) {
	err = h.do(ctx, request{method: http.MethodPost, path: contract.JobStopPath.With(id), into: &job})
	return job, err
}

// Jobs returns at most top jobs, of a type and in a state unless these are "", and the after
// of the next call, "" at the end.
func (h *Hub) Jobs(
	ctx context.Context, kind, status, after string, top int,
) (jobs []contract.Job, next string, _ error) {
	query := url.Values{"pageSize": {fmt.Sprint(top)}}
	for name, value := range map[string]string{"jobType": kind, "jobStatus": status, "continuationToken": after} {
		if value != "" {
			query.Set(name, value)
		}
	}
	response, err := h.send(ctx, request{method: http.MethodGet, path: contract.JobsQueryPath, query: query})
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	err = json.NewDecoder(http.MaxBytesReader(nil, response.Body, maxAnswer)).Decode(&jobs)
	return jobs, response.Header.Get("x-ms-continuation"), err
}

// JobDevices returns at most top of the devices of a job, and the after of the next call, ""
// at the end.
func (h *Hub) JobDevices(ctx context.Context, id, after string, top int) ([]contract.DeviceJob, string, error) {
	return list[contract.DeviceJob](ctx, h.client, contract.JobDevicesPath.With(id), "", after, top)
}
