package own

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/hub"
)

// jobs are the operations on jobs that Azure does not have: the devices of one, page by page,
// and an end to one that has begun.
func jobs() []https.Operation {
	return []https.Operation{
		iot("GET", contract.JobDevicesPath, hub.ServiceConnect, 0, pageOfJobDevices).With("after", "top"),
		iot("POST", contract.JobStopPath, hub.ServiceConnect, 0, stopJob),
	}
}

func pageOfJobDevices(c *https.Call) (any, error) {
	top, err := c.Number("top", c.Query("top"), https.DefaultPage, https.MaxPage)
	if err != nil {
		return nil, err
	}
	job, err := c.Hub.Jobs().Get(c.Context(), c.Parameter("id"))
	if err != nil {
		return nil, err
	}
	devices, next, err := c.Hub.Jobs().Devices(c.Context(), job.ID, c.Query("after"), top)
	if err != nil {
		return nil, err
	}
	described := make([]contract.DeviceJob, len(devices))
	for i, device := range devices {
		described[i] = device.Describe()
	}
	return contract.Page[contract.DeviceJob]{Items: described, Next: next}, nil
}

// stopJob cancels a job, also one that has begun.
func stopJob(c *https.Call) (any, error) {
	stopped, err := c.Hub.Jobs().Cancel(c.Context(), c.Parameter("id"), true)
	if err != nil {
		return nil, err
	}
	return stopped.Describe(), nil
}
