package hub

import (
	"context"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/query"
)

// DeviceJobRows are the item type of rows that say what became of a device in a job.
const DeviceJobRows = "DeviceJob"

// manyDeviceJobs is how many a query looks at together.
const manyDeviceJobs = 256

// deviceJobSource returns what a query of devices.jobs looks through: what became of each
// device, in one job if the condition is for one, else in all.
func (h *Hub) deviceJobSource(q *query.Query) querySource {
	id := ""
	for _, bound := range q.Bounds() {
		if ids := bound.Texts(); len(bound.Path) == 1 && bound.Path[0] == "jobId" && len(bound.Equal) == 1 &&
			len(ids) == 1 {
			id = ids[0]
		}
	}
	return func(ctx context.Context, after string, limit int) (found []queryRow, last string, end bool, _ error) {
		devices, next, err := h.jobs.Devices(ctx, id, after, manyDeviceJobs)
		if err != nil {
			return nil, "", false, err
		}
		for i, device := range devices {
			whole, err := document.Marshal(device.Describe())
			if err != nil {
				return nil, "", false, err
			}
			if !q.MatchesJSON(whole) {
				continue
			}
			found = append(found, queryRow{key: device.Key(), whole: whole})
			if len(found) == limit && i < len(devices)-1 {
				return found, device.Key(), false, nil
			}
		}
		return found, next, next == "", nil
	}
}
