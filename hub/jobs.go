package hub

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/job"
	"github.com/berth-iot/berth/hub/method"
	"github.com/berth-iot/berth/hub/query"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// Jobs returns the jobs of the hub. Creating one is a method of the hub.
func (h *Hub) Jobs() *job.Jobs { return h.jobs }

// CreateJob takes up a job, once it is known that what it is to do with each identity can be
// done. It returns the faults of job.Jobs.Create, and 400004 for a patch or call that can't be.
func (h *Hub) CreateJob(ctx context.Context, asked job.Specification) (job.Job, error) {
	switch asked.Kind {
	case job.UpdateTwin:
		if _, err := twin.ReadPatch(asked.Twin, false); err != nil {
			return job.Job{}, err
		}
	case job.InvokeMethod:
		call, err := readCall(asked.Method)
		if err == nil {
			err = call.Check()
		}
		if err != nil {
			return job.Job{}, err
		}
	default:
		return job.Job{}, fault.New(fault.ArgumentInvalid, "type must be %s or %s, not %.64q", job.UpdateTwin,
			job.InvokeMethod, string(asked.Kind))
	}
	return h.jobs.Create(ctx, asked)
}

func (h *Hub) openJobs(prefix string) *job.Jobs {
	return job.Open(job.Config{Documents: h.config.Documents, Prefix: prefix, Limits: h.config.Jobs,
		Lease:  store.NewLease(h.config.Documents, prefix+"jobs", h.config.Node, h.config.Logger),
		Select: h.selectIDs, PatchTwin: h.patchTwinOfJob, Invoke: h.invokeOfJob,
		Export: h.exportIdentities, Import: h.importIdentity, Blobs: h.config.Blobs,
		Now: h.config.Now, Logger: h.config.Logger.With("hub", h.config.Name), Panics: h.config.Panics})
}

// selectIDs are the ids of the identities that a job's condition finds: of devices, or of
// modules when it begins with FROM devices.modules.
func (h *Hub) selectIDs(
	ctx context.Context, text, after string, limit int,
) (ids []string, next string, err error) {
	condition, err := query.ParseCondition(text)
	if err != nil {
		return nil, "", err
	}
	if condition.Source == query.Jobs {
		return nil, "", fault.New(fault.ArgumentInvalid, "A job is for devices or devices.modules, not for devices.jobs")
	}
	q := query.Query{Condition: condition, Items: []query.Item{}}
	source, err := h.querySource(ctx, &q)
	if err != nil {
		return nil, "", err
	}
	for begin := time.Now(); len(ids) < limit && time.Since(begin) < time.Second; {
		found, last, end, err := source(ctx, after, limit-len(ids))
		if err != nil {
			return nil, "", err
		}
		for _, row := range found {
			ids = append(ids, row.key)
		}
		if end {
			return ids, "", nil
		}
		after = last
	}
	return ids, after, nil
}

func (h *Hub) patchTwinOfJob(ctx context.Context, id string, body json.RawMessage, with ...store.Change) error {
	patch, err := twin.ReadPatch(body, false)
	if err != nil {
		return err
	}
	_, err = h.changeAndNotify(ctx, id, patch, "*", false, with...)
	return err
}

func (h *Hub) invokeOfJob(ctx context.Context, id string, body json.RawMessage) (job.Answer, error) {
	call, err := readCall(body)
	if err != nil {
		return job.Answer{}, err
	}
	answer, err := h.InvokeMethod(ctx, id, call)
	return job.Answer{Status: answer.Status, Payload: answer.Payload}, err
}

// readCall reads the cloudToDeviceMethod of a job.
func readCall(body json.RawMessage) (method.Call, error) {
	var call contract.MethodCall
	if len(body) == 0 || string(body) == "null" {
		return method.Call{}, fault.New(fault.ArgumentInvalid, "The job has no cloudToDeviceMethod")
	}
	if err := json.Unmarshal(body, &call); err != nil {
		return method.Call{}, fault.New(fault.ArgumentInvalid,
			"cloudToDeviceMethod must be an object with methodName, payload, responseTimeoutInSeconds and "+
				"connectTimeoutInSeconds").Because(err)
	}
	return CallOf(call), nil
}
